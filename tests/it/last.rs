//! What is looked at when everything else is over: what was sent, what was left open, and what was written to logs.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::entities::{self, OPERATIONS};
use crate::harness::process::logs;
use crate::harness::{CONTENT, Caller, Client, Place, SECRETS, trial, world};
use crate::upstream::check_proof;

/// In this order, one after the other.
pub fn tests() -> Vec<Trial> {
    let module = module_path!();
    vec![
        trial(
            module,
            "every_request_of_the_whole_suite_was_proven",
            every_request_of_the_whole_suite_was_proven,
        ),
        trial(
            module,
            "every_session_of_the_whole_suite_has_ended",
            every_session_of_the_whole_suite_has_ended,
        ),
        trial(module, "every_log_line_is_one_object", every_log_line_is_one_object),
        trial(module, "no_secret_ever_got_into_a_log", no_secret_ever_got_into_a_log),
        trial(
            module,
            "nor_would_one_at_the_most_talkative_level",
            nor_would_one_at_the_most_talkative_level,
        ),
    ]
}

async fn every_request_of_the_whole_suite_was_proven() {
    for place in [&world().acme, &world().globex] {
        for record in place.forwarder.everything() {
            // Whether the API is ready is asked in nobody's name.
            let probe = ["/readyz", "/v1/sync/info"].contains(&record.path.as_str());
            if probe {
                assert_eq!(record.header("authorization"), "");
            } else {
                check_proof(&record, &place.tenant);
            }
        }
    }
}

async fn every_session_of_the_whole_suite_has_ended() {
    let api = &world().api;
    api.until_no_session_is_open().await;
    let opened = api.figure("toolbridge_api_sessions_opened_total").await;
    let ended = api.figure("toolbridge_api_sessions_ended_total").await;
    assert!(ended <= opened, "{ended} of {opened}");
    // A sidecar that was killed with sessions open would show here; one that is asked to leave never does.
    for place in [&world().acme, &world().globex] {
        place.sidecar.signal("TERM");
        assert_eq!(place.sidecar.exit().await, Some(0), "{}", place.sidecar.story());
        let sessions = place.sidecar.logged("drained", "msg").await;
        assert_eq!(sessions, "drained", "with nothing cut off");
    }
}

async fn every_log_line_is_one_object() {
    let mut lines = 0;
    for (program, said) in logs() {
        if !program.ends_with("serve") && !program.ends_with("api") {
            continue;
        }
        for line in said {
            // A mistake that stops the start is a sentence for a person.
            if line.starts_with("error: ") {
                continue;
            }
            let object: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{program}: {line}"));
            for field in ["time", "level", "msg"] {
                assert!(object[field].is_string(), "{program}: no {field} in {line}");
            }
            lines += 1;
        }
    }
    assert!(
        lines > 100 || world().acme.forwarder.everything().is_empty(),
        "only {lines} lines"
    );
}

async fn no_secret_ever_got_into_a_log() {
    let mut signatures = BTreeSet::new();
    for place in [&world().acme, &world().globex] {
        let records = place.forwarder.everything();
        signatures.extend(records.iter().map(|record| record.header("x-tb-signature").to_owned()));
    }
    signatures.remove("");
    for (program, lines) in logs() {
        for line in lines {
            nothing_secret_in(&program, &line);
            let words = line
                .split(|c: char| !c.is_ascii_hexdigit())
                .filter(|word| word.len() == 64);
            for word in words {
                assert!(!signatures.contains(word), "{program} logs a signature: {line}");
            }
            assert!(!line.contains(CONTENT), "{program} logs what people write: {line}");
        }
    }
}

fn nothing_secret_in(program: &str, line: &str) {
    for secret in [&SECRETS.jwt, &SECRETS.tenant] {
        assert!(!line.contains(secret.as_str()), "{program} logs a secret: {line}");
    }
    // Every token begins so.
    assert!(!line.contains("eyJ"), "{program} logs a token: {line}");
}

async fn nor_would_one_at_the_most_talkative_level() {
    let place = Place::with("acme", &world().api, &[("TOOLBRIDGE_LOG_LEVEL", "trace")]).await;
    let client = Client::modern(&place);
    for entity in entities::all() {
        let parent = entity.make_parent(&client).await;
        for operation in OPERATIONS {
            let uid = "01890a5d-ac96-774b-bcce-b302099a8057";
            client
                .call(&entity.tool(operation), entity.least_arguments(operation, uid, &parent))
                .await;
        }
    }
    client.ask("tools/list", json!({})).await;
    let records = client.traffic().await.0;
    place.stop().await;
    let lines = [place.sidecar.out.all(), place.sidecar.err.all()].concat();
    assert!(lines.len() > 100, "{} lines are not talkative", lines.len());
    for line in lines {
        nothing_secret_in(&place.sidecar.name, &line);
        let signed = records
            .iter()
            .any(|record| line.contains(record.header("x-tb-signature")));
        assert!(!signed, "a signature is logged: {line}");
    }
}
