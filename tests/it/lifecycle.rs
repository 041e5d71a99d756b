//! Every tool does what it says, in both eras, over HTTP and over a pipe: from an item's creation
//! to its end.
//!
//! After each step the API is asked directly for what is true, and the forwarder for what was sent.

use http::StatusCode;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::entities::{self, Entity, stored, uid_of, with, with_parent, without};
use crate::harness::client::LEGACY;
use crate::harness::sse_client::SseClient;
use crate::harness::{Client, Era, StdioClient, ToolClient, shared, trial};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for era in [Era::Modern, Era::Legacy(LEGACY[0])] {
        for entity in entities::all() {
            let name = format!("{}_in_the_words_of_{}", entity.plural, era.version());
            tests.push(trial(module_path!(), &name, move || async move {
                full_lifecycle(&Client::new(&shared().acme, era), &entity).await;
            }));
        }
        let name = format!(
            "everything_through_a_pipe_in_the_words_of_{}",
            era.version()
        );
        tests.push(trial(module_path!(), &name, move || async move {
            let stdio = StdioClient::start(&shared().acme, era).await;
            for entity in entities::all() {
                full_lifecycle(&stdio, &entity).await;
            }
            stdio.close().await;
        }));
        let name = format!(
            "everything_through_a_bridge_in_the_words_of_{}",
            era.version()
        );
        tests.push(trial(module_path!(), &name, move || async move {
            let stdio = StdioClient::connected(&shared().acme, era).await;
            for entity in entities::all() {
                full_lifecycle(&stdio, &entity).await;
            }
            stdio.close().await;
        }));
    }
    tests.push(trial(
        module_path!(),
        "everything_over_a_stream",
        || async {
            let stream = SseClient::start(&shared().acme, "2024-11-05").await;
            for entity in entities::all() {
                full_lifecycle(&stream, &entity).await;
            }
        },
    ));
    tests.push(trial(
        module_path!(),
        "the_table_has_a_row_for_every_tool",
        the_table_has_a_row_for_every_tool,
    ));
    tests.push(trial(
        module_path!(),
        "digits_and_order_survive",
        digits_and_order_survive,
    ));
    tests
}

async fn the_table_has_a_row_for_every_tool() {
    let listed = Client::modern(&shared().acme)
        .ask("tools/list", json!({}))
        .await
        .result();
    let listed: Vec<_> = listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].clone())
        // The tools over all kinds have names without a kind.
        .filter(|name| {
            let is_of = |kind: &str| name.as_str().unwrap().ends_with(&format!("_{kind}"));
            entities::all()
                .iter()
                .any(|entity| is_of(entity.plural) || is_of(entity.key))
        })
        .collect();
    let rows: Vec<_> = entities::all()
        .iter()
        .flat_map(|entity| entities::OPERATIONS.map(|operation| json!(entity.tool(operation))))
        .collect();
    assert_eq!(listed, rows);
}

/// One caller with the item that is going through its life.
struct Life<'a, C> {
    caller: &'a C,
    entity: &'a Entity,
    seen: usize,
}

impl<C: ToolClient> Life<'_, C> {
    /// Calls the tool and holds the upstream traffic against what it has to be, between `open` and
    /// `end`.
    async fn step(&mut self, operation: &str, arguments: Value, sent: &[&str]) -> Value {
        let called = self
            .caller
            .call(&self.entity.tool(operation), arguments)
            .await;
        let traffic = self.caller.traffic().await;
        let lines: Vec<_> = traffic.lines().split_off(self.seen);
        let expected: Vec<_> = ["open"]
            .iter()
            .chain(sent)
            .chain(&["end"])
            .map(|line| (*line).to_owned())
            .collect();
        assert_eq!(lines, expected, "{called}");
        self.seen += lines.len();
        serde_json::from_str(called.text()).unwrap()
    }

    /// A step that yields the item as the API has it now, at this version.
    async fn writes(
        &mut self,
        operation: &str,
        arguments: Value,
        sent: &[&str],
        version: u64,
    ) -> Value {
        let item = self.step(operation, arguments, sent).await;
        assert_eq!(item["version"], version, "{item}");
        self.check_stored_item(&item).await;
        item
    }

    async fn check_stored_item(&self, item: &Value) {
        let path = format!("{}?includeDeleted=true", self.entity.path(&uid_of(item)));
        let server = self.caller.server();
        let (status, truth) = shared()
            .api
            .ask(&server.tenant, self.caller.user(), "GET", &path, None)
            .await;
        assert_eq!(status, StatusCode::OK, "{truth}");
        assert_eq!(*item, entities::as_result(&truth));
    }
}

