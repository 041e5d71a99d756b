//! A storm: twenty-five users in each of eight tenants call at once while faults are injected, and
//! every answer has to belong to the user who asked.
//!
//! The arrangement is the one in which a crossing would be possible at all: eight servers, one for
//! each tenant, before **one** API with **one** database, which knows the tenants apart by what is
//! signed and nothing else; the same names of people in every tenant; one note whose id is
//! everybody's; and callers who share connections.
//!
//! `scripts/storm` runs it with as many calls as one likes; within the suite it is a small one.

mod fault_injection;
mod report;
mod virtual_user;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Api, Fault, Forwarder, Server, Stage, trial_within};
use fault_injection::FaultInjection;
use report::Report;
use virtual_user::VirtualUser;

const TENANTS: [&str; 8] = [
    "acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka",
];
const USERS: usize = 25;

/// Within the suite.
const DEFAULT_CALLS: usize = 2_000;

/// How many calls a maintainer has asked for.
fn requested_calls() -> Option<usize> {
    std::env::var("STORM_CALLS")
        .ok()
        .map(|calls| calls.parse().unwrap())
}

pub fn tests() -> Vec<Trial> {
    let module = module_path!();
    let longest = Duration::from_secs(if requested_calls().is_some() {
        3600
    } else {
        120
    });
    vec![
        trial_within(
            longest,
            module,
            "no_answer_reaches_another_user",
            no_answer_reaches_another_user,
        ),
        trial_within(
            longest,
            module,
            "detects_an_answer_to_another_user",
            detects_an_answer_to_another_user,
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

/// Short time limits, so that more faults take effect in less time. The breaker would only keep
/// calls from their weather.
const SETTINGS: [(&str, &str); 5] = [
    ("TOOLBRIDGE_API_CONNECT_TIMEOUT", "1s"),
    ("TOOLBRIDGE_API_READ_TIMEOUT", "2s"),
    ("TOOLBRIDGE_API_CALL_DEADLINE", "8s"),
    ("TOOLBRIDGE_API_BREAKER_FAILURES", "0"),
    ("TOOLBRIDGE_SERVER_DRAIN_NOTICE", "0s"),
];

async fn servers(api: &Api) -> Vec<Server> {
    let starting = TENANTS.map(async |tenant| {
        let forwarder = Forwarder::without_records(&api.url).await;
        Server::with_forwarder(forwarder, tenant, &SETTINGS).await
    });
    futures::future::join_all(starting).await
}

/// Everybody, each with the one note whose id is shared.
async fn users(storm: &Arc<Storm>, api: &Api, servers: &[Server]) -> Vec<VirtualUser> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut users = Vec::new();
    for (tenant, server) in servers.iter().enumerate() {
        for number in 0..USERS {
            let virtual_user = VirtualUser::new(storm, http.clone(), server, tenant, number);
            let note = json!({
                "uid": storm.shared,
                "title": virtual_user.mark,
                "content": virtual_user.mark,
            });
            let (status, made) = api
                .ask(
                    &server.tenant,
                    &virtual_user.user,
                    "POST",
                    "/v1/notes",
                    Some(&note),
                )
                .await;
            assert_eq!(status, 201, "{made}");
            users.push(virtual_user);
        }
    }
    users
}

async fn no_answer_reaches_another_user() {
    let calls = requested_calls().unwrap_or(DEFAULT_CALLS);
    let storm = Storm::new(calls);
    let api = Api::with(&[("LOG_LEVEL", "info")]).await;
    let servers = servers(&api).await;
    let forwarders: Vec<_> = servers
        .iter()
        .map(|server| server.forwarder.clone())
        .collect();
    let users = users(&storm, &api, &servers).await;
    let began = Instant::now();
    let fault_injection = tokio::spawn(FaultInjection::new(&storm, api, servers).run());
    let calling: Vec<_> = users
        .into_iter()
        .map(|virtual_user| tokio::spawn(virtual_user.calls()))
        .collect();
    let mut users = Vec::new();
    for virtual_user in calling {
        users.push(virtual_user.await.unwrap());
    }
    let took = began.elapsed();
    let (api, servers) = fault_injection.await.unwrap();

    // What the database has is what everybody was told.
    for virtual_user in &users {
        virtual_user
            .compares_with(&api, &servers[virtual_user.tenant].tenant)
            .await;
    }
    let faults = forwarders.iter().map(Forwarder::faults_injected).sum();
    eprintln!("{}", storm.report.table(calls, took, faults));
    storm.report.is_clean();
    assert!(faults > calls / 100, "{faults} faults are too few");
    api.until_no_session_is_open().await;
    futures::future::join_all(servers.iter().map(Server::stop)).await;
    api.stop().await;
}

/// The storm has to be able to fail: two answers that are exchanged on their way are seen at once.
async fn detects_an_answer_to_another_user() {
    let storm = Storm::new(usize::MAX);
    let api = Api::with(&[("LOG_LEVEL", "info")]).await;
    let server = Server::with_forwarder(
        Forwarder::without_records(&api.url).await,
        TENANTS[0],
        &SETTINGS,
    )
    .await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut users: Vec<_> = (0..2)
        .map(|number| VirtualUser::new(&storm, http.clone(), &server, 0, number))
        .collect();
    for virtual_user in &mut users {
        virtual_user.makes("note").await;
    }
    for virtual_user in &mut users {
        server
            .forwarder
            .inject(&virtual_user.user, Stage::Operation, Fault::SwapAnswers);
        virtual_user.lists("note").await;
    }
    for virtual_user in &mut users {
        server
            .forwarder
            .inject(&virtual_user.user, Stage::Operation, Fault::SwapAnswers);
        virtual_user.searches().await;
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
            .any(|crossing| crossing.contains("by search")),
        "{crossings:?}"
    );
    assert!(
        crossings
            .iter()
            .all(|crossing| crossing.starts_with("to quetzal-0-1")),
        "{crossings:?}"
    );
    api.until_no_session_is_open().await;
    server.stop().await;
    api.stop().await;
}
