//! A user in the storm, who makes calls and checks every answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Storm, TENANTS, USERS, fault_injection};
use crate::harness::token::now_secs;
use crate::harness::{Api, CONTENT, Era, Forwarder, Rng, Server, User};

/// Kinds of things, by key and plural. A comment belongs to the note whose id is everybody's.
const KINDS: [(&str, &str); 4] = [
    ("note", "notes"),
    ("task", "tasks"),
    ("chat", "chats"),
    ("comment", "comments"),
];

/// The number of items above which one is deleted before another is created.
const MAX_ITEMS: usize = 12;

/// The codes of injected faults, after which a call had no effect, or an unknown one.
const INJECTED_CODES: [&str; 8] = [
    "api_error",
    "api_timeout",
    "api_unavailable",
    "api_unreachable",
    "rate_limited",
    "session_lost",
    "token_rejected",
    "unknown_outcome",
];

pub struct VirtualUser {
    storm: Arc<Storm>,
    http: reqwest::Client,
    mcp: String,
    forwarder: Forwarder,
    pub tenant: usize,
    number: usize,
    pub user: User,
    /// Stands in everything that this person writes, and in nothing of anybody else's.
    pub mark: String,
    known_items: BTreeMap<String, KnownItem>,
    /// The number of creates with an unknown outcome.
    in_doubt: usize,
    rng: Rng,
}

/// What a person knows of a thing.
struct KnownItem {
    kind: usize,
    version: u64,
    deleted: bool,
    /// Whether the outcome of a write is unknown.
    in_doubt: bool,
}

/// What came of a call.
enum Outcome {
    Well(Value),
    Failed(Value),
    /// No result of a tool: another status, or no answer at all.
    Nothing,
}

impl VirtualUser {
    pub fn new(
        storm: &Arc<Storm>,
        http: reqwest::Client,
        server: &Server,
        tenant: usize,
        number: usize,
    ) -> Self {
        // The same names in every tenant, so that a name alone must never be enough.
        let claims = json!({
            "sub": format!("person-{number}"),
            "tenant_id": server.tenant,
            "exp": now_secs() + 7200,
        });
        Self {
            storm: Arc::clone(storm),
            http,
            mcp: server.mcp(),
            forwarder: server.forwarder.clone(),
            tenant,
            number,
            user: User::with_claims(claims),
            mark: mark(tenant, number),
            known_items: BTreeMap::new(),
            in_doubt: 0,
            rng: Rng::new((tenant * USERS + number) as u64 + 1),
        }
    }

    pub async fn calls(mut self) -> Self {
        while !self.storm.is_over() {
            if self.rng.roll(20) == 0 {
                let (stage, fault) = fault_injection::fault(&mut self.rng);
                self.forwarder.inject(&self.user, stage, fault);
            }
            let kind = KINDS[self.rng.roll(KINDS.len())].0;
            match self.rng.roll(100) {
                0..=19 if self.existing_items().count() < MAX_ITEMS => self.makes(kind).await,
                0..=27 => self.deletes().await,
                28..=40 => self.reads().await,
                41..=50 => self.lists(kind).await,
                51..=59 => self.changes().await,
                60..=65 => self.restores().await,
                66..=71 => self.changes_several().await,
                72..=79 => self.finds().await,
                80..=85 => self.reads_what_is_shared().await,
                _ => self.reads_another_users().await,
            }
        }
        self
    }

    pub async fn makes(&mut self, kind: &str) {
        let kind = KINDS.iter().position(|(key, _)| *key == kind).unwrap();
        let arguments = match KINDS[kind].0 {
            "note" => json!({"title": self.mark, "content": self.mark}),
            "comment" => {
                json!({
                    "content": self.mark,
                    "parent_type": "note",
                    "parent_uid": self.storm.shared,
                })
            }
            _ => json!({"title": self.mark}),
        };
        match self
            .call(&format!("create_{}", KINDS[kind].0), arguments)
            .await
        {
            Outcome::Well(item) => {
                let uid = item["uid"].as_str().unwrap().to_owned();
                let known = KnownItem {
                    kind,
                    version: item["version"].as_u64().unwrap(),
                    deleted: false,
                    in_doubt: false,
                };
                self.known_items.insert(uid, known);
            }
            Outcome::Failed(error) => {
                self.in_doubt += usize::from(error["code"] == "unknown_outcome")
            }
            Outcome::Nothing => self.in_doubt += 1,
        }
    }

