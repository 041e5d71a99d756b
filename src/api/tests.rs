//! Calls against a scripted API over loopback: the requests sent, and the fate of the sessions.

mod concurrency_limit;
mod malformed_answers;
mod raw_api;
mod retries;
mod stray_answers;
mod token_exchange;

use futures::FutureExt;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::request::{Api, ApiError, Repeat, Reply, Request};
use super::scripted_api::{ScriptedApi, Seen, Step};
use super::settings::Limits;
use super::signature::version2::{Bound, Hashed};
use super::*;
use crate::foundation::secret::Secret;

const TENANT: &str = "acme";
const SECRET: &str = "tenant-secret";
const NOW_MS: u64 = 1_763_636_400_000;

fn settings(base_url: String) -> Settings {
    Settings {
        base_url: base_url.parse().unwrap(),
        // Retries have tests of their own.
        max_attempts: 1,
        limits: Limits {
            end_timeout: Duration::from_secs(1),
            ..Limits::default()
        },
        ..Settings::default()
    }
}

fn identity(tenant: &str) -> TenantIdentity {
    TenantIdentity {
        id: tenant.into(),
        secret: Secret::new(SECRET),
        signature: Versions::Both,
    }
}

fn api_client_with(settings: Settings) -> ApiClient {
    let clock = Clock::from_millis(|| NOW_MS);
    ApiClient::new(settings, identity(TENANT), clock, &Workers::none()).unwrap()
}

fn api_client(api: &ScriptedApi) -> ApiClient {
    api_client_with(settings(api.url()))
}

fn context(deadline: Duration) -> CallContext {
    CallContext {
        correlation_id: "corr-1".into(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        deadline: Deadline::after(deadline),
        cancel: CancellationToken::new(),
        trace_context: TraceContext::default(),
        spent: Arc::default(),
        memory: Default::default(),
    }
}

/// A list of tools must not lack some because another caller's question is under way.
#[tokio::test]
async fn a_second_caller_waits_for_the_features_that_are_being_asked_for() {
    let api = ScriptedApi::start().await;
    api.then_describing([Step::json(200, json!({"features": ["search"]}))]);
    let api_client = api_client(&api);
    let (one, other) = tokio::join!(api_client.known_features(), api_client.known_features());
    assert_eq!((one, other), (Features::SEARCH, Features::SEARCH));
    assert_eq!(api.lines(), ["GET /v1/sync/info"]);
}

fn call(api_client: &ApiClient) -> Session {
    api_client.call(
        &Secret::new("the.jwt.token"),
        context(Duration::from_secs(20)),
    )
}

fn get(path: &str) -> Request {
    Request {
        method: Method::GET,
        path: path.into(),
        query: Vec::new(),
        body: None,
        if_match: None,
        idempotency_key: None,
        repeat: Repeat::Idempotent,
    }
}

fn put(path: &str) -> Request {
    Request {
        method: Method::PUT,
        body: Some("{\"a\":1}".into()),
        if_match: Some(3),
        ..get(path)
    }
}

/// Verifies version 2 of the signature against the request as received.
fn is_signed(seen: &Seen) -> bool {
    let query = if seen.query.is_empty() {
        String::new()
    } else {
        format!("?{}", seen.query)
    };
    let request = Bound {
        method: &seen.method,
        target: &format!("{}{query}", seen.path),
        body: &seen.body,
        token: &Hashed::of(
            seen.header("authorization")
                .trim_start_matches("Bearer ")
                .as_bytes(),
        ),
    };
    signature::version2::tests::verify(&[SECRET], &seen.headers, &request, NOW_MS)
}

/// Asserts that every opened session was closed, and that both sides agree on the count.
async fn assert_all_ended(api: &ScriptedApi, api_client: &ApiClient, opened: u64) {
    api.until_no_session().await;
    let counts = api_client.drain(Duration::from_secs(5)).await;
    assert_eq!(
        counts,
        Counts {
            opened,
            ended: opened,
            abandoned: 0
        }
    );
}

#[tokio::test]
async fn a_call_opens_one_session_signs_every_request_and_closes_it() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    {
        let session = call(&api_client);
        assert!(
            api.seen().is_empty(),
            "nothing is sent before the first request"
        );
        let page = Request {
            query: vec![("limit", "5".into()), ("cursor", "a&b=c d".into())],
            ..get("/v1/notes")
        };
        assert_eq!(session.send(page).await.unwrap().status, 200);
        assert_eq!(session.send(put("/v1/notes/u")).await.unwrap().status, 200);
    }
    assert_all_ended(&api, &api_client, 1).await;
    let lines = api.lines();
    assert_eq!(
        lines,
        [
            "POST /v1/sync/sessions",
            "GET /v1/notes",
            "PUT /v1/notes/u",
            "DELETE /v1/sync/sessions/…"
        ]
    );
    for seen in api.seen() {
        let proof = (
            seen.header("x-tb-tenant-id"),
            seen.header("x-tb-timestamp"),
            seen.header("x-tb-signature"),
        );
        assert!(
            signature::verify(&Secret::new(SECRET), proof.0, proof.1, proof.2, NOW_MS),
            "{}",
            seen.line()
        );
        assert_eq!(proof.0, TENANT);
        assert!(is_signed(&seen), "{}", seen.line());
        assert_eq!(seen.header("authorization"), "Bearer the.jwt.token");
        assert_eq!(seen.header("x-correlation-id"), "corr-1");
        assert!(seen.header("traceparent").starts_with("00-0af7"));
        assert_eq!(seen.header("accept-encoding"), "", "{}", seen.line());
    }
    let [_, page, write, _] = &api.seen()[..] else {
        panic!()
    };
    assert_eq!(page.query, "limit=5&cursor=a%26b%3Dc+d");
    assert_eq!(
        (page.header("x-sync-session"), page.header("x-sync-epoch")),
        ("session-0", "1")
    );
    assert_eq!(
        (write.header("if-match"), write.header("content-type")),
        ("3", "application/json")
    );
    assert_eq!(&write.body[..], b"{\"a\":1}");
}

