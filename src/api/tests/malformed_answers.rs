//! Invalid answers, and answers that two parsers could read differently.

use std::sync::Mutex;

use super::raw_api::{RawApi, write};
use super::*;

const LIMIT: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// An answer with this body; its connection is reused.
    ApiAnswer(&'static str),
    /// An answer with this body; its connection is not reused.
    LastAnswer(&'static str),
    Lost,
    TooLarge,
}

use Expected::{ApiAnswer, LastAnswer, Lost, TooLarge};

/// The outcome of an answer, and whether its connection is used for the next request. If `closes`,
/// the API closes the connection after the answer.
async fn outcome_of(answer: &str, closes: bool) -> (Result<Reply, ApiError>, bool) {
    let (first, last) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
    let (answer, connections) = (answer.to_owned(), (Arc::clone(&first), Arc::clone(&last)));
    let api = RawApi::start(move |raw_request, stream| {
        if raw_request.line == "GET /v1/notes/odd" {
            *connections.0.lock().unwrap() = Some(raw_request.connection);
            write(stream, &answer);
            if closes {
                stream
                    .shutdown(std::net::Shutdown::Both)
                    .unwrap_or_default();
            }
        } else {
            *connections.1.lock().unwrap() = Some(raw_request.connection);
            write(stream, &raw_request.proper_answer());
        }
    });
    let api_client = api_client_with(Settings {
        max_answer_bytes: LIMIT,
        ..settings(api.url())
    });
    let session = call(&api_client);
    let outcome = session.send(get("/v1/notes/odd")).await;
    session.send(get("/v1/notes/next")).await.unwrap();
    let reused = *first.lock().unwrap() == *last.lock().unwrap();
    (outcome, reused)
}

async fn check(answer: &str, closes: bool, expected: Expected) {
    let excerpt = &answer[..answer.len().min(300)];
    let (outcome, reused) = outcome_of(answer, closes).await;
    let as_expected = match &outcome {
        Ok(reply) if reused => matches!(expected, ApiAnswer(body) if reply.body == body),
        Ok(reply) => matches!(expected, LastAnswer(body) if reply.body == body),
        Err(ApiError::AnswerLost) => expected == Lost,
        Err(ApiError::AnswerTooLarge { limit: LIMIT }) => expected == TooLarge,
        Err(_) => false,
    };
    assert!(as_expected, "{excerpt:?}: {outcome:?}, reused: {reused}");
    assert!(outcome.is_ok() || !reused, "{excerpt:?}");
}

#[tokio::test]
async fn refuses_ambiguous_framing() {
    for (head, body, expected) in [
        ("200 OK\r\nContent-Length: 2", "ok", ApiAnswer("ok")),
        (
            "200 OK\r\nContent-Length: 2\r\ncontent-length: 2",
            "ok",
            ApiAnswer("ok"),
        ),
        (
            "200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive, Close",
            "ok",
            LastAnswer("ok"),
        ),
        ("204 No Content", "", ApiAnswer("")),
        ("304 Not Modified\r\nContent-Length: 10", "", ApiAnswer("")),
        (
            "200 OK\r\nTransfer-Encoding: Chunked",
            "2\r\nok\r\n0\r\n\r\n",
            ApiAnswer("ok"),
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked",
            "1;a=b\r\no\r\n01\r\nk\r\n0\r\nT: x\r\n\r\n",
            ApiAnswer("ok"),
        ),
        ("200 OK\r\nContent-Length: 1000000", "", TooLarge),
        (
            "200 OK\r\nContent-Length: 9223372036854775807",
            "",
            TooLarge,
        ),
        (
            "200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
            "ok",
            Lost,
        ),
        ("200 OK\r\nContent-Length: 2, 2", "ok", Lost),
        ("200 OK\r\nContent-Length: +2", "ok", Lost),
        ("200 OK\r\nContent-Length: -2", "ok", Lost),
        ("200 OK\r\nContent-Length: 0x2", "ok", Lost),
        ("200 OK\r\nContent-Length: ", "ok", Lost),
        ("200 OK\r\nContent-Length: 99999999999999999999", "ok", Lost),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2",
            "2\r\nok\r\n0\r\n\r\n",
            Lost,
        ),
        (
            "200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
            Lost,
        ),
        (
            "200 OK\r\nTransfer-Encoding: gzip, chunked",
            "2\r\nok\r\n0\r\n\r\n",
            Lost,
        ),
        ("200 OK\r\nTransfer-Encoding: identity", "ok", Lost),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
            Lost,
        ),
        ("101 Switching Protocols", "", Lost),
        (
            "101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade",
            "ok",
            Lost,
        ),
        ("099 Odd", "", Lost),
        ("20 OK", "", Lost),
        ("200 OK\r\nContent-Length: 2\r\nX: a\r\n b", "ok", Lost),
        ("200 OK\r\nContent-Length: 2\r\nX: a\0b", "ok", Lost),
        ("200 OK\r\nContent-Length: 2\r\nX\0: ab", "ok", Lost),
        ("200 OK\r\nContent-Length: 2\r\nX: a\rb", "ok", Lost),
        ("200 OK\r\nContent-Length : 2", "ok", Lost),
        ("200 OK\r\nContent-Length: 2\r\nBroken", "ok", Lost),
        ("200 OK\r\nTransfer-Encoding: chunked", "x\r\n", Lost),
        (
            "200 OK\r\nTransfer-Encoding: chunked",
            "-2\r\nok\r\n0\r\n\r\n",
            Lost,
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked",
            "2\r\nokay\r\n0\r\n\r\n",
            Lost,
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked",
            "ffffffffffffffffff\r\n",
            Lost,
        ),
        ("200 OK\r\nTransfer-Encoding: chunked", "3e9\r\n", Lost),
    ] {
        let closes = body == "3e9\r\n";
        check(&format!("HTTP/1.1 {head}\r\n\r\n{body}"), closes, expected).await;
    }
}

