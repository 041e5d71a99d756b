//! The binary as a person or a supervisor meets it: what it says, where, and its exit code.
//!
//! Every run gets an environment of its own; nothing listens and nothing waits.

// A test says what it expects by failing loudly; clippy sees that only inside `#[test]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/scripted_api.rs"]
#[allow(dead_code)] // shared with other tests, which use the rest
mod scripted_api;
#[path = "support/surface.rs"]
mod surface;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use scripted_api::{ScriptedApi, Step};
use serde_json::{Value, json};

const STRONG: &str = "9f2c4e1ab7d8035566f1e2d3c4b5a697";
const OTHER_STRONG: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const LEAST: &[(&str, &str)] = &[
    ("TOOLBRIDGE_TENANT_ID", "acme"),
    ("TENANT_HEADER_SECRET", STRONG),
    ("JWT_HS256_SECRET", OTHER_STRONG),
];

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn command(words: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolbridge-mcp"));
    command
        .args(words)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Where nobody listens.
fn vacant() -> String {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    format!("http://{address}")
}

fn run(words: &[&str], environment: &[(&str, &str)]) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = command(words, environment).output().unwrap();
    let said = Said {
        code: status.code().expect("an exit code"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    };
    for secret in [STRONG, OTHER_STRONG] {
        assert!(
            !said.out.contains(secret) && !said.err.contains(secret),
            "a secret was printed by {words:?}"
        );
    }
    said
}

#[test]
fn help_and_version_are_answers_and_a_typing_mistake_is_not() {
    let help = run(&["--help"], &[]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for word in [
        "serve",
        "stdio",
        "tools",
        "call",
        "token",
        "doctor",
        "config",
        "healthcheck",
        "version",
        "completions",
        "Exit codes:",
    ] {
        assert!(help.out.contains(word), "{word}");
    }
    assert_eq!(run(&["version", "--json"], &[]).code, 0);
    let wrong = run(&["sreve"], &[]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("'serve'"), "{}", wrong.err);
}

#[test]
fn bad_configuration_is_one_line_and_64() {
    for words in [
        &["serve"][..],
        &["serve", "--check"],
        &["config", "check"],
        &["config", "show"],
        &["stdio"],
    ] {
        let said = run(words, &[("TOOLBRIDGE_PROT", "1")]);
        assert_eq!(said.code, 64, "{words:?}");
        assert_eq!(
            said.err,
            "error: TOOLBRIDGE_PROT (in the environment) is not a setting: did you mean TOOLBRIDGE_PORT?\n"
        );
        assert_eq!(said.out, "");
    }
}

#[test]
fn a_server_without_the_tenant_secret_says_so_once_and_leaves_with_0() {
    let said = run(&["serve"], &[("TOOLBRIDGE_TENANT_ID", "acme")]);
    assert_eq!(
        (said.code, said.err.as_str(), said.out.lines().count()),
        (0, "", 1)
    );
    let line: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(line["level"], "INFO");
    assert!(
        line["msg"]
            .as_str()
            .unwrap()
            .starts_with("off: tenant.header_secret is not set"),
        "{line}"
    );

    // The container's health is then the API's.
    let nobody = vacant();
    for url in [nobody.as_str(), &format!("{nobody}/")] {
        let said = run(&["healthcheck"], &[("TOOLBRIDGE_API_BASE_URL", url)]);
        assert_eq!(said.code, 1, "{}", said.out);
        assert!(said.out.starts_with("off: "), "{}", said.out);
        assert!(
            said.err
                .contains(&format!("{nobody}/readyz cannot be reached")),
            "{}",
            said.err
        );
    }
    assert!(
        run(&["serve", "--check"], &[])
            .out
            .contains("the server stays off")
    );
}

#[test]
fn a_server_whose_api_does_not_come_gives_up_and_says_why() {
    let nobody = vacant();
    let said = run(
        &["serve", "--port", "0"],
        &[
            ("TOOLBRIDGE_TENANT_ID", "acme"),
            ("TENANT_HEADER_SECRET", STRONG),
            ("JWT_HS256_SECRET", OTHER_STRONG),
            ("TOOLBRIDGE_API_BASE_URL", &nobody),
            ("TOOLBRIDGE_API_STARTUP_TIMEOUT", "200ms"),
        ],
    );
    assert_eq!((said.code, said.err.as_str()), (69, ""));
    let lines: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let waiting = lines
        .iter()
        .filter(|line| line["reason"] == "api_unreachable");
    assert_eq!(waiting.count(), 1, "said once: {}", said.out);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["level"], &last["exit_code"]),
        (&"ERROR".into(), &69.into())
    );
    let sentence = format!(
        "the API at {nobody}/ was not ready within api.startup_timeout (200ms): the API cannot be reached"
    );
    assert!(
        last["msg"].as_str().unwrap().starts_with(&sentence),
        "{last}"
    );
}

