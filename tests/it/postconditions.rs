//! What is looked at when everything else is over: what was sent, what was left open, and what was
//! written to logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use libtest_mimic::Trial;

use serde_json::{Value, json};

use crate::api_requests::check_signature;
use crate::audit::{MARK, calls_in, text_of};
use crate::entities::{self, OPERATIONS, uid_of};
use crate::harness::collector;
use crate::harness::process::logs;
use crate::harness::server::{forwarders, trails};
use crate::harness::{CONTENT, Client, SECRETS, Server, ToolClient, shared, trial};

/// In this order, one after the other.
pub fn tests() -> Vec<Trial> {
    let module = module_path!();
    vec![
        trial(module, "every_request_was_signed", every_request_was_signed),
        trial(module, "every_session_has_ended", every_session_has_ended),
        trial(
            module,
            "every_call_is_in_an_audit_trail",
            every_call_is_in_an_audit_trail,
        ),
        trial(
            module,
            "every_log_line_is_one_json_object",
            every_log_line_is_one_json_object,
        ),
        trial(
            module,
            "every_log_field_is_declared",
            every_log_field_is_declared,
        ),
        trial(
            module,
            "a_healthy_server_logs_no_error",
            a_healthy_server_logs_no_error,
        ),
        trial(module, "no_log_contains_a_secret", no_log_contains_a_secret),
        trial(
            module,
            "no_span_contains_a_secret",
            no_span_contains_a_secret,
        ),
        trial(
            module,
            "no_log_at_trace_level_contains_a_secret",
            no_log_at_trace_level_contains_a_secret,
        ),
    ]
}

async fn every_request_was_signed() {
    let mut nonces = BTreeSet::new();
    for (tenant, forwarder) in forwarders() {
        for record in forwarder.everything() {
            // Readiness checks have no user.
            let probe = ["/readyz", "/healthz", "/v1/sync/info"].contains(&record.path.as_str());
            if probe {
                assert_eq!(record.header("authorization"), "");
            } else {
                check_signature(&record, &tenant);
            }
            let nonce = record.header("x-tb-nonce").to_owned();
            // A doctor asks without a signature whether the API is there.
            let unsigned = probe && nonce.is_empty();
            assert!(
                unsigned || nonces.insert(nonce),
                "signed before: {}",
                record.line()
            );
        }
    }
}

async fn every_session_has_ended() {
    let api = &shared().api;
    api.until_no_session_is_open().await;
    let opened = api.metric("toolbridge_api_sessions_opened_total").await;
    let ended = api.metric("toolbridge_api_sessions_ended_total").await;
    assert!(ended <= opened, "{ended} of {opened}");
    // A server that was killed with sessions open would show here; one that is asked to leave
    // never does.
    for server in [&shared().acme, &shared().globex] {
        server.process.signal("TERM");
        assert_eq!(
            server.process.exit().await,
            Some(0),
            "{}",
            server.process.all_output()
        );
        let sessions = server.process.logged("drained", "msg").await;
        assert_eq!(sessions, "drained", "with nothing cut off");
    }
}

/// Each trail is as it was written, and those of the two that everybody shared have what their logs
/// have: no call more, none less.
async fn every_call_is_in_an_audit_trail() {
    let trails = trails();
    // A server that was killed before its first line leaves an empty file.
    let has_lines = |trail: &&PathBuf| trail.metadata().is_ok_and(|file| file.len() > 0);
    let there = trails.iter().filter(has_lines);
    for trail in there.clone() {
        calls_in(trail).await;
    }
    assert!(there.count() >= 2, "{trails:?}");
    for server in [&shared().acme, &shared().globex] {
        let called = |line: &Value| {
            let names =
                ["correlation_id", "tool", "outcome", "user"].map(|name| line[name].to_string());
            (line["outcome"].is_string() && line["outcome"] != "refused").then(|| names.join(" "))
        };
        let lines = server.process.out.all();
        let objects = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut logged: Vec<_> = objects.filter_map(|line| called(&line)).collect();
        let mut written: Vec<_> = calls_in(&server.trail())
            .await
            .iter()
            .filter_map(called)
            .collect();
        logged.sort();
        written.sort();
        assert!(
            logged == written,
            "{} calls are logged, {} in the trail",
            logged.len(),
            written.len()
        );
    }
}

async fn every_log_line_is_one_json_object() {
    let mut lines = 0;
    for (program, said) in logs() {
        if !program.ends_with("serve") && !program.ends_with("api") {
            continue;
        }
        for line in said {
            // A mistake that stops the start is a sentence for a person.
            if line.starts_with("error: ") || line.starts_with(MARK) {
                continue;
            }
            let object: Value =
                serde_json::from_str(&line).unwrap_or_else(|_| panic!("{program}: {line}"));
            for field in ["time", "level", "msg"] {
                assert!(object[field].is_string(), "{program}: no {field} in {line}");
            }
            lines += 1;
        }
    }
    assert!(lines > 0);
}

/// The constants of a file that are texts, by their value. Go's names are made Rust's: `DurationMS`
/// is `DURATION_MS`.
fn declared(file: &str) -> BTreeMap<String, String> {
    let constant = |line: &str| {
        let (name, rest) = line
            .trim()
            .trim_start_matches("pub const ")
            .split_once(['=', ':'])?;
        let (_, value) = rest.rsplit_once("= ").unwrap_or(("", rest.trim()));
        let value = value.trim().strip_prefix('"')?.split_once('"')?.0;
        Some((value.to_owned(), name.trim().to_owned()))
    };
    file.lines().filter_map(constant).collect()
}

