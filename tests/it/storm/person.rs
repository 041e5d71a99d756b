//! Somebody in the storm: calls, and believes nothing that comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{PEOPLE, Storm, TENANTS, weather};
use crate::harness::token::now_secs;
use crate::harness::{Api, CONTENT, Era, Forwarder, Place, User};

/// Kinds of things, by key and plural. A comment belongs to the note whose id is everybody's.
const KINDS: [(&str, &str); 4] = [
    ("note", "notes"),
    ("task", "tasks"),
    ("chat", "chats"),
    ("comment", "comments"),
];

/// With more than so many things one is deleted before another is made.
const MOST: usize = 12;

/// A failure of the weather: whoever reads it knows that nothing came of the call, or that this is unknown.
const WEATHER: [&str; 8] = [
    "api_error",
    "api_timeout",
    "api_unavailable",
    "api_unreachable",
    "rate_limited",
    "session_lost",
    "token_rejected",
    "unknown_outcome",
];

pub struct Person {
    storm: Arc<Storm>,
    http: reqwest::Client,
    mcp: String,
    forwarder: Forwarder,
    pub tenant: usize,
    number: usize,
    pub user: User,
    /// Stands in everything that this person writes, and in nothing of anybody else's.
    pub mark: String,
    things: BTreeMap<String, Thing>,
    /// Creates of which nobody knows what became.
    in_doubt: usize,
    dice: Dice,
}

/// What a person knows of a thing.
struct Thing {
    kind: usize,
    version: u64,
    deleted: bool,
    /// A write of which nobody knows whether it was made.
    in_doubt: bool,
}

/// What came of a call.
enum Outcome {
    Well(Value),
    Failed(Value),
    /// No result of a tool: another status, or no answer at all.
    Nothing,
}

impl Person {
    pub fn new(
        storm: &Arc<Storm>,
        http: reqwest::Client,
        place: &Place,
        tenant: usize,
        number: usize,
    ) -> Self {
        // The same names in every tenant, so that a name alone must never be enough.
        let claims = json!({"sub": format!("person-{number}"), "tenant_id": place.tenant, "exp": now_secs() + 7200});
        Self {
            storm: Arc::clone(storm),
            http,
            mcp: place.mcp(),
            forwarder: place.forwarder.clone(),
            tenant,
            number,
            user: User::with_claims(claims),
            mark: mark(tenant, number),
            things: BTreeMap::new(),
            in_doubt: 0,
            dice: Dice((tenant * PEOPLE + number) as u64 + 1),
        }
    }

    pub async fn calls(mut self) -> Self {
        while !self.storm.is_over() {
            if self.dice.roll(20) == 0 {
                let (stage, mishap) = weather::mishap(&mut self.dice);
                self.forwarder.next(&self.user, stage, mishap);
            }
            let kind = KINDS[self.dice.roll(KINDS.len())].0;
            match self.dice.roll(100) {
                0..=24 if self.living().count() < MOST => self.makes(kind).await,
                0..=34 => self.deletes().await,
                35..=54 => self.reads().await,
                55..=69 => self.lists(kind).await,
                70..=82 => self.changes().await,
                83..=88 => self.reads_what_is_shared().await,
                _ => self.tries_for_somebody_elses().await,
            }
        }
        self
    }

    pub async fn makes(&mut self, kind: &str) {
        let kind = KINDS.iter().position(|(key, _)| *key == kind).unwrap();
        let arguments = match KINDS[kind].0 {
            "note" => json!({"title": self.mark, "content": self.mark}),
            "comment" => {
                json!({"content": self.mark, "parent_type": "note", "parent_uid": self.storm.shared})
            }
            _ => json!({"title": self.mark}),
        };
        match self
            .call(&format!("create_{}", KINDS[kind].0), arguments)
            .await
        {
            Outcome::Well(item) => {
                let uid = item["uid"].as_str().unwrap().to_owned();
                let thing = Thing {
                    kind,
                    version: item["version"].as_u64().unwrap(),
                    deleted: false,
                    in_doubt: false,
                };
                self.things.insert(uid, thing);
            }
            Outcome::Failed(error) => {
                self.in_doubt += usize::from(error["code"] == "unknown_outcome")
            }
            Outcome::Nothing => self.in_doubt += 1,
        }
    }

    async fn deletes(&mut self) {
        let Some((uid, tool)) = self.one_of_mine("delete") else {
            return;
        };
        let outcome = self.call(&tool, json!({"uid": uid})).await;
        self.wrote(&uid, outcome, true);
    }

    async fn changes(&mut self) {
        let operation = ["patch", "archive", "patch"][self.dice.roll(3)];
        let Some((uid, tool)) = self.one_of_mine(operation) else {
            return;
        };
        let thing = &self.things[&uid];
        let arguments = match operation {
            "patch" if thing.in_doubt || self.dice.roll(2) == 0 => {
                json!({"uid": uid, "updates": {"more": self.mark}})
            }
            "patch" => {
                json!({"uid": uid, "updates": {"more": self.mark}, "if_match": thing.version})
            }
            _ => json!({"uid": uid}),
        };
        let outcome = self.call(&tool, arguments).await;
        self.wrote(&uid, outcome, false);
    }

