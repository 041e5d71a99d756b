//! An API that moves: its name comes to mean another address, whether it went down for that or
//! handed over while calls were under way. A connection that is made anew finds it; nothing is lost
//! or done twice.
//!
//! The name is looked up as the system does it, in a file of hosts that only the server sees
//! (`unshare` of util-linux).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::api::temporary;
use crate::harness::{Api, Client, Server, ToolClient};

crate::tests![
    finds_a_restarted_api_at_a_new_address,
    follows_a_handover_to_a_new_address,
];

const NAME: &str = "api.toolbridge.test";
const OLD_ADDRESS: &str = "127.0.0.1";
const NEW_ADDRESS: &str = "127.0.0.2";

/// The meaning of a name, for one server.
struct Hosts(PathBuf);

impl Hosts {
    fn of(test: &str) -> Self {
        let hosts = Self(temporary().join(format!("hosts-{test}")));
        hosts.resolve_to(OLD_ADDRESS);
        hosts
    }

    /// In place: another file under the same name would not be seen where this one is mounted.
    fn resolve_to(&self, address: &str) {
        std::fs::write(&self.0, format!("127.0.0.1 localhost\n{address} {NAME}\n")).unwrap();
    }

    async fn server(&self, api: &Api, settings: &[(&str, &str)]) -> Server {
        let url = api.url.replace(OLD_ADDRESS, NAME);
        Server::with_hosts_file("acme", api, &url, &self.0, settings).await
    }
}

/// Only Linux has mounts of one's own, and not every machine gives them to everybody.
fn cannot_mount() -> bool {
    let tried = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    let may = tried.is_ok_and(|status| status.success());
    if !may {
        eprintln!("left out: this machine lets nobody mount a file of hosts");
    }
    !may
}

async fn create_one_each(clients: &[Client<'_>]) {
    let creating = clients
        .iter()
        .map(|client| client.call("create_note", json!({"title": "t", "content": "c"})));
    for called in futures::future::join_all(creating).await {
        called.ok();
    }
}

async fn each_has(clients: &[Client<'_>], count: usize) {
    for client in clients {
        let page = client.call("list_notes", json!({})).await.ok();
        assert_eq!(
            page["items"].as_array().map(Vec::len),
            Some(count),
            "{page}"
        );
    }
}

async fn finds_a_restarted_api_at_a_new_address() {
    if cannot_mount() {
        return;
    }
    let hosts = Hosts::of("comes-back");
    let api = Api::start().await;
    let server = hosts.server(&api, &[]).await;
    let clients: Vec<_> = (0..8).map(|_| Client::modern(&server)).collect();
    create_one_each(&clients).await;
    api.until_no_session_is_open().await;
    let old_address = api.url.trim_start_matches("http://").to_owned();
    let kept = server.process.connections_to(&old_address);
    assert!(kept > 1, "{kept} connections are kept");

    // The connections that were kept are dead, and the address that they led to is nobody's.
    api.stop().await;
    let api = api.start_at(NEW_ADDRESS).await;
    hosts.resolve_to(NEW_ADDRESS);
    create_one_each(&clients).await;
    each_has(&clients, 2).await;
    api.until_no_session_is_open().await;
    // The connection of the start-up check may be there: its thread makes no calls.
    let dead = server.process.connections_to(&old_address);
    assert!(
        dead <= 1,
        "{dead} of {kept} connections lead to the old address"
    );
    server.stop().await;
    api.stop().await;
}

async fn follows_a_handover_to_a_new_address() {
    const CALLS_AFTERWARDS: usize = 5;
    if cannot_mount() {
        return;
    }
    let hosts = Hosts::of("hands-over");
    let old = Api::start().await;
    let server = hosts.server(&old, &[]).await;
    let clients: Vec<_> = (0..8).map(|_| Client::modern(&server)).collect();
    create_one_each(&clients).await;

    let new = old.start_at(NEW_ADDRESS).await;
    let moved = AtomicBool::new(false);
    let calling = clients.iter().map(async |client| {
        let (mut made, mut afterwards) = (1, 0);
        while afterwards < CALLS_AFTERWARDS {
            afterwards += usize::from(moved.load(Ordering::Relaxed));
            let called = client
                .call("create_note", json!({"title": "t", "content": "c"}))
                .await;
            called.ok();
            made += 1;
        }
        made
    });
    let handing_over = async {
        hosts.resolve_to(NEW_ADDRESS);
        old.process.signal("TERM");
        assert_eq!(
            old.process.exit().await,
            Some(0),
            "{}",
            old.process.all_output()
        );
        moved.store(true, Ordering::Relaxed);
    };
    let (made, ()) = tokio::join!(futures::future::join_all(calling), handing_over);
    for (client, made) in clients.iter().zip(made) {
        let page = client.call("list_notes", json!({"limit": 1000})).await.ok();
        assert_eq!(
            page["items"].as_array().map(Vec::len),
            Some(made),
            "{}",
            client.user.sub
        );
    }
    new.until_no_session_is_open().await;
    server.stop().await;
    new.stop().await;
}
