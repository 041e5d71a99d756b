//! `toolbridge-mcp doctor` beside deployments that are well, and beside ones that are broken in one way each: that one is
//! named, with what mends it, and nothing else.

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::place::binary;
use crate::harness::process::{Process, Stdout};
use crate::harness::token::{new_secret, now_secs};
use crate::harness::{
    Api, Caller, Certificate, Client, Era, Front, Gate, Manner, Mishap, Place, Ran, SECRETS, Stage,
    User, run, world,
};

crate::tests![
    a_deployment_that_is_well_is_found_well_from_both_sides,
    what_is_found_can_be_read_by_programs,
    nothing_is_written_where_nothing_may_be,
    different_tenant_secrets_are_named,
    a_version_of_the_signature_that_the_api_does_not_take_is_named,
    a_clock_that_is_ten_minutes_off_is_named,
    an_api_that_is_down_is_named,
    a_wrong_port_is_named,
    an_expired_token_is_named_and_when_it_expired,
    a_token_for_another_audience_is_named_and_for_which,
    a_database_that_takes_no_write_is_named,
    a_name_that_does_not_exist_is_named,
    a_proxy_that_gathers_answers_is_named,
    a_server_without_tls_is_named_and_gets_no_token,
    certificates_are_looked_at,
    keys_that_cannot_be_fetched_are_named,
    a_mistake_in_the_configuration_is_named,
    a_server_that_runs_with_another_configuration_is_named,
    a_name_that_the_server_does_not_know_is_named,
    metadata_that_leads_elsewhere_is_named,
    a_note_is_taken_away_whatever_happens,
    a_note_that_may_be_left_is_told_of,
    a_mistake_on_the_command_line_is_no_finding,
];

/// What `doctor --json` said.
struct Said {
    ran: Ran,
    report: Value,
}

impl Said {
    fn of(ran: Ran) -> Self {
        for secret in [&SECRETS.tenant, &SECRETS.jwt] {
            assert!(!format!("{ran}").contains(secret), "a secret is shown");
        }
        let report = ran.json();
        let said = Self { ran, report };
        said.check();
        said
    }

    /// What holds for every report there is.
    fn check(&self) {
        let failed = !self.with("failed").is_empty();
        assert_eq!(self.report["ok"], json!(!failed), "{}", self.ran);
        assert_eq!(self.ran.code, i32::from(failed), "{}", self.ran);
        for check in self.checks() {
            let bad = ["failed", "warning"].contains(&check["outcome"].as_str().unwrap());
            assert_eq!(
                check["mend"].is_string(),
                bad,
                "what is wrong has a mend: {check}"
            );
            assert!(
                check["what"].as_str().is_some_and(|what| !what.is_empty()),
                "{check}"
            );
            if let Some(cause) = check["because"].as_str() {
                let cause = &self.check_of(cause)["outcome"];
                assert!(cause == "failed" || cause == "skipped", "{check}");
            }
        }
    }

    fn checks(&self) -> &Vec<Value> {
        self.report["checks"].as_array().unwrap()
    }

    fn check_of(&self, id: &str) -> &Value {
        let found = self.checks().iter().find(|check| check["id"] == id);
        found.unwrap_or_else(|| panic!("no {id}: {}", self.ran))
    }

    fn with(&self, outcome: &str) -> Vec<&str> {
        let those = self
            .checks()
            .iter()
            .filter(|check| check["outcome"] == outcome);
        those.map(|check| check["id"].as_str().unwrap()).collect()
    }

    /// Nothing is wrong or doubtful.
    fn well(self) -> Self {
        assert!(
            self.with("failed").is_empty() && self.with("warning").is_empty(),
            "{}",
            self.ran
        );
        self
    }

    /// One thing is wrong, in these words; and whatever else was not tried, it was not because of something else.
    fn only(self, id: &str, words: &[&str]) -> Self {
        assert_eq!(self.with("failed"), [id], "{}", self.ran);
        assert!(self.with("warning").is_empty(), "{}", self.ran);
        let check = self.check_of(id);
        let text = format!("{} {}", check["what"], check["mend"]).replace("\\\"", "\"");
        for word in words {
            assert!(text.contains(word), "\"{word}\" is missing: {}", self.ran);
        }
        self
    }

