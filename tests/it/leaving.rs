//! How the sidecar leaves: what has begun is answered, sessions are ended, and nobody waits for ever.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::client::Called;
use crate::harness::{
    Api, Caller, Client, Era, Exchange, Gate, Mishap, Piped, Place, Stage, world,
};

crate::tests![
    an_idle_server_leaves_at_once,
    a_call_in_flight_is_answered_before_the_server_leaves,
    a_call_that_outlives_the_drain_is_cut_off_and_its_session_ended,
    a_second_signal_leaves_at_once,
    a_signal_lets_the_call_through_a_pipe_end_its_session,
    what_was_asked_last_is_drained_from_the_queue_of_endings,
];

pub const SOON: Duration = Duration::from_secs(5);

async fn an_idle_server_leaves_at_once() {
    for signal in ["TERM", "INT"] {
        let place = Place::start("acme", &world().api).await;
        let client = Client::modern(&place);
        // The client keeps its connection, which must not hold the server back.
        client.call("list_notes", json!({})).await.ok();
        let begun = Instant::now();
        place.sidecar.signal(signal);
        assert_eq!(
            place.sidecar.exit().await,
            Some(0),
            "{}",
            place.sidecar.story()
        );
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let traffic = client.traffic().await;
        assert_eq!(traffic.count(Stage::Ending), 1);
    }
}

async fn a_call_in_flight_is_answered_before_the_server_leaves() {
    for era in Era::all() {
        let place = Place::start("acme", &world().api).await;
        let client = Client::new(&place, era);
        let gate = Gate::closed();
        place
            .forwarder
            .next(&client.user, Stage::Operation, Mishap::Wait(gate.clone()));
        let arguments = json!({"title": "t", "content": "c"});
        let leaving = async {
            place
                .forwarder
                .until_seen(&client.user, Stage::Operation, 1)
                .await;
            place.sidecar.signal("TERM");
            place.sidecar.logged("SIGTERM", "level").await;
            // Nobody new is let in.
            while tokio::net::TcpStream::connect(place.url.trim_start_matches("http://"))
                .await
                .is_ok()
            {
                tokio::task::yield_now().await;
            }
            gate.release();
        };
        let calling = Exchange::of(client.calling("create_note", arguments.clone()));
        let (answer, ()) = tokio::join!(calling, leaving);
        Called::read(&client, "create_note", &arguments, answer.json()).ok();
        let begun = Instant::now();
        assert_eq!(
            place.sidecar.exit().await,
            Some(0),
            "{}",
            place.sidecar.story()
        );
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(
            place.forwarder.so_far(&client.user).lines(),
            ["open", "POST /v1/notes", "end"]
        );
    }
}

async fn a_call_that_outlives_the_drain_is_cut_off_and_its_session_ended() {
    const CALLS: usize = 10;
    let api = Api::start().await;
    let place = Place::with("acme", &api, &[("TOOLBRIDGE_SERVER_DRAIN_TIMEOUT", "2s")]).await;
    let client = Client::modern(&place);
    for _ in 0..CALLS {
        place
            .forwarder
            .next(&client.user, Stage::Operation, Mishap::Hang);
    }
    let calls: Vec<_> = (0..CALLS)
        .map(|_| tokio::spawn(client.calling("list_notes", json!({})).send()))
        .collect();
    let seen = place
        .forwarder
        .until_seen(&client.user, Stage::Operation, CALLS);
    assert_eq!(seen.await.count(Stage::Ending), 0);
    let begun = Instant::now();
    place.sidecar.signal("TERM");
    let code = place.sidecar.exit().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for call in calls {
        assert!(
            call.await.unwrap().is_err(),
            "the caller is not left waiting"
        );
    }
    assert_eq!(code, Some(0), "{}", place.sidecar.story());
    let open = api.figure("toolbridge_api_sessions_open").await;
    api.stop().await;
    assert_eq!(
        open,
        0.0,
        "sessions were left behind:\n{}",
        place.sidecar.story()
    );
}

async fn a_second_signal_leaves_at_once() {
    let api = Api::start().await;
    let place = Place::start("acme", &api).await;
    let client = Client::modern(&place);
    place
        .forwarder
        .next(&client.user, Stage::Operation, Mishap::Hang);
    let calling = tokio::spawn(client.calling("list_notes", json!({})).send());
    place
        .forwarder
        .until_seen(&client.user, Stage::Operation, 1)
        .await;
    place.sidecar.signal("TERM");
    place.sidecar.logged("SIGTERM: finishing", "level").await;
    let begun = Instant::now();
    place.sidecar.signal("TERM");
    assert_eq!(
        place.sidecar.exit().await,
        Some(1),
        "{}",
        place.sidecar.story()
    );
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(calling.await.unwrap().is_err());
    api.stop().await;
}

async fn a_signal_lets_the_call_through_a_pipe_end_its_session() {
    let piped = Piped::start(&world().acme, Era::Modern).await;
    let forwarder = &piped.place().forwarder;
    forwarder.next(piped.user(), Stage::Operation, Mishap::Hang);
    piped
        .begin("tools/call", json!({"name": "list_notes", "arguments": {}}))
        .await;
    forwarder
        .until_seen(piped.user(), Stage::Operation, 1)
        .await;
    let begun = Instant::now();
    piped.process.signal("TERM");
    assert_eq!(
        piped.process.exit().await,
        Some(0),
        "{}",
        piped.process.story()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let traffic = forwarder.so_far(piped.user());
    assert_eq!(traffic.count(Stage::Ending), 1, "{traffic}");
}

async fn what_was_asked_last_is_drained_from_the_queue_of_endings() {
    let place = Place::start("acme", &world().api).await;
    let client = Client::modern(&place);
    let gate = Gate::closed();
    for _ in 0..20 {
        place
            .forwarder
            .next(&client.user, Stage::Ending, Mishap::Wait(gate.clone()));
    }
    let calls = (0..20).map(|_| client.call("list_notes", json!({})));
    for called in futures::future::join_all(calls).await {
        called.ok();
    }
    // Every caller has its answer, no session is ended yet.
    place.sidecar.signal("TERM");
    place.sidecar.logged("SIGTERM", "level").await;
    gate.release();
    assert_eq!(
        place.sidecar.exit().await,
        Some(0),
        "{}",
        place.sidecar.story()
    );
    let traffic = place.forwarder.so_far(&client.user);
    assert_eq!(
        traffic.count(Stage::Ending),
        20,
        "{}",
        traffic.lines().join(", ")
    );
}