    async fn deletes(&mut self) {
        let Some((uid, tool)) = self.random_item("delete") else {
            return;
        };
        let outcome = self.call(&tool, json!({"uid": uid})).await;
        self.wrote(&uid, outcome, true);
    }

    async fn changes(&mut self) {
        let operation = ["patch", "archive", "patch"][self.rng.roll(3)];
        let Some((uid, tool)) = self.random_item(operation) else {
            return;
        };
        let known = &self.known_items[&uid];
        let arguments = match operation {
            "patch" if known.in_doubt || self.rng.roll(2) == 0 => {
                json!({"uid": uid, "updates": {"more": self.mark}})
            }
            "patch" => {
                json!({"uid": uid, "updates": {"more": self.mark}, "if_match": known.version})
            }
            _ => json!({"uid": uid}),
        };
        let outcome = self.call(&tool, arguments).await;
        self.wrote(&uid, outcome, false);
    }

    /// Brings back something that was deleted.
    async fn restores(&mut self) {
        let deleted = self.known_items.iter().filter(|(_, known)| known.deleted);
        let deleted: Vec<_> = deleted
            .map(|(uid, known)| (uid.clone(), known.kind))
            .collect();
        let chosen = self.rng.roll(deleted.len().max(1));
        let Some((uid, kind)) = deleted.into_iter().nth(chosen) else {
            return;
        };
        let arguments = json!({"kind": KINDS[kind].0, "uid": uid});
        let outcome = self.call("restore", arguments).await;
        let restored = matches!(outcome, Outcome::Well(_));
        self.wrote(&uid, outcome, false);
        if restored {
            self.known_items.get_mut(&uid).unwrap().deleted = false;
        }
    }

    /// Patches up to three things of its own with one call, all or none.
    async fn changes_several(&mut self) {
        let chosen: Vec<_> = self
            .existing_items()
            .map(|(uid, known)| (uid.clone(), KINDS[known.kind].0))
            .take(3)
            .collect();
        if chosen.is_empty() {
            return;
        }
        let patch = |(uid, kind): &(String, &str)| {
            let updates = json!({"more": self.mark});
            json!({"op": "patch", "kind": kind, "uid": uid, "updates": updates})
        };
        let operations: Vec<_> = chosen.iter().map(patch).collect();
        let outcome = self.call("batch", json!({"operations": operations})).await;
        let before: Vec<_> = chosen
            .iter()
            .map(|(uid, _)| self.known_items[uid].version)
            .collect();
        for (index, (uid, _)) in chosen.iter().enumerate() {
            let own = match &outcome {
                Outcome::Well(made) => {
                    let own = &made["results"][index];
                    if own["version"].as_u64() == Some(before[index]) {
                        let report = &self.storm.report;
                        report.untrue(format!("{}: {uid} did not change: {made}", self.mark));
                    }
                    Outcome::Well(own.clone())
                }
                // The error is about one of them, or about none.
                Outcome::Failed(error) if is_injected(error) => Outcome::Failed(error.clone()),
                Outcome::Failed(error) if error["details"]["uid"] == json!(uid) => {
                    Outcome::Failed(error.clone())
                }
                Outcome::Failed(_) => continue,
                Outcome::Nothing => Outcome::Nothing,
            };
            self.wrote(uid, own, false);
        }
    }

    /// Everything of its own.
    pub async fn searches(&mut self) {
        let all = json!({"query": CONTENT, "deleted": "include", "limit": 50});
        self.call("search", all).await;
    }

    /// What is found and counted is this person's, as every answer has to be.
    async fn finds(&mut self) {
        let shared = json!({"id": self.storm.shared});
        let (tool, arguments) = match self.rng.roll(5) {
            0 => ("overview", json!({})),
            1 => ("fetch", shared),
            2 => return self.searches().await,
            3 => (
                "search",
                json!({"detail": "passage", "group_by": "kind", "order": "newest"}),
            ),
            _ => {
                let Some((uid, _)) = self.random_item("get") else {
                    return;
                };
                let kind = KINDS[self.known_items[&uid].kind].0;
                ("history", json!({"kind": kind, "uid": uid}))
            }
        };
        self.call(tool, arguments).await;
    }

