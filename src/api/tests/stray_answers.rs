//! Unsolicited answers on connections that several calls share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::raw_api::{RawApi, RawRequest, write};
use super::*;

fn call_as(api_client: &ApiClient, correlation_id: &str) -> Session {
    let context = CallContext {
        correlation_id: correlation_id.into(),
        ..context(Duration::from_secs(120))
    };
    api_client.call(&Secret::new("the.jwt.token"), context)
}

/// Both calls have the same correlation id, so only the check of the socket protects the second
/// call from the stray answer.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn does_not_reuse_a_connection_with_unread_bytes() {
    let (send_second, second_allowed) = mpsc::channel::<()>();
    let (notify_arrival, arrival) = mpsc::channel::<()>();
    let (second_allowed, connections) =
        (Mutex::new(second_allowed), Arc::new(Mutex::new(Vec::new())));
    let used = Arc::clone(&connections);
    let api = RawApi::start(move |raw_request, stream| {
        used.lock()
            .unwrap()
            .push((raw_request.line.clone(), raw_request.connection));
        write(stream, &raw_request.proper_answer());
        if raw_request.line == "GET /v1/notes/doubled" {
            second_allowed.lock().unwrap().recv().unwrap();
            write(stream, &raw_request.proper_answer());
            raw_api::until_arrived(stream);
            notify_arrival.send(()).unwrap();
        }
    });
    let api_client = api_client_with(settings(api.url()));
    let first = call(&api_client);
    first.send(get("/v1/notes/doubled")).await.unwrap();
    // Without an await before the next request, the event loop cannot notice the second answer.
    send_second.send(()).unwrap();
    arrival.recv().unwrap();
    let second = call(&api_client);
    let reply = second.send(get("/v1/notes/own")).await.unwrap();
    assert_eq!(reply.body, "GET /v1/notes/own for corr-1");
    api.until_closed(0).await;
    let used = connections.lock().unwrap().clone();
    let on_the_first = used
        .iter()
        .filter(|(_, connection)| *connection == 0)
        .count();
    assert_eq!(on_the_first, 2, "the first call's alone: {used:?}");
}

#[tokio::test]
async fn an_answer_to_another_request_closes_its_connection() {
    for (lines, accepted) in [
        ("", true),
        ("X-Correlation-ID: own\r\n", true),
        ("x-correlation-id: \t own\r\n", true),
        ("X-Correlation-ID: other\r\n", false),
        ("X-Correlation-ID: \r\n", false),
        (
            "X-Correlation-ID: own\r\nX-Correlation-ID: other\r\n",
            false,
        ),
    ] {
        let odd = Arc::new(Mutex::new(None));
        let (used, api_used) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&odd));
        let seen = Arc::clone(&used);
        let api = RawApi::start(move |raw_request: &RawRequest, stream| {
            seen.lock().unwrap().push(raw_request.connection);
            let first = api_used.lock().unwrap().is_none();
            let answer = if raw_request.line == "GET /v1/notes/odd" && first {
                *api_used.lock().unwrap() = Some(raw_request.connection);
                raw_request.answer(lines)
            } else {
                raw_request.proper_answer()
            };
            write(stream, &answer);
        });
        let api_client = api_client_with(settings(api.url()));
        let session = call_as(&api_client, "own");
        let outcome = session.send(get("/v1/notes/odd")).await;
        let connection = odd.lock().unwrap().unwrap();
        if accepted {
            assert_eq!(
                outcome.unwrap().body,
                "GET /v1/notes/odd for own",
                "{lines:?}"
            );
            continue;
        }
        assert!(
            matches!(outcome, Err(ApiError::AnswerLost)),
            "{lines:?}: {outcome:?}"
        );
        api.until_closed(connection).await;
        let before = used.lock().unwrap().len();
        session.send(get("/v1/notes/odd")).await.unwrap();
        assert!(!used.lock().unwrap()[before..].contains(&connection));

        // A repeatable request is sent again.
        *odd.lock().unwrap() = None;
        let api_client = api_client_with(Settings {
            max_attempts: 3,
            ..settings(api.url())
        });
        let reply = call_as(&api_client, "own")
            .send(get("/v1/notes/odd"))
            .await
            .unwrap();
        assert_eq!(reply.body, "GET /v1/notes/odd for own");
    }
}

/// The answer to one call of five is sent twice, the second time 20 µs to 1 ms late: while the
/// connection is idle, while it is held by another call, or after that call has written its
/// request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_second_answer_does_not_reach_a_later_call() {
    const ROUNDS: usize = 480;
    let doubled = AtomicUsize::new(0);
    let api = RawApi::start(move |raw_request, stream| {
        write(stream, &raw_request.proper_answer());
        if raw_request.line.starts_with("GET ") && raw_request.correlation_id.starts_with("doubled")
        {
            let number = doubled.fetch_add(1, Ordering::Relaxed);
            let delay = Duration::from_micros(20 + (number as u64 * 173) % 980);
            let started = Instant::now();
            while started.elapsed() < delay {
                std::hint::spin_loop();
            }
            write(stream, &raw_request.proper_answer());
        }
    });
    let api_client = api_client_with(Settings {
        max_attempts: 3,
        ..settings(api.url())
    });
    let mut failed = Vec::new();
    for round in 0..ROUNDS {
        let ids = (0..4).map(|number| format!("later-{round}-{number}"));
        for id in [format!("doubled-{round}")].into_iter().chain(ids) {
            let outcome = call_as(&api_client, &id).send(get("/v1/notes/own")).await;
            let expected = format!("GET /v1/notes/own for {id}");
            if !outcome
                .as_ref()
                .is_ok_and(|reply| reply.status == 200 && reply.body == expected)
            {
                failed.push(format!("{id}: {outcome:?}"));
            }
        }
    }
    let count = failed.len();
    assert!(
        failed.is_empty(),
        "{count} of {}: {:#?}",
        ROUNDS * 5,
        &failed[..count.min(5)]
    );
}
