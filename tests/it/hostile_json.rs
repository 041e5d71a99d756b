//! JSON that is hostile to its reader: deep, deep inside of strings, with keys that some readers
//! give a meaning of their own, wide. The server refuses it or passes it on as it came, and is
//! there afterwards.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::entities::uid_of;
use crate::harness::{
    Client, Era, Fault, HttpReply, Server, SseClient, Stage, StdioClient, ToolClient, shared,
};

crate::tests![
    json_within_strings_stays_text,
    every_transport_limits_the_depth,
    magic_keys_are_stored_as_they_were_sent,
    limits_a_message_without_its_arguments,
];

/// Documents within strings within documents, each with a fresh depth for a reader that follows
/// them. `\u005c` in place of a doubled backslash keeps the text short.
fn bomb() -> String {
    const LAYERS: usize = 34;
    const ARRAYS: usize = 110;
    let mut text = "0".to_owned();
    for _ in 0..LAYERS {
        let inner = format!("{}{text}{}", "[".repeat(ARRAYS), "]".repeat(ARRAYS));
        let inner = inner.replace('\\', "\\u005c").replace('"', "\\u0022");
        text = format!(r#"{{"$serde_json::private::RawValue":"{inner}"}}"#);
    }
    text
}

fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// Messages with `hostile` at each place that another value could have.
fn messages(hostile: &str) -> Vec<String> {
    let message = |method: &str, params: String| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    let handshake = Era::Legacy("2025-06-18").initialize_params().to_string();
    let which = format!(r#"{{"requestId":{hostile}}}"#);
    vec![
        message(
            "tools/call",
            format!(r#"{{"name":"list_notes","arguments":{hostile}}}"#),
        ),
        message(
            "tools/call",
            format!(r#"{{"name":"list_notes","arguments":{{"x":{hostile}}}}}"#),
        ),
        message(
            "tools/call",
            format!(r#"{{"name":"list_notes","_meta":{hostile}}}"#),
        ),
        message(
            "tools/call",
            format!(r#"{{"name":"list_notes","_meta":{{"x":{hostile}}}}}"#),
        ),
        message("tools/call", format!(r#"{{"name":{hostile}}}"#)),
        message("tools/list", format!(r#"{{"cursor":{hostile}}}"#)),
        message("ping", format!(r#"{{"x":{hostile}}}"#)),
        message("what/ever", format!(r#"{{"x":{hostile}}}"#)),
        message(
            "initialize",
            handshake.replacen('{', &format!(r#"{{"x":{hostile},"#), 1),
        ),
        message("initialize", hostile.to_owned()),
        format!(r#"{{"jsonrpc":"2.0","id":{hostile},"method":"ping"}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{hostile}}}"#),
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{which}}}"#),
        hostile.to_owned(),
    ]
}

async fn json_within_strings_stays_text() {
    let bomb = bomb();
    assert!(bomb.len() < 32 << 10, "{} bytes", bomb.len());
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_SERVER_SESSIONS", "stateful")],
    )
    .await;
    for (server, version) in [(&shared().acme, "2025-06-18"), (&server, "2025-06-18")] {
        let client = Client::new(server, Era::Legacy(version));
        let stream = SseClient::start(server, "2024-11-05").await;
        for message in messages(&bomb) {
            let request = client.post().header("mcp-protocol-version", version);
            let exchange = HttpReply::of(request.body(message.clone())).await;
            assert!(exchange.status < 500, "{exchange}");
            stream.post_text(&message).await;
        }
        client.call("list_notes", json!({})).await.ok();
        stream.call("list_notes", json!({})).await.ok();
        stream.traffic().await;
        client.traffic().await;
    }
    // The parts of a token are read before its signature is known to be good.
    let client = Client::modern(&shared().acme);
    let good: Vec<&str> = client.user.token.split('.').collect();
    let bad = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","typ":"JWT","x":{bomb}}}"#));
    for token in [
        format!("{bad}.{}.{}", good[1], good[2]),
        format!("{}.{bad}.{}", good[0], good[2]),
    ] {
        let exchange = HttpReply::of(client.bare_post().bearer_auth(token).body("{}")).await;
        assert!([401, 431].contains(&exchange.status), "{exchange}");
    }
    // So are the answers of the API.
    for (tool, arguments) in [
        ("list_notes", json!({})),
        ("get_note", json!({"uid": uid_of_a_note(&client).await})),
    ] {
        for status in [200, 409, 500] {
            for body in [
                bomb.clone(),
                format!(r#"{{"error":{bomb},"items":[{bomb}],"payload":{bomb}}}"#),
            ] {
                let fault = Fault::json(status, &Value::Null);
                let Fault::Answer(status, headers, _) = fault else {
                    unreachable!()
                };
                let answer = Fault::Answer(status, headers, body);
                client
                    .server
                    .forwarder
                    .inject(&client.user, Stage::Operation, answer);
                client.call(tool, arguments.clone()).await.error();
            }
        }
    }
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    server.stop().await;
}

async fn uid_of_a_note(client: &Client<'_>) -> String {
    let note = json!({"title": "t", "content": "c"});
    uid_of(&client.call("create_note", note).await.ok())
}

async fn every_transport_limits_the_depth() {
    let client = Client::new(&shared().acme, Era::Legacy("2025-06-18"));
    for levels in [150, 100_000] {
        for message in messages(&deep(levels)) {
            let request = client
                .post()
                .header("mcp-protocol-version", client.era.version());
            let exchange = HttpReply::of(request.body(message)).await;
            assert_eq!(exchange.status, 400, "{exchange}");
        }
        // A list that a model has put into quotes is read as well.
        let quoted = json!({"title": "t", "content": "c", "tags": deep(levels)});
        client.call("create_note", quoted).await.error();
    }
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}

async fn magic_keys_are_stored_as_they_were_sent() {
    let strange = json!({
        "one": {"$serde_json::private::RawValue": "[1]"},
        "two": {"$serde_json::private::Number": "1e5"},
        "three": [{"$serde_json::private::RawValue": "no json"},
            {"$__toml_private_datetime": "1979-05-27"}],
    });
    let note = json!({"title": "t", "content": "c", "additional_fields": strange});
    let (modern, legacy) = (
        Client::modern(&shared().acme),
        Client::new(&shared().acme, Era::Legacy("2025-06-18")),
    );
    let stdio = StdioClient::start(&shared().acme, Era::Legacy("2025-06-18")).await;
    for called in [
        modern.call("create_note", note.clone()).await,
        legacy.call("create_note", note.clone()).await,
        stdio.call("create_note", note.clone()).await,
    ] {
        let item = called.ok();
        for (key, value) in strange.as_object().unwrap() {
            assert_eq!(&item["payload"][key], value, "{called}");
        }
    }
    for traffic in [
        modern.traffic().await,
        legacy.traffic().await,
        stdio.traffic().await,
    ] {
        let stored = traffic.operations()[0].json();
        assert_eq!(stored["one"], strange["one"]);
    }
    stdio.close().await;
}

/// All but the arguments is read into a document by the protocol library.
async fn limits_a_message_without_its_arguments() {
    let client = Client::new(&shared().acme, Era::Legacy("2025-06-18"));
    let zeros = format!("[{}0]", "0,".repeat(40_000));
    // Objects within objects, which take many times the memory of their text.
    let objects = vec![format!("{}0{}", r#"{"":"#.repeat(100), "}".repeat(100)); 20].join(",");
    for message in [zeros, format!("[{objects}]")]
        .iter()
        .flat_map(|wide| messages(wide))
    {
        let request = client
            .post()
            .header("mcp-protocol-version", client.era.version());
        let exchange = HttpReply::of(request.body(message.clone())).await;
        let is_call = message.contains(r#""arguments":"#);
        assert!(
            is_call || [400, 413].contains(&exchange.status),
            "{exchange}"
        );
    }
    client
        .call(
            "create_note",
            json!({"title": "t", "content": "x".repeat(900_000)}),
        )
        .await
        .ok();
    client.traffic().await;
}
