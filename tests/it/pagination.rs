//! Lists: to the end over many pages, cut where they are long, and honest about whether more
//! follows.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::entities::{self, stored, uid_of, with, with_parent};
use crate::harness::{CONTENT, Client, Fault, Stage, ToolClient, shared};

crate::tests![
    reads_every_list_to_its_end,
    a_list_that_changes_while_being_read_loses_nothing,
    long_texts_are_truncated_at_a_character_and_named,
    the_last_page_of_a_compatible_api_has_no_cursor,
    a_short_page_with_a_next_link_has_a_cursor,
    unknown_keys_of_the_api_pass_through,
];

const MANY: usize = 230;

/// The default of `tools.max_page_bytes`.
const MAX_PAGE: usize = 24 << 10;

async fn reads_every_list_to_its_end() {
    for entity in entities::all() {
        let client = Client::modern(&shared().acme);
        let parent = entity.make_parent(&client).await;
        let direct = shared().api.direct_client("acme", &client.user).await;
        let mut made = Vec::new();
        for number in 0..MANY {
            let body = with(
                &with_parent(&entity.created, &parent),
                &json!({"number": number}),
            );
            let (status, item) = direct
                .ask("POST", &format!("/v1/{}", entity.plural), Some(&body))
                .await;
            assert_eq!(status, 201, "{item}");
            made.push(entities::as_result(&item));
        }
        direct.end().await;
        for limit in [50, 115, 230, 1000] {
            let (mut read, mut pages, mut arguments) = (
                Vec::new(),
                0,
                json!({"limit": limit, "full": true, "order": "oldest"}),
            );
            loop {
                let page = client
                    .call(&entity.tool("list"), arguments.clone())
                    .await
                    .ok();
                let items = page["items"].as_array().unwrap().clone();
                assert!(
                    !items.is_empty() && items.len() <= limit,
                    "{} of {limit}",
                    items.len()
                );
                let (size, is_short) = (page.to_string().len(), items.len() < limit);
                assert!(size <= MAX_PAGE, "{size} bytes");
                read.extend(items);
                pages += 1;
                match page.get("next_cursor") {
                    Some(_) if is_short && size < MAX_PAGE / 2 => panic!("a page for nothing"),
                    Some(cursor) => arguments["cursor"] = cursor.clone(),
                    None => break,
                }
            }
            assert_eq!(
                read, made,
                "all of them, once, in order: {} by {limit}",
                entity.plural
            );
            assert!(pages >= MANY.div_ceil(limit), "{pages} pages");
        }
        client.traffic().await;
    }
}

async fn a_list_that_changes_while_being_read_loses_nothing() {
    let client = Client::modern(&shared().acme);
    let mut untouched = BTreeSet::new();
    for number in 0..12 {
        let note = client
            .call(
                "create_note",
                json!({"title": format!("{number}"), "content": "c"}),
            )
            .await
            .ok();
        untouched.insert(uid_of(&note));
    }
    let (mut read, mut arguments) = (BTreeSet::new(), json!({"limit": 3}));
    loop {
        let page = client.call("list_notes", arguments.clone()).await.ok();
        let items = page["items"].as_array().unwrap();
        read.extend(items.iter().map(uid_of));
        // Each page makes one item new, which thereby moves to the end.
        if read.len() < 12 {
            let uid = uid_of(&items[0]);
            client
                .call("patch_note", json!({"uid": uid, "updates": {"seen": true}}))
                .await
                .ok();
        }
        match page.get("next_cursor") {
            Some(cursor) => arguments["cursor"] = cursor.clone(),
            None => break,
        }
    }
    assert_eq!(read, untouched);
    client.traffic().await;
}

async fn long_texts_are_truncated_at_a_character_and_named() {
    let client = Client::modern(&shared().acme);
    let fits = "é".repeat(280);
    let long = format!("{}🌍🌍", "é".repeat(279));
    let arguments = json!({
        "title": fits, "content": long, "tags": ["short", long],
        "additional_fields": {"deep": [{"er": long}], "number": 1},
    });
    let made = client.call("create_note", arguments).await.ok();
    assert_eq!(
        made["payload"]["content"], long,
        "what is written is shown in full"
    );
    let uid = uid_of(&made);

    let cut = format!("{}🌍…", "é".repeat(279));
    let page = client.call("list_notes", json!({})).await.ok();
    let item = &page["items"][0];
    assert_eq!(item["payload"]["title"], fits);
    assert_eq!(item["payload"]["content"], cut);
    assert_eq!(item["payload"]["tags"], json!(["short", cut]));
    assert_eq!(item["payload"]["deep"], json!([{"er": cut}]));
    assert_eq!(item["truncated"], json!(["content", "tags", "deep"]));

    let page = client.call("list_notes", json!({"full": true})).await.ok();
    assert_eq!(page["items"], json!([made]));
    assert_eq!(
        client.call("get_note", json!({"uid": uid})).await.ok(),
        made,
        "reading never cuts"
    );
    client.traffic().await;
}

fn item() -> Value {
    let payload = json!({"title": CONTENT, "content": CONTENT});
    json!({
        "uid": Uuid::now_v7(),
        "version": 1,
        "updatedAt": "2027-01-01T00:00:00.1Z",
        "payload": payload,
    })
}

async fn the_last_page_of_a_compatible_api_has_no_cursor() {
    let client = Client::modern(&shared().acme);
    for (items, next) in [(0, false), (2, false), (3, true)] {
        let items: Vec<_> = (0..items).map(|_| item()).collect();
        let page = Fault::json(200, &json!({"items": items, "nextCursor": "bW9yZQ"}));
        client
            .server
            .forwarder
            .inject(&client.user, Stage::Operation, page);
        let called = client.call("list_notes", json!({"limit": 3})).await;
        assert_eq!(called.ok().get("next_cursor").is_some(), next, "{called}");
    }
    client.traffic().await;
}

async fn a_short_page_with_a_next_link_has_a_cursor() {
    let client = Client::modern(&shared().acme);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("link", "</v1/notes?cursor=bW9yZQ>; rel=\"next\"".to_owned()),
    ];
    let body = json!({"items": [item()], "nextCursor": "bW9yZQ"}).to_string();
    client.server.forwarder.inject(
        &client.user,
        Stage::Operation,
        Fault::Answer(200, headers, body),
    );
    assert_eq!(
        client.call("list_notes", json!({"limit": 3})).await.ok()["next_cursor"],
        "bW9yZQ"
    );
    client.traffic().await;
}

async fn unknown_keys_of_the_api_pass_through() {
    let client = Client::modern(&shared().acme);
    let known = with(
        &item(),
        &json!({"colour": "red", "payload": {"future": {"field": [1, null]}}}),
    );
    let expected = json!({"items": [entities::as_result(&known)], "total": 1});
    let page = json!({"items": [known], "total": 1});
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::json(200, &page));
    assert_eq!(client.call("list_notes", json!({})).await.ok(), expected);
    client
        .server
        .forwarder
        .inject(&client.user, Stage::Operation, Fault::json(200, &known));
    let read = client
        .call("get_note", json!({"uid": Uuid::now_v7()}))
        .await
        .ok();
    assert_eq!(stored(&read), json!({"future": {"field": [1, null]}}));
    assert_eq!(read["colour"], "red");
    client.traffic().await;
}
