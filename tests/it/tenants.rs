//! Two tenants and several people, all at once: nobody sees anything of anybody else's.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::entities::{self, uid_of};
use crate::harness::{CONTENT, Client, Era, HttpReply, Server, ToolClient, User, shared};

crate::tests![
    users_see_only_their_own_items,
    one_uid_may_exist_for_every_user,
    one_subject_in_two_tenants_is_two_users,
    a_token_without_a_tenant_is_valid_at_every_server,
];

fn servers() -> [&'static Server; 2] {
    [&shared().acme, &shared().globex]
}

/// Six people, each with their own words, in all eras, for a few hundred calls.
async fn users_see_only_their_own_items() {
    let eras = [
        Era::Modern,
        Era::Legacy("2025-11-25"),
        Era::Legacy("2024-11-05"),
    ];
    let people: Vec<_> = servers()
        .into_iter()
        .flat_map(|server| eras.map(|era| Client::new(server, era)))
        .collect();
    let lives = people.iter().map(|client| async move {
        let mark = format!("{CONTENT} of {}", client.user.sub);
        let mut mine = BTreeSet::new();
        for round in 0..6 {
            for entity in entities::all() {
                let parent = entity.make_parent(client).await;
                if let Some(key) = entity.parent {
                    mine.insert((entities::by_key(key).plural, parent.clone()));
                }
                let made = entity.make(client, &parent).await.ok();
                let uid = uid_of(&made);
                let marked = json!({"uid": uid, "updates": {"mark": mark, "round": round}});
                client.call(&entity.tool("patch"), marked).await.ok();
                let read = client
                    .call(&entity.tool("get"), json!({"uid": uid}))
                    .await
                    .ok();
                assert_eq!(read["payload"]["mark"], mark);
                mine.insert((entity.plural, uid));
            }
        }
        mine
    });
    let everybodys = futures::future::join_all(lives).await;
    for (client, mine) in people.iter().zip(&everybodys) {
        let mut found = BTreeSet::new();
        for entity in entities::all() {
            let page = client
                .call(&entity.tool("list"), json!({"limit": 1000, "full": true}))
                .await
                .ok();
            for item in page["items"].as_array().unwrap() {
                let mark = item["payload"]["mark"].as_str();
                assert!(
                    mark.is_none_or(|mark| mark.ends_with(&client.user.sub)),
                    "{item}"
                );
                found.insert((entity.plural, uid_of(item)));
            }
        }
        assert_eq!(found, *mine);
        let theirs = everybodys.iter().filter(|others| *others != mine).flatten();
        for (plural, uid) in theirs.step_by(11) {
            let entity = entities::all()
                .into_iter()
                .find(|entity| entity.plural == *plural)
                .unwrap();
            let called = client
                .call(
                    &entity.tool("get"),
                    json!({"uid": uid, "include_deleted": true}),
                )
                .await;
            called.failed("not_found", &format!("{}_not_found", entity.key));
        }
    }
    for client in &people {
        let traffic = client.traffic().await;
        assert!(traffic.0.len() > 300, "{}", traffic.0.len());
    }
}

async fn one_uid_may_exist_for_every_user() {
    let uid = Uuid::now_v7().to_string();
    let people: Vec<_> = servers()
        .into_iter()
        .flat_map(|server| [Client::modern(server), Client::modern(server)])
        .collect();
    for client in &people {
        let theirs = json!({"uid": uid, "title": client.user.sub, "content": "c"});
        let (status, answer) = shared()
            .api
            .ask(
                &client.server.tenant,
                &client.user,
                "POST",
                "/v1/notes",
                Some(&theirs),
            )
            .await;
        assert_eq!(status, 201, "{answer}");
    }
    // One changes it, one deletes it; the others have it still.
    let [ada, bob, ..] = &people[..] else {
        unreachable!("four people")
    };
    let updates = json!({"uid": uid, "updates": {"changed": true}});
    ada.call("patch_note", updates).await.ok();
    bob.call("delete_note", json!({"uid": uid})).await.ok();
    for (client, version) in people.iter().zip([Some(2), None, Some(1), Some(1)]) {
        let called = client.call("get_note", json!({"uid": uid})).await;
        match version {
            Some(version) => {
                let note = called.ok();
                assert_eq!(
                    (&note["version"], &note["payload"]["title"]),
                    (&json!(version), &json!(client.user.sub))
                );
            }
            None => drop(called.failed("not_found", "note_deleted")),
        }
        client.traffic().await;
    }
}

async fn one_subject_in_two_tenants_is_two_users() {
    let [here, there] = servers().map(|server| {
        let sub = "the same everywhere";
        Client::of(
            server,
            Era::Modern,
            User::with_claims(json!({"sub": sub, "tenant_id": server.tenant})),
        )
    });
    let note = here
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    there
        .call("get_note", json!({"uid": note["uid"]}))
        .await
        .failed("not_found", "note_not_found");
    assert_eq!(
        there.call("list_notes", json!({})).await.ok(),
        json!({"items": []})
    );
    for client in [here, there] {
        client.traffic().await;
    }
}

async fn a_token_without_a_tenant_is_valid_at_every_server() {
    let user = User::with_claims(json!({"sub": Uuid::new_v4().to_string()}));
    for server in servers() {
        let client = Client::of(server, Era::Modern, user.clone());
        assert_eq!(
            client.call("list_notes", json!({})).await.ok(),
            json!({"items": []}),
            "{}",
            server.tenant
        );
        client
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await
            .ok();
        client.traffic().await;
    }
    let claims: [Value; 3] = [json!("globex"), json!(["acme"]), json!(7)];
    for tenant in claims {
        let user = User::with_claims(json!({"sub": "ada", "tenant_id": tenant}));
        let client = Client::of(&shared().acme, Era::Modern, user);
        let answer = HttpReply::of(client.calling("list_notes", json!({}))).await;
        assert_eq!(answer.status, 403, "{tenant}: {answer}");
    }
}