    fn ok(&self, ids: &[&str]) {
        for id in ids {
            assert_eq!(self.check_of(id)["outcome"], "ok", "{id}: {}", self.ran);
        }
    }

    fn warned(&self, id: &str, words: &str) {
        assert_eq!(self.with("warning"), [id], "{}", self.ran);
        assert!(
            self.check_of(id)["what"].as_str().unwrap().contains(words),
            "{}",
            self.ran
        );
    }
}

fn port(place: &Place) -> &str {
    place.url.rsplit(':').next().unwrap()
}

/// From the inside: with the very environment of the server, and some more of it.
async fn inside_with(place: &Place, more: &[(&str, &str)], words: &[&str]) -> Ran {
    let words = [&["doctor", "--json"], words].concat();
    let known = [("TOOLBRIDGE_PORT", port(place))];
    run(
        &words,
        place.environment().chain(known).chain(more.iter().copied()),
    )
    .await
}

async fn inside(place: &Place) -> Said {
    Said::of(inside_with(place, &[], &[]).await)
}

/// From the outside: with nothing but a URL and a token.
async fn outside_with(url: &str, token: &str, more: &[(&str, &str)], words: &[&str]) -> Said {
    let words = [&["doctor", url, "--json"], words].concat();
    let token = [("TOOLBRIDGE_TOKEN", token)];
    Said::of(run(&words, token.into_iter().chain(more.iter().copied())).await)
}

async fn outside(place: &Place) -> Said {
    outside_with(&place.url, &place.new_user().token, &[], &[]).await
}

/// An address at which nobody listens, and nobody else will as long as this lives.
struct Vacant {
    url: String,
    port: String,
    _held: TcpSocket,
}

fn vacant() -> Vacant {
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = held.local_addr().unwrap();
    Vacant {
        url: format!("http://{address}"),
        port: address.port().to_string(),
        _held: held,
    }
}

async fn has_no_notes(place: &Place, user: &User) {
    let client = Client::of(place, Era::Modern, user.clone());
    let listed = client.call("list_notes", json!({})).await.ok();
    assert_eq!(listed["items"], json!([]));
    client.traffic().await;
}

async fn a_deployment_that_is_well_is_found_well_from_both_sides() {
    let place = &world().acme;
    let known = [("TOOLBRIDGE_PORT", port(place))];
    let said = run(&["doctor"], place.environment().chain(known))
        .await
        .done();
    assert!(
        said.out
            .contains("  ok     Round trip of a note: the note was read, deleted, and is gone\n"),
        "{said}"
    );
    assert!(
        said.out.ends_with("this machine is well.\n") && said.err.is_empty(),
        "{said}"
    );

    let user = place.new_user();
    let said = run(
        &["doctor", &place.mcp()],
        [("TOOLBRIDGE_TOKEN", user.token.as_str())],
    )
    .await
    .done();
    assert!(
        said.out.contains(&format!(
            "  ok     Tools: {} tools are listed\n",
            crate::surface::tool_count()
        )),
        "{said}"
    );
    assert!(
        said.out
            .contains("  ok     Streams: the first event came after "),
        "{said}"
    );
    assert!(
        said.out.ends_with(&format!("{} is well.\n", place.url)),
        "{said}"
    );
    has_no_notes(place, &user).await;

    // Without a token there is less to see, and nothing is wrong with that.
    let said = Said::of(run(&["doctor", &place.url, "--json"], []).await).well();
    said.ok(&["challenge", "metadata"]);
    assert_eq!(
        said.check_of("round_trip")["because"],
        "token",
        "{}",
        said.ran
    );
}

async fn what_is_found_can_be_read_by_programs() {
    let place = &world().acme;
    let said = inside(place).await.well();
    assert_eq!(said.report["target"], "this machine");
    said.ok(&[
        "config",
        "signature",
        "token",
        "api_token",
        "write",
        "round_trip",
        "server",
        "server_ready",
    ]);
    let said = outside(place).await.well();
    assert_eq!(said.report["target"], json!(place.url));
    said.ok(&[
        "encrypted",
        "ready",
        "challenge",
        "token",
        "handshake",
        "tools",
        "stream",
        "write",
        "round_trip",
    ]);
}

