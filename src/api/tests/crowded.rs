//! More calls than there is room for.

use super::*;

/// One call under way, and one that waits for as long as it takes.
const ONE_AND_ONE: Calls = Calls {
    at_once: 1,
    queue: 1,
    wait: Duration::from_secs(20),
};

fn narrow(api: &ScriptedApi, calls: Calls) -> ApiClient {
    upstream_with(Settings {
        calls,
        ..settings(api.url())
    })
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_more_are_refused_at_once() {
    let api = ScriptedApi::start().await;
    let upstream = narrow(&api, ONE_AND_ONE);
    // A turn is taken with the first request, and kept until the call is over.
    let idle = call(&upstream);
    let first = call(&upstream);
    first.send(get("/v1/notes")).await.unwrap();
    let second = call(&upstream);
    let mut waiting = Box::pin(second.send(get("/v1/notes")));
    assert!((&mut waiting).now_or_never().is_none());
    assert!(matches!(
        idle.send(get("/v1/notes")).await,
        Err(ApiError::Overloaded)
    ));
    assert_eq!(api.open_sessions(), 1);
    first.send(get("/v1/notes")).await.unwrap();
    drop(first);
    waiting.await.unwrap();
    drop(second);
    // One that was refused may try again, and does so from the beginning.
    idle.send(get("/v1/notes")).await.unwrap();
    drop(idle);
    assert_all_ended(&api, &upstream, 3).await;
}

#[tokio::test]
async fn nobody_waits_for_longer_than_the_queue_lets_them() {
    let api = ScriptedApi::start().await;
    let brief = Calls {
        at_once: 1,
        queue: 9,
        wait: Duration::from_millis(20),
    };
    let upstream = narrow(&api, brief);
    let first = call(&upstream);
    first.send(get("/v1/notes")).await.unwrap();
    assert!(matches!(
        call(&upstream).send(get("/v1/notes")).await,
        Err(ApiError::Overloaded)
    ));
    drop(first);
    assert_all_ended(&api, &upstream, 1).await;

    // Nor for room among sessions, where endings are slow.
    let gate = Arc::new(Notify::new());
    api.then_ending([Step::Gate(Arc::clone(&gate))]);
    let upstream = upstream_with(Settings {
        max_sessions: 1,
        calls: Calls {
            at_once: 9,
            ..brief
        },
        ..settings(api.url())
    });
    call(&upstream).send(get("/v1/notes")).await.unwrap();
    assert!(matches!(
        call(&upstream).send(get("/v1/notes")).await,
        Err(ApiError::Overloaded)
    ));
    gate.notify_one();
    assert_all_ended(&api, &upstream, 1).await;
}

#[tokio::test]
async fn a_call_that_leaves_the_queue_takes_nobodys_turn() {
    let api = ScriptedApi::start().await;
    let upstream = narrow(&api, ONE_AND_ONE);
    let first = call(&upstream);
    first.send(get("/v1/notes")).await.unwrap();
    for _ in 0..3 {
        let context = context(Duration::from_secs(20));
        let cancel = context.cancel.clone();
        let session = upstream.call(&Secret::new("a.b.c"), context);
        let mut waiting = Box::pin(session.send(get("/v1/notes")));
        assert!((&mut waiting).now_or_never().is_none());
        cancel.cancel();
        assert!(matches!(waiting.await, Err(ApiError::Cancelled)));
    }
    drop(first);
    call(&upstream).send(get("/v1/notes")).await.unwrap();
    assert_all_ended(&api, &upstream, 2).await;
}