    async fn reads(&mut self) {
        let Some((uid, tool)) = self.random_item("get") else {
            return;
        };
        let outcome = self.call(&tool, json!({"uid": uid})).await;
        self.refresh(&uid, &outcome);
    }

    pub async fn lists(&mut self, kind: &str) {
        let (server, (_, plural)) = KINDS
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
        for (uid, known) in self
            .existing_items()
            .filter(|(_, known)| known.kind == server && !known.in_doubt)
        {
            if !listed.contains(&uid.as_str()) {
                let version = known.version;
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

    async fn reads_another_users(&mut self) {
        let found = {
            let owners = self.storm.owners.lock().unwrap();
            let skipped = self.rng.roll(owners.len().max(1));
            let others = owners.iter().skip(skipped).take(50);
            others
                .filter(|(_, owner)| **owner != (self.tenant, self.number))
                .map(|(uid, _)| uid.clone())
                .next()
        };
        let Some(uid) = found else {
            return;
        };
        let key = KINDS[self.rng.roll(KINDS.len())].0;
        let of_kind = |tool: &str| format!("{tool}_{key}");
        let item = || json!({"kind": key, "uid": uid});
        let with = |name: &str, value: Value| {
            let mut item = item();
            item[name] = value;
            item
        };
        let operation = match self.rng.roll(3) {
            0 => with("op", json!("delete")),
            1 => json!({"op": "restore", "kind": key, "uid": uid, "to_version": 1}),
            _ => json!({"op": "patch", "kind": key, "uid": uid, "updates": {"more": self.mark}}),
        };
        let (tool, arguments) = match self.rng.roll(10) {
            0 => {
                let updates = json!({"more": self.mark});
                (of_kind("patch"), json!({"uid": uid, "updates": updates}))
            }
            1 => (of_kind("delete"), json!({"uid": uid})),
            2 => ("history".to_owned(), item()),
            3 => ("history".to_owned(), with("version", json!(1))),
            4 => ("restore".to_owned(), item()),
            5 => ("restore".to_owned(), with("to_version", json!(1))),
            6 => ("fetch".to_owned(), json!({"id": uid})),
            7 => ("batch".to_owned(), json!({"operations": [operation]})),
            8 => {
                let edit = json!({"kind": key, "uid": uid, "operation": "append", "text": "x"});
                ("edit_text".to_owned(), edit)
            }
            _ => (of_kind("get"), json!({"uid": uid, "include_deleted": true})),
        };
        if let Outcome::Well(item) = self.call(&tool, arguments).await {
            self.storm
                .report
                .crossed(format!("to {}: {tool} of {item}", self.mark));
        }
    }

    fn existing_items(&self) -> impl Iterator<Item = (&String, &KnownItem)> {
        self.known_items.iter().filter(|(_, known)| !known.deleted)
    }

    fn random_item(&mut self, operation: &str) -> Option<(String, String)> {
        let count = self.existing_items().count();
        let chosen = self.rng.roll(count.max(1));
        let (uid, known) = self.existing_items().nth(chosen)?;
        Some((uid.clone(), format!("{operation}_{}", KINDS[known.kind].0)))
    }

    /// A write of a thing has come to this.
    fn wrote(&mut self, uid: &str, outcome: Outcome, deletes: bool) {
        self.refresh(uid, &outcome);
        let known = self.known_items.get_mut(uid).unwrap();
        match outcome {
            Outcome::Well(_) => known.deleted |= deletes,
            Outcome::Failed(error) => known.in_doubt |= error["code"] == "unknown_outcome",
            Outcome::Nothing => known.in_doubt = true,
        }
    }

    /// Versions never go back, and what was there without any doubt is there.
    fn refresh(&mut self, uid: &str, outcome: &Outcome) {
        let report = &self.storm.report;
        let known = self.known_items.get_mut(uid).unwrap();
        match outcome {
            Outcome::Well(item) => {
                let version = item["version"].as_u64().unwrap();
                if item["uid"] != uid || version < known.version {
                    report.untrue(format!(
                        "{}: {uid} at {} came as {item}",
                        self.mark, known.version
                    ));
                }
                known.version = version;
            }
            Outcome::Failed(error) if !is_injected(error) => {
                if !known.in_doubt {
                    report.untrue(format!(
                        "{}: {uid} at {} came to {error}",
                        self.mark, known.version
                    ));
                }
                known.deleted |= error["category"] == "not_found";
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
                    self.storm.report.record_outcome("a broken connection");
                    return Outcome::Nothing;
                }
            }
        };
        let status = answer.status().as_u16();
        let echoed = answer.headers().get("x-correlation-id").cloned();
        let Ok(text) = answer.text().await else {
            self.storm.report.record_outcome("half an answer");
            return Outcome::Nothing;
        };
        let echoed = echoed.map(|value| value.to_str().unwrap().to_owned());
        if echoed.as_deref() != Some(&correlation) {
            self.storm
                .report
                .crossed(format!("to {}: correlation {echoed:?}", self.mark));
        }
        self.check_only_own(tool, &text);
        if status != 200 {
            self.storm
                .report
                .record_outcome(&format!("status {status}"));
            return Outcome::Nothing;
        }
        let answer: Value = serde_json::from_str(&text).unwrap();
        if answer["id"] != json!(id) {
            self.storm
                .report
                .crossed(format!("to {}: the answer to {}", self.mark, answer["id"]));
        }
        if answer["error"].is_object() {
            // A server that has not yet heard from the API what it offers has no such tool.
            let code = answer["error"]["code"].to_string();
            self.storm.report.record_outcome(&format!("error {code}"));
            return Outcome::Nothing;
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
            self.storm
                .report
                .record_outcome(error["code"].as_str().unwrap());
            return Outcome::Failed(error);
        }
        self.owns(&said);
        self.storm.report.record_outcome("ok");
        Outcome::Well(said)
    }

    /// Whatever mark stands anywhere in an answer is this person's.
    fn check_only_own(&self, tool: &str, text: &str) {
        let own = self.mark.trim_end_matches(';');
        for (at, _) in text.match_indices(&format!("{CONTENT}-")) {
            let rest = &text[at..];
            let is_own = rest
                .strip_prefix(own)
                .is_some_and(|after| after.starts_with([';', '.']));
            if !is_own {
                let seen: String = rest.chars().take(24).collect();
                self.storm
                    .report
                    .crossed(format!("to {} by {tool}: {seen}", self.mark));
            }
        }
    }

    /// Checks that no other user has seen these ids.
    fn owns(&self, said: &Value) {
        let lists = ["items", "results"];
        let items = lists.iter().find_map(|name| said[name].as_array().cloned());
        let items = items.unwrap_or_else(|| vec![said.clone()]);
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
        let direct = api.direct_client(tenant, &self.user).await;
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
            self.check_only_own(plural, &page.to_string());
            self.owns(&page);
            for item in page["items"].as_array().unwrap() {
                let uid = item["uid"].as_str().unwrap();
                seen.push(uid.to_owned());
                let Some(known) = self.known_items.get(uid) else {
                    unheard += usize::from(uid != self.storm.shared);
                    continue;
                };
                let version = item["version"].as_u64().unwrap();
                let deleted = !item["deletedAt"].is_null();
                let fits = version == known.version && deleted == known.deleted;
                if !(fits || known.in_doubt && version >= known.version) {
                    report.untrue(format!(
                        "{}: {uid} is at {version}, not {}",
                        self.mark, known.version
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
        for uid in self.known_items.keys().filter(|uid| !seen.contains(uid)) {
            report.untrue(format!("{}: {uid} is lost", self.mark));
        }
    }
}

fn mark(tenant: usize, number: usize) -> String {
    debug_assert!(tenant < TENANTS.len());
    format!("{CONTENT}-{tenant}-{number};")
}

fn is_injected(error: &Value) -> bool {
    INJECTED_CODES.iter().any(|code| error["code"] == *code)
}