async fn full_lifecycle(caller: &impl ToolClient, entity: &Entity) {
    let parent = entity.make_parent(caller).await;
    let seen = caller.traffic().await.lines().len();
    let mut life = Life {
        caller,
        entity,
        seen,
    };
    let collection = format!("/v1/{}", entity.plural);

    let item = life
        .writes(
            "create",
            with_parent(&entity.create, &parent),
            &[&format!("POST {collection}")],
            1,
        )
        .await;
    assert_eq!(stored(&item), with_parent(&entity.created, &parent));
    let uid = uid_of(&item);
    let path = entity.path(&uid);
    let [get, put, patch, delete, archive, process] = [
        format!("GET {path}"),
        format!("PUT {path}"),
        format!("PATCH {path}"),
        format!("DELETE {path}"),
        format!("POST {path}/archive"),
        format!("POST {path}/process"),
    ];
    assert_eq!(life.step("get", json!({"uid": uid}), &[&get]).await, item);

    // A parent is of the same kind as no child of its own here, so a list shows this item alone.
    let page = life
        .step(
            "list",
            json!({}),
            &[&format!("GET {collection}?limit=50&order=newest")],
        )
        .await;
    assert_eq!(page, json!({"items": [item]}));

    let update = with(&with_parent(&entity.update, &parent), &json!({"uid": uid}));
    let item = life.writes("update", update.clone(), &[&put], 2).await;
    assert_eq!(
        stored(&item),
        with_parent(&entity.updated, &parent),
        "an update replaces everything"
    );

    let mut version = 2;
    if entity.parent.is_some() {
        version += 1;
        let update = without(&update, entity.parent_arguments);
        let item = life.writes("update", update, &[&get, &put], version).await;
        assert_eq!(
            stored(&item),
            with_parent(&entity.updated, &parent),
            "the parent is kept"
        );
        let traffic = life.caller.traffic().await;
        let put = traffic
            .operations()
            .pop()
            .unwrap()
            .header("if-match")
            .to_owned();
        assert_eq!(
            put.trim_matches('"'),
            (version - 1).to_string(),
            "on condition of what was read"
        );
    }

    version += 1;
    let updates = json!({"tags": ["patched"], "mark": null});
    let item = life
        .writes(
            "patch",
            json!({"uid": uid, "updates": updates}),
            &[&patch],
            version,
        )
        .await;
    assert_eq!(
        stored(&item),
        with(&with_parent(&entity.updated, &parent), &updates),
        "a patch keeps the rest"
    );

    for (action, key, value) in &entity.actions {
        version += 1;
        let arguments = json!({"uid": uid, "action": action, "metadata": {"why": "because"}});
        let item = life
            .writes("process", arguments, &[&process], version)
            .await;
        assert_eq!(item["payload"][key], *value, "{action}");
    }
    version += 1;
    let item = life
        .writes("archive", json!({"uid": uid}), &[&archive], version)
        .await;
    assert_eq!(item["payload"][entity.archived.0], entity.archived.1);

    version += 1;
    let gone = life
        .writes("delete", json!({"uid": uid}), &[&delete], version)
        .await;
    assert!(gone["deleted_at"].is_string(), "{gone}");
    let error = life.step("get", json!({"uid": uid}), &[&get]).await["error"].clone();
    assert_eq!(error["code"], format!("{}_deleted", entity.key), "{error}");
    let with_deleted = |arguments: Value| with(&arguments, &json!({"include_deleted": true}));
    let read = life
        .step(
            "get",
            with_deleted(json!({"uid": uid})),
            &[&format!("{get}?includeDeleted=true")],
        )
        .await;
    assert_eq!(read, gone);
    let page = life
        .step(
            "list",
            json!({"limit": 7}),
            &[&format!("GET {collection}?limit=7&order=newest")],
        )
        .await;
    assert_eq!(page, json!({"items": []}));
    let page = life
        .step(
            "list",
            with_deleted(json!({})),
            &[&format!(
                "GET {collection}?limit=50&order=newest&includeDeleted=true"
            )],
        )
        .await;
    assert_eq!(page["items"][0]["uid"], uid);
}

async fn digits_and_order_survive() {
    let client = Client::modern(&shared().acme);
    let raw = concat!(
        r#"{"uid":"UID","zebra":1,"amount":12345678901234567890.000000001,"#,
        r#""apple":{"z":1e3,"a":-0.0}}"#
    );
    let made = client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    let (uid, api) = (uid_of(&made), &shared().api);
    let direct = api.direct_client("acme", &client.user).await;
    direct
        .put_text(&format!("/v1/notes/{uid}"), &raw.replace("UID", &uid))
        .await;
    direct.end().await;
    let read = client.call("get_note", json!({"uid": uid})).await;
    let kept = r#""zebra":1,"amount":12345678901234567890.000000001,"apple":{"z":1e3,"a":-0.0}"#;
    assert!(read.text().contains(kept), "{read}");
    client.traffic().await;
}
