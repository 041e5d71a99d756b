//! Calls that are written to evade the scope check.

use super::*;

fn reader() -> String {
    token_of(json!({"sub": "u", "exp": now() + 600, "scope": "toolbridge:read"}))
}

#[tokio::test]
async fn checks_the_scope_of_every_form_of_call() {
    let stack = Stack::start().await;
    let arguments = json!({"title": "t", "content": "c"});
    let of = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#)
    };
    let plain = of(
        "tools/call",
        &json!({"name": "create_note", "arguments": arguments}).to_string(),
    );
    let escaped = of(
        r"tools\/call",
        &format!(r#"{{"n\u0061me":"cre\u0061te_note","arguments":{arguments}}}"#),
    );
    let twice = of(
        "tools/call",
        &format!(r#"{{"name":"list_notes","name":"create_note","arguments":{arguments}}}"#),
    );
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let nested = of(
        "tools/call",
        &format!(r#"{{"_meta":{{"x":{deep}}},"name":"create_note","arguments":{arguments}}}"#),
    );
    let notification = plain.replace(r#""id":7,"#, "");
    let post = |body: String| {
        let request = stack.http.post(stack.url("/mcp")).bearer_auth(reader());
        request
            .header("content-type", "application/json")
            .body(body)
    };
    for (body, statuses) in [
        (plain, &[403][..]),
        (escaped, &[403]),
        (nested, &[403, 400]),
        // A notification is not answered, and no call is made.
        (notification, &[202, 400]),
    ] {
        let answer = post(body.clone()).send().await.unwrap();
        assert!(
            statuses.contains(&answer.status().as_u16()),
            "{}: {body}",
            answer.status()
        );
    }
    // A call with two names is invalid.
    let answer = json_of(post(twice).send().await.unwrap()).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    // The header names one tool and the body another.
    let body = message(
        "tools/call",
        json!({"name": "create_note", "arguments": arguments}),
    );
    let headers = [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_notes"),
    ];
    let crossed = headers
        .iter()
        .fold(post(body.to_string()), |request, (name, value)| {
            request.header(*name, *value)
        });
    assert_eq!(crossed.send().await.unwrap().status(), 403);
    assert!(stack.api.seen().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_refusal_matches_the_error_of_a_failed_call() {
    let stack = Stack::start().await;
    let call = message(
        "tools/call",
        json!({"name": "delete_task", "arguments": {"uid": UID}}),
    );
    let request = stack.http.post(stack.url("/mcp")).bearer_auth(reader());
    let request = request
        .header("content-type", "application/json")
        .body(call.to_string());
    let answer = json_of(request.send().await.unwrap()).await;
    let error = &answer["error"];
    assert_eq!((&answer["id"], &error["code"]), (&json!(1), &json!(-31010)));
    assert_eq!(error["message"], error["data"]["message"]);
    for key in [
        "category",
        "code",
        "message",
        "retryable",
        "suggested_action",
        "correlation_id",
    ] {
        assert!(!error["data"][key].is_null(), "{key}: {answer}");
    }
    assert!(stack.api.seen().is_empty());
}