async fn nothing_is_written_where_nothing_may_be() {
    let place = &world().acme;
    let user = place.new_user();
    let said = outside_with(&place.url, &user.token, &[], &["--read-only"])
        .await
        .well();
    assert_eq!(said.check_of("write")["outcome"], "skipped", "{}", said.ran);
    let client = Client::of(place, Era::Modern, user);
    assert_eq!(client.traffic().await.lines(), Vec::<String>::new());

    let reader = User::with_claims(
        json!({"sub": "reader-of-doctor", "tenant_id": "acme", "scope": "toolbridge:read"}),
    );
    let said = outside_with(&place.url, &reader.token, &[], &[])
        .await
        .well();
    assert!(
        said.check_of("write")["what"]
            .as_str()
            .unwrap()
            .contains("leaves out"),
        "{}",
        said.ran
    );
    let said =
        Said::of(inside_with(place, &[("TOOLBRIDGE_TOKEN", &reader.token)], &[]).await).well();
    said.ok(&["api_token"]);
    assert_eq!(said.check_of("write")["outcome"], "skipped", "{}", said.ran);
}

async fn different_tenant_secrets_are_named() {
    let api = Api::start().await;
    let secret = new_secret();
    let place = Place::beside(
        "acme",
        &api,
        &[("TOOLBRIDGE_TENANT_HEADER_SECRET", &secret)],
    )
    .await;
    let words = ["different tenant secrets", "TENANT_HEADER_SECRET"];
    let said = inside(&place).await.only("signature", &words);
    said.ok(&["api_ready", "token", "server"]);
    outside(&place)
        .await
        .only("ready", &words)
        .ok(&["server", "challenge"]);
    place.stop().await;
    api.stop().await;
}

async fn a_version_of_the_signature_that_the_api_does_not_take_is_named() {
    let api = Api::with(&[("TENANT_SIGNATURE_DEMANDED", "v2")]).await;
    let place = Place::beside("acme", &api, &[("TOOLBRIDGE_TENANT_SIGNATURE", "v1")]).await;
    let words = [
        "version of the tenant signature",
        "TOOLBRIDGE_TENANT_SIGNATURE",
    ];
    let said = inside(&place).await.only("signature", &words);
    said.ok(&["api_ready", "token", "server"]);
    outside(&place)
        .await
        .only("ready", &words)
        .ok(&["server", "challenge"]);
    place.stop().await;
    api.stop().await;
}

async fn a_clock_that_is_ten_minutes_off_is_named() {
    let api = Api::start().await;
    let ahead = || Manner {
        clock_ahead: 600,
        ..Manner::default()
    };
    let front = Front::before(&api.url, ahead()).await;
    let place = Place::beside(
        "acme",
        &api,
        &[("TOOLBRIDGE_GO_API_BASE_URL", &front.url())],
    )
    .await;
    let said = inside(&place).await;
    said.only("api_clock", &["10 min ahead of", "timedatectl"])
        .ok(&["api_ready", "token"]);
    outside(&place)
        .await
        .only("ready", &["clocks", "too far apart"]);

    // Between a client and the server it is tokens that suffer.
    let front = Front::before(&world().acme.url, ahead()).await;
    let said = outside_with(&front.url(), &world().acme.new_user().token, &[], &[]).await;
    said.only("clock", &["10 min ahead of"])
        .ok(&["token", "tools"]);
    place.stop().await;
    api.stop().await;
}

async fn an_api_that_is_down_is_named() {
    let api = Api::start().await;
    let place = Place::beside("acme", &api, &[]).await;
    api.stop().await;
    let said = inside(&place).await.only(
        "api_port",
        &["nothing listens at", &api.url, "start the API"],
    );
    said.ok(&["token", "server"]);
    let said = outside(&place)
        .await
        .only("ready", &["cannot reach its REST API", "start the API"]);
    said.ok(&["server", "challenge"]);
    place.stop().await;
}

