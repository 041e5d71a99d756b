//! A storm over eight tenants with twenty-five people each: everybody calls at once, in bad weather, and whatever comes back
//! has to belong to whoever asked.
//!
//! The arrangement is the one in which a crossing would be possible at all: eight servers, one for each tenant, before **one**
//! API with **one** database, which knows the tenants apart by what is signed and nothing else; the same names of people
//! in every tenant; one note whose id is everybody's; and callers who share connections.
//!
//! `scripts/storm` runs it with as many calls as one likes; within the suite it is a small one.

mod person;
mod report;
mod weather;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Api, Forwarder, Mishap, Place, Stage, trial_within};
use person::Person;
use report::Report;
use weather::Weather;

const TENANTS: [&str; 8] = [
    "acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka",
];
const PEOPLE: usize = 25;

/// Within the suite.
const FEW_CALLS: usize = 2_000;

/// How many calls a maintainer has asked for.
fn asked_for() -> Option<usize> {
    std::env::var("STORM_CALLS")
        .ok()
        .map(|calls| calls.parse().unwrap())
}

pub fn tests() -> Vec<Trial> {
    let module = module_path!();
    let longest = Duration::from_secs(if asked_for().is_some() { 3600 } else { 120 });
    vec![
        trial_within(
            longest,
            module,
            "no_answer_ever_crosses_over",
            no_answer_ever_crosses_over,
        ),
        trial_within(
            longest,
            module,
            "an_answer_that_crosses_over_is_noticed",
            an_answer_that_crosses_over_is_noticed,
        ),
    ]
}

/// What all people have in common.
struct Storm {
    /// How many calls there will be, and how many have begun.
    calls: usize,
    begun: AtomicUsize,
    report: Report,
    /// Whose is what: by the id, the tenant and the number of a person.
    owners: Mutex<HashMap<String, (usize, usize)>>,
    /// The id that a note of everybody's has.
    shared: String,
}

impl Storm {
    fn new(calls: usize) -> Arc<Self> {
        Arc::new(Self {
            calls,
            begun: AtomicUsize::new(0),
            report: Report::default(),
            owners: Mutex::default(),
            shared: Uuid::now_v7().to_string(),
        })
    }

    /// The number of the next call, while there are any.
    fn next_call(&self) -> Option<usize> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.calls).then_some(number)
    }

    fn is_over(&self) -> bool {
        self.begun.load(Ordering::Relaxed) >= self.calls
    }
}

/// Short patience, so that there is more weather in less time. The breaker would only keep calls from their weather.
const SETTINGS: [(&str, &str); 5] = [
    ("TOOLBRIDGE_API_CONNECT_TIMEOUT", "1s"),
    ("TOOLBRIDGE_API_READ_TIMEOUT", "2s"),
    ("TOOLBRIDGE_API_CALL_DEADLINE", "8s"),
    ("TOOLBRIDGE_API_BREAKER_FAILURES", "0"),
    ("TOOLBRIDGE_SERVER_DRAIN_NOTICE", "0s"),
];

async fn places(api: &Api) -> Vec<Place> {
    let starting = TENANTS.map(async |tenant| {
        let forwarder = Forwarder::forgetful(&api.url).await;
        Place::behind(forwarder, tenant, &SETTINGS).await
    });
    futures::future::join_all(starting).await
}

/// Everybody, each with the one note whose id is shared.
async fn people(storm: &Arc<Storm>, api: &Api, places: &[Place]) -> Vec<Person> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut people = Vec::new();
    for (tenant, place) in places.iter().enumerate() {
        for number in 0..PEOPLE {
            let person = Person::new(storm, http.clone(), place, tenant, number);
            let note = json!({"uid": storm.shared, "title": person.mark, "content": person.mark});
            let (status, made) = api
                .ask(
                    &place.tenant,
                    &person.user,
                    "POST",
                    "/v1/notes",
                    Some(&note),
                )
                .await;
            assert_eq!(status, 201, "{made}");
            people.push(person);
        }
    }
    people
}

async fn no_answer_ever_crosses_over() {
    let calls = asked_for().unwrap_or(FEW_CALLS);
    let storm = Storm::new(calls);
    let api = Api::with(&[("LOG_LEVEL", "info")]).await;
    let places = places(&api).await;
    let forwarders: Vec<_> = places.iter().map(|place| place.forwarder.clone()).collect();
    let people = people(&storm, &api, &places).await;
    let began = Instant::now();
    let weather = tokio::spawn(Weather::new(&storm, api, places).rages());
    let calling: Vec<_> = people
        .into_iter()
        .map(|person| tokio::spawn(person.calls()))
        .collect();
    let mut people = Vec::new();
    for person in calling {
        people.push(person.await.unwrap());
    }
    let took = began.elapsed();
    let (api, places) = weather.await.unwrap();

    // What the database has is what everybody was told.
    for person in &people {
        person
            .compares_with(&api, &places[person.tenant].tenant)
            .await;
    }
    let mishaps = forwarders.iter().map(Forwarder::mishaps_met).sum();
    eprintln!("{}", storm.report.table(calls, took, mishaps));
    storm.report.is_clean();
    assert!(mishaps > calls / 100, "{mishaps} mishaps are no storm");
    api.until_no_session_is_open().await;
    futures::future::join_all(places.iter().map(Place::stop)).await;
    api.stop().await;
}

/// The storm has to be able to fail: two answers that are exchanged on their way are seen at once.
async fn an_answer_that_crosses_over_is_noticed() {
    let storm = Storm::new(usize::MAX);
    let api = Api::with(&[("LOG_LEVEL", "info")]).await;
    let place = Place::behind(Forwarder::forgetful(&api.url).await, TENANTS[0], &SETTINGS).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut people: Vec<_> = (0..2)
        .map(|number| Person::new(&storm, http.clone(), &place, 0, number))
        .collect();
    for person in &mut people {
        person.makes("note").await;
    }
    for person in &mut people {
        place
            .forwarder
            .next(&person.user, Stage::Operation, Mishap::Cross);
        person.lists("note").await;
    }
    let crossings = storm.report.crossings();
    assert!(
        crossings
            .iter()
            .any(|crossing| crossing.contains("quetzal-0-0")),
        "{crossings:?}"
    );
    assert!(
        crossings
            .iter()
            .all(|crossing| crossing.starts_with("to quetzal-0-1")),
        "{crossings:?}"
    );
    api.until_no_session_is_open().await;
    place.stop().await;
    api.stop().await;
}
