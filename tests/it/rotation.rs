//! The tenant's secret is replaced while callers go on: the API takes both, then the server signs
//! with the new one, then the API takes the new one alone. And what signing with the whole request
//! brings: a caught request is worth nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::process::PipeLines;
use crate::harness::token::new_secret;
use crate::harness::{Api, Client, Era, SECRETS, Server, ToolClient, User, reserved_port, shared};

crate::tests![
    a_rotation_with_version_2_fails_no_call,
    a_rotation_with_version_1_fails_no_call,
    every_combination_of_signature_versions_works,
    a_replayed_request_is_refused,
];

const CALLERS: usize = 4;

/// Calls that each caller completes before it goes on with the next step.
const CALLS_PER_STEP: usize = 15;

async fn a_rotation_with_version_2_fails_no_call() {
    rotate("v2", &[("TENANT_SIGNATURE_DEMANDED", "v2")]).await;
}

async fn a_rotation_with_version_1_fails_no_call() {
    rotate("v1", &[]).await;
}

async fn rotate(signature: &str, demands: &[(&str, &str)]) {
    let (old, new, port) = (SECRETS.tenant.as_str(), new_secret(), reserved_port());
    let server = |secret: &str| {
        [
            ("TOOLBRIDGE_PORT", port.clone()),
            ("TOOLBRIDGE_TENANT_HEADER_SECRET", secret.to_owned()),
            ("TOOLBRIDGE_TENANT_SIGNATURE", signature.to_owned()),
            ("TOOLBRIDGE_API_BREAKER_PAUSE", "100ms".to_owned()),
        ]
    };
    let beside = async |api: &Api, secret: &str| {
        let settings = server(secret);
        let settings = settings
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        Server::without_forwarder("acme", api, &settings).await
    };
    let knows = |secrets: &[(&'static str, &str)]| -> Vec<(String, String)> {
        let all = secrets.iter().chain(demands);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let again = async |api: Api, settings: Vec<(String, String)>| {
        let settings: Vec<_> = settings
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        api.restart_with(&settings).await
    };

    let mut logs: Vec<PipeLines> = Vec::new();
    let api = Api::with(demands).await;
    logs.push(api.process.out.clone());
    let before = beside(&api, old).await;
    let load = Load::new(&before);
    let steps = async {
        load.until_progress().await;
        let both = knows(&[
            ("TENANT_HEADER_SECRET", &new),
            ("TENANT_HEADER_SECRET_PREVIOUS", old),
        ]);
        let api = again(api, both).await;
        logs.push(api.process.out.clone());
        load.until_progress().await;
        load.there.send_replace(false);
        before.stop().await;
        let after = beside(&api, &new).await;
        load.there.send_replace(true);
        load.until_progress().await;
        let api = again(api, knows(&[("TENANT_HEADER_SECRET", &new)])).await;
        logs.push(api.process.out.clone());
        load.until_progress().await;
        load.done.send_replace(true);
        (api, after)
    };
    let calling = futures::future::join_all((0..CALLERS).map(|number| load.call(number)));
    let (written, (api, after)) = tokio::join!(calling, steps);

    for (acknowledged, user) in written.iter().zip(&load.users) {
        let client = Client::of(&after, Era::Modern, user.clone());
        let there = all_notes(&client).await;
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{} of {} acknowledged writes are lost",
            lost.len(),
            acknowledged.len()
        );
    }
    for line in logs.iter().flat_map(PipeLines::all) {
        let entry: Value = serde_json::from_str(&line).unwrap();
        let reason = entry["reason"].as_str().unwrap_or_default();
        // One that was signed just before a start and came just after it is asked for once more,
        // and no caller hears of it.
        let refused = reason.starts_with("tenant_") && reason != "tenant_nonce_forgotten";
        assert!(!refused, "{line}");
    }
    // The old one is worth nothing any more.
    let left = start_with_old_secret(&api, old).await;
    let called = Client::of(&left, Era::Modern, load.users[0].clone())
        .call("list_notes", json!({}))
        .await;
    called.failed("authentication", "token_rejected");
    left.stop().await;
    after.stop().await;
    api.stop().await;
}

async fn start_with_old_secret(api: &Api, old: &str) -> Server {
    Server::without_forwarder("acme", api, &[("TOOLBRIDGE_TENANT_HEADER_SECRET", old)]).await
}

/// Callers that write, one note after the other.
struct Load<'a> {
    server: &'a Server,
    users: Vec<User>,
    completed: Vec<AtomicUsize>,
    moved: watch::Sender<usize>,
    /// Whether there is a server to call.
    there: watch::Sender<bool>,
    done: watch::Sender<bool>,
}