async fn a_wrong_port_is_named() {
    let place = &world().acme;
    let nowhere = vacant();
    let said =
        Said::of(inside_with(place, &[("TOOLBRIDGE_GO_API_BASE_URL", &nowhere.url)], &[]).await);
    said.only(
        "api_port",
        &[
            "nothing listens at",
            &nowhere.url,
            "TOOLBRIDGE_GO_API_BASE_URL",
        ],
    );
    // Something listens, and is something else.
    let said =
        Said::of(inside_with(place, &[("TOOLBRIDGE_GO_API_BASE_URL", &place.mcp())], &[]).await);
    said.only(
        "api_ready",
        &["is not the REST API", "it answered 404", "8081"],
    );
    let said = Said::of(inside_with(place, &[("TOOLBRIDGE_PORT", &nowhere.port)], &[]).await);
    said.only("server", &["nothing listens at", "TOOLBRIDGE_PORT"])
        .ok(&["round_trip"]);

    let token = place.new_user().token;
    let said = outside_with(&nowhere.url, &token, &[], &[]).await;
    said.only("port", &["nothing listens at", &nowhere.url])
        .ok(&["dns"]);
    let said = outside_with(&world().api.url, &token, &[], &[]).await;
    said.only(
        "challenge",
        &["it answered 404", "not ToolBridge's MCP server", "8001"],
    );
}

async fn an_expired_token_is_named_and_when_it_expired() {
    let place = &world().acme;
    let expired = User::with_claims(
        json!({"sub": "late", "tenant_id": "acme", "exp": now_secs() - 3 * 3600 - 60}),
    );
    let words = ["the token has expired (3 h ago)", "get a new one"];
    let said = Said::of(inside_with(place, &[("TOOLBRIDGE_TOKEN", &expired.token)], &[]).await);
    said.only("token", &words)
        .ok(&["signature", "server_ready"]);
    let said = outside_with(&place.url, &expired.token, &[], &[]).await;
    said.only("token", &words)
        .ok(&["ready", "challenge", "metadata"]);
}

async fn a_token_for_another_audience_is_named_and_for_which() {
    let api = Api::start().await;
    let place = Place::beside(
        "acme",
        &api,
        &[("TOOLBRIDGE_AUTH_AUDIENCE", "https://acme.example/mcp")],
    )
    .await;
    let other = User::with_claims(
        json!({"sub": "astray", "tenant_id": "acme", "aud": "https://other.example"}),
    );
    let words = [
        "another audience",
        "its \"aud\" is \"https://other.example\"",
        "JWT_AUDIENCE",
    ];
    let said = Said::of(inside_with(&place, &[("TOOLBRIDGE_TOKEN", &other.token)], &[]).await);
    said.only(
        "token",
        &[&words[..], &["\"https://acme.example/mcp\" is wanted"]].concat(),
    );
    outside_with(&place.url, &other.token, &[], &[])
        .await
        .only("token", &words);

    // One that is made here says what is wanted.
    inside(&place).await.well();
    for (claims, word) in [
        (
            json!({"sub": "u", "tenant_id": "globex", "aud": "https://acme.example/mcp"}),
            "another tenant",
        ),
        (
            json!({"sub": "u", "tenant_id": "acme"}),
            "it has no \"aud\"",
        ),
    ] {
        let token = User::with_claims(claims).token;
        outside_with(&place.url, &token, &[], &[])
            .await
            .only("token", &[word]);
    }
    let forged = crate::harness::token::token(json!({"sub": "u"}), &new_secret());
    outside_with(&place.url, &forged, &[], &[])
        .await
        .only("token", &["another key", "JWT_HS256_SECRET"]);
    outside_with(&place.url, "a secret of mine", &[], &[])
        .await
        .only("token", &["is no token"]);
    place.stop().await;
    api.stop().await;
}

