//! Retries and the circuit breaker.

use std::collections::BTreeSet;

use super::*;

fn retrying(api: &ScriptedApi) -> ApiClient {
    api_client_with(Settings {
        max_attempts: 3,
        ..settings(api.url())
    })
}

fn once(request: Request) -> Request {
    Request {
        repeat: Repeat::Never,
        ..request
    }
}

fn count(api: &ScriptedApi, line: &str) -> usize {
    api.lines().iter().filter(|seen| *seen == line).count()
}

/// The failures that a retry may resolve.
fn transient_failures() -> [Step; 5] {
    [
        Step::text(429, "slow down"),
        Step::text(502, "<html>"),
        Step::json(503, json!({"error": "storage is unavailable"})),
        Step::text(504, "unknown"),
        Step::BreakOff,
    ]
}

#[tokio::test]
async fn repeats_a_repeatable_request_until_it_is_served() {
    for step in transient_failures() {
        let api = ScriptedApi::start().await;
        let api_client = retrying(&api);
        api.then([step.clone(), step.clone()]);
        let reply = call(&api_client).send(put("/v1/notes/u")).await.unwrap();
        // For the other statuses, the API may have carried out the request.
        let maybe_applied = !matches!(step, Step::Answer(429 | 503, ..));
        assert_eq!(
            (reply.status, reply.maybe_applied),
            (200, maybe_applied),
            "{step:?}"
        );
        let sent: Vec<_> = api
            .seen()
            .into_iter()
            .filter(|seen| seen.method == Method::PUT)
            .collect();
        assert_eq!(sent.len(), 3, "{step:?}");
        assert!(sent.windows(2).all(|pair| pair[0].body == pair[1].body));
        let session =
            |seen: &crate::api::scripted_api::Seen| seen.header("x-sync-session").to_owned();
        assert!(
            sent.windows(2)
                .all(|pair| session(&pair[0]) == session(&pair[1])),
            "in one session"
        );
        let nonces: BTreeSet<_> = sent.iter().map(|seen| seen.header("x-tb-nonce")).collect();
        assert_eq!(
            nonces.len(),
            3,
            "each attempt is signed anew, or the API would refuse it as a replay"
        );
        assert!(sent.iter().all(is_signed));
        assert_all_ended(&api, &api_client, 1).await;
    }
}

