//! The binary as a person or a supervisor meets it: what it says, where, and its exit code.
//!
//! Every run gets an environment of its own; nothing listens and nothing waits.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

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

fn run(words: &[&str], environment: &[(&str, &str)]) -> Said {
    let Output { status, stdout, stderr } = command(words, environment).output().unwrap();
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
    assert_eq!((said.code, said.err.as_str(), said.out.lines().count()), (0, "", 1));
    let line: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(line["level"], "INFO");
    assert!(
        line["msg"]
            .as_str()
            .unwrap()
            .starts_with("off: tenant.header_secret is not set"),
        "{line}"
    );

    assert_eq!(
        run(&["healthcheck"], &[]).code,
        0,
        "a server that is meant to be off is not ill"
    );
    assert!(run(&["serve", "--check"], &[]).out.contains("the server stays off"));
}

#[test]
fn what_cannot_work_without_the_tenant_secret_stops() {
    for words in [&["stdio"][..], &["call", "list_notes"]] {
        let said = run(words, &[("JWT_HS256_SECRET", STRONG)]);
        assert_eq!(said.code, 64, "{}", said.err);
        assert!(said.err.contains("set TENANT_HEADER_SECRET"), "{}", said.err);
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
        (&"acme".into(), &"environment".into(), &"TOOLBRIDGE_TENANT_ID".into())
    );
}

#[test]
fn the_defaults_that_are_printed_can_be_read_back() {
    let defaults = run(&["config", "show", "--defaults"], &[]).out;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("defaults.toml");
    std::fs::write(&file, defaults).unwrap();
    let said = run(&["config", "check", "--config", file.to_str().unwrap()], LEAST);
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
    assert_eq!(said.out.trim().split('.').count(), 3, "a JWT and nothing else");
    let said = run(&["token"], &[]);
    assert_eq!(said.code, 64);
    assert!(said.err.contains("auth.hs256_secret is not set"), "{}", said.err);
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
        (1, format!("error: not healthy: {url} answered 503 the why\n"))
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
    for words in [&["config", "show"][..], &["completions", "bash"], &["--help"]] {
        let mut child = command(words, LEAST)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{words:?}");
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
