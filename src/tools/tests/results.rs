//! Tests of results: items are complete, pages are cut, and every cut is reported.

use super::*;

fn page_reply(items: &[Value], next: Option<&str>, has_next: bool) -> Result<Reply, ApiError> {
    let mut page = json!({ "items": items });
    if let Some(next) = next {
        page["nextCursor"] = json!(next);
    }
    reply(200, page).map(|reply| Reply { has_next, ..reply })
}

async fn list(arguments: Value, answer: Result<Reply, ApiError>) -> Success {
    call("list_notes", arguments, &Script::new([answer]))
        .await
        .expect("a page")
}

/// Preserves what parsing into numbers and maps would lose: digits, order, unknown keys and
/// escapes.
#[tokio::test]
async fn the_text_of_the_api_is_preserved() {
    let pretty = format!(
        "{{ \"uid\": \"{UID}\",\n\t\"version\": 3, \"updatedAt\": \"2026-01-02T03:04:05.6Z\", \
\"extra\" : [ 1.10 , 1e2 ],
           \"payload\": {{ \"z\": 12345678901234567890123, \"a\": 1.000, \"t\": \"a \\\" : \\u00e9 \
\\\\\", \"\": {{ }} }} }}\n"
    );
    let compact = format!(
        "{{\"uid\":\"{UID}\",\"version\":3,\"updated_at\":\"2026-01-02T03:04:05.6Z\",\
         \"extra\":[1.10,1e2],\"payload\":{{\"z\":12345678901234567890123,\"a\":1.000,\
         \"t\":\"a \\\" : \\u00e9 \\\\\",\"\":{{}}}}}}"
    );
    let success = call(
        "get_note",
        json!({"uid": UID}),
        &Script::new([reply(200, &pretty)]),
    )
    .await
    .unwrap();
    assert_eq!(success.text, compact);
    assert_eq!(success.value()["payload"]["t"], "a \" : é \\");

    let answer = reply(200, format!("{{\"items\": [{pretty}], \"more\": 1.0}}"));
    assert_eq!(
        list(json!({}), answer).await.text,
        format!("{{\"items\":[{compact}],\"more\":1.0}}")
    );
}