#[tokio::test]
async fn announces_its_time_limits() {
    let timeouts = async |read_timeout, deadline| {
        let api = ScriptedApi::start().await;
        let api_client = api_client_with(Settings {
            read_timeout: Duration::from_secs(read_timeout),
            ..settings(api.url())
        });
        {
            let session = api_client.call(
                &Secret::new("a.b.c"),
                context(Duration::from_secs(deadline)),
            );
            session.send(get("/v1/notes")).await.unwrap();
        }
        assert_all_ended(&api, &api_client, 1).await;
        let seen = api.seen();
        let timeouts = seen
            .iter()
            .map(|seen| seen.header("x-tb-timeout-ms").parse().unwrap());
        timeouts.collect::<Vec<u64>>()
    };
    let [opening, operation, ending] = timeouts(10, 5).await[..] else {
        panic!()
    };
    assert_eq!(
        opening, 9_900,
        "opening continues after the call, so that the session can be closed"
    );
    assert!(
        operation > 1_000 && operation < 5_000,
        "what is left of the call: {operation}"
    );
    assert_eq!(ending, 900, "the time limit for closing a session");
    let [_, operation, _] = timeouts(3, 20).await[..] else {
        panic!()
    };
    assert_eq!(operation, 2_900, "limited by the read timeout");
}

#[tokio::test]
async fn concurrent_requests_share_one_session() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    let session = call(&api_client);
    let replies = futures::future::join_all((0..10).map(|_| session.send(get("/v1/notes")))).await;
    assert!(replies.iter().all(Result::is_ok));
    drop(session);
    assert_all_ended(&api, &api_client, 1).await;
}

fn epoch_mismatch() -> Step {
    Step::json(
        409,
        json!({"error": "epoch_mismatch", "epoch": 2, "correlation_id": "x"}),
    )
}

#[tokio::test]
async fn recovery_reuses_the_slot_of_the_lost_session() {
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(Settings {
        max_sessions: 1,
        ..settings(api.url())
    });
    api.then([epoch_mismatch()]);
    let single = api_client.call(&Secret::new("a.b.c"), context(Duration::from_secs(5)));
    assert_eq!(single.send(put("/v1/notes/u")).await.unwrap().status, 200);
    drop(single);

    // Two concurrent requests of one call lose the session; neither may block the slot of the
    // other.
    api.then([epoch_mismatch(), epoch_mismatch()]);
    let both = api_client.call(&Secret::new("a.b.c"), context(Duration::from_secs(5)));
    let (one, other) = tokio::join!(both.send(get("/v1/notes")), both.send(get("/v1/tasks")));
    assert_eq!((one.unwrap().status, other.unwrap().status), (200, 200));
    drop(both);
    assert_all_ended(&api, &api_client, 4).await;
}

