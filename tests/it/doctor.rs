//! `toolbridge-mcp doctor` beside deployments without a fault, and with one fault each: it names
//! that fault and how to fix it, and nothing else.

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::process::{Process, Stdout};
use crate::harness::server::binary;
use crate::harness::token::{new_secret, now_secs};
use crate::harness::{
    Api, Certificate, Client, CommandOutput, Era, Fault, Gate, ProxySettings, SECRETS, Server,
    Stage, TlsProxy, ToolClient, User, run, shared,
};

crate::tests![
    a_healthy_deployment_passes_from_both_sides,
    json_output_lists_the_findings,
    read_only_mode_writes_nothing,
    reports_different_tenant_secrets,
    reports_an_unaccepted_signature_version,
    reports_clock_skew,
    reports_an_api_that_is_down,
    reports_a_wrong_port,
    reports_when_a_token_expired,
    reports_the_audience_of_a_token_for_another_service,
    reports_a_read_only_database,
    reports_an_unknown_host_name,
    reports_a_buffering_proxy,
    reports_missing_tls_and_sends_no_token,
    reports_certificate_problems,
    reports_an_unreachable_key_set,
    reports_an_invalid_configuration,
    reports_a_server_with_another_configuration,
    reports_a_host_that_the_server_does_not_allow,
    reports_metadata_of_another_resource,
    always_deletes_its_note,
    reports_a_note_that_may_remain,
    command_line_errors_are_not_findings,
];

/// What `doctor --json` said.
struct DoctorReport {
    output: CommandOutput,
    report: Value,
}

impl DoctorReport {
    fn of(output: CommandOutput) -> Self {
        for secret in [&SECRETS.tenant, &SECRETS.jwt] {
            assert!(!format!("{output}").contains(secret), "a secret is shown");
        }
        let report = output.json();
        let report = Self { output, report };
        report.check();
        report
    }