#[test]
fn what_cannot_work_without_the_tenant_secret_stops() {
    for words in [&["stdio"][..], &["call", "list_notes"]] {
        let said = run(words, &[("JWT_HS256_SECRET", STRONG)]);
        assert_eq!(said.code, 64, "{}", said.err);
        assert!(
            said.err.contains("set TENANT_HEADER_SECRET"),
            "{}",
            said.err
        );
    }
}

#[test]
fn a_call_without_a_token_is_77() {
    for words in [&["stdio"][..], &["call", "list_notes"]] {
        let said = run(words, LEAST);
        assert_eq!(said.code, 77, "{}", said.err);
        assert!(said.err.contains("set TOOLBRIDGE_TOKEN"), "{}", said.err);
    }
}

#[test]
fn config_show_prints_values_and_origins_but_no_secret() {
    let said = run(&["config", "show", "--set", "api.call_deadline=10s"], LEAST);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(
        said.out.contains("<redacted>") && said.out.contains("# TENANT_HEADER_SECRET"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("\"10s\"") && said.out.contains("# --set"),
        "{}",
        said.out
    );

    let said = run(&["config", "show", "--json"], LEAST);
    let shown: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let id = shown["settings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["key"] == "tenant.id")
        .unwrap();
    assert_eq!(
        (&id["value"], &id["from"], &id["name"]),
        (
            &"acme".into(),
            &"environment".into(),
            &"TOOLBRIDGE_TENANT_ID".into()
        )
    );
}

#[test]
fn the_defaults_that_are_printed_can_be_read_back() {
    let defaults = run(&["config", "show", "--defaults"], &[]).out;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("defaults.toml");
    std::fs::write(&file, defaults).unwrap();
    let said = run(
        &["config", "check", "--config", file.to_str().unwrap()],
        LEAST,
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("serves tenant acme on 127.0.0.1:8001"),
        "{}",
        said.out
    );
}

#[test]
fn a_token_is_made_or_refused_with_the_reason() {
    let said = run(&["token", "--sub", "ada", "--ttl", "5m"], LEAST);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(
        said.out.trim().split('.').count(),
        3,
        "a JWT and nothing else"
    );
    let said = run(&["token"], &[]);
    assert_eq!(said.code, 64);
    assert!(
        said.err.contains("auth.hs256_secret is not set"),
        "{}",
        said.err
    );
}

#[test]
fn a_healthcheck_is_0_or_1_in_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        for answer in ["200 OK", "503 Service Unavailable"] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            write!(
                stream,
                "HTTP/1.1 {answer}\r\ncontent-length: 8\r\nconnection: close\r\n\r\nthe why\n"
            )
            .unwrap();
        }
    });
    let said = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!(
        (said.code, said.out),
        (0, format!("healthy: {url} answered 200\n")),
        "{}",
        said.err
    );
    let said = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!(
        (said.code, said.err),
        (
            1,
            format!("error: not healthy: {url} answered 503 the why\n")
        )
    );
    answering.join().unwrap();
    let said = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!(
        (said.code, said.err),
        (1, format!("error: not healthy: {url} cannot be reached\n"))
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for words in [
        &["config", "show"][..],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut child = command(words, LEAST)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), err.as_str()),
            (Some(0), ""),
            "{words:?}"
        );
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = run(&["completions", shell], &[]);
        assert_eq!(said.code, 0);
        assert!(said.out.contains("healthcheck"), "{shell}");
    }
}

/// Runs a command against this API, as Ada.
async fn run_as_ada(api: &ScriptedApi, words: &[&str]) -> Said {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .chain(["--as", "ada", "--api-url", &url])
            .collect();
        run(&words, LEAST)
    })
    .await
    .unwrap()
}

const UID: &str = "0198c5a2-7a31-7c55-9a4e-3f1d2b6c8e90";