    async fn reads(&mut self) {
        let Some((uid, tool)) = self.one_of_mine("get") else {
            return;
        };
        let outcome = self.call(&tool, json!({"uid": uid})).await;
        self.knows_better(&uid, &outcome);
    }

    pub async fn lists(&mut self, kind: &str) {
        let (place, (_, plural)) = KINDS
            .iter()
            .enumerate()
            .find(|(_, (key, _))| *key == kind)
            .unwrap();
        let Outcome::Well(page) = self
            .call(&format!("list_{plural}"), json!({"limit": 1000}))
            .await
        else {
            return;
        };
        let listed: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["uid"].as_str().unwrap())
            .collect();
        for (uid, thing) in self
            .living()
            .filter(|(_, thing)| thing.kind == place && !thing.in_doubt)
        {
            if !listed.contains(&uid.as_str()) {
                let version = thing.version;
                self.storm
                    .report
                    .untrue(format!("{} misses {kind} {uid} at {version}", self.mark));
            }
        }
    }

    /// One id, two hundred notes: what comes has to be this person's.
    async fn reads_what_is_shared(&mut self) {
        let outcome = self
            .call("get_note", json!({"uid": self.storm.shared}))
            .await;
        if let Outcome::Well(note) = &outcome
            && note["payload"]["title"] != json!(self.mark)
        {
            self.storm
                .report
                .crossed(format!("to {}: {note}", self.mark));
        }
    }

    async fn tries_for_somebody_elses(&mut self) {
        let found = {
            let owners = self.storm.owners.lock().unwrap();
            let skipped = self.dice.roll(owners.len().max(1));
            let others = owners.iter().skip(skipped).take(50);
            others
                .filter(|(_, owner)| **owner != (self.tenant, self.number))
                .map(|(uid, _)| uid.clone())
                .next()
        };
        let Some(uid) = found else {
            return;
        };
        let key = KINDS[self.dice.roll(KINDS.len())].0;
        let (tool, arguments) = match self.dice.roll(4) {
            0 => ("patch", json!({"uid": uid, "updates": {"more": self.mark}})),
            1 => ("delete", json!({"uid": uid})),
            _ => ("get", json!({"uid": uid, "include_deleted": true})),
        };
        if let Outcome::Well(item) = self.call(&format!("{tool}_{key}"), arguments).await {
            self.storm
                .report
                .crossed(format!("to {}: {tool} of {item}", self.mark));
        }
    }

    fn living(&self) -> impl Iterator<Item = (&String, &Thing)> {
        self.things.iter().filter(|(_, thing)| !thing.deleted)
    }

    fn one_of_mine(&mut self, operation: &str) -> Option<(String, String)> {
        let count = self.living().count();
        let chosen = self.dice.roll(count.max(1));
        let (uid, thing) = self.living().nth(chosen)?;
        Some((uid.clone(), format!("{operation}_{}", KINDS[thing.kind].0)))
    }

    /// A write of a thing has come to this.
    fn wrote(&mut self, uid: &str, outcome: Outcome, deletes: bool) {
        self.knows_better(uid, &outcome);
        let thing = self.things.get_mut(uid).unwrap();
        match outcome {
            Outcome::Well(_) => thing.deleted |= deletes,
            Outcome::Failed(error) => thing.in_doubt |= error["code"] == "unknown_outcome",
            Outcome::Nothing => thing.in_doubt = true,
        }
    }

    /// Versions never go back, and what was there without any doubt is there.
    fn knows_better(&mut self, uid: &str, outcome: &Outcome) {
        let report = &self.storm.report;
        let thing = self.things.get_mut(uid).unwrap();
        match outcome {
            Outcome::Well(item) => {
                let version = item["version"].as_u64().unwrap();
                if item["uid"] != uid || version < thing.version {
                    report.untrue(format!(
                        "{}: {uid} at {} came as {item}",
                        self.mark, thing.version
                    ));
                }
                thing.version = version;
            }
            Outcome::Failed(error) if !is_weather(error) => {
                if !thing.in_doubt {
                    report.untrue(format!(
                        "{}: {uid} at {} came to {error}",
                        self.mark, thing.version
                    ));
                }
                thing.deleted |= error["category"] == "not_found";
            }
            _ => {}
        }
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Outcome {
        let Some(id) = self.storm.next_call() else {
            return Outcome::Nothing;
        };
        let id = id as u64;
        // Without the mark, since this does get into logs.
        let correlation = format!("asker-{}-{}.{id}", self.tenant, self.number);
        let params = json!({"name": tool, "arguments": arguments});
        let asked = self
            .http
            .post(&self.mcp)
            .bearer_auth(&self.user.token)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", Era::Modern.version())
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .header("x-correlation-id", &correlation)
            .body(Era::Modern.message(id, "tools/call", params).to_string());
        let answer = loop {
            match asked.try_clone().unwrap().send().await {
                Ok(answer) => break answer,
                // The server is being started again: nothing was sent, so this is no call yet.
                Err(why) if why.is_connect() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(_) => {
                    self.storm.report.came_to("a broken connection");
                    return Outcome::Nothing;
                }
            }
        };
        let status = answer.status().as_u16();
        let echoed = answer.headers().get("x-correlation-id").cloned();
        let Ok(text) = answer.text().await else {
            self.storm.report.came_to("half an answer");
            return Outcome::Nothing;
        };
        let echoed = echoed.map(|value| value.to_str().unwrap().to_owned());
        if echoed.as_deref() != Some(&correlation) {
            self.storm
                .report
                .crossed(format!("to {}: correlation {echoed:?}", self.mark));
        }
        self.has_only_mine(tool, &text);
        if status != 200 {
            self.storm.report.came_to(&format!("status {status}"));
            return Outcome::Nothing;
        }
        let answer: Value = serde_json::from_str(&text).unwrap();
        if answer["id"] != json!(id) {
            self.storm
                .report
                .crossed(format!("to {}: the answer to {}", self.mark, answer["id"]));
        }
        let result = &answer["result"];
        let said: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap_or_default())
                .unwrap();
        if result["isError"] == true {
            let error = said["error"].clone();
            if error["correlation_id"] != json!(correlation) {
                self.storm
                    .report
                    .crossed(format!("to {}: {error}", self.mark));
            }
            self.storm.report.came_to(error["code"].as_str().unwrap());
            return Outcome::Failed(error);
        }
        self.owns(&said);
        self.storm.report.came_to("ok");
        Outcome::Well(said)
    }

    /// Whatever mark stands anywhere in an answer is this person's.
    fn has_only_mine(&self, tool: &str, text: &str) {
        let own = self.mark.trim_end_matches(';');
        for (at, _) in text.match_indices(&format!("{CONTENT}-")) {
            let rest = &text[at..];
            let is_mine = rest
                .strip_prefix(own)
                .is_some_and(|after| after.starts_with([';', '.']));
            if !is_mine {
                let seen: String = rest.chars().take(24).collect();
                self.storm
                    .report
                    .crossed(format!("to {} by {tool}: {seen}", self.mark));
            }
        }
    }

    /// An id that one person has seen is nobody else's.
    fn owns(&self, said: &Value) {
        let items = said["items"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![said.clone()]);
        let me = (self.tenant, self.number);
        for uid in items.iter().filter_map(|item| item["uid"].as_str()) {
            if uid == self.storm.shared {
                continue;
            }
            let owner = *self
                .storm
                .owners
                .lock()
                .unwrap()
                .entry(uid.to_owned())
                .or_insert(me);
            if owner != me {
                self.storm
                    .report
                    .crossed(format!("to {}: {uid} of {owner:?}", self.mark));
            }
        }
    }

    /// Everything that was said to be made is there, nothing else is, and it is this person's.
    pub async fn compares_with(&self, api: &Api, tenant: &str) {
        let report = &self.storm.report;
        let direct = api.directly(tenant, &self.user).await;
        let mut unheard = 0;
        let mut seen = Vec::new();
        for (_, plural) in KINDS {
            let (status, page) = direct
                .ask(
                    "GET",
                    &format!("/v1/{plural}?includeDeleted=true&limit=1000"),
                    None,
                )
                .await;
            assert_eq!(status, 200, "{page}");
            self.has_only_mine(plural, &page.to_string());
            self.owns(&page);
            for item in page["items"].as_array().unwrap() {
                let uid = item["uid"].as_str().unwrap();
                seen.push(uid.to_owned());
                let Some(thing) = self.things.get(uid) else {
                    unheard += usize::from(uid != self.storm.shared);
                    continue;
                };
                let version = item["version"].as_u64().unwrap();
                let deleted = !item["deletedAt"].is_null();
                let fits = version == thing.version && deleted == thing.deleted;
                if !(fits || thing.in_doubt && version >= thing.version) {
                    report.untrue(format!(
                        "{}: {uid} is at {version}, not {}",
                        self.mark, thing.version
                    ));
                }
            }
        }
        direct.end().await;
        if unheard > self.in_doubt {
            report.untrue(format!(
                "{}: {unheard} things that nobody was told of",
                self.mark
            ));
        }
        for uid in self.things.keys().filter(|uid| !seen.contains(uid)) {
            report.untrue(format!("{}: {uid} is lost", self.mark));
        }
    }
}

fn mark(tenant: usize, number: usize) -> String {
    debug_assert!(tenant < TENANTS.len());
    format!("{CONTENT}-{tenant}-{number};")
}

fn is_weather(error: &Value) -> bool {
    WEATHER.iter().any(|code| error["code"] == *code)
}

/// Numbers that look like chance and are the same each time.
pub struct Dice(u64);

impl Dice {
    /// One of so many.
    pub fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }
}
