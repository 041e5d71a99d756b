//! Calls with an exchanged token.

use super::*;
use crate::api::request::NoAccessError;
use crate::auth::scripted_as::{ScriptedAs, Step as AsStep, TokenRequest};
use crate::auth::token_exchange;
use crate::auth::token_exchange::{Exchange, Subject};

async fn authorization_server() -> ScriptedAs {
    let count = std::sync::atomic::AtomicUsize::new(0);
    ScriptedAs::start(move |request: &TokenRequest| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let token = format!("for-{}-{number}", request.field("subject_token"));
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 600})
    })
    .await
}

fn credential(server: &ScriptedAs) -> Credential {
    let settings = token_exchange::Settings {
        token_url: server.url().parse().ok(),
        audience: Some("api".into()),
        client_id: Some("sidecar".into()),
        client_secret: Some(Secret::new("hush")),
        ..token_exchange::Settings::default()
    };
    let subject = Subject {
        user: "ada".into(),
        token: Secret::new("own"),
        expires_at: NOW_MS / 1000 + 600,
    };
    let exchange = Exchange::from_settings(&settings, Clock::from_millis(|| NOW_MS)).unwrap();
    Credential::Exchanged(exchange, subject)
}

#[tokio::test]
async fn sends_the_exchanged_token_and_never_the_original() {
    let (api, server) = (ScriptedApi::start().await, authorization_server().await);
    let (api_client, credential) = (api_client(&api), credential(&server));
    drop(api_client.call(credential.clone(), context(Duration::from_secs(5))));
    assert!(
        server.requests().is_empty(),
        "a call that sends nothing exchanges nothing"
    );
    for _ in 0..2 {
        let session = api_client.call(credential.clone(), context(Duration::from_secs(5)));
        session.send(get("/v1/notes")).await.unwrap();
        session.send(get("/v1/notes")).await.unwrap();
    }
    assert_all_ended(&api, &api_client, 2).await;
    assert_eq!(server.requests().len(), 1);
    for seen in api.seen() {
        assert_eq!(
            seen.header("authorization"),
            "Bearer for-own-0",
            "{}",
            seen.line()
        );
    }
}

#[tokio::test]
async fn sends_nothing_without_an_exchanged_token() {
    let (api, server) = (ScriptedApi::start().await, authorization_server().await);
    let (api_client, credential) = (api_client(&api), credential(&server));
    for (step, expected) in [
        (
            AsStep::refuse(400, "invalid_grant", "x"),
            NoAccessError::Refused,
        ),
        (
            AsStep::refuse(400, "invalid_target", "x"),
            NoAccessError::Denied,
        ),
        (
            AsStep::refuse(401, "invalid_client", "x"),
            NoAccessError::Faulty,
        ),
        (AsStep::Answer(200, "{}".into()), NoAccessError::Faulty),
        (
            AsStep::Answer(503, String::new()),
            NoAccessError::Unavailable,
        ),
        // The deadline of the call passes before the time limit of the token exchange.
        (AsStep::Hang, NoAccessError::Unavailable),
    ] {
        server.then([step.clone()]);
        let session = api_client.call(credential.clone(), context(Duration::from_secs(1)));
        let failure = session.send(get("/v1/notes")).await.unwrap_err();
        assert!(
            matches!(failure, ApiError::NoAccess(why) if why == expected),
            "{step:?}: {failure:?}"
        );
    }
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn discards_a_token_that_the_api_refuses() {
    let (api, server) = (ScriptedApi::start().await, authorization_server().await);
    let (api_client, credential) = (api_client(&api), credential(&server));
    api.then_opening([Step::json(401, json!({"error": "unauthorized"}))]);
    let session = api_client.call(credential.clone(), context(Duration::from_secs(5)));
    assert!(matches!(
        session.send(get("/v1/notes")).await,
        Err(ApiError::SessionRefused(_))
    ));
    let session = api_client.call(credential, context(Duration::from_secs(5)));
    session.send(get("/v1/notes")).await.unwrap();
    drop(session);
    api.until_no_session().await;
    assert_eq!(
        api.seen().pop().unwrap().header("authorization"),
        "Bearer for-own-1"
    );
    assert_eq!(server.requests().len(), 2);
}