fn note() -> Value {
    json!({
        "uid": UID, "version": 3, "updatedAt": "2026-11-20T11:03:58.120Z",
        "payload": {"title": "Groceries", "content": "Milk\nBread"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_prints_an_item_and_leaves_no_session() {
    let api = ScriptedApi::start().await;
    api.then([Step::json(200, note()), Step::json(200, note())]);
    let said = run_as_ada(&api, &["call", "get_note", &format!("uid={UID}")]).await;
    assert_eq!(
        (said.code, said.out, said.err.as_str()),
        (
            0,
            format!(
                "note {UID}  version 3  updated 2026-11-20 11:03:58\n  title    Groceries\n  content\n    Milk\n    Bread\n"
            ),
            ""
        )
    );
    assert_eq!(
        api.lines(),
        [
            "GET /v1/sync/info",
            "POST /v1/sync/sessions",
            &format!("GET /v1/notes/{UID}"),
            "DELETE /v1/sync/sessions/…"
        ]
    );
    assert_eq!(api.open_sessions(), 0);

    let said = run_as_ada(&api, &["call", "get_note", &format!("uid={UID}"), "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), note());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_with_the_command_for_the_next() {
    let api = ScriptedApi::start().await;
    api.then([Step::json(
        200,
        json!({"items": [note()], "nextCursor": "a b"}),
    )]);
    let said = run_as_ada(&api, &["call", "list_notes", "limit=1"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.starts_with("UID ") && said.out.contains("Groceries"),
        "{}",
        said.out
    );
    assert_eq!(
        said.err,
        format!(
            "more: toolbridge-mcp call list_notes limit=1 'cursor=a b' --api-url {} --as ada\n",
            api.url()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_has_the_exit_code_of_its_category() {
    let api = ScriptedApi::start().await;
    let error = |text: &str| json!({"error": text, "correlation_id": "c"});
    let uid = format!("uid={UID}");
    for (status, code, word) in [
        (404, 1, "note_not_found"),
        (401, 77, ""),
        (429, 75, "rate_limited"),
        (503, 69, ""),
    ] {
        // Later than a call waits for, so that it is not tried again.
        let much_later = ("retry-after", "60".to_owned());
        let answer = match Step::json(status, error("no")) {
            Step::Answer(status, fields, body) => {
                Step::Answer(status, [fields, vec![much_later]].concat(), body)
            }
            other => other,
        };
        api.then([answer]);
        let said = run_as_ada(&api, &["call", "get_note", &uid]).await;
        assert_eq!(
            (said.code, said.out.as_str()),
            (code, ""),
            "{status}: {}",
            said.err
        );
        assert!(
            said.err.starts_with("error: ")
                && said.err.contains("\n  next: ")
                && said.err.contains(word),
            "{}",
            said.err
        );
    }
    api.then([Step::json(404, error("no"))]);
    let said = run_as_ada(&api, &["call", "get_note", &uid, "--json"]).await;
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert_eq!(
        serde_json::from_str::<Value>(&said.out).unwrap()["error"]["code"],
        "note_not_found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tool_refuses_is_never_sent() {
    let api = ScriptedApi::start().await;
    let said = run_as_ada(&api, &["call", "create_note", "title=x"]).await;
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .starts_with("error: `content` is required. (invalid_argument)"),
        "{}",
        said.err
    );
    let said = run_as_ada(&api, &["call", "create_nte", "title=x"]).await;
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: there is no tool \"create_nte\": did you mean create_note?\n"
        )
    );
    let said = run_as_ada(&api, &["call", "create_note", "title"]).await;
    assert_eq!(
        (said.code, said.err.as_str()),
        (2, "error: \"title\" is no argument: write it key=value.\n")
    );
    // The features of the API decide which tools there are; nothing else is asked.
    assert_eq!(api.lines(), ["GET /v1/sync/info"]);
}

#[test]
fn an_api_that_is_not_there_is_69_and_a_bad_token_77() {
    let said = run(
        &[
            "call",
            "list_notes",
            "--as",
            "ada",
            "--api-url",
            "http://127.0.0.1:1",
        ],
        LEAST,
    );
    assert_eq!(said.code, 69, "{}", said.err);
    let said = run(
        &["call", "list_notes"],
        &[LEAST, &[("TOOLBRIDGE_TOKEN", "not.a.token")]].concat(),
    );
    assert_eq!(said.code, 77, "{}", said.err);
    let said = run(
        &["call", "list_notes", "--token-file", "/nonexistent"],
        LEAST,
    );
    assert_eq!(said.code, 77, "{}", said.err);
}

#[test]
fn tools_can_be_listed_and_shown() {
    let said = run(&["tools"], &[]);
    assert_eq!(said.code, 0);
    assert_eq!(
        said.out
            .lines()
            .filter(|line| line.starts_with("  "))
            .count(),
        surface::tool_count()
    );
    let said = run(&["tools", "create_note"], &[]);
    assert!(
        said.out.contains("* title") && said.out.contains("call create_note title=… content=…"),
        "{}",
        said.out
    );
    let said = run(&["tools", "create_note", "--json"], &[]);
    assert_eq!(
        serde_json::from_str::<Value>(&said.out).unwrap()["name"],
        "create_note"
    );
    assert_eq!(
        run(&["tools", "creat_note"], &[]).err,
        "error: there is no tool \"creat_note\": did you mean create_note?\n"
    );
}

/// A started command, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args(["-s", name, &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Its exit code; a command that does not leave is killed, and then has none.
    fn code(&mut self) -> Option<i32> {
        let (left, waiting) = std::sync::mpsc::channel::<()>();
        let id = self.0.id().to_string();
        let watch = std::thread::spawn(move || {
            if waiting.recv_timeout(Duration::from_secs(20)).is_err() {
                let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
            }
        });
        let status = self.0.wait().unwrap();
        left.send(()).unwrap();
        watch.join().unwrap();
        status.code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_logs_where_it_listens_and_leaves_on_sigterm() {
    let api = ScriptedApi::start().await;
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let mut child = command(&["serve", "--port", "0", "--api-url", &url], LEAST);
        let mut child = Running(child.stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);

        let starts: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        assert_eq!(
            (&starts["tenant"], &starts["verifiers"]),
            (&json!("acme"), &json!("hs256"))
        );
        assert_eq!(starts["api_base_url"], format!("{url}/"));
        let listens: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        let address = listens["address"].as_str().unwrap().to_owned();

        let said = run(
            &["healthcheck", "--url", &format!("http://{address}/readyz")],
            &[],
        );
        assert_eq!(said.code, 0, "{}", said.err);
        let said = run(
            &["serve", "--port", address.rsplit(':').next().unwrap()],
            LEAST,
        );
        assert_eq!((said.code, said.err.as_str()), (71, ""));
        let last: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
        let sentence = format!("cannot listen on {address} (");
        assert!(
            last["msg"].as_str().unwrap().starts_with(&sentence),
            "{last}"
        );

        child.signal("TERM");
        assert_eq!(child.code(), Some(0));
        let rest: Vec<String> = lines.collect();
        assert!(rest.last().unwrap().contains("drained"), "{rest:?}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stdio_speaks_mcp_and_leaves_when_the_client_does() {
    let api = ScriptedApi::start().await;
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let start = || {
            let mut child = command(&["stdio", "--as", "ada", "--api-url", &url], LEAST);
            let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            Running(child.spawn().unwrap())
        };
        let mut child = start();
        let mut input = child.0.stdin.take().unwrap();
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        }});
        writeln!(input, "{hello}").unwrap();
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["result"]["serverInfo"]["name"], "toolbridge-mcp");
        drop(input);
        assert_eq!(child.code(), Some(0));
        assert!(lines.next().is_none());

        // Asked to leave while its standard input stays open: the read of it may not hold the process. A terminal that goes
        // away asks the same.
        for signal in ["TERM", "HUP"] {
            let mut child = start();
            let mut held_open = child.0.stdin.take().unwrap();
            writeln!(held_open, "{hello}").unwrap();
            BufReader::new(child.0.stdout.as_mut().unwrap())
                .read_line(&mut String::new())
                .unwrap();
            child.signal(signal);
            assert_eq!(child.code(), Some(0), "{signal}");
            drop(held_open);
        }
    })
    .await
    .unwrap();
}

#[test]
fn client_config_says_what_to_paste_and_never_the_token() {
    let url = ["--url", "https://acme.example.com"];
    let with = |words: &[&str]| {
        run(
            &[&["client-config"], words].concat(),
            &[("TOOLBRIDGE_TOKEN", STRONG), ("HOME", "/home/ada")],
        )
    };

    let clients = with(&[]);
    assert_eq!(
        (clients.code, clients.out.lines().count()),
        (0, 6),
        "{}",
        clients.out
    );

    let said = with(&[&["claude-code"][..], &url].concat());
    let line = "claude mcp add --transport http --scope project toolbridge https://acme.example.com/mcp --header 'Authorization: \
                Bearer ${TOOLBRIDGE_TOKEN}'";
    assert!(said.out.contains(line), "{}", said.out);

    let said = with(
        &[
            &["claude-desktop", "--stdio", "--name", "acme", "--json"][..],
            &url,
        ]
        .concat(),
    );
    let snippet: Value = serde_json::from_str(&said.out).unwrap();
    let arguments = json!([
        "connect",
        "https://acme.example.com/mcp",
        "--token-file",
        "/home/ada/.toolbridge-token"
    ]);
    assert_eq!(snippet["mcpServers"]["acme"]["args"], arguments);
    assert_eq!(
        snippet["mcpServers"]["acme"]["command"],
        env!("CARGO_BIN_EXE_toolbridge-mcp")
    );
    assert_eq!(said.err, "");

    let said = with(&[&["claude-desktop", "--json"][..], &url].concat());
    assert!(said.err.contains("sends no custom header"), "{}", said.err);

    let said = with(&["zed", "--local", "--json", "--config", "acme.toml"]);
    let snippet: Value = serde_json::from_str(&said.out).unwrap();
    let file = std::fs::canonicalize(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .join("acme.toml");
    let arguments = json!([
        "stdio",
        "--config",
        file,
        "--token-file",
        "/home/ada/.toolbridge-token"
    ]);
    assert_eq!(snippet["context_servers"]["toolbridge"]["args"], arguments);
}

#[test]
fn client_config_takes_the_configured_url_and_says_what_it_cannot_do() {
    let public = [(
        "TOOLBRIDGE_SERVER_PUBLIC_URL",
        "https://configured.example.com",
    )];
    let said = run(&["client-config", "cursor", "--oauth", "--json"], &public);
    let snippet: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        snippet["mcpServers"]["toolbridge"]["url"],
        "https://configured.example.com/mcp"
    );

    for (words, sentence) in [
        (
            &["client-config", "cursor"][..],
            "it is not known where the server is: give --url, or set server.public_url.",
        ),
        (
            &["client-config", "curser"],
            "there is no client \"curser\": did you mean cursor?",
        ),
        (
            &["client-config", "cursor", "--url", "acme"],
            "--url is \"acme\", which is no URL",
        ),
        (
            &["client-config", "cursor", "--url", "https://a.example/?x=1"],
            "--url has a query",
        ),
        (
            &[
                "client-config",
                "claude-desktop",
                "--url",
                "https://a.example",
                "--oauth",
                "--json",
            ],
            "Claude Desktop has no file for this: leave out --json",
        ),
        (
            &[
                "client-config",
                "cursor",
                "--name",
                "a b",
                "--url",
                "https://a.example",
            ],
            "use at most 64 letters",
        ),
        (
            &["client-config", "cursor", "--oauth", "--stdio"],
            "cannot be used with",
        ),
    ] {
        let said = run(words, &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words:?}");
        assert!(said.err.contains(sentence), "{}", said.err);
    }
}

/// The page needs no token, so whoever asks may learn nothing from it about the tenant or about what is behind it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_nothing_about_the_tenant() {
    let api = ScriptedApi::start().await;
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let private = [
            ("TOOLBRIDGE_TENANT_ID", "tenant-of-ada"),
            ("TENANT_HEADER_SECRET", STRONG),
            ("JWT_HS256_SECRET", OTHER_STRONG),
            ("JWT_ISSUER", "issuer-of-ada"),
            ("JWT_AUDIENCE", "audience-of-ada"),
            ("TENANT_CLAIM", "claim-of-ada"),
            ("TOOLBRIDGE_API_BASE_URL", url.as_str()),
        ];
        let serve = |more: &[&str]| {
            let mut child = command(&[&["serve", "--port", "0"], more].concat(), &private);
            let mut child = Running(child.stdout(Stdio::piped()).spawn().unwrap());
            let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
            let listens: Value = serde_json::from_str(&lines.nth(1).unwrap().unwrap()).unwrap();
            let mut stream =
                std::net::TcpStream::connect(listens["address"].as_str().unwrap()).unwrap();
            write!(
                stream,
                "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            child.signal("TERM");
            assert_eq!(child.code(), Some(0));
            answer
        };
        let page = serve(&[]);
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("http://<wbr>localhost/mcp"),
            "{page}"
        );
        assert!(page.contains(&format!(
            "A connected assistant gets {} tools.",
            surface::entity_tool_count()
        )));
        let port = url.rsplit(':').next().unwrap();
        for (_, value) in private.iter().chain(&[
            ("", port),
            ("", env!("CARGO_PKG_VERSION")),
            ("", env!("CARGO_MANIFEST_DIR")),
        ]) {
            assert!(!page.contains(value), "{value}");
        }
        assert!(serve(&["--set", "server.page=false"]).starts_with("HTTP/1.1 404"));
    })
    .await
    .unwrap();
}
