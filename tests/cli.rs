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
const MINIMAL: &[(&str, &str)] = &[
    ("TOOLBRIDGE_TENANT_ID", "acme"),
    ("TENANT_HEADER_SECRET", STRONG),
    ("JWT_HS256_SECRET", OTHER_STRONG),
];

struct CommandOutput {
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
fn unused_address() -> String {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    format!("http://{address}")
}

fn run(words: &[&str], environment: &[(&str, &str)]) -> CommandOutput {
    let Output {
        status,
        stdout,
        stderr,
    } = command(words, environment).output().unwrap();
    let output = CommandOutput {
        code: status.code().expect("an exit code"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    };
    for secret in [STRONG, OTHER_STRONG] {
        assert!(
            !output.out.contains(secret) && !output.err.contains(secret),
            "a secret was printed by {words:?}"
        );
    }
    output
}

#[test]
fn help_and_version_succeed_and_a_typo_does_not() {
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
fn an_invalid_configuration_is_one_line_and_exits_with_64() {
    for words in [
        &["serve"][..],
        &["serve", "--check"],
        &["config", "check"],
        &["config", "show"],
        &["stdio"],
    ] {
        let output = run(words, &[("TOOLBRIDGE_PROT", "1")]);
        assert_eq!(output.code, 64, "{words:?}");
        assert_eq!(
            output.err,
            "error: TOOLBRIDGE_PROT (in the environment) is not a setting: did you mean \
             TOOLBRIDGE_PORT?\n"
        );
        assert_eq!(output.out, "");
    }
}

#[test]
fn a_server_without_the_tenant_secret_logs_once_and_exits_with_0() {
    let output = run(&["serve"], &[("TOOLBRIDGE_TENANT_ID", "acme")]);
    assert_eq!(
        (output.code, output.err.as_str(), output.out.lines().count()),
        (0, "", 1)
    );
    let line: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(line["level"], "INFO");
    assert!(
        line["msg"]
            .as_str()
            .unwrap()
            .starts_with("off: tenant.header_secret is not set"),
        "{line}"
    );

    // The container's health is then the API's.
    let nobody = unused_address();
    for url in [nobody.as_str(), &format!("{nobody}/")] {
        let output = run(&["healthcheck"], &[("TOOLBRIDGE_API_BASE_URL", url)]);
        assert_eq!(output.code, 1, "{}", output.out);
        assert!(output.out.starts_with("off: "), "{}", output.out);
        assert!(
            output
                .err
                .contains(&format!("{nobody}/readyz cannot be reached")),
            "{}",
            output.err
        );
    }
    assert!(
        run(&["serve", "--check"], &[])
            .out
            .contains("the server stays off")
    );
}

#[test]
fn a_server_without_its_api_exits_with_the_reason() {
    let nobody = unused_address();
    let output = run(
        &["serve", "--port", "0"],
        &[
            ("TOOLBRIDGE_TENANT_ID", "acme"),
            ("TENANT_HEADER_SECRET", STRONG),
            ("JWT_HS256_SECRET", OTHER_STRONG),
            ("TOOLBRIDGE_API_BASE_URL", &nobody),
            ("TOOLBRIDGE_API_STARTUP_TIMEOUT", "200ms"),
        ],
    );
    assert_eq!((output.code, output.err.as_str()), (69, ""));
    let lines: Vec<serde_json::Value> = output
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let waiting = lines
        .iter()
        .filter(|line| line["reason"] == "api_unreachable");
    assert_eq!(waiting.count(), 1, "said once: {}", output.out);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["level"], &last["exit_code"]),
        (&"ERROR".into(), &69.into())
    );
    let sentence = format!(
        "the API at {nobody}/ was not ready within api.startup_timeout (200ms): the API cannot be \
         reached"
    );
    assert!(
        last["msg"].as_str().unwrap().starts_with(&sentence),
        "{last}"
    );
}

#[test]
fn commands_that_need_the_tenant_secret_fail_without_it() {
    for words in [&["stdio"][..], &["call", "list_notes"]] {
        let output = run(words, &[("JWT_HS256_SECRET", STRONG)]);
        assert_eq!(output.code, 64, "{}", output.err);
        assert!(
            output.err.contains("set TENANT_HEADER_SECRET"),
            "{}",
            output.err
        );
    }
}

#[test]
fn a_call_without_a_token_exits_with_77() {
    for words in [&["stdio"][..], &["call", "list_notes"]] {
        let output = run(words, MINIMAL);
        assert_eq!(output.code, 77, "{}", output.err);
        assert!(
            output.err.contains("set TOOLBRIDGE_TOKEN"),
            "{}",
            output.err
        );
    }
}

#[test]
fn config_show_prints_values_and_origins_but_no_secret() {
    let output = run(
        &["config", "show", "--set", "api.call_deadline=10s"],
        MINIMAL,
    );
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    assert!(
        output.out.contains("<redacted>") && output.out.contains("# TENANT_HEADER_SECRET"),
        "{}",
        output.out
    );
    assert!(
        output.out.contains("\"10s\"") && output.out.contains("# --set"),
        "{}",
        output.out
    );

    let output = run(&["config", "show", "--json"], MINIMAL);
    let shown: serde_json::Value = serde_json::from_str(&output.out).unwrap();
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
fn printed_defaults_can_be_parsed() {
    let defaults = run(&["config", "show", "--defaults"], &[]).out;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("defaults.toml");
    std::fs::write(&file, defaults).unwrap();
    let output = run(
        &["config", "check", "--config", file.to_str().unwrap()],
        MINIMAL,
    );
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(
        output.out.contains("serves tenant acme on 127.0.0.1:8001"),
        "{}",
        output.out
    );
}

#[test]
fn a_token_is_minted_or_refused_with_the_reason() {
    let output = run(&["token", "--sub", "ada", "--ttl", "5m"], MINIMAL);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    assert_eq!(
        output.out.trim().split('.').count(),
        3,
        "a JWT and nothing else"
    );
    let output = run(&["token"], &[]);
    assert_eq!(output.code, 64);
    assert!(
        output.err.contains("auth.hs256_secret is not set"),
        "{}",
        output.err
    );
}

#[test]
fn a_healthcheck_prints_one_line_and_exits_with_0_or_1() {
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
    let output = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!(
        (output.code, output.out),
        (0, format!("healthy: {url} answered 200\n")),
        "{}",
        output.err
    );
    let output = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!(
        (output.code, output.err),
        (
            1,
            format!("error: not healthy: {url} answered 503 the why\n")
        )
    );
    answering.join().unwrap();
    let output = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!(
        (output.code, output.err),
        (1, format!("error: not healthy: {url} cannot be reached\n"))
    );
}

#[test]
fn a_closed_output_pipe_is_no_error() {
    for words in [
        &["config", "show"][..],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut child = command(words, MINIMAL)
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
        let output = run(&["completions", shell], &[]);
        assert_eq!(output.code, 0);
        assert!(output.out.contains("healthcheck"), "{shell}");
    }
}

/// Runs a command against this API, as Ada.
async fn run_as_ada(api: &ScriptedApi, words: &[&str]) -> CommandOutput {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .chain(["--as", "ada", "--api-url", &url])
            .collect();
        run(&words, MINIMAL)
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
async fn a_call_prints_an_item_and_ends_its_session() {
    let api = ScriptedApi::start().await;
    api.then([Step::json(200, note()), Step::json(200, note())]);
    let output = run_as_ada(&api, &["call", "get_note", &format!("uid={UID}")]).await;
    assert_eq!(
        (output.code, output.out, output.err.as_str()),
        (
            0,
            format!(
                "note {UID}  version 3  updated 2026-11-20 11:03:58\n  title    Groceries\n  \
                 content\n    Milk\n    Bread\n"
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

    let output = run_as_ada(&api, &["call", "get_note", &format!("uid={UID}"), "--json"]).await;
    let mut expected = note();
    let updated = expected.as_object_mut().unwrap().remove("updatedAt");
    expected["updated_at"] = updated.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&output.out).unwrap(),
        expected
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_with_the_command_for_the_next() {
    let api = ScriptedApi::start().await;
    api.then([Step::json(
        200,
        json!({"items": [note()], "nextCursor": "a b"}),
    )]);
    let output = run_as_ada(&api, &["call", "list_notes", "limit=1"]).await;
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(
        output.out.starts_with("UID ") && output.out.contains("Groceries"),
        "{}",
        output.out
    );
    assert_eq!(
        output.err,
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
        let output = run_as_ada(&api, &["call", "get_note", &uid]).await;
        assert_eq!(
            (output.code, output.out.as_str()),
            (code, ""),
            "{status}: {}",
            output.err
        );
        assert!(
            output.err.starts_with("error: ")
                && output.err.contains("\n  next: ")
                && output.err.contains(word),
            "{}",
            output.err
        );
    }
    api.then([Step::json(404, error("no"))]);
    let output = run_as_ada(&api, &["call", "get_note", &uid, "--json"]).await;
    assert_eq!((output.code, output.err.as_str()), (1, ""));
    assert_eq!(
        serde_json::from_str::<Value>(&output.out).unwrap()["error"]["code"],
        "note_not_found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_arguments_are_never_sent() {
    let api = ScriptedApi::start().await;
    let output = run_as_ada(&api, &["call", "create_note", "title=x"]).await;
    assert_eq!(output.code, 1);
    assert!(
        output
            .err
            .starts_with("error: `content` is required. (invalid_argument)"),
        "{}",
        output.err
    );
    let output = run_as_ada(&api, &["call", "create_nte", "title=x"]).await;
    assert_eq!(
        (output.code, output.err.as_str()),
        (
            2,
            "error: there is no tool \"create_nte\": did you mean create_note?\n"
        )
    );
    let output = run_as_ada(&api, &["call", "create_note", "title"]).await;
    assert_eq!(
        (output.code, output.err.as_str()),
        (2, "error: \"title\" is no argument: write it key=value.\n")
    );
    // The features of the API decide which tools there are; nothing else is asked.
    assert_eq!(api.lines(), ["GET /v1/sync/info"]);
}

#[test]
fn an_unreachable_api_exits_with_69_and_a_bad_token_with_77() {
    let output = run(
        &[
            "call",
            "list_notes",
            "--as",
            "ada",
            "--api-url",
            "http://127.0.0.1:1",
        ],
        MINIMAL,
    );
    assert_eq!(output.code, 69, "{}", output.err);
    let output = run(
        &["call", "list_notes"],
        &[MINIMAL, &[("TOOLBRIDGE_TOKEN", "not.a.token")]].concat(),
    );
    assert_eq!(output.code, 77, "{}", output.err);
    let output = run(
        &["call", "list_notes", "--token-file", "/nonexistent"],
        MINIMAL,
    );
    assert_eq!(output.code, 77, "{}", output.err);
}

#[test]
fn tools_can_be_listed_and_shown() {
    let output = run(&["tools"], &[]);
    assert_eq!(output.code, 0);
    let (listed, compact) = output.out.split_once("\ncompact\n").unwrap();
    let tools = |text: &str| text.lines().filter(|line| line.starts_with("  ")).count();
    assert_eq!(tools(listed), surface::tool_count());
    assert_eq!(tools(compact), 3, "{compact}");
    let output = run(&["tools", "create_note"], &[]);
    assert!(
        output.out.contains("* title") && output.out.contains("call create_note title=… content=…"),
        "{}",
        output.out
    );
    let output = run(&["tools", "create_note", "--json"], &[]);
    assert_eq!(
        serde_json::from_str::<Value>(&output.out).unwrap()["name"],
        "create_note"
    );
    assert_eq!(
        run(&["tools", "creat_note"], &[]).err,
        "error: there is no tool \"creat_note\": did you mean create_note?\n"
    );
}

/// A started command, ended with the test.
struct RunningServer(Child);

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl RunningServer {
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
async fn a_server_logs_where_it_listens_and_exits_on_sigterm() {
    let api = ScriptedApi::start().await;
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let mut child = command(&["serve", "--port", "0", "--api-url", &url], MINIMAL);
        let mut child = RunningServer(child.stdout(Stdio::piped()).spawn().unwrap());
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

        let output = run(
            &["healthcheck", "--url", &format!("http://{address}/readyz")],
            &[],
        );
        assert_eq!(output.code, 0, "{}", output.err);
        let output = run(
            &["serve", "--port", address.rsplit(':').next().unwrap()],
            MINIMAL,
        );
        assert_eq!((output.code, output.err.as_str()), (71, ""));
        let last: Value = serde_json::from_str(output.out.lines().last().unwrap()).unwrap();
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
async fn stdio_serves_mcp_and_exits_with_its_client() {
    let api = ScriptedApi::start().await;
    let url = api.url();
    tokio::task::spawn_blocking(move || {
        let start = || {
            let mut child = command(&["stdio", "--as", "ada", "--api-url", &url], MINIMAL);
            let child = child
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            RunningServer(child.spawn().unwrap())
        };
        let mut child = start();
        let mut input = child.0.stdin.take().unwrap();
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }});
        writeln!(input, "{hello}").unwrap();
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["result"]["serverInfo"]["name"], "toolbridge-mcp");
        drop(input);
        assert_eq!(child.code(), Some(0));
        assert!(lines.next().is_none());

        // Asked to leave while its standard input stays open: the read of it may not hold the
        // process. A terminal that goes away asks the same.
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
fn client_config_prints_instructions_without_the_token() {
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
        (0, 9),
        "{}",
        clients.out
    );

    let output = with(&[&["claude-code"][..], &url].concat());
    let line = "claude mcp add --transport http --scope project toolbridge \
        https://acme.example.com/mcp --header 'Authorization: Bearer ${TOOLBRIDGE_TOKEN}'";
    assert!(output.out.contains(line), "{}", output.out);

    let output = with(
        &[
            &["claude-desktop", "--stdio", "--name", "acme", "--json"][..],
            &url,
        ]
        .concat(),
    );
    let snippet: Value = serde_json::from_str(&output.out).unwrap();
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
    assert_eq!(output.err, "");

    let output = with(&[&["claude-desktop", "--json"][..], &url].concat());
    assert!(
        output.err.contains("sends no custom header"),
        "{}",
        output.err
    );

    let words = ["claude-code", "--stdio", "--npx", "--json"];
    let output = with(&[&words[..], &url].concat());
    let snippet: Value = serde_json::from_str(&output.out).unwrap();
    let server = &snippet["mcpServers"]["toolbridge"];
    assert_eq!(server["command"], "npx");
    assert_eq!(
        server["args"],
        json!([
            "-y",
            "@toolbridge/mcp",
            "connect",
            "https://acme.example.com/mcp",
            "--token-file",
            "/home/ada/.toolbridge-token",
        ])
    );

    let output = with(&[&["codex", "--json"][..], &url].concat());
    assert_eq!(
        output.out,
        "[mcp_servers.toolbridge]\nurl = \"https://acme.example.com/mcp\"\n\
         bearer_token_env_var = \"TOOLBRIDGE_TOKEN\"\n"
    );

    let output = with(&["zed", "--local", "--json", "--config", "acme.toml"]);
    let snippet: Value = serde_json::from_str(&output.out).unwrap();
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
fn client_config_uses_the_configured_url_and_explains_limits() {
    let public = [(
        "TOOLBRIDGE_SERVER_PUBLIC_URL",
        "https://configured.example.com",
    )];
    let output = run(&["client-config", "cursor", "--oauth", "--json"], &public);
    let snippet: Value = serde_json::from_str(&output.out).unwrap();
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
        let output = run(words, &[]);
        assert_eq!((output.code, output.out.as_str()), (2, ""), "{words:?}");
        assert!(output.err.contains(sentence), "{}", output.err);
    }
}

/// The page needs no token, so it must not reveal the tenant or what is behind it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_reveals_nothing_about_the_tenant() {
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
            let mut child = RunningServer(child.stdout(Stdio::piped()).spawn().unwrap());
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
            surface::featureless_tool_count()
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