    /// What holds for every report there is.
    fn check(&self) {
        let failed = !self.with("failed").is_empty();
        assert_eq!(self.report["ok"], json!(!failed), "{}", self.output);
        assert_eq!(self.output.code, i32::from(failed), "{}", self.output);
        for check in self.checks() {
            let bad = ["failed", "warning"].contains(&check["outcome"].as_str().unwrap());
            assert_eq!(
                check["fix"].is_string(),
                bad,
                "what is wrong has a fix: {check}"
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
        found.unwrap_or_else(|| panic!("no {id}: {}", self.output))
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
            self.output
        );
        self
    }

    /// One thing is wrong, in these words; and whatever else was not tried, it was not because of
    /// something else.
    fn only(self, id: &str, words: &[&str]) -> Self {
        assert_eq!(self.with("failed"), [id], "{}", self.output);
        assert!(self.with("warning").is_empty(), "{}", self.output);
        let check = self.check_of(id);
        let text = format!("{} {}", check["what"], check["fix"]).replace("\\\"", "\"");
        for word in words {
            assert!(
                text.contains(word),
                "\"{word}\" is missing: {}",
                self.output
            );
        }
        self
    }

    fn ok(&self, ids: &[&str]) {
        for id in ids {
            assert_eq!(self.check_of(id)["outcome"], "ok", "{id}: {}", self.output);
        }
    }

    fn warned(&self, id: &str, words: &str) {
        assert_eq!(self.with("warning"), [id], "{}", self.output);
        assert!(
            self.check_of(id)["what"].as_str().unwrap().contains(words),
            "{}",
            self.output
        );
    }
}

fn port(server: &Server) -> &str {
    server.url.rsplit(':').next().unwrap()
}

/// From the inside: with the very environment of the server, and some more of it.
async fn inside_with(server: &Server, more: &[(&str, &str)], words: &[&str]) -> CommandOutput {
    let words = [&["doctor", "--json"], words].concat();
    let known = [("TOOLBRIDGE_PORT", port(server))];
    run(
        &words,
        server
            .environment()
            .chain(known)
            .chain(more.iter().copied()),
    )
    .await
}

async fn inside(server: &Server) -> DoctorReport {
    DoctorReport::of(inside_with(server, &[], &[]).await)
}

/// From the outside: with nothing but a URL and a token.
async fn outside_with(
    url: &str,
    token: &str,
    more: &[(&str, &str)],
    words: &[&str],
) -> DoctorReport {
    let words = [&["doctor", url, "--json"], words].concat();
    let token = [("TOOLBRIDGE_TOKEN", token)];
    DoctorReport::of(run(&words, token.into_iter().chain(more.iter().copied())).await)
}

async fn outside(server: &Server) -> DoctorReport {
    outside_with(&server.url, &server.new_user().token, &[], &[]).await
}

/// An address at which nobody listens, and nobody else will as long as this lives.
struct UnusedAddress {
    url: String,
    port: String,
    _held: TcpSocket,
}

fn unused_address() -> UnusedAddress {
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = held.local_addr().unwrap();
    UnusedAddress {
        url: format!("http://{address}"),
        port: address.port().to_string(),
        _held: held,
    }
}

async fn has_no_notes(server: &Server, user: &User) {
    let client = Client::of(server, Era::Modern, user.clone());
    let listed = client.call("list_notes", json!({})).await.ok();
    assert_eq!(listed["items"], json!([]));
    client.traffic().await;
}

async fn a_healthy_deployment_passes_from_both_sides() {
    let server = &shared().acme;
    let known = [("TOOLBRIDGE_PORT", port(server))];
    let report = run(&["doctor"], server.environment().chain(known))
        .await
        .done();
    assert!(
        report
            .out
            .contains("  ok     Round trip of a note: the note was read, deleted, and is gone\n"),
        "{report}"
    );
    assert!(
        report.out.ends_with("this machine is well.\n") && report.err.is_empty(),
        "{report}"
    );

    let user = server.new_user();
    let report = run(
        &["doctor", &server.mcp()],
        [("TOOLBRIDGE_TOKEN", user.token.as_str())],
    )
    .await
    .done();
    assert!(
        report.out.contains(&format!(
            "  ok     Tools: {} tools are listed\n",
            crate::surface::tool_count()
        )),
        "{report}"
    );
    assert!(
        report
            .out
            .contains("  ok     Streams: the first event came after "),
        "{report}"
    );
    assert!(
        report.out.ends_with(&format!("{} is well.\n", server.url)),
        "{report}"
    );
    has_no_notes(server, &user).await;

    // Without a token there is less to see, and nothing is wrong with that.
    let report = DoctorReport::of(run(&["doctor", &server.url, "--json"], []).await).well();
    report.ok(&["challenge", "metadata"]);
    assert_eq!(
        report.check_of("round_trip")["because"],
        "token",
        "{}",
        report.output
    );
}

async fn json_output_lists_the_findings() {
    let server = &shared().acme;
    let report = inside(server).await.well();
    assert_eq!(report.report["target"], "this machine");
    report.ok(&[
        "config",
        "signature",
        "token",
        "api_token",
        "write",
        "round_trip",
        "server",
        "server_ready",
    ]);
    let report = outside(server).await.well();
    assert_eq!(report.report["target"], json!(server.url));
    report.ok(&[
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

async fn read_only_mode_writes_nothing() {
    let server = &shared().acme;
    let user = server.new_user();
    let report = outside_with(&server.url, &user.token, &[], &["--read-only"])
        .await
        .well();
    assert_eq!(
        report.check_of("write")["outcome"],
        "skipped",
        "{}",
        report.output
    );
    let client = Client::of(server, Era::Modern, user);
    assert_eq!(client.traffic().await.lines(), Vec::<String>::new());

    let reader = User::with_claims(
        json!({"sub": "reader-of-doctor", "tenant_id": "acme", "scope": "toolbridge:read"}),
    );
    let report = outside_with(&server.url, &reader.token, &[], &[])
        .await
        .well();
    assert!(
        report.check_of("write")["what"]
            .as_str()
            .unwrap()
            .contains("leaves out"),
        "{}",
        report.output
    );
    let report =
        DoctorReport::of(inside_with(server, &[("TOOLBRIDGE_TOKEN", &reader.token)], &[]).await)
            .well();
    report.ok(&["api_token"]);
    assert_eq!(
        report.check_of("write")["outcome"],
        "skipped",
        "{}",
        report.output
    );
}

async fn reports_different_tenant_secrets() {
    let api = Api::start().await;
    let secret = new_secret();
    let server = Server::without_forwarder(
        "acme",
        &api,
        &[("TOOLBRIDGE_TENANT_HEADER_SECRET", &secret)],
    )
    .await;
    let words = ["different tenant secrets", "TENANT_HEADER_SECRET"];
    let report = inside(&server).await.only("signature", &words);
    report.ok(&["api_ready", "token", "server"]);
    outside(&server)
        .await
        .only("ready", &words)
        .ok(&["server", "challenge"]);
    server.stop().await;
    api.stop().await;
}

async fn reports_an_unaccepted_signature_version() {
    let api = Api::with(&[("TENANT_SIGNATURE_DEMANDED", "v2")]).await;
    let server =
        Server::without_forwarder("acme", &api, &[("TOOLBRIDGE_TENANT_SIGNATURE", "v1")]).await;
    let words = [
        "version of the tenant signature",
        "TOOLBRIDGE_TENANT_SIGNATURE",
    ];
    let report = inside(&server).await.only("signature", &words);
    report.ok(&["api_ready", "token", "server"]);
    outside(&server)
        .await
        .only("ready", &words)
        .ok(&["server", "challenge"]);
    server.stop().await;
    api.stop().await;
}

async fn reports_clock_skew() {
    let api = Api::start().await;
    let ahead = || ProxySettings {
        clock_ahead: 600,
        ..ProxySettings::default()
    };
    let proxy = TlsProxy::before(&api.url, ahead()).await;
    let server = Server::without_forwarder(
        "acme",
        &api,
        &[("TOOLBRIDGE_GO_API_BASE_URL", &proxy.url())],
    )
    .await;
    let report = inside(&server).await;
    report
        .only("api_clock", &["10 min ahead of", "timedatectl"])
        .ok(&["api_ready", "token"]);
    outside(&server)
        .await
        .only("ready", &["clocks", "too far apart"]);

    // Between a client and the server it is tokens that suffer.
    let proxy = TlsProxy::before(&shared().acme.url, ahead()).await;
    let report = outside_with(&proxy.url(), &shared().acme.new_user().token, &[], &[]).await;
    report
        .only("clock", &["10 min ahead of"])
        .ok(&["token", "tools"]);
    server.stop().await;
    api.stop().await;
}

async fn reports_an_api_that_is_down() {
    let api = Api::start().await;
    let server = Server::without_forwarder("acme", &api, &[]).await;
    api.stop().await;
    let report = inside(&server).await.only(
        "api_port",
        &["nothing listens at", &api.url, "start the API"],
    );
    report.ok(&["token", "server"]);
    let report = outside(&server)
        .await
        .only("ready", &["cannot reach its REST API", "start the API"]);
    report.ok(&["server", "challenge"]);
    server.stop().await;
}

async fn reports_a_wrong_port() {
    let server = &shared().acme;
    let nowhere = unused_address();
    let report = DoctorReport::of(
        inside_with(server, &[("TOOLBRIDGE_GO_API_BASE_URL", &nowhere.url)], &[]).await,
    );
    report.only(
        "api_port",
        &[
            "nothing listens at",
            &nowhere.url,
            "TOOLBRIDGE_GO_API_BASE_URL",
        ],
    );
    // Something listens, and is something else.
    let report = DoctorReport::of(
        inside_with(
            server,
            &[("TOOLBRIDGE_GO_API_BASE_URL", &server.mcp())],
            &[],
        )
        .await,
    );
    report.only(
        "api_ready",
        &["is not the REST API", "it answered 404", "8081"],
    );
    let report =
        DoctorReport::of(inside_with(server, &[("TOOLBRIDGE_PORT", &nowhere.port)], &[]).await);
    report
        .only("server", &["nothing listens at", "TOOLBRIDGE_PORT"])
        .ok(&["round_trip"]);

    let token = server.new_user().token;
    let report = outside_with(&nowhere.url, &token, &[], &[]).await;
    report
        .only("port", &["nothing listens at", &nowhere.url])
        .ok(&["dns"]);
    let report = outside_with(&shared().api.url, &token, &[], &[]).await;
    report.only(
        "challenge",
        &["it answered 404", "not ToolBridge's MCP server", "8001"],
    );
}

async fn reports_when_a_token_expired() {
    let server = &shared().acme;
    let expired = User::with_claims(
        json!({"sub": "late", "tenant_id": "acme", "exp": now_secs() - 3 * 3600 - 60}),
    );
    let words = ["the token has expired (3 h ago)", "get a new one"];
    let report =
        DoctorReport::of(inside_with(server, &[("TOOLBRIDGE_TOKEN", &expired.token)], &[]).await);
    report
        .only("token", &words)
        .ok(&["signature", "server_ready"]);
    let report = outside_with(&server.url, &expired.token, &[], &[]).await;
    report
        .only("token", &words)
        .ok(&["ready", "challenge", "metadata"]);
}

async fn reports_the_audience_of_a_token_for_another_service() {
    let api = Api::start().await;
    let server = Server::without_forwarder(
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
    let report =
        DoctorReport::of(inside_with(&server, &[("TOOLBRIDGE_TOKEN", &other.token)], &[]).await);
    report.only(
        "token",
        &[&words[..], &["\"https://acme.example/mcp\" is wanted"]].concat(),
    );
    outside_with(&server.url, &other.token, &[], &[])
        .await
        .only("token", &words);

    // One that is made here says what is wanted.
    inside(&server).await.well();
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
        outside_with(&server.url, &token, &[], &[])
            .await
            .only("token", &[word]);
    }
    let forged = crate::harness::token::token(json!({"sub": "u"}), &new_secret());
    outside_with(&server.url, &forged, &[], &[])
        .await
        .only("token", &["another key", "JWT_HS256_SECRET"]);
    outside_with(&server.url, "a secret of mine", &[], &[])
        .await
        .only("token", &["is no token"]);
    server.stop().await;
    api.stop().await;
}

async fn reports_a_read_only_database() {
    let api = Api::start().await;
    let server = Server::without_forwarder("acme", &api, &[]).await;
    let known = server.new_user();
    let client = Client::of(&server, Era::Modern, known.clone());
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
    let report =
        DoctorReport::of(inside_with(&server, &[("TOOLBRIDGE_TOKEN", &known.token)], &[]).await);
    report
        .only("write", &words)
        .ok(&["api_ready", "signature", "api_token", "server_ready"]);
    // A user who has never been here is written down first, which does not work either.
    inside(&server)
        .await
        .only("write", &words)
        .ok(&["api_token"]);
    // Nor does it once the server has given the API up for a while.
    let nothing = json!({"title": "t", "content": crate::harness::CONTENT});
    while client.call("create_note", nothing.clone()).await.error()["code"] != "circuit_open" {}
    for user in [known, server.new_user()] {
        let report = outside_with(&server.url, &user.token, &[], &[]).await;
        report
            .only("write", &words)
            .ok(&["ready", "token", "tools", "stream"]);
    }
    server.stop().await;
    api.stop().await;
}

async fn reports_an_unknown_host_name() {
    let server = &shared().acme;
    let nowhere = "http://api.toolbridge.invalid:8081";
    let report = DoctorReport::of(
        inside_with(server, &[("TOOLBRIDGE_GO_API_BASE_URL", nowhere)], &[]).await,
    );
    report
        .only(
            "api_dns",
            &[
                "api.toolbridge.invalid: there is no such name",
                "getent hosts",
            ],
        )
        .ok(&["token", "server"]);
    let report = outside_with(
        "https://toolbridge.invalid",
        &server.new_user().token,
        &[],
        &[],
    )
    .await;
    report.only("dns", &["toolbridge.invalid: there is no such name"]);
}

async fn reports_a_buffering_proxy() {
    let buffers_responses = ProxySettings {
        buffers_responses: true,
        ..ProxySettings::default()
    };
    let server = &shared().acme;
    let proxy = TlsProxy::before(&server.url, buffers_responses).await;
    let report = outside_with(&proxy.url(), &server.new_user().token, &[], &[]).await;
    report
        .only("stream", &["holds answers back", "proxy_buffering off"])
        .ok(&["tools", "round_trip"]);
    // One that does not is not even noticed.
    let proxy = TlsProxy::before(&server.url, ProxySettings::default()).await;
    outside_with(&proxy.url(), &server.new_user().token, &[], &[])
        .await
        .well();
}

/// A name that nobody can look up.
const NAME: &str = "toolbridge.test";

/// That this name is at this front.
fn resolved(proxy: &TlsProxy) -> [String; 2] {
    [
        "--resolve".to_owned(),
        format!("{NAME}:{}:127.0.0.1", proxy.address.port()),
    ]
}

async fn reports_missing_tls_and_sends_no_token() {
    let api = Api::start().await;
    let server =
        Server::without_forwarder("acme", &api, &[("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", NAME)]).await;
    let proxy = TlsProxy::before(&server.url, ProxySettings::default()).await;
    let (url, [flag, at]) = (
        format!("http://{NAME}:{}", proxy.address.port()),
        resolved(&proxy),
    );
    let report = outside_with(&url, &server.new_user().token, &[], &[&flag, &at]).await;
    report
        .only("encrypted", &["there is no TLS", "give the https:// URL"])
        .ok(&["server", "ready", "challenge"]);
    assert_eq!(
        proxy.with_token(),
        0,
        "the token could have been read on the way"
    );
    server.stop().await;
    api.stop().await;
}

async fn reports_certificate_problems() {
    let api = Api::start().await;
    let server =
        Server::without_forwarder("acme", &api, &[("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", NAME)]).await;
    let token = server.new_user().token;
    for (name, days, trusted) in [
        (NAME, 30, true),
        (NAME, 3, true),
        (NAME, 30, false),
        ("other.test", 30, true),
        (NAME, -1, true),
    ] {
        let certificate = Certificate::of(name, days).await;
        let authority = certificate.authority();
        let settings = ProxySettings {
            certificate: Some(certificate),
            ..ProxySettings::default()
        };
        let proxy = TlsProxy::before(&server.url, settings).await;
        let (url, [flag, at]) = (
            format!("https://{NAME}:{}", proxy.address.port()),
            resolved(&proxy),
        );
        let more = [("SSL_CERT_FILE", authority.as_str())];
        let more = if trusted { &more[..] } else { &[] };
        let report = outside_with(&url, &token, more, &[&flag, &at]).await;
        match (name, days, trusted) {
            (NAME, 30, true) => report.well().ok(&["encrypted", "tls", "round_trip"]),
            (NAME, 3, true) => report.warned("tls", "the certificate is valid for"),
            (NAME, -1, _) => drop(report.only(
                "tls",
                &[
                    "invalid peer certificate: Expired",
                    "flyctl certs check toolbridge.test",
                ],
            )),
            _ => drop(report.only("tls", &["no secure connection", "invalid peer certificate"])),
        }
        if trusted && name == NAME && days > 0 {
            assert!(proxy.with_token() > 0);
        } else {
            assert_eq!(proxy.with_token(), 0);
        }
    }
    // https where there is none.
    let report = outside_with(&server.url.replace("http://", "https://"), &token, &[], &[]).await;
    report.only(
        "tls",
        &["no secure connection", "plain http has an http:// URL"],
    );
    server.stop().await;
    api.stop().await;
}

async fn reports_an_unreachable_key_set() {
    let api = Api::start().await;
    let nowhere = unused_address();
    let settings = [
        ("JWT_HS256_SECRET", ""),
        ("JWT_JWKS_URL", nowhere.url.as_str()),
        ("JWT_ISSUER", "https://login.example"),
        ("JWT_AUDIENCE", "https://acme.example/mcp"),
    ];
    let server = Server::without_forwarder("acme", &api, &settings).await;
    let words = ["could not be fetched", "JWT_JWKS_URL"];
    let report = inside(&server).await.only("keys", &words);
    report.ok(&["signature", "server"]);
    outside(&server)
        .await
        .only("ready", &words)
        .ok(&["challenge"]);
    server.stop().await;
    api.stop().await;
}

async fn reports_an_invalid_configuration() {
    let server = &shared().acme;
    let report = DoctorReport::of(inside_with(server, &[("TOOLBRIDGE_PROT", "8001")], &[]).await);
    report.only("config", &["did you mean TOOLBRIDGE_PORT?", "config check"]);
    let off = [("TOOLBRIDGE_TENANT_HEADER_SECRET", "")];
    let report = DoctorReport::of(inside_with(server, &off, &[]).await);
    report
        .only("tenant_secret", &["is off", "TENANT_HEADER_SECRET"])
        .ok(&["api_ready", "token"]);
    let report = DoctorReport::of(inside_with(server, &[("TOOLBRIDGE_ENV", "dev")], &[]).await);
    report.warned("config", "dev mode");
}

async fn reports_a_server_with_another_configuration() {
    let api = Api::start().await;
    let secret = new_secret();
    let server = Server::without_forwarder(
        "acme",
        &api,
        &[("TOOLBRIDGE_TENANT_HEADER_SECRET", &secret)],
    )
    .await;
    // The setting has been corrected; the server still has the old one.
    let report = inside_with(
        &server,
        &[("TOOLBRIDGE_TENANT_HEADER_SECRET", &SECRETS.tenant)],
        &[],
    )
    .await;
    DoctorReport::of(report)
        .only(
            "server_ready",
            &["signature_refused", "another configuration", "restart mcp"],
        )
        .ok(&["round_trip"]);
    server.stop().await;
    api.stop().await;
}

async fn reports_a_host_that_the_server_does_not_allow() {
    let server = &shared().acme;
    let certificate = Certificate::of(NAME, 30).await;
    let authority = certificate.authority();
    let settings = ProxySettings {
        certificate: Some(certificate),
        ..ProxySettings::default()
    };
    let proxy = TlsProxy::before(&server.url, settings).await;
    let (url, [flag, at]) = (
        format!("https://{NAME}:{}", proxy.address.port()),
        resolved(&proxy),
    );
    let report = outside_with(
        &url,
        &server.new_user().token,
        &[("SSL_CERT_FILE", &authority)],
        &[&flag, &at],
    )
    .await;
    let fix = format!("set TOOLBRIDGE_SERVER_PUBLIC_URL to {url}");
    report.only(
        "challenge",
        &["does not know toolbridge.test as its own name", &fix],
    );
}

async fn reports_metadata_of_another_resource() {
    let api = Api::start().await;
    let nobody = unused_address();
    let settings = [
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", "https://acme.example"),
        ("TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS", nobody.url.as_str()),
    ];
    let server = Server::without_forwarder("acme", &api, &settings).await;
    let report = outside(&server).await;
    let fix = format!("set TOOLBRIDGE_SERVER_PUBLIC_URL to {}", server.url);
    report
        .only(
            "metadata",
            &["clients are sent to https://acme.example/.well-known", &fix],
        )
        .ok(&["round_trip"]);
    server.stop().await;

    // At its own URL all is well, but for an authorization server that is not there.
    let proxy = TlsProxy::first(ProxySettings::default()).await;
    let url = proxy.url();
    let own = [
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", url.as_str()),
        ("TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS", nobody.url.as_str()),
    ];
    let server = Server::without_forwarder("acme", &api, &own).await;
    proxy.forward_to(&server.url);
    let report = outside_with(&url, &server.new_user().token, &[], &[]).await;
    report.warned("authorization_servers", "does not describe itself");
    report.ok(&["metadata", "round_trip"]);
    server.stop().await;
    api.stop().await;
}

async fn always_deletes_its_note() {
    let api = Api::start().await;
    let server = &Server::with("acme", &api, &[]).await;
    let user = server.new_user();
    // The note is made; reading it fails.
    server
        .forwarder
        .inject(&user, Stage::Operation, Fault::Wait(Gate::open()));
    server.forwarder.inject(
        &user,
        Stage::Operation,
        Fault::json(500, &json!({"error": "internal"})),
    );
    let report = outside_with(&server.url, &user.token, &[], &[])
        .await
        .only("round_trip", &["get_note"]);
    report.ok(&["left_behind"]);
    has_no_notes(server, &user).await;

    // Or the user interrupts it.
    let user = server.new_user();
    server
        .forwarder
        .inject(&user, Stage::Operation, Fault::Wait(Gate::open()));
    server
        .forwarder
        .inject(&user, Stage::Operation, Fault::Hang);
    let mut command = binary(&["doctor", &server.url]);
    command.env("TOOLBRIDGE_TOKEN", &user.token);
    let doctor = Process::start("toolbridge-mcp doctor", command, Stdout::Answers);
    server
        .forwarder
        .until_seen(&user, Stage::Operation, 2)
        .await;
    doctor.signal("INT");
    assert_eq!(doctor.exit().await, Some(1), "{}", doctor.all_output());
    assert!(
        doctor.all_output().contains("interrupted"),
        "{}",
        doctor.all_output()
    );
    has_no_notes(server, &user).await;
    server.stop().await;
    api.stop().await;
}

async fn reports_a_note_that_may_remain() {
    let api = Api::start().await;
    let server = &Server::with("acme", &api, &[]).await;
    let user = server.new_user();
    for _ in 0..3 {
        server
            .forwarder
            .inject(&user, Stage::Operation, Fault::LoseAnswer);
    }
    let report = outside_with(&server.url, &user.token, &[], &[]).await;
    assert_eq!(report.with("failed"), ["write"], "{}", report.output);
    report.warned("left_behind", "may have been made");
    // It was, and its title is told.
    let client = Client::of(server, Era::Modern, user);
    let listed = client.call("list_notes", json!({})).await.ok();
    let title = listed["items"][0]["payload"]["title"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        report.check_of("left_behind")["what"]
            .as_str()
            .unwrap()
            .contains(&title),
        "{}",
        report.output
    );
    client.traffic().await;
    server.stop().await;
    api.stop().await;
}

async fn command_line_errors_are_not_findings() {
    for (words, code, report) in [
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
        let output = run(words, []).await;
        assert_eq!((output.code, output.out.as_str()), (code, ""), "{output}");
        assert!(output.err.contains(report), "{output}");
    }
}
