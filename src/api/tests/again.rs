//! Requests that are sent again, and an API that is left alone.

use std::collections::BTreeSet;

use super::*;

fn persistent(api: &ScriptedApi) -> ApiClient {
    upstream_with(Settings {
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

/// In each of these ways an answer may be missing that might be there another time.
fn troubles() -> [Step; 5] {
    [
        Step::text(429, "slow down"),
        Step::text(502, "<html>"),
        Step::json(503, json!({"error": "storage is unavailable"})),
        Step::text(504, "unknown"),
        Step::BreakOff,
    ]
}

#[tokio::test]
async fn what_can_do_no_harm_is_sent_again_until_it_is_served() {
    for trouble in troubles() {
        let api = ScriptedApi::start().await;
        let upstream = persistent(&api);
        api.then([trouble.clone(), trouble.clone()]);
        let reply = call(&upstream).send(put("/v1/notes/u")).await.unwrap();
        // Of these, the API may have carried some out.
        let doubtful = !matches!(trouble, Step::Answer(429 | 503, ..));
        assert_eq!(
            (reply.status, reply.doubtful),
            (200, doubtful),
            "{trouble:?}"
        );
        let sent: Vec<_> = api
            .seen()
            .into_iter()
            .filter(|seen| seen.method == Method::PUT)
            .collect();
        assert_eq!(sent.len(), 3, "{trouble:?}");
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
            "signed anew, or the API would take it for a replay"
        );
        assert!(sent.iter().all(proven));
        assert_all_ended(&api, &upstream, 1).await;
    }
}

#[tokio::test]
async fn a_question_leaves_no_doubt_behind() {
    let api = ScriptedApi::start().await;
    let upstream = persistent(&api);
    api.then([Step::BreakOff]);
    let reply = call(&upstream).send(get("/v1/notes")).await.unwrap();
    assert!(!reply.doubtful);
    assert_all_ended(&api, &upstream, 1).await;
}

#[tokio::test]
async fn what_might_do_harm_is_sent_once() {
    for trouble in troubles() {
        let api = ScriptedApi::start().await;
        let upstream = persistent(&api);
        api.then([trouble.clone()]);
        match call(&upstream).send(once(put("/v1/notes/u"))).await {
            Ok(reply) => {
                assert!(matches!(trouble, Step::Answer(status, ..) if status == reply.status))
            }
            Err(failure) => assert!(matches!(failure, ApiError::AnswerLost), "{failure}"),
        }
        assert_eq!(count(&api, "PUT /v1/notes/u"), 1, "{trouble:?}");
        assert_all_ended(&api, &upstream, 1).await;
    }
}

#[tokio::test]
async fn the_last_answer_counts_unless_an_earlier_one_is_missing() {
    let api = ScriptedApi::start().await;
    let upstream = persistent(&api);
    api.then(troubles().into_iter().cycle().skip(4).take(3));
    // Broken off, 429, 502.
    let reply = call(&upstream).send(put("/v1/notes/u")).await.unwrap();
    assert_eq!((reply.status, reply.doubtful), (502, true));

    // What keeps the last one from being sent says nothing of what the first one did.
    let session = call(&upstream);
    session.send(get("/v1/notes")).await.unwrap();
    api.then([Step::BreakOff, Step::text(428, "gone")]);
    api.then_opening([Step::text(401, "no")]);
    assert!(matches!(
        session.send(put("/v1/notes/u")).await,
        Err(ApiError::AnswerLost)
    ));
    drop(session);
    assert_all_ended(&api, &upstream, 2).await;
}

#[tokio::test]
async fn opening_a_session_is_tried_again_whatever_it_is_for() {
    for trouble in troubles() {
        let api = ScriptedApi::start().await;
        let upstream = persistent(&api);
        api.then_opening([trouble.clone(), trouble]);
        let reply = call(&upstream)
            .send(once(put("/v1/notes/u")))
            .await
            .unwrap();
        assert_eq!((reply.status, reply.doubtful), (200, false));
        assert_eq!(count(&api, "POST /v1/sync/sessions"), 3);
        assert_eq!(count(&api, "PUT /v1/notes/u"), 1);
        assert_all_ended(&api, &upstream, 1).await;
    }
}

#[tokio::test]
async fn an_opening_that_fails_for_good_is_not_multiplied_by_the_operation() {
    let api = ScriptedApi::start().await;
    let upstream = persistent(&api);
    api.then_opening((0..9).map(|_| Step::text(503, "no")));
    let refused = call(&upstream).send(get("/v1/notes")).await;
    assert!(matches!(
        refused,
        Err(ApiError::SessionRefused(Reply { status: 503, .. }))
    ));
    assert_eq!(api.lines().len(), 3);
}

#[tokio::test]
async fn an_absurd_retry_after_is_told_and_not_sat_out() {
    let api = ScriptedApi::start().await;
    let upstream = persistent(&api);
    api.then([Step::Answer(
        429,
        vec![("retry-after", "3600".into())],
        String::new(),
    )]);
    let reply = call(&upstream).send(get("/v1/notes")).await.unwrap();
    assert_eq!(
        (reply.status, reply.retry_after),
        (429, Some(Duration::from_secs(3600)))
    );
    assert_eq!(count(&api, "GET /v1/notes"), 1);
    assert_all_ended(&api, &upstream, 1).await;
}

#[tokio::test]
async fn an_api_that_fails_everything_gets_a_fifth_more_to_do() {
    const CALLS: usize = 100;
    let api = ScriptedApi::start().await;
    let upstream = upstream_with(Settings {
        max_attempts: 3,
        breaker: Breaking {
            failures: 0,
            pause: Duration::from_secs(1),
        },
        ..settings(api.url())
    });
    api.then((0..CALLS * 3).map(|_| Step::text(503, "no")));
    let begun = std::time::Instant::now();
    let calls =
        (0..CALLS).map(|_| async { call(&upstream).send(get("/v1/notes")).await.unwrap().status });
    assert!(
        futures::future::join_all(calls)
            .await
            .iter()
            .all(|status| *status == 503)
    );
    let retries = count(&api, "GET /v1/notes") - CALLS;
    // The floor of ten, what comes back of it, and a fifth of the openings and of the requests.
    let back = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    assert!(
        (10..=10 + 2 * CALLS / 5 + back).contains(&retries),
        "{retries}"
    );
    assert_all_ended(&api, &upstream, CALLS as u64).await;
}

/// An API that has failed so often that it is left alone, for so long.
async fn left_alone(pause: Duration) -> (ScriptedApi, ApiClient) {
    const FAILURES: u32 = 4;
    let api = ScriptedApi::start().await;
    let upstream = upstream_with(Settings {
        breaker: Breaking {
            failures: FAILURES,
            pause,
        },
        ..settings(api.url())
    });
    api.then((0..FAILURES).map(|_| Step::text(503, "no")));
    for _ in 0..FAILURES {
        assert_eq!(
            call(&upstream).send(get("/v1/notes")).await.unwrap().status,
            503
        );
    }
    api.until_no_session().await;
    (api, upstream)
}

#[tokio::test]
async fn an_api_that_only_fails_is_left_alone() {
    let pause = Duration::from_secs(60);
    let (api, upstream) = left_alone(pause).await;
    let seen = api.seen().len();
    let Err(ApiError::CircuitOpen { retry_in }) = call(&upstream).send(put("/v1/notes/u")).await
    else {
        panic!("it is open");
    };
    assert!(retry_in <= pause);
    assert_eq!(api.seen().len(), seen, "nothing was sent");
    // Whether the API is ready is asked all the same.
    assert!(matches!(
        upstream.ready().await,
        Err(NotReadyError::ClockSkew(_))
    ));
    assert_all_ended(&api, &upstream, 4).await;
}

#[tokio::test]
async fn one_call_tries_for_all() {
    let (api, upstream) = left_alone(Duration::ZERO).await;
    let seen = api.seen().len();
    let gate = Arc::new(Notify::new());
    api.then_opening([Step::Gate(Arc::clone(&gate))]);
    let probe = call(&upstream);
    let mut probing = Box::pin(probe.send(get("/v1/notes")));
    tokio::select! {
        _ = &mut probing => panic!("answered"),
        () = api.until_seen(seen + 1) => {}
    }
    assert!(matches!(
        call(&upstream).send(get("/v1/notes")).await,
        Err(ApiError::CircuitOpen { .. })
    ));
    gate.notify_one();
    probing.await.unwrap();
    assert_eq!(
        call(&upstream).send(get("/v1/notes")).await.unwrap().status,
        200
    );
    drop(probe);
    assert_all_ended(&api, &upstream, 6).await;
}

#[tokio::test]
async fn a_call_in_the_middle_of_its_work_stops_trying_when_the_api_is_left_alone() {
    let api = ScriptedApi::start().await;
    let upstream = upstream_with(Settings {
        max_attempts: 10,
        breaker: Breaking {
            failures: 2,
            pause: Duration::from_secs(60),
        },
        ..settings(api.url())
    });
    api.then((0..9).map(|_| Step::text(503, "no")));
    assert_eq!(
        call(&upstream).send(get("/v1/notes")).await.unwrap().status,
        503
    );
    assert_eq!(count(&api, "GET /v1/notes"), 2);
    assert_all_ended(&api, &upstream, 1).await;
}