/// An unusual item must not make the page that contains it unreadable.
#[tokio::test]
async fn unusual_data_is_passed_on_unchanged() {
    for odd in [
        r#"{"a":1e+999,"b":-1e+400,"c":0.1e-999}"#,
        r#"{"a":123456789012345678901234567890.5}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"{"$serde_json::private::Number":"no number"}"#,
        r#"{"x":[{"$serde_json::private::RawValue":"no json","b":1.50}]}"#,
        r#"{"x":{"$serde_json::private::Number":7}}"#,
    ] {
        let raw = format!(r#"{{"uid":"{UID}","version":1,"updatedAt":"t","payload":{odd}}}"#);
        let page = list(json!({}), reply(200, format!(r#"{{"items":[{raw}]}}"#))).await;
        let raw = raw.replace("updatedAt", "updated_at");
        assert_eq!(page.text, format!(r#"{{"items":[{raw}]}}"#));
    }
    // With escapes in the key, the text is preserved too.
    let hidden = r#"{"\u0024serde_json\u003a:private::Number":"no number"}"#;
    let raw = format!(r#"{{"uid":"{UID}","version":1,"updatedAt":"t","payload":{hidden}}}"#);
    assert!(
        list(json!({}), reply(200, format!(r#"{{"items":[{raw}]}}"#)))
            .await
            .text
            .contains(hidden)
    );
}

#[tokio::test]
async fn a_page_cuts_long_strings_and_names_their_fields() {
    let long = "ö".repeat(281);
    let payload = json!({
        "title": "ö".repeat(280),
        "content": long,
        "meta": {"deep": [{"x": long}, long]},
        "tags": [long],
        (long.clone()): 1,
    });
    let success = list(
        json!({}),
        page_reply(
            &[item(payload.clone()), item(json!({"a": "b"}))],
            None,
            false,
        ),
    )
    .await;
    let short = format!("{}…", "ö".repeat(280));
    let mut cut = item(json!({
        "title": "ö".repeat(280),
        "content": short,
        "meta": {"deep": [{"x": short}, short]},
        "tags": [short],
        (long): 1,
    }));
    cut["truncated"] = json!(["content", "meta", "tags"]);
    assert_eq!(
        success.value(),
        as_result("note", &json!({"items": [cut, item(json!({"a": "b"}))]}))
    );

    let success = list(
        json!({"full": true}),
        page_reply(&[item(payload.clone())], None, false),
    )
    .await;
    let page = json!({"items": [item(payload.clone())]});
    assert_eq!(success.value(), as_result("note", &page));
    let whole = call(
        "get_note",
        json!({"uid": UID}),
        &Script::new([reply(200, item(payload.clone()))]),
    )
    .await
    .unwrap();
    assert_eq!(whole.value(), as_result("note", &item(payload)));
}

/// The limit counts characters rather than bytes or escapes, so no character is split.
#[tokio::test]
async fn cuts_fall_between_characters() {
    let emoji = "\u{1f9d1}\u{200d}\u{1f680}".repeat(100);
    let escaped = "\\u00e9".repeat(280);
    let pair = "\\ud83d\\ude00".repeat(281);
    let raw = format!(
        "{{\"items\":[{{\"uid\":\"{UID}\",\"version\":1,\"updatedAt\":\"t\",\
         \"payload\":{{\"emoji\":\"{emoji}\",\"escaped\":\"{escaped}\",\"pair\":\"{pair}\"}}}}]}}"
    );
    let page = list(json!({}), reply(200, raw)).await.value();
    let payload = &page["items"][0]["payload"];
    assert_eq!(
        payload["emoji"],
        emoji.chars().take(280).collect::<String>() + "…"
    );
    assert_eq!(payload["escaped"], "é".repeat(280));
    assert_eq!(payload["pair"], "😀".repeat(280) + "…");
    assert_eq!(page["items"][0]["truncated"], json!(["emoji", "pair"]));
}

/// JSON can express a lone surrogate, and stores keep it. It must not make the result unreadable.
#[tokio::test]
async fn a_lone_surrogate_is_replaced() {
    let raw = |text: &str| {
        format!(
            "{{\"uid\":\"{UID}\",\"version\":1,\"updatedAt\":\"t\",\
             \"payload\":{{\"t\":\"{text}\"}}}}"
        )
    };
    for (stored, read) in [
        ("\\ud83d", "\u{fffd}"),
        ("a\\ude00b", "a\u{fffd}b"),
        ("\\ud83d\\ud83d\\ude00", "\u{fffd}😀"),
        ("\\\\ud83d \\ud83d", "\\ud83d \u{fffd}"),
        ("\\ud83dé", "\u{fffd}é"),
    ] {
        let success = call(
            "get_note",
            json!({"uid": UID}),
            &Script::new([reply(200, raw(stored))]),
        )
        .await
        .unwrap();
        assert_eq!(success.value()["payload"]["t"], read, "{stored}");
    }
}

#[tokio::test]
async fn a_cursor_without_a_next_page_is_dropped() {
    let one = || item(json!({}));
    for (limit, items, cursor, has_next, kept) in [
        (2, vec![one(), one()], Some("c"), false, true),
        // a full page of a compatible API may continue
        (2, vec![one()], Some("c"), false, false), // a short page does not
        (2, vec![one()], Some("c"), true, true),   // unless the API announces another page
        (2, vec![], Some("c"), false, false),
        (2, vec![], Some("c"), true, false),
        (2, vec![one(), one()], Some(""), false, false),
        (2, vec![one(), one()], None, false, false),
    ] {
        let page = list(
            json!({"limit": limit}),
            page_reply(&items, cursor, has_next),
        )
        .await;
        let expected = kept.then(|| json!("c"));
        assert_eq!(
            page.value().get("next_cursor"),
            expected.as_ref(),
            "{} of {limit}, {has_next}",
            items.len()
        );
    }
}

#[tokio::test]
async fn an_optional_member_that_is_null_is_omitted() {
    let mut alive = item(json!({"deletedAt": null}));
    alive["deletedAt"] = Value::Null;
    let page = list(
        json!({"limit": 1}),
        reply(200, json!({"items": [alive], "nextCursor": null})),
    )
    .await;
    assert_eq!(
        page.value(),
        as_result(
            "note",
            &json!({"items": [item(json!({"deletedAt": null}))]})
        )
    );
}

/// A page ends where it would be too large, and goes on with the cursor that the API gives for
/// that.
#[tokio::test]
async fn a_page_that_is_too_large_is_read_again_with_the_items_that_fit() {
    let items: Vec<_> = (0..20)
        .map(|at| item(json!({"content": "x".repeat(at * 10)})))
        .collect();
    let size_of = |count: usize| {
        let page = json!({"items": items[..count], "nextCursor": "c"});
        as_result("note", &page).to_string().len()
    };
    let plan = prepare("list_notes", json!({"limit": 20, "include_deleted": true})).unwrap();
    for fitting in 1..20 {
        for (max_page_bytes, max_result_bytes) in [
            (size_of(fitting), 1 << 20),
            (size_of(fitting + 1) - 1, 1 << 20),
            (size_of(fitting), size_of(fitting)),
        ] {
            let limits = Limits {
                max_result_bytes,
                max_page_bytes,
            };
            let script = Script::new([
                page_reply(&items, Some("c"), true),
                page_reply(&items[..fitting], Some("d"), true),
            ]);
            let page = plan.run(&script, &limits, |_| {}).await.unwrap();
            assert!(page.text.len() <= max_page_bytes);
            assert_eq!(page.value()["next_cursor"], "d");
            assert_eq!(page.value()["items"].as_array().unwrap().len(), fitting);
            let [first, second] = &script.sent()[..] else {
                panic!("{:?}", script.sent());
            };
            let changed = |(name, value): &(&'static str, String)| {
                let value = if *name == "limit" {
                    fitting.to_string()
                } else {
                    value.clone()
                };
                (*name, value)
            };
            let expected: Vec<_> = first.query.iter().map(changed).collect();
            assert_eq!(second.query, expected);
        }
    }
}

#[tokio::test]
async fn a_page_is_not_read_again_when_that_would_not_help() {
    let limits = Limits {
        max_page_bytes: 1000,
        ..Limits::default()
    };
    let short: Vec<_> = (0..3).map(|_| item(json!({"content": "x"}))).collect();
    let long = vec![item(json!({"content": "x".repeat(2000)})); 3];
    let plan = prepare("list_notes", json!({"limit": 3, "full": true})).unwrap();
    for items in [&short[..], &long[..1]] {
        let script = Script::new([page_reply(items, Some("c"), true)]);
        plan.run(&script, &limits, |_| {}).await.unwrap();
        assert_eq!(script.sent().len(), 1);
    }
    // A first item that is larger than a page is a page of its own, and the request for it is the
    // last one, whatever it brings.
    let script = Script::new([
        page_reply(&long, Some("c"), true),
        page_reply(&long[..2], Some("c"), true),
    ]);
    let page = plan.run(&script, &limits, |_| {}).await.unwrap();
    assert!(script.sent()[1].query.contains(&("limit", "1".to_owned())));
    assert_eq!(page.value()["items"].as_array().unwrap().len(), 2);
    // A large page is better than an error.
    let script = Script::new([page_reply(&long, Some("c"), true), reply(503, json!({}))]);
    let page = plan.run(&script, &limits, |_| {}).await.unwrap();
    assert_eq!(page.value()["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_page_with_an_item_that_is_too_large_says_how_to_go_on() {
    let limits = Limits {
        max_result_bytes: 1500,
        max_page_bytes: 1000,
    };
    let long = vec![item(json!({"content": "x".repeat(2000)})); 3];
    let plan = prepare("list_notes", json!({"limit": 3, "full": true})).unwrap();
    let script = Script::new([
        page_reply(&long, Some("c"), true),
        page_reply(&long[..1], Some("c"), true),
    ]);
    let error = plan.run(&script, &limits, |_| {}).await.unwrap_err();
    assert_eq!(
        (error.category, &*error.code),
        (Category::TooLarge, "result_too_large")
    );
    assert_eq!(error.details.max_bytes, Some(1500));
    assert_eq!(
        error.suggested_action,
        "Call list_notes again without full."
    );
}

#[tokio::test]
async fn a_result_that_no_limit_fits_names_another_tool_or_argument() {
    let limits = Limits {
        max_result_bytes: 1000,
        ..Limits::default()
    };
    let large = json!({"content": "x".repeat(1000)});
    for (tool, arguments, remedy) in [
        (
            "list_notes",
            json!({"full": true}),
            "Call list_notes again without full.",
        ),
        (
            "get_note",
            json!({"uid": UID}),
            "See its beginning in list_notes.",
        ),
    ] {
        let answer = if tool == "get_note" {
            item(large.clone())
        } else {
            json!({"items": [item(large.clone())]})
        };
        let plan = prepare(tool, arguments).unwrap();
        let error = plan
            .run(&Script::new([reply(200, answer)]), &limits, |_| {})
            .await
            .unwrap_err();
        assert_eq!(
            (&*error.code, error.suggested_action.as_str()),
            ("result_too_large", remedy)
        );
        assert_eq!(error.details.limit, None);
    }
}

/// The change was made. Reporting a failure would cause it to be repeated.
#[tokio::test]
async fn a_write_whose_item_is_too_large_succeeds_with_a_preview() {
    let limits = Limits {
        max_result_bytes: 1000,
        ..Limits::default()
    };
    let plan = prepare("patch_note", json!({"uid": UID, "updates": {"a": 1}})).unwrap();
    let answer = reply(200, item(json!({"content": "x".repeat(1000)})));
    let success = plan
        .run(&Script::new([answer]), &limits, |_| {})
        .await
        .unwrap();
    assert_eq!(success.value()["truncated"], json!(["content"]));
    assert_eq!(success.value()["version"], 3);

    let many = item(json!(
        (0..200)
            .map(|n| (n.to_string(), json!(n)))
            .collect::<Map<_, _>>()
    ));
    let error = plan
        .run(&Script::new([reply(200, many)]), &limits, |_| {})
        .await
        .unwrap_err();
    assert_eq!(
        error.suggested_action,
        "The change was made; see it in list_notes."
    );
    assert!(!error.retryable);
}

/// A long name costs its length once for each field, not once for each string that is cut in it.
#[tokio::test]
async fn a_field_with_a_long_name_and_many_long_strings_is_read_at_once() {
    let name = r"\u0001".repeat(80_000);
    let texts = vec![format!("\"{}\"", "a".repeat(281)); 1_700].join(",");
    let item = format!(
        r#"{{"uid":"{UID}","version":1,"updatedAt":"t","payload":{{"{name}":[{texts}]}}}}"#
    );
    let began = std::time::Instant::now();
    let _ = call(
        "list_notes",
        json!({"limit": 1}),
        &Script::new([reply(200, format!(r#"{{"items":[{item}]}}"#))]),
    )
    .await;
    // Decoding the name for each text would read 800 MB.
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}

/// Of several members with one name, serde_json and most clients read the last one.
#[tokio::test]
async fn duplicate_members_keep_their_meaning() {
    let item = |uid: &str, payload: &str| {
        format!(r#"{{"uid":{uid},"version":1,"updatedAt":"t","payload":{payload}}}"#)
    };
    let text = |body: String| async move {
        let answer = reply(200, body).map(|reply| Reply {
            has_next: true,
            ..reply
        });
        list(json!({}), answer).await.text
    };
    let one = item(r#""u""#, "{}");
    for (body, expected) in [
        // The first array of items counts.
        (
            format!(r#"{{"items":0,"a":1,"items":[{one}],"items":[7],"b":2}}"#),
            format!(r#"{{"a":1,"items":[{one}],"b":2}}"#),
        ),
        // The last cursor counts, unless it is none.
        (
            format!(r#"{{"nextCursor":"c","nextCursor":"d","nextCursor":null,"items":[{one}]}}"#),
            format!(r#"{{"items":[{one}],"nextCursor":"d"}}"#),
        ),
        // Others are passed on.
        (
            format!(
                r#"{{"a":1,"a":[2],"items":[{}]}}"#,
                item(r#""u","uid":0"#, "{}")
            ),
            format!(
                r#"{{"a":1,"a":[2],"items":[{}]}}"#,
                item(r#""u","uid":0"#, "{}")
            ),
        ),
        (
            format!(
                r#"{{"items":[{}]}}"#,
                item(r#""u""#, r#"{},"payload":{"a":1,"a":2}"#)
            ),
            format!(
                r#"{{"items":[{}]}}"#,
                item(r#""u""#, r#"{},"payload":{"a":1,"a":2}"#)
            ),
        ),
        // An escaped name is the same name.
        (
            format!(
                r#"{{"\u0069tems":[{}]}}"#,
                item(r#""u","deleted\u0041t":null"#, "{}")
            ),
            format!(r#"{{"\u0069tems":[{one}]}}"#),
        ),
    ] {
        // Only the names of the envelope differ.
        let names = [("updatedAt", "updated_at"), ("nextCursor", "next_cursor")];
        let expected = names.into_iter().fold(expected, |expected, (wire, name)| {
            expected.replace(wire, name)
        });
        assert_eq!(text(body).await, expected);
    }
}

/// Nothing that grows with the number of elements is kept of a response of any size.
#[tokio::test]
async fn a_response_with_too_many_parts_is_malformed() {
    let item = |others: usize| {
        let others = r#","x":0"#.repeat(others - 3);
        format!(r#"{{"uid":"{UID}","version":1,"updatedAt":"t","payload":{{}}{others}}}"#)
    };
    let page = |items: usize| format!(r#"{{"items":[{}]}}"#, vec![item(3); items].join(","));
    let tiny = |part: &str| [part; 100_000].join(",");
    for (body, refused) in [
        (page(1000), None),
        (page(1001), Some("a page of more than 1000 items")),
        (format!(r#"{{"items":[{}]}}"#, item(64)), None),
        (
            format!(r#"{{"items":[{}]}}"#, item(65)),
            Some("an item of more than 65 members"),
        ),
        (format!(r#"{{"items":[],{}}}"#, tiny(r#""x":0"#)), None),
        (
            format!(r#"{{"items":[{{{}}}]}}"#, tiny(r#""x":0"#)),
            Some("an item of more than 65 members"),
        ),
        (
            format!(r#"{{"items":[{}]}}"#, tiny("0")),
            Some("an item that is no object"),
        ),
        (format!("[{}]", tiny("0")), Some("a page without items")),
        ("<html>".to_owned(), Some("it is not valid JSON")),
        (r#"{"items":[<]}"#.to_owned(), Some("it is not valid JSON")),
    ] {
        let script = Script::new([reply(200, &body)]);
        let limits = Limits {
            max_page_bytes: usize::MAX,
            ..Limits::default()
        };
        let plan = prepare("list_notes", json!({"limit": 1000})).unwrap();
        let result = plan.run(&script, &limits, |_| {}).await;
        let reason = result.err().and_then(|error| error.log_only);
        assert_eq!(
            reason.as_deref(),
            refused,
            "{}",
            &body[..body.len().min(60)]
        );
    }
}