async fn a_database_that_takes_no_write_is_named() {
    let api = Api::start().await;
    let place = Place::beside("acme", &api, &[]).await;
    let known = place.new_user();
    let client = Client::of(&place, Era::Modern, known.clone());
    client
        .call(
            "create_note",
            json!({"title": "t", "content": crate::harness::CONTENT}),
        )
        .await
        .ok();
    // Reading goes on, as on a disk that is full.
    api.process.limit_files(0);
    client.call("list_notes", json!({})).await.ok();
    let words = [
        "the database cannot be written",
        "df -h /data",
        "default_transaction_read_only",
    ];
    let said = Said::of(inside_with(&place, &[("TOOLBRIDGE_TOKEN", &known.token)], &[]).await);
    said.only("write", &words)
        .ok(&["api_ready", "signature", "api_token", "server_ready"]);
    // A user who has never been here is written down first, which does not work either.
    inside(&place)
        .await
        .only("write", &words)
        .ok(&["api_token"]);
    // Nor does it once the server has given the API up for a while.
    let nothing = json!({"title": "t", "content": crate::harness::CONTENT});
    while client.call("create_note", nothing.clone()).await.error()["code"] != "circuit_open" {}
    for user in [known, place.new_user()] {
        let said = outside_with(&place.url, &user.token, &[], &[]).await;
        said.only("write", &words)
            .ok(&["ready", "token", "tools", "stream"]);
    }
    place.stop().await;
    api.stop().await;
}

async fn a_name_that_does_not_exist_is_named() {
    let place = &world().acme;
    let nowhere = "http://api.toolbridge.invalid:8081";
    let said = Said::of(inside_with(place, &[("TOOLBRIDGE_GO_API_BASE_URL", nowhere)], &[]).await);
    said.only(
        "api_dns",
        &[
            "api.toolbridge.invalid: there is no such name",
            "getent hosts",
        ],
    )
    .ok(&["token", "server"]);
    let said = outside_with(
        "https://toolbridge.invalid",
        &place.new_user().token,
        &[],
        &[],
    )
    .await;
    said.only("dns", &["toolbridge.invalid: there is no such name"]);
}

async fn a_proxy_that_gathers_answers_is_named() {
    let gathers = Manner {
        gathers: true,
        ..Manner::default()
    };
    let place = &world().acme;
    let front = Front::before(&place.url, gathers).await;
    let said = outside_with(&front.url(), &place.new_user().token, &[], &[]).await;
    said.only("stream", &["holds answers back", "proxy_buffering off"])
        .ok(&["tools", "round_trip"]);
    // One that does not is not even noticed.
    let front = Front::before(&place.url, Manner::default()).await;
    outside_with(&front.url(), &place.new_user().token, &[], &[])
        .await
        .well();
}

/// A name that nobody can look up.
const NAME: &str = "toolbridge.test";

/// That this name is at this front.
fn resolved(front: &Front) -> [String; 2] {
    [
        "--resolve".to_owned(),
        format!("{NAME}:{}:127.0.0.1", front.address.port()),
    ]
}

async fn a_server_without_tls_is_named_and_gets_no_token() {
    let api = Api::start().await;
    let place = Place::beside("acme", &api, &[("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", NAME)]).await;
    let front = Front::before(&place.url, Manner::default()).await;
    let (url, [flag, at]) = (
        format!("http://{NAME}:{}", front.address.port()),
        resolved(&front),
    );
    let said = outside_with(&url, &place.new_user().token, &[], &[&flag, &at]).await;
    said.only("encrypted", &["there is no TLS", "give the https:// URL"])
        .ok(&["server", "ready", "challenge"]);
    assert_eq!(
        front.with_token(),
        0,
        "the token could have been read on the way"
    );
    place.stop().await;
    api.stop().await;
}