#[tokio::test]
async fn recovers_a_lost_session_once() {
    for refusal in [
        Step::json(428, json!({"error": "no session"})),
        Step::text(428, "gone"),
        epoch_mismatch(),
    ] {
        let api = ScriptedApi::start().await;
        let api_client = api_client(&api);
        api.then([refusal.clone()]);
        let session = call(&api_client);
        assert_eq!(session.send(put("/v1/notes/u")).await.unwrap().status, 200);

        // A second loss in the same call is reported, not recovered.
        api.then([refusal]);
        assert!(matches!(
            session.send(get("/v1/notes")).await.unwrap().status,
            428 | 409
        ));
        drop(session);
        assert_all_ended(&api, &api_client, 2).await;
        let writes: Vec<_> = api
            .seen()
            .into_iter()
            .filter(|seen| seen.method == Method::PUT)
            .collect();
        assert_eq!(writes.len(), 2);
        assert_eq!(writes[0].body, writes[1].body);
        assert_ne!(
            writes[0].header("x-sync-session"),
            writes[1].header("x-sync-session")
        );
    }
}

#[tokio::test]
async fn recovery_does_not_loop() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    api.then((0..50).map(|_| Step::text(428, "no")));
    assert_eq!(
        call(&api_client)
            .send(get("/v1/notes"))
            .await
            .unwrap()
            .status,
        428
    );
    assert_all_ended(&api, &api_client, 2).await;
    assert_eq!(
        api.lines()
            .iter()
            .filter(|line| *line == "GET /v1/notes")
            .count(),
        2
    );
}

#[tokio::test]
async fn returns_other_answers_to_the_tool() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    let answers = [
        Step::json(409, json!({"error": "already_exists"})),
        Step::text(409, "epoch_mismatch"),
        Step::text(500, "failed to create comment"),
        Step::Answer(
            302,
            vec![("location", "http://127.0.0.1:1/".into())],
            String::new(),
        ),
        Step::Answer(429, vec![("retry-after", "7".into())], "slow down".into()),
        Step::Answer(
            200,
            vec![("link", "</v1/notes>; rel=\"next\"".into())],
            "{}".into(),
        ),
    ];
    api.then(answers);
    let session = call(&api_client);
    let mut replies = Vec::new();
    for _ in 0..6 {
        replies.push(session.send(get("/v1/notes")).await.unwrap());
    }
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [409, 409, 500, 302, 429, 200]);
    assert_eq!(replies[4].retry_after, Some(Duration::from_secs(7)));
    assert_eq!(replies.iter().filter(|reply| reply.has_next).count(), 1);
    assert_eq!(&replies[2].body[..], b"failed to create comment");
    drop(session);
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn reports_a_refused_opening_and_leaves_no_session() {
    let too_large = "x".repeat(200_000);
    for (step, expected) in [
        (Step::json(401, json!({"error": "invalid token"})), 401),
        (
            Step::Answer(
                429,
                vec![("retry-after", "9999999".into())],
                "slow down".into(),
            ),
            429,
        ),
        (Step::text(503, "later"), 503),
        (Step::text(201, "not json"), 201),
        (Step::json(201, json!({"epoch": 1})), 201),
        (Step::json(201, json!({"id": "../wipe", "epoch": 1})), 201),
        (Step::text(201, &too_large), 201),
    ] {
        let api = ScriptedApi::start().await;
        let api_client = api_client(&api);
        api.then_opening([step]);
        let Err(ApiError::SessionRefused(Reply {
            status,
            retry_after,
            ..
        })) = call(&api_client).send(get("/v1/notes")).await
        else {
            panic!("{expected}")
        };
        assert_eq!(status, expected);
        assert!(retry_after.is_none_or(|wait| wait == Duration::from_secs(3600)));
        assert_eq!(api.lines(), ["POST /v1/sync/sessions"]);
        assert_eq!(
            api_client.drain(Duration::from_secs(1)).await,
            Counts::default()
        );
    }
}