#[tokio::test]
async fn refuses_answers_that_are_not_http() {
    for (answer, closes, expected) in [
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            false,
            LastAnswer("ok"),
        ),
        ("HTTP/1.1 200 OK\r\n\r\nok", true, LastAnswer("ok")),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
            Lost,
        ),
        ("ok", true, Lost),
        ("{\"uid\":\"u\"}\r\n\r\n", false, Lost),
        ("SSH-2.0-OpenSSH\r\n\r\n", false, Lost),
        ("HTTP/2 200 OK\r\n\r\n", false, Lost),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true, Lost),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            true,
            Lost,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Le", true, Lost),
        ("", true, Lost),
        // More bytes than announced.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
            false,
            LastAnswer("ok"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nokay", false, LastAnswer("")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n0\r\n",
            false,
            LastAnswer("ok"),
        ),
    ] {
        check(answer, closes, expected).await;
    }
}

#[tokio::test]
async fn limits_every_unbounded_part() {
    const MANY: usize = 100_000;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let interim = |count| "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
    check(
        &format!("HTTP/1.1 100 Continue\r\n\r\n{}{ok}", interim(3)),
        false,
        ApiAnswer("ok"),
    )
    .await;
    check(&format!("{}{ok}", interim(MANY)), false, Lost).await;
    check(
        &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MANY)),
        false,
        Lost,
    )
    .await;
    let fields = "a: b\r\n".repeat(101);
    check(
        &format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"),
        false,
        Lost,
    )
    .await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(
        &format!("{chunked}2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(MANY)),
        false,
        Lost,
    )
    .await;
    check(
        &format!("{chunked}{}\r\nok\r\n0\r\n\r\n", "0".repeat(MANY)),
        false,
        Lost,
    )
    .await;
    let extended = "1;x\r\no\r\n".repeat(MANY);
    check(&format!("{chunked}{extended}"), false, TooLarge).await;
    check(
        &format!("{chunked}2\r\nok\r\n0\r\n{}\r\n", "a: b\r\n".repeat(MANY)),
        false,
        Lost,
    )
    .await;
    check(
        &format!("{chunked}2\r\nok\r\n0\r\nA: {}\r\n\r\n", "b".repeat(MANY)),
        false,
        Lost,
    )
    .await;
    let without_length = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MANY));
    check(&without_length, true, TooLarge).await;
}