async fn certificates_are_looked_at() {
    let api = Api::start().await;
    let place = Place::beside("acme", &api, &[("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", NAME)]).await;
    let token = place.new_user().token;
    for (name, days, trusted) in [
        (NAME, 30, true),
        (NAME, 3, true),
        (NAME, 30, false),
        ("other.test", 30, true),
        (NAME, -1, true),
    ] {
        let certificate = Certificate::of(name, days).await;
        let authority = certificate.authority();
        let manner = Manner {
            certificate: Some(certificate),
            ..Manner::default()
        };
        let front = Front::before(&place.url, manner).await;
        let (url, [flag, at]) = (
            format!("https://{NAME}:{}", front.address.port()),
            resolved(&front),
        );
        let more = [("SSL_CERT_FILE", authority.as_str())];
        let more = if trusted { &more[..] } else { &[] };
        let said = outside_with(&url, &token, more, &[&flag, &at]).await;
        match (name, days, trusted) {
            (NAME, 30, true) => said.well().ok(&["encrypted", "tls", "round_trip"]),
            (NAME, 3, true) => said.warned("tls", "the certificate is valid for"),
            (NAME, -1, _) => drop(said.only(
                "tls",
                &[
                    "invalid peer certificate: Expired",
                    "flyctl certs check toolbridge.test",
                ],
            )),
            _ => drop(said.only("tls", &["no secure connection", "invalid peer certificate"])),
        }
        if trusted && name == NAME && days > 0 {
            assert!(front.with_token() > 0);
        } else {
            assert_eq!(front.with_token(), 0);
        }
    }
    // https where there is none.
    let said = outside_with(&place.url.replace("http://", "https://"), &token, &[], &[]).await;
    said.only(
        "tls",
        &["no secure connection", "plain http has an http:// URL"],
    );
    place.stop().await;
    api.stop().await;
}

async fn keys_that_cannot_be_fetched_are_named() {
    let api = Api::start().await;
    let nowhere = vacant();
    let settings = [
        ("JWT_HS256_SECRET", ""),
        ("JWT_JWKS_URL", nowhere.url.as_str()),
        ("JWT_ISSUER", "https://login.example"),
        ("JWT_AUDIENCE", "https://acme.example/mcp"),
    ];
    let place = Place::beside("acme", &api, &settings).await;
    let words = ["could not be fetched", "JWT_JWKS_URL"];
    let said = inside(&place).await.only("keys", &words);
    said.ok(&["signature", "server"]);
    outside(&place)
        .await
        .only("ready", &words)
        .ok(&["challenge"]);
    place.stop().await;
    api.stop().await;
}

async fn a_mistake_in_the_configuration_is_named() {
    let place = &world().acme;
    let said = Said::of(inside_with(place, &[("TOOLBRIDGE_PROT", "8001")], &[]).await);
    said.only("config", &["did you mean TOOLBRIDGE_PORT?", "config check"]);
    let off = [("TOOLBRIDGE_TENANT_HEADER_SECRET", "")];
    let said = Said::of(inside_with(place, &off, &[]).await);
    said.only("tenant_secret", &["is off", "TENANT_HEADER_SECRET"])
        .ok(&["api_ready", "token"]);
    let said = Said::of(inside_with(place, &[("TOOLBRIDGE_ENV", "dev")], &[]).await);
    said.warned("config", "dev mode");
}

async fn a_server_that_runs_with_another_configuration_is_named() {
    let api = Api::start().await;
    let secret = new_secret();
    let place = Place::beside(
        "acme",
        &api,
        &[("TOOLBRIDGE_TENANT_HEADER_SECRET", &secret)],
    )
    .await;
    // What is set has been mended; the server does not know yet.
    let said = inside_with(
        &place,
        &[("TOOLBRIDGE_TENANT_HEADER_SECRET", &SECRETS.tenant)],
        &[],
    )
    .await;
    Said::of(said)
        .only(
            "server_ready",
            &["signature_refused", "another configuration", "restart mcp"],
        )
        .ok(&["round_trip"]);
    place.stop().await;
    api.stop().await;
}

async fn a_name_that_the_server_does_not_know_is_named() {
    let place = &world().acme;
    let certificate = Certificate::of(NAME, 30).await;
    let authority = certificate.authority();
    let manner = Manner {
        certificate: Some(certificate),
        ..Manner::default()
    };
    let front = Front::before(&place.url, manner).await;
    let (url, [flag, at]) = (
        format!("https://{NAME}:{}", front.address.port()),
        resolved(&front),
    );
    let said = outside_with(
        &url,
        &place.new_user().token,
        &[("SSL_CERT_FILE", &authority)],
        &[&flag, &at],
    )
    .await;
    let mend = format!("set TOOLBRIDGE_SERVER_PUBLIC_URL to {url}");
    said.only(
        "challenge",
        &["does not know toolbridge.test as its own name", &mend],
    );
}