fn fields_of_go(file: &str) -> &str {
    let (_, from) = file.split_once("// The fields of log lines.").unwrap();
    from.split_once("\n)").unwrap().0
}

/// What one program calls a field is what the other does, and a query on either finds all lines.
async fn every_log_field_is_declared() {
    let ours = declared(include_str!("../../src/telemetry/fields.rs"));
    let mut theirs = declared(fields_of_go(include_str!(
        "../../api/internal/telemetry/telemetry.go"
    )));
    // The three that every line of Go's library has.
    for name in ["time", "level", "msg"] {
        theirs.insert(name.to_owned(), name.to_owned());
    }
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    for (value, name) in &theirs {
        for (our_value, our_name) in &ours {
            let same = plain(name) == plain(our_name);
            assert!(
                !same || value == our_value,
                "{name} is {value:?} in Go and {our_value:?} here"
            );
        }
    }
    let mut undeclared = BTreeMap::new();
    for (program, lines) in logs() {
        let known = if program.ends_with("api") {
            &theirs
        } else {
            &ours
        };
        for line in lines.into_iter().filter(|line| !line.starts_with(MARK)) {
            let object: Value = serde_json::from_str(&line).unwrap_or_default();
            for field in object
                .as_object()
                .into_iter()
                .flat_map(|object| object.keys())
            {
                if !known.contains_key(field) {
                    undeclared.insert(field.clone(), line.clone());
                }
            }
        }
    }
    assert!(
        undeclared.is_empty(),
        "declared nowhere, and where they are: {undeclared:#?}"
    );
}

/// Callers that hang up, tokens that expired and an API that failed are no errors of the server's
/// own.
async fn a_healthy_server_logs_no_error() {
    let errors: Vec<_> = [&shared().acme, &shared().globex]
        .iter()
        .flat_map(|server| [server.process.out.all(), server.process.err.all()].concat())
        .filter(|line| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"] == "ERROR")
        })
        .collect();
    let some: Vec<_> = errors.iter().take(5).map(String::as_str).collect();
    assert!(
        errors.is_empty(),
        "{} lines, such as\n{}",
        errors.len(),
        some.join("\n")
    );
}

/// What must not appear in a log.
struct Forbidden {
    /// Found by comparing whole words.
    words: BTreeSet<String>,
    /// Found anywhere.
    texts: Vec<String>,
}

impl Forbidden {
    fn of_this_run() -> Self {
        let (mut words, mut texts) = (BTreeSet::new(), BTreeSet::new());
        for record in forwarders()
            .iter()
            .flat_map(|(_, forwarder)| forwarder.everything())
        {
            words.insert(record.header("x-tb-signature").to_owned());
            words.insert(record.header("x-tb-signature-v2").to_owned());
            words.insert(record.header("x-sync-session").to_owned());
            for (name, value) in url::form_urlencoded::parse(record.query.as_bytes()) {
                if name == "cursor" {
                    texts.insert(value.into_owned());
                }
            }
        }
        words.remove("");
        texts.extend([
            SECRETS.jwt.clone(),
            SECRETS.tenant.clone(),
            SECRETS.client.clone(),
            SECRETS.client_basic(),
        ]);
        texts.insert(CONTENT.to_owned());
        // Every token begins so.
        texts.insert("eyJ".to_owned());
        Self {
            words,
            texts: texts.into_iter().collect(),
        }
    }

    fn found_in(&self, line: &str) -> Option<&str> {
        let mut words = line.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        let word = words.find_map(|word| self.words.get(word));
        word.or_else(|| self.texts.iter().find(|text| line.contains(*text)))
            .map(String::as_str)
    }
}

async fn no_log_contains_a_secret() {
    let forbidden = Forbidden::of_this_run();
    for trail in trails().iter().filter(|trail| trail.exists()) {
        for line in text_of(trail).lines() {
            let found = forbidden.found_in(line);
            assert_eq!(found, None, "a trail has what nobody may read: {line}");
        }
    }
    for (program, lines) in logs() {
        for line in lines {
            let found = forbidden.found_in(&line);
            assert_eq!(found, None, "{program} logs what nobody may read: {line}");
        }
    }
}

async fn no_span_contains_a_secret() {
    let forbidden = Forbidden::of_this_run();
    for span in collector::everything() {
        let found = forbidden.found_in(&span);
        assert_eq!(found, None, "what nobody may read is in a span: {span}");
    }
}

async fn no_log_at_trace_level_contains_a_secret() {
    let level = "trace,rmcp=trace,hyper=trace,hyper_util=trace,reqwest=trace";
    let server = Server::with("acme", &shared().api, &[("TOOLBRIDGE_LOG_LEVEL", level)]).await;
    let client = Client::modern(&server);
    for entity in entities::all() {
        let parent = entity.make_parent(&client).await;
        let uid = uid_of(&entity.make(&client, &parent).await.ok());
        for operation in OPERATIONS {
            let arguments = entity.minimal_arguments(operation, &uid, &parent);
            client.call(&entity.tool(operation), arguments).await;
        }
        client
            .call(&entity.tool("list"), json!({"cursor": "bm90IGEgY3Vyc29y"}))
            .await;
    }
    client.ask("tools/list", json!({})).await;
    client.traffic().await;
    server.stop().await;
    let lines = [server.process.out.all(), server.process.err.all()].concat();
    assert!(lines.len() > 50, "{} lines are not talkative", lines.len());
    let forbidden = Forbidden::of_this_run();
    for line in lines {
        let found = forbidden.found_in(&line);
        assert_eq!(
            found, None,
            "{} logs what nobody may read: {line}",
            server.process.name
        );
    }
}