#[tokio::test]
async fn a_repeated_read_has_a_certain_outcome() {
    let api = ScriptedApi::start().await;
    let api_client = retrying(&api);
    api.then([Step::BreakOff]);
    let reply = call(&api_client).send(get("/v1/notes")).await.unwrap();
    assert!(!reply.maybe_applied);
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn sends_other_requests_once() {
    for step in transient_failures() {
        let api = ScriptedApi::start().await;
        let api_client = retrying(&api);
        api.then([step.clone()]);
        match call(&api_client).send(once(put("/v1/notes/u"))).await {
            Ok(reply) => {
                assert!(matches!(step, Step::Answer(status, ..) if status == reply.status))
            }
            Err(failure) => assert!(matches!(failure, ApiError::AnswerLost), "{failure}"),
        }
        assert_eq!(count(&api, "PUT /v1/notes/u"), 1, "{step:?}");
        assert_all_ended(&api, &api_client, 1).await;
    }
}

#[tokio::test]
async fn returns_the_last_answer_and_marks_it_as_maybe_applied() {
    let api = ScriptedApi::start().await;
    let api_client = retrying(&api);
    api.then(transient_failures().into_iter().cycle().skip(4).take(3));
    // The steps are: broken off, 429, 502.
    let reply = call(&api_client).send(put("/v1/notes/u")).await.unwrap();
    assert_eq!((reply.status, reply.maybe_applied), (502, true));

    // A failure before the last attempt is sent does not settle the outcome of the first.
    let session = call(&api_client);
    session.send(get("/v1/notes")).await.unwrap();
    api.then([Step::BreakOff, Step::text(428, "gone")]);
    api.then_opening([Step::text(401, "no")]);
    assert!(matches!(
        session.send(put("/v1/notes/u")).await,
        Err(ApiError::AnswerLost)
    ));
    drop(session);
    assert_all_ended(&api, &api_client, 2).await;
}

#[tokio::test]
async fn repeats_the_opening_for_any_request() {
    for step in transient_failures() {
        let api = ScriptedApi::start().await;
        let api_client = retrying(&api);
        api.then_opening([step.clone(), step]);
        let reply = call(&api_client)
            .send(once(put("/v1/notes/u")))
            .await
            .unwrap();
        assert_eq!((reply.status, reply.maybe_applied), (200, false));
        assert_eq!(count(&api, "POST /v1/sync/sessions"), 3);
        assert_eq!(count(&api, "PUT /v1/notes/u"), 1);
        assert_all_ended(&api, &api_client, 1).await;
    }
}

#[tokio::test]
async fn a_failed_opening_is_not_repeated_by_the_operation() {
    let api = ScriptedApi::start().await;
    let api_client = retrying(&api);
    api.then_opening((0..9).map(|_| Step::text(503, "no")));
    let refused = call(&api_client).send(get("/v1/notes")).await;
    assert!(matches!(
        refused,
        Err(ApiError::SessionRefused(Reply { status: 503, .. }))
    ));
    assert_eq!(api.lines().len(), 3);
}

#[tokio::test]
async fn returns_a_long_retry_after_without_waiting() {
    let api = ScriptedApi::start().await;
    let api_client = retrying(&api);
    api.then([Step::Answer(
        429,
        vec![("retry-after", "3600".into())],
        String::new(),
    )]);
    let reply = call(&api_client).send(get("/v1/notes")).await.unwrap();
    assert_eq!(
        (reply.status, reply.retry_after),
        (429, Some(Duration::from_secs(3600)))
    );
    assert_eq!(count(&api, "GET /v1/notes"), 1);
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn retries_add_at_most_a_fifth_of_the_requests() {
    const CALLS: usize = 100;
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(Settings {
        max_attempts: 3,
        breaker_failures: 0,
        ..settings(api.url())
    });
    api.then((0..CALLS * 3).map(|_| Step::text(503, "no")));
    let started = std::time::Instant::now();
    let calls = (0..CALLS).map(|_| async {
        call(&api_client)
            .send(get("/v1/notes"))
            .await
            .unwrap()
            .status
    });
    assert!(
        futures::future::join_all(calls)
            .await
            .iter()
            .all(|status| *status == 503)
    );
    let retries = count(&api, "GET /v1/notes") - CALLS;
    // The minimum of ten, its refills, and a fifth of the openings and of the requests.
    let refilled = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!(
        (10..=10 + 2 * CALLS / 5 + refilled).contains(&retries),
        "{retries}"
    );
    assert_all_ended(&api, &api_client, CALLS as u64).await;
}

/// An API after enough failures to open the breaker, for `pause`.
async fn with_open_breaker(pause: Duration) -> (ScriptedApi, ApiClient) {
    const FAILURES: u32 = 4;
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(Settings {
        breaker_failures: FAILURES,
        breaker_pause: pause,
        ..settings(api.url())
    });
    api.then((0..FAILURES).map(|_| Step::text(503, "no")));
    for _ in 0..FAILURES {
        assert_eq!(
            call(&api_client)
                .send(get("/v1/notes"))
                .await
                .unwrap()
                .status,
            503
        );
    }
    api.until_no_session().await;
    (api, api_client)
}

#[tokio::test]
async fn sends_nothing_while_the_breaker_is_open() {
    let pause = Duration::from_secs(60);
    let (api, api_client) = with_open_breaker(pause).await;
    let seen = api.seen().len();
    let Err(ApiError::CircuitOpen { retry_in }) = call(&api_client).send(put("/v1/notes/u")).await
    else {
        panic!("it is open");
    };
    assert!(retry_in <= pause);
    assert_eq!(api.seen().len(), seen, "nothing was sent");
    // The readiness check ignores the breaker.
    assert!(matches!(
        api_client.ready().await,
        Err(NotReadyError::ClockSkew(_))
    ));
    assert_all_ended(&api, &api_client, 4).await;
}

#[tokio::test]
async fn admits_one_probe() {
    let (api, api_client) = with_open_breaker(Duration::ZERO).await;
    let seen = api.seen().len();
    let gate = Arc::new(Notify::new());
    api.then_opening([Step::Gate(Arc::clone(&gate))]);
    let probe = call(&api_client);
    let mut probing = Box::pin(probe.send(get("/v1/notes")));
    tokio::select! {
        _ = &mut probing => panic!("answered"),
        () = api.until_seen(seen + 1) => {}
    }
    assert!(matches!(
        call(&api_client).send(get("/v1/notes")).await,
        Err(ApiError::CircuitOpen { .. })
    ));
    gate.notify_one();
    probing.await.unwrap();
    assert_eq!(
        call(&api_client)
            .send(get("/v1/notes"))
            .await
            .unwrap()
            .status,
        200
    );
    drop(probe);
    assert_all_ended(&api, &api_client, 6).await;
}

#[tokio::test]
async fn a_running_call_stops_retrying_when_the_breaker_opens() {
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(Settings {
        max_attempts: 10,
        breaker_failures: 2,
        breaker_pause: Duration::from_secs(60),
        ..settings(api.url())
    });
    api.then((0..9).map(|_| Step::text(503, "no")));
    assert_eq!(
        call(&api_client)
            .send(get("/v1/notes"))
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(count(&api, "GET /v1/notes"), 2);
    assert_all_ended(&api, &api_client, 1).await;
}