async fn metadata_that_leads_elsewhere_is_named() {
    let api = Api::start().await;
    let nobody = vacant();
    let settings = [
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", "https://acme.example"),
        ("TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS", nobody.url.as_str()),
    ];
    let place = Place::beside("acme", &api, &settings).await;
    let said = outside(&place).await;
    let mend = format!("set TOOLBRIDGE_SERVER_PUBLIC_URL to {}", place.url);
    said.only(
        "metadata",
        &[
            "clients are sent to https://acme.example/.well-known",
            &mend,
        ],
    )
    .ok(&["round_trip"]);
    place.stop().await;

    // At its own URL all is well, but for an authorization server that is not there.
    let front = Front::first(Manner::default()).await;
    let url = front.url();
    let own = [
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", url.as_str()),
        ("TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS", nobody.url.as_str()),
    ];
    let place = Place::beside("acme", &api, &own).await;
    front.leads_to(&place.url);
    let said = outside_with(&url, &place.new_user().token, &[], &[]).await;
    said.warned("authorization_servers", "does not describe itself");
    said.ok(&["metadata", "round_trip"]);
    place.stop().await;
    api.stop().await;
}

async fn a_note_is_taken_away_whatever_happens() {
    let api = Api::start().await;
    let place = &Place::with("acme", &api, &[]).await;
    let user = place.new_user();
    // The note is made; reading it fails.
    place
        .forwarder
        .next(&user, Stage::Operation, Mishap::Wait(Gate::open()));
    place.forwarder.next(
        &user,
        Stage::Operation,
        Mishap::json(500, &json!({"error": "internal"})),
    );
    let said = outside_with(&place.url, &user.token, &[], &[])
        .await
        .only("round_trip", &["get_note"]);
    said.ok(&["left_behind"]);
    has_no_notes(place, &user).await;

    // Or somebody loses patience.
    let user = place.new_user();
    place
        .forwarder
        .next(&user, Stage::Operation, Mishap::Wait(Gate::open()));
    place.forwarder.next(&user, Stage::Operation, Mishap::Hang);
    let mut command = binary(&["doctor", &place.url]);
    command.env("TOOLBRIDGE_TOKEN", &user.token);
    let doctor = Process::start("toolbridge-mcp doctor", command, Stdout::Answers);
    place.forwarder.until_seen(&user, Stage::Operation, 2).await;
    doctor.signal("INT");
    assert_eq!(doctor.exit().await, Some(1), "{}", doctor.story());
    assert!(doctor.story().contains("interrupted"), "{}", doctor.story());
    has_no_notes(place, &user).await;
    place.stop().await;
    api.stop().await;
}

async fn a_note_that_may_be_left_is_told_of() {
    let api = Api::start().await;
    let place = &Place::with("acme", &api, &[]).await;
    let user = place.new_user();
    for _ in 0..3 {
        place
            .forwarder
            .next(&user, Stage::Operation, Mishap::LoseAnswer);
    }
    let said = outside_with(&place.url, &user.token, &[], &[]).await;
    assert_eq!(said.with("failed"), ["write"], "{}", said.ran);
    said.warned("left_behind", "may have been made");
    // It was, and its title is told.
    let client = Client::of(place, Era::Modern, user);
    let listed = client.call("list_notes", json!({})).await.ok();
    let title = listed["items"][0]["payload"]["title"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        said.check_of("left_behind")["what"]
            .as_str()
            .unwrap()
            .contains(&title),
        "{}",
        said.ran
    );
    client.traffic().await;
    place.stop().await;
    api.stop().await;
}

async fn a_mistake_on_the_command_line_is_no_finding() {
    for (words, code, said) in [
        (
            &["doctor", "https://ada:pw@acme.example"][..],
            2,
            "has a user name",
        ),
        (&["doctor", "acme.example"], 2, "it is no URL"),
        (
            &[
                "doctor",
                "https://acme.example",
                "--resolve",
                "acme.example:127.0.0.1",
            ],
            2,
            "HOST:PORT:ADDRESS",
        ),
        (&["doctor", "--resolve", "a:1:127.0.0.1"], 2, "required"),
        (
            &["doctor", "https://acme.example", "--token-file", "nowhere"],
            77,
            "cannot be read",
        ),
    ] {
        let ran = run(words, []).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{ran}");
        assert!(ran.err.contains(said), "{ran}");
    }
}