#[tokio::test]
async fn distinguishes_unsent_requests_from_unknown_outcomes() {
    // No server listens on this port.
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable = api_client_with(settings(format!("http://{unused}")));
    assert!(matches!(
        call(&unreachable).send(get("/v1/notes")).await,
        Err(ApiError::Unreachable)
    ));

    // A truncated answer to an opening means that nothing was done; to an operation, that the
    // outcome is unknown.
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    api.then_opening([Step::BreakOff]);
    assert!(matches!(
        call(&api_client).send(put("/v1/notes/u")).await,
        Err(ApiError::Unreachable)
    ));
    api.then([Step::BreakOff]);
    assert!(matches!(
        call(&api_client).send(put("/v1/notes/u")).await,
        Err(ApiError::AnswerLost)
    ));
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn a_reset_after_sending_is_an_unknown_outcome() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (puts, counted) = (
        Arc::new(std::sync::atomic::AtomicU64::new(0)),
        Arc::new(Notify::new()),
    );
    let (seen, noted) = (Arc::clone(&puts), Arc::clone(&counted));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                if buffer[..read].starts_with(b"POST") {
                    let body = "{\"id\":\"s\",\"epoch\":1}";
                    let head = format!(
                        "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(head.as_bytes()).await.unwrap();
                    continue;
                }
                if buffer[..read].starts_with(b"PUT") {
                    seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    noted.notify_one();
                }
                stream.set_zero_linger().unwrap();
                break;
            }
        }
    });
    let api_client = api_client_with(settings(url));
    assert!(matches!(
        call(&api_client).send(put("/v1/notes/u")).await,
        Err(ApiError::AnswerLost)
    ));
    counted.notified().await;
    assert_eq!(
        puts.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "a write whose answer was lost is not repeated"
    );
    let counts = api_client.drain(Duration::from_secs(5)).await;
    assert_eq!(
        counts,
        Counts {
            opened: 1,
            ended: 0,
            abandoned: 1
        }
    );
}

#[tokio::test]
async fn limits_the_size_of_answers() {
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(Settings {
        max_answer_bytes: 1000,
        ..settings(api.url())
    });
    let session = call(&api_client);
    for (size, fits) in [(1000, true), (1001, false), (1 << 20, false)] {
        api.then([Step::text(200, &"x".repeat(size))]);
        match session.send(get("/v1/notes")).await {
            Ok(reply) => assert!(fits && reply.body.len() == size),
            Err(failure) => assert!(
                !fits && matches!(failure, ApiError::AnswerTooLarge { limit: 1000 }),
                "{failure}"
            ),
        }
    }
    drop(session);
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn one_deadline_covers_opening_and_operation() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    let short_call = || api_client.call(&Secret::new("a.b.c"), context(Duration::from_millis(150)));

    api.then([Step::Hang]);
    let slow = short_call();
    assert!(matches!(
        slow.send(put("/v1/notes/u")).await,
        Err(ApiError::TimedOut { sent: true })
    ));
    assert!(
        matches!(
            slow.send(get("/v1/notes")).await,
            Err(ApiError::TimedOut { .. })
        ),
        "the deadline has passed"
    );
    drop(slow);

    // The opening is answered after the call timed out: the session must be closed.
    let gate = Arc::new(Notify::new());
    api.then_opening([Step::Gate(Arc::clone(&gate))]);
    assert!(matches!(
        short_call().send(put("/v1/notes/u")).await,
        Err(ApiError::TimedOut { sent: false })
    ));
    gate.notify_one();
    api.until_seen(5).await;
    assert_all_ended(&api, &api_client, 2).await;
}

#[tokio::test]
async fn applies_the_read_timeout_before_the_deadline() {
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(Settings {
        read_timeout: Duration::from_millis(100),
        ..settings(api.url())
    });
    api.then([Step::Hang]);
    assert!(matches!(
        call(&api_client).send(get("/v1/notes")).await,
        Err(ApiError::TimedOut { sent: true })
    ));
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn a_cancelled_call_stops_and_closes_its_session() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    api.then([Step::Hang]);
    let context = context(Duration::from_secs(20));
    let cancel = context.cancel.clone();
    let session = api_client.call(&Secret::new("a.b.c"), context);
    let work = tokio::spawn(async move { session.send(get("/v1/notes")).await });
    api.until_seen(2).await;
    cancel.cancel();
    assert!(matches!(work.await.unwrap(), Err(ApiError::Cancelled)));
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn a_call_dropped_while_opening_closes_its_session() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    let gate = Arc::new(Notify::new());
    api.then_opening([Step::Gate(Arc::clone(&gate))]);
    let session = call(&api_client);
    {
        let mut sending = Box::pin(session.send(get("/v1/notes")));
        assert!((&mut sending).now_or_never().is_none());
        tokio::select! {
            _ = &mut sending => panic!("answered"),
            () = api.until_seen(1) => {}
        }
    }
    drop(session);
    gate.notify_one();
    api.until_seen(2).await;
    assert_all_ended(&api, &api_client, 1).await;
    assert_eq!(
        api.lines(),
        ["POST /v1/sync/sessions", "DELETE /v1/sync/sessions/…"]
    );
}