impl<'a> Load<'a> {
    fn new(server: &'a Server) -> Self {
        Self {
            server,
            users: (0..CALLERS).map(|_| server.new_user()).collect(),
            completed: (0..CALLERS).map(|_| AtomicUsize::new(0)).collect(),
            moved: watch::Sender::new(0),
            there: watch::Sender::new(true),
            done: watch::Sender::new(false),
        }
    }

    /// Until every caller has come some way further.
    async fn until_progress(&self) {
        let counts = || {
            self.completed
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
        };
        let aims: Vec<usize> = counts().map(|count| count + CALLS_PER_STEP).collect();
        let mut moved = self.moved.subscribe();
        let there = |_: &usize| counts().zip(&aims).all(|(count, aim)| count >= *aim);
        moved.wait_for(there).await.unwrap();
    }

    /// What was acknowledged. A program that is being replaced may be away; nothing else may be
    /// wrong.
    async fn call(&self, number: usize) -> BTreeSet<String> {
        let client = Client::of(self.server, Era::Modern, self.users[number].clone());
        let mut acknowledged = BTreeSet::new();
        while !*self.done.borrow() {
            let arguments = json!({"title": "t", "content": "c"});
            let Ok(answer) = client.calling("create_note", arguments).send().await else {
                self.there
                    .subscribe()
                    .wait_for(|there| *there)
                    .await
                    .unwrap();
                continue;
            };
            let status = answer.status().as_u16();
            let Ok(text) = answer.text().await else {
                continue;
            };
            let answer: Value =
                serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}"));
            let result = &answer["result"];
            if result["isError"] == false {
                let uid = result["structuredContent"]["uid"].as_str().unwrap();
                acknowledged.insert(uid.to_owned());
                self.completed[number].fetch_add(1, Ordering::Relaxed);
                self.moved.send_modify(|moved| *moved += 1);
                continue;
            }
            let said: Value =
                serde_json::from_str(result["content"][0]["text"].as_str().unwrap_or(&text))
                    .unwrap();
            assert_eq!(said["error"]["category"], "unavailable", "{said}");
        }
        acknowledged
    }
}

async fn all_notes(client: &Client<'_>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut cursor = Value::Null;
    loop {
        let arguments = match &cursor {
            Value::Null => json!({"limit": 500}),
            cursor => json!({"limit": 500, "cursor": cursor}),
        };
        let page = client.call("list_notes", arguments).await.ok();
        let uids = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["uid"].as_str().unwrap().to_owned());
        all.extend(uids);
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            return all;
        }
    }
}

async fn every_combination_of_signature_versions_works() {
    for (sent, demanded, served) in [
        ("both", "any", true),
        ("v1", "any", true),
        ("v2", "any", true),
        ("both", "v2", true),
        ("v2", "v2", true),
        ("v1", "v2", false),
    ] {
        let api = Api::with(&[("TENANT_SIGNATURE_DEMANDED", demanded)]).await;
        let server =
            Server::without_forwarder("acme", &api, &[("TOOLBRIDGE_TENANT_SIGNATURE", sent)]).await;
        let client = Client::modern(&server);
        let called = client
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await;
        assert_eq!(
            called.is_error(),
            !served,
            "{sent} to an API that wants {demanded}: {called}"
        );
        api.until_no_session_is_open().await;
        server.stop().await;
        api.stop().await;
    }
}

/// Somebody between the two programs has heard all of it, the token included.
async fn a_replayed_request_is_refused() {
    let client = Client::modern(&shared().acme);
    client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for caught in &client.traffic().await.0 {
        let say = async |path: &str, body: &[u8]| {
            let mut headers = caught.headers.clone();
            headers.remove("host");
            headers.remove("content-length");
            let request =
                http.request(caught.method.clone(), format!("{}{path}", shared().api.url));
            let answer = request
                .headers(headers)
                .body(body.to_vec())
                .send()
                .await
                .unwrap();
            answer.status().as_u16()
        };
        assert_eq!(
            say(&caught.target(), &caught.body).await,
            401,
            "{}",
            caught.line()
        );
        assert_eq!(
            say(&caught.target(), b"{\"title\":\"forged\"}").await,
            401,
            "{}",
            caught.line()
        );
        assert_eq!(
            say("/v1/tasks", &caught.body).await,
            401,
            "{}",
            caught.line()
        );
    }
    let notes = client.call("list_notes", json!({})).await.ok();
    assert_eq!(notes["items"].as_array().map(Vec::len), Some(1), "{notes}");
    client.traffic().await;
}
