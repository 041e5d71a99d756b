//! Calls beyond the concurrency limit.

use super::*;

/// One concurrent call, and one queued call with a generous time limit.
fn one_and_one(api: &ScriptedApi) -> ApiClient {
    api_client_with(Settings {
        max_calls: 1,
        queue_length: 1,
        queue_wait: Duration::from_secs(20),
        ..settings(api.url())
    })
}

/// A short time in the queue.
fn short_wait(api: &ScriptedApi) -> Settings {
    Settings {
        max_calls: 1,
        queue_length: 9,
        queue_wait: Duration::from_millis(20),
        ..settings(api.url())
    }
}

#[tokio::test]
async fn queues_calls_and_refuses_those_beyond_the_queue() {
    let api = ScriptedApi::start().await;
    let api_client = one_and_one(&api);
    // The permit is taken with the first request and held until the end of the call.
    let idle = call(&api_client);
    let first = call(&api_client);
    first.send(get("/v1/notes")).await.unwrap();
    let second = call(&api_client);
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
    // A refused call may try again.
    idle.send(get("/v1/notes")).await.unwrap();
    drop(idle);
    assert_all_ended(&api, &api_client, 3).await;
}

#[tokio::test]
async fn limits_the_time_in_the_queue() {
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(short_wait(&api));
    let first = call(&api_client);
    first.send(get("/v1/notes")).await.unwrap();
    assert!(matches!(
        call(&api_client).send(get("/v1/notes")).await,
        Err(ApiError::Overloaded)
    ));
    drop(first);
    assert_all_ended(&api, &api_client, 1).await;

    // The limit also applies to the wait for a session slot.
    let gate = Arc::new(Notify::new());
    api.then_ending([Step::Gate(Arc::clone(&gate))]);
    let api_client = api_client_with(Settings {
        max_sessions: 1,
        max_calls: 9,
        ..short_wait(&api)
    });
    call(&api_client).send(get("/v1/notes")).await.unwrap();
    assert!(matches!(
        call(&api_client).send(get("/v1/notes")).await,
        Err(ApiError::Overloaded)
    ));
    gate.notify_one();
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn a_cancelled_call_leaves_the_queue() {
    let api = ScriptedApi::start().await;
    let api_client = one_and_one(&api);
    let first = call(&api_client);
    first.send(get("/v1/notes")).await.unwrap();
    for _ in 0..3 {
        let context = context(Duration::from_secs(20));
        let cancel = context.cancel.clone();
        let session = api_client.call(&Secret::new("a.b.c"), context);
        let mut waiting = Box::pin(session.send(get("/v1/notes")));
        assert!((&mut waiting).now_or_never().is_none());
        cancel.cancel();
        assert!(matches!(waiting.await, Err(ApiError::Cancelled)));
    }
    drop(first);
    call(&api_client).send(get("/v1/notes")).await.unwrap();
    assert_all_ended(&api, &api_client, 2).await;
}