#[tokio::test]
async fn bounds_sessions_while_closing_is_slow() {
    let api = ScriptedApi::start().await;
    let gate = Arc::new(Notify::new());
    api.then_ending([Step::Gate(Arc::clone(&gate))]);
    let api_client = api_client_with(Settings {
        max_sessions: 2,
        limits: Limits {
            session_closers: 1,
            ..Limits::default()
        },
        ..settings(api.url())
    });
    for _ in 0..2 {
        call(&api_client).send(get("/v1/notes")).await.unwrap();
    }
    // One session is being closed and one is queued, so no slot is free for a third.
    let third = call(&api_client);
    let mut waiting = Box::pin(third.send(get("/v1/notes")));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut waiting)
            .await
            .is_err()
    );
    assert_eq!(api_client.sessions().opened, 2);
    gate.notify_one();
    waiting.await.unwrap();
    drop(third);
    assert_all_ended(&api, &api_client, 3).await;
}

#[tokio::test]
async fn closing_is_attempted_twice() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    api.then_ending([Step::text(503, "busy")]);
    call(&api_client).send(get("/v1/notes")).await.unwrap();
    api.until_no_session().await;
    api.then_ending([Step::text(503, "busy"), Step::text(503, "busy")]);
    call(&api_client).send(get("/v1/notes")).await.unwrap();
    let counts = api_client.drain(Duration::from_secs(5)).await;
    assert_eq!(
        counts,
        Counts {
            opened: 2,
            ended: 1,
            abandoned: 1
        }
    );
    assert_eq!(counts.open(), 0);
}

#[tokio::test]
async fn does_not_repeat_a_refused_closing() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    api.then_ending([Step::text(401, "too late")]);
    call(&api_client).send(get("/v1/notes")).await.unwrap();
    assert_eq!(api_client.drain(Duration::from_secs(5)).await.abandoned, 1);
    let endings = api
        .seen()
        .into_iter()
        .filter(|seen| seen.method == Method::DELETE);
    assert_eq!(endings.count(), 1);
}

#[tokio::test]
async fn draining_waits_for_open_sessions_up_to_its_limit() {
    let api = ScriptedApi::start().await;
    let api_client = api_client(&api);
    let session = call(&api_client);
    session.send(get("/v1/notes")).await.unwrap();
    let counts = api_client.drain(Duration::from_millis(20)).await;
    assert_eq!(counts.open(), 1, "the deadline passed first");
    assert!(
        matches!(
            call(&api_client).send(get("/v1/notes")).await,
            Err(ApiError::Unreachable)
        ),
        "no new session"
    );
    drop(session);
    assert_all_ended(&api, &api_client, 1).await;
}

#[tokio::test]
async fn readiness_checks_connection_clock_and_signature() {
    let api = ScriptedApi::start().await;
    assert!(
        matches!(
            api_client(&api).ready().await,
            Err(NotReadyError::ClockSkew(_))
        ),
        "the test clock is wrong"
    );
    let correct_clock = ApiClient::new(
        settings(api.url()),
        identity(TENANT),
        Clock::system(),
        &Workers::none(),
    )
    .unwrap();
    assert_eq!(correct_clock.ready().await, Ok(()));
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        api_client_with(settings(format!("http://{unused}")))
            .ready()
            .await,
        Err(NotReadyError::Unreachable)
    );
}

#[tokio::test]
async fn refuses_invalid_settings() {
    let start = |base_url: &str, tenant: &str| {
        let settings = settings(base_url.into());
        ApiClient::new(
            settings,
            identity(tenant),
            Clock::system(),
            &Workers::none(),
        )
    };
    for base_url in ["ftp://x", "http://user:pw@x", "http://x?y=1", "http://x#y"] {
        let refused = start(base_url, TENANT);
        assert!(matches!(refused, Err(ClientError::BaseUrl)), "{base_url}");
    }
    let newline = start("http://x", "a\nb");
    assert!(matches!(newline, Err(ClientError::Tenant(_))));
}

#[tokio::test]
async fn accepts_a_base_url_with_a_path() {
    let api = ScriptedApi::start().await;
    let api_client = api_client_with(settings(format!("{}/behind/a/gateway/", api.url())));
    let refused = call(&api_client).send(get("/v1/notes")).await;
    assert!(
        matches!(refused, Err(ApiError::SessionRefused(_))),
        "{refused:?}"
    );
    assert_eq!(api.lines(), ["POST /behind/a/gateway/v1/sync/sessions"]);
}
