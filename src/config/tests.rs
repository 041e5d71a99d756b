use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{KEYS, Kind};
use super::layers::DEFAULTS;
use super::*;
use crate::auth::TokenMode;

const STRONG: &str = "9f2c4e1ab7d8035566f1e2d3c4b5a697";
const OTHER_STRONG: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// The minimal environment of a production server.
const MINIMAL: &[(&str, &str)] = &[
    ("TOOLBRIDGE_TENANT_ID", "acme"),
    ("TENANT_HEADER_SECRET", STRONG),
    ("JWT_HS256_SECRET", OTHER_STRONG),
];

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn sources(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        environment: environment(pairs),
        directory: PathBuf::from("/nonexistent"),
        ..Sources::default()
    }
}

/// The minimal environment with these variables added.
fn with(pairs: &[(&str, &str)]) -> Sources {
    sources(&[MINIMAL, pairs].concat())
}

fn flag(name: &str, path: &str, value: &str) -> Flag {
    Flag {
        name: name.into(),
        path: path.into(),
        value: value.into(),
    }
}

fn sentence(sources: &Sources) -> String {
    load(sources)
        .expect_err("should have been refused")
        .to_string()
}

/// A temporary directory with a configuration file, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn with_file(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("toolbridge-config-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("toolbridge.toml"), text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn defaults_alone_make_a_server_that_stays_off() {
    let config = load(&sources(&[])).unwrap().config;
    assert_eq!(
        (config.server.host.as_str(), config.server.port),
        ("127.0.0.1", 8001)
    );
    assert_eq!(config.api.base_url.as_str(), "http://127.0.0.1:8081/");
    assert_eq!(config.api.call_deadline, Duration::from_secs(25));
    assert_eq!(config.tools.max_result_bytes, 1_048_576);
    assert_eq!(config.auth.tenant_claim, "tenant_id");
    assert!(!config.tenant.has_identity());
}

#[test]
fn each_layer_overrides_the_one_before() {
    let scratch =
        Scratch::with_file("[server]\nport = 1001\nhost = \"::1\"\n[log]\nlevel = \"warn\"\n");
    let mut sources = with(&[("TOOLBRIDGE_PORT", "1002"), ("TOOLBRIDGE_LOG_LEVEL", "")]);
    sources.directory = scratch.0.clone();
    sources.flags = vec![flag("--port", "server.port", "1003")];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.server.port, 1003);
    assert_eq!(loaded.config.server.host, "::1");
    assert_eq!(
        loaded.config.log.level, "warn",
        "an empty variable counts as not set"
    );

    let origins: BTreeMap<_, _> = loaded
        .effective()
        .map(|line| (line.key.path, line.origin))
        .collect();
    assert_eq!(origins["server.port"], Origin::Flag("--port".into()));
    assert_eq!(
        origins["server.host"],
        Origin::File(scratch.0.join("toolbridge.toml"))
    );
    assert_eq!(
        origins["tenant.header_secret"],
        Origin::Environment("TENANT_HEADER_SECRET".into())
    );
    assert_eq!(origins["api.base_url"], Origin::Default);

    sources.flags.clear();
    assert_eq!(load(&sources).unwrap().config.server.port, 1002);
    sources.environment.remove("TOOLBRIDGE_PORT");
    assert_eq!(load(&sources).unwrap().config.server.port, 1001);
}

#[test]
fn every_environment_name_of_every_key_is_read() {
    for key in KEYS {
        for variable in key.variables() {
            let (text, read) = match key.kind {
                Kind::Integer(..) => ("7", serde_json::json!(7)),
                Kind::Flag => ("false", serde_json::json!(false)),
                Kind::Duration => ("7s", serde_json::json!("7s")),
                Kind::Size => ("7MiB", serde_json::json!("7MiB")),
                Kind::List => (
                    "https://a.example, https://b.example",
                    serde_json::json!(["https://a.example", "https://b.example"]),
                ),
                Kind::Url => ("https://a.example", serde_json::json!("https://a.example")),
                Kind::LogFilter => ("debug", serde_json::json!("debug")),
                Kind::OneOf(choices) => (
                    choices[choices.len() - 1],
                    serde_json::json!(choices[choices.len() - 1]),
                ),
                Kind::Text | Kind::Secret => ("seven", serde_json::json!("seven")),
            };
            let layers = sources(&[(&variable, text)]).merge().unwrap();
            assert_eq!(
                plain(&layers.find_value(key.path).unwrap()),
                read,
                "{variable}"
            );
        }
    }
}

#[test]
fn the_names_of_existing_deployments_are_known() {
    let loaded = load(&sources(&[
        ("TOOLBRIDGE_TENANT_ID", "acme"),
        ("TOOLBRIDGE_TENANT_HEADER_SECRET", STRONG),
        ("TENANT_HEADER_SECRET", STRONG),
        ("TOOLBRIDGE_GO_API_BASE_URL", "http://localhost:9999"),
        ("TOOLBRIDGE_LOG_LEVEL", "INFO"),
        ("TOOLBRIDGE_HOST", "0.0.0.0"),
        ("TOOLBRIDGE_PORT", "8001"),
        ("JWT_HS256_SECRET", OTHER_STRONG),
        ("JWT_JWKS_URL", "https://login.example.com/jwks"),
        ("JWT_ISSUER", "https://login.example.com/"),
        ("JWT_AUDIENCE", "toolbridge"),
        ("TENANT_CLAIM", "org"),
        ("TOOLBRIDGE_CONFIG", ""),
        ("TOOLBRIDGE_TOKEN", "x"),
        ("PATH", "/bin"),
    ]))
    .unwrap();
    assert_eq!(loaded.config.auth.tenant_claim, "org");
    assert_eq!(loaded.config.log.level, "info");
    assert_eq!(warnings(&loaded.config), Vec::<String>::new());
}

/// Each case lists the variables that are set, and the one sentence of the error.
#[test]
fn errors_in_the_environment_are_one_sentence_each() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("TOOLBRIDGE_PROT", "1")],
            "TOOLBRIDGE_PROT (in the environment) is not a setting: did you mean TOOLBRIDGE_PORT?",
        ),
        (
            &[("TOOLBRIDGE_WIBBLE", "1")],
            "TOOLBRIDGE_WIBBLE (in the environment) is not a setting: unset it, or see \
             \"toolbridge-mcp config show\" for those there are.",
        ),
        (
            &[("TOOLBRIDGE_PORT", "80o1")],
            "server.port (from TOOLBRIDGE_PORT) must be a whole number from 0 to 65535, not \
             \"80o1\": give a number in that range.",
        ),
        (
            &[("TOOLBRIDGE_PORT", "70000")],
            "server.port (from TOOLBRIDGE_PORT) must be a whole number from 0 to 65535, not \
             \"70000\": give a number in that range.",
        ),
        (
            &[("TOOLBRIDGE_HOST", "my host")],
            "server.host (from TOOLBRIDGE_HOST) is \"my host\", which is no address: use an IP \
             address such as \"127.0.0.1\", \"0.0.0.0\" or \"::\".",
        ),
        (
            &[("TOOLBRIDGE_GO_API_BASE_URL", "localhost:8081")],
            "api.base_url (from TOOLBRIDGE_GO_API_BASE_URL) is \"localhost:8081\", which is not an \
             http or https URL: write it like \"https://host:port\".",
        ),
        (
            &[("TOOLBRIDGE_API_CALL_DEADLINE", "25")],
            "api.call_deadline (from TOOLBRIDGE_API_CALL_DEADLINE) is \"25\", which has no unit: \
             write it like \"250ms\", \"25s\" or \"5m\".",
        ),
        (
            &[("TOOLBRIDGE_API_CALL_DEADLINE", "0s")],
            "api.call_deadline (from TOOLBRIDGE_API_CALL_DEADLINE) is zero, so every call would \
             fail: give it some seconds.",
        ),
        (
            &[("TOOLBRIDGE_SERVER_SESSION_IDLE", "20s")],
            "server.session_idle (from TOOLBRIDGE_SERVER_SESSION_IDLE) is shorter than \
             api.call_deadline, so sessions would end in the middle of a call: make it longer.",
        ),
        (
            &[("TOOLBRIDGE_SERVER_SESSIONS", "sticky")],
            "server.sessions (from TOOLBRIDGE_SERVER_SESSIONS) must be \"stateless\" or \
             \"stateful\", not \"sticky\": choose one of them.",
        ),
        (
            &[("TOOLBRIDGE_API_CONNECT_TIMEOUT", "1m")],
            "api.connect_timeout (from TOOLBRIDGE_API_CONNECT_TIMEOUT) is not shorter than \
             api.call_deadline, so it could never take effect: make it shorter.",
        ),
        (
            &[("TOOLBRIDGE_TOOLS_MAX_RESULT_BYTES", "1 zebibyte")],
            "tools.max_result_bytes (from TOOLBRIDGE_TOOLS_MAX_RESULT_BYTES) is \"1 zebibyte\", \
             which is no size: write it like 65536, \"64KiB\" or \"1MiB\".",
        ),
        (
            &[("TOOLBRIDGE_LOG_LEVEL", "loud")],
            "log.level (from TOOLBRIDGE_LOG_LEVEL) has \"loud\", which is no log level: use error, \
             warn, info, debug or trace, or a filter like \"info,toolbridge_mcp=debug\".",
        ),
        (
            &[("TOOLBRIDGE_LOG_FORMAT", "xml")],
            "log.format (from TOOLBRIDGE_LOG_FORMAT) must be \"auto\" or \"json\" or \"pretty\", \
             not \"xml\": choose one of them.",
        ),
        (
            &[("TOOLBRIDGE_SERVER_LEGACY_SSE", "off")],
            "server.legacy_sse (from TOOLBRIDGE_SERVER_LEGACY_SSE) must be true or false, not \
             \"off\": write true or false, without quotes in a file.",
        ),
        (
            &[("TOOLBRIDGE_SERVER_PAGE", "off")],
            "server.page (from TOOLBRIDGE_SERVER_PAGE) must be true or false, not \"off\": write \
             true or false, without quotes in a file.",
        ),
        (
            &[("TOOLBRIDGE_ENV", "staging")],
            "env (from TOOLBRIDGE_ENV) must be \"production\" or \"dev\", not \"staging\": choose \
             one of them.",
        ),
        (
            &[("TOOLBRIDGE_TENANT_HEADER_SECRET", OTHER_STRONG)],
            "TOOLBRIDGE_TENANT_HEADER_SECRET and TENANT_HEADER_SECRET both set \
             tenant.header_secret, to different values: unset one of them.",
        ),
        (
            &[("TENANT_HEADER_SECRET", "short")],
            "tenant.header_secret (from TENANT_HEADER_SECRET) has 5 bytes where 32 are the least: \
             make one with \"openssl rand -hex 32\", or use --dev on your own machine.",
        ),
        (
            &[(
                "JWT_HS256_SECRET",
                "change-me-change-me-change-me-change-me",
            )],
            "auth.hs256_secret (from JWT_HS256_SECRET) looks like a placeholder: make one with \
             \"openssl rand -hex 32\", or use --dev on your own machine.",
        ),
        (
            &[("TOOLBRIDGE_TENANT_ID", "")],
            "tenant.id is not set, but tenant.header_secret is, and the two sign requests \
             together: set TOOLBRIDGE_TENANT_ID.",
        ),
        (
            &[("TOOLBRIDGE_TENANT_ID", "ac\u{e9}")],
            "tenant.id (from TOOLBRIDGE_TENANT_ID) has a character that cannot stand in a header: \
             use visible ASCII only.",
        ),
        (
            &[("JWT_HS256_SECRET", "")],
            "auth.hs256_secret is not set and neither is auth.jwks_url, so no caller's token could \
             be verified: set JWT_HS256_SECRET.",
        ),
        (
            &[("JWT_JWKS_URL", "http://login.example.com/jwks")],
            "auth.jwks_url (from JWT_JWKS_URL) is fetched over plain http, where anyone on the way \
             can put in keys of their own: use https, or --dev on your own machine.",
        ),
        (
            &[
                ("JWT_JWKS_URL", "https://login.example.com/jwks"),
                ("JWT_AUDIENCE", "a"),
            ],
            "auth.issuer is not set, but auth.jwks_url is, and tokens of other issuers' users \
             would pass: set JWT_ISSUER.",
        ),
        (
            &[
                ("JWT_JWKS_URL", "https://login.example.com/jwks"),
                ("JWT_ISSUER", "i"),
            ],
            "auth.audience is not set, but auth.jwks_url is, and tokens that are meant for other \
             services would pass: set JWT_AUDIENCE.",
        ),
        (
            &[("JWT_HS256_SECRET", STRONG)],
            "tenant.header_secret (from TENANT_HEADER_SECRET) is the same as auth.hs256_secret, \
             which makes two proofs one: make a second secret with \"openssl rand -hex 32\", or \
             use --dev on your own machine.",
        ),
        (
            &[(
                "TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS",
                "https://login.example.com",
            )],
            "server.public_url is not set, but auth.authorization_servers is, and their metadata \
             has to name this server's address: set TOOLBRIDGE_SERVER_PUBLIC_URL.",
        ),
        (
            &[(
                "TOOLBRIDGE_SERVER_PUBLIC_URL",
                "https://acme.example.com/mcp",
            )],
            "server.public_url (from TOOLBRIDGE_SERVER_PUBLIC_URL) has a path, but \"/mcp\" is \
             served at the root: leave the path out.",
        ),
        (
            &[("TOOLBRIDGE_SERVER_ALLOWED_ORIGINS", "acme.example.com")],
            "server.allowed_origins (from TOOLBRIDGE_SERVER_ALLOWED_ORIGINS) is \
             \"acme.example.com\", which is no URL (relative URL without a base): write every one \
             like \"https://host\".",
        ),
        (
            &[("TOOLBRIDGE_AUTH_MODE", "exchange")],
            "auth.exchange.token_url is not set, but auth.mode is \"exchange\", and no token could \
             be exchanged without it: set TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL.",
        ),
        (
            &[
                ("TOOLBRIDGE_AUTH_MODE", "exchange"),
                (
                    "TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL",
                    "https://login.example.com/token",
                ),
                ("TOOLBRIDGE_AUTH_EXCHANGE_AUDIENCE", "api"),
                ("TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_ID", "sidecar"),
            ],
            "auth.exchange.client_secret is not set, but auth.mode is \"exchange\", and no token \
             could be exchanged without it: set TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET.",
        ),
        (
            &[(
                "TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL",
                "http://login.example.com/token",
            )],
            "auth.exchange.token_url (from TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL) is plain http, \
             where anyone on the way can take callers' tokens and this server's secret: use https, \
             or --dev on your own machine.",
        ),
        (
            &[("TOOLBRIDGE_TOOLS_TOOLSETS", "notes,task")],
            "tools.toolsets (from TOOLBRIDGE_TOOLS_TOOLSETS) has \"task\", which is no toolset: \
             did you mean \"tasks\"? There are notes, tasks, comments, chats, chat_messages, find, \
             edit, compact.",
        ),
        (
            &[("TOOLBRIDGE_TOOLS_TOOLSETS", ",")],
            "tools.toolsets (from TOOLBRIDGE_TOOLS_TOOLSETS) names no toolset: name some, or leave \
             it out to serve all.",
        ),
        (
            &[("TOOLBRIDGE_TOOLS_READ_ONLY", "yes")],
            "tools.read_only (from TOOLBRIDGE_TOOLS_READ_ONLY) must be true or false, not \"yes\": \
             write true or false, without quotes in a file.",
        ),
        (
            &[("TOOLBRIDGE_AUTH_SCOPELESS_TOKENS", "some")],
            "auth.scopeless_tokens (from TOOLBRIDGE_AUTH_SCOPELESS_TOKENS) must be \"all\" or \
             \"none\", not \"some\": choose one of them.",
        ),
        (
            &[(
                "TOOLBRIDGE_SERVER_ALLOWED_HOSTS",
                "https://acme.example.com",
            )],
            "server.allowed_hosts (from TOOLBRIDGE_SERVER_ALLOWED_HOSTS) has \
             \"https://acme.example.com\", which is no host name: write names only, such as \
             \"acme.example.com\".",
        ),
    ];
    for (pairs, expected) in cases {
        assert_eq!(sentence(&with(pairs)), *expected);
    }
}

#[test]
fn errors_in_the_file_name_the_file() {
    let cases = [
        (
            "[server]\nprot = 1\n",
            "server.prot (from FILE) is not a setting: did you mean server.port?",
        ),
        (
            "port = 1\n",
            "port (from FILE) is not a setting: did you mean server.port?",
        ),
        (
            "[sever]\nport = 1\n",
            "sever (from FILE) is not a setting: see \"toolbridge-mcp config show --defaults\" for \
             those there are.",
        ),
        (
            "[auth.exchange]\naudiense = \"a\"\n",
            "auth.exchange.audiense (from FILE) is not a setting: did you mean \
             auth.exchange.audience?",
        ),
        (
            "[auth.exchange]\nclient_secret = 7\n",
            "auth.exchange.client_secret (from FILE) must be text in quotes, not something else: \
             put it in quotes.",
        ),
        (
            "[auth.exchange.audience]\nx = 1\n",
            "auth.exchange.audience (from FILE) must be text in quotes, not \"{ x = 1 }\": put it \
             in quotes.",
        ),
        (
            "[server]\nport = \"8001\"\n",
            "server.port (from FILE) must be a whole number from 0 to 65535, not \"8001\": give a \
             number in that range.",
        ),
        (
            "[auth]\nhs256_secret = 1234567890\n",
            "auth.hs256_secret (from FILE) must be text in quotes, not something else: put it in \
             quotes.",
        ),
        (
            "[server]\nallowed_hosts = \"a\"\n",
            "server.allowed_hosts (from FILE) must be a list of texts, not \"a\": write it like \
             [\"one\", \"two\"], or with commas in the environment.",
        ),
    ];
    for (text, expected) in cases {
        let scratch = Scratch::with_file(text);
        let directory = scratch.0.clone();
        let file = directory.join("toolbridge.toml");
        let error = sentence(&Sources {
            directory,
            ..with(&[])
        });
        assert_eq!(error, expected.replace("FILE", &file.display().to_string()));
    }
}

#[test]
fn a_file_that_is_not_toml_names_the_line() {
    let scratch = Scratch::with_file("[server]\nport = = 1\n");
    let directory = scratch.0.clone();
    let error = sentence(&Sources {
        directory,
        ..with(&[])
    });
    assert!(
        error.contains("toolbridge.toml, line 2, is not TOML (")
            && error.ends_with("): correct that line."),
        "{error}"
    );
    assert!(!error.contains('\n'));
}

#[test]
fn a_named_file_must_exist_but_the_default_one_need_not() {
    assert!(load(&with(&[])).is_ok());
    assert_eq!(
        sentence(&with(&[("TOOLBRIDGE_CONFIG", "/nonexistent/a.toml")])),
        "the configuration file /nonexistent/a.toml (named by TOOLBRIDGE_CONFIG) does not exist: \
         create it, or correct the name."
    );
    let named = Sources {
        file: Some("/nonexistent/b.toml".into()),
        ..with(&[])
    };
    assert!(sentence(&named).contains("/nonexistent/b.toml (named by --config)"));
}

#[test]
fn a_secret_is_refused_on_the_command_line() {
    let mut sources = with(&[]);
    sources.flags = vec![flag("--set", "auth.hs256_secret", "hunter2")];
    let error = sentence(&sources);
    assert_eq!(
        error,
        "auth.hs256_secret (from --set) is a secret, and a command line can be read by everyone on \
         this machine: set TOOLBRIDGE_AUTH_HS256_SECRET instead."
    );
    sources.flags = vec![flag("--set", "server.prot", "1")];
    assert_eq!(
        sentence(&sources),
        "server.prot (from --set) is not a setting: did you mean server.port?"
    );
}

#[test]
fn warns_if_streams_may_take_every_connection() {
    for (streams, on, warned) in [
        ("99", "true", false),
        ("100", "true", true),
        ("100", "false", false),
    ] {
        let config = load(&with(&[
            ("TENANT_HEADER_SECRET", STRONG),
            ("JWT_HS256_SECRET", OTHER_STRONG),
            ("TOOLBRIDGE_SERVER_MAX_CONNECTIONS", "100"),
            ("TOOLBRIDGE_SERVER_SSE_STREAMS", streams),
            ("TOOLBRIDGE_SERVER_LEGACY_SSE", on),
        ]));
        let warnings = warnings(&config.unwrap().config);
        let about_streams = warnings
            .iter()
            .any(|warning| warning.starts_with("server.sse_streams"));
        assert_eq!(about_streams, warned, "{streams} {on}: {warnings:?}");
    }
}

#[test]
fn dev_mode_accepts_weak_secrets_with_a_warning() {
    let config = load(&with(&[
        ("TOOLBRIDGE_ENV", "dev"),
        ("TENANT_HEADER_SECRET", "dev-secret"),
        ("JWT_HS256_SECRET", "dev-secret"),
        ("JWT_JWKS_URL", "http://keys.example.com"),
    ]))
    .unwrap()
    .config;
    let warnings = warnings(&config);
    for known in [
        "dev mode",
        "auth.jwks_url is set without",
        "tenant.header_secret and auth.hs256_secret are the same",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.starts_with(known)),
            "{known}: {warnings:?}"
        );
    }
}

#[test]
fn without_the_tenant_secret_nothing_else_is_required() {
    let config = load(&sources(&[("TOOLBRIDGE_TENANT_ID", "acme")]))
        .unwrap()
        .config;
    assert_eq!(
        config.tenant.identity().unwrap_err().to_string(),
        "tenant.header_secret is not set, so requests to the API cannot be signed: set \
         TENANT_HEADER_SECRET."
    );
}

#[test]
fn exchange_is_configured_in_its_own_section() {
    let scratch = Scratch::with_file(
        "[auth]\nmode = \"exchange\"\n[auth.exchange]\ntoken_url = \
         \"http://127.0.0.1:1/token\"\naudience = \"api\"\nclient_id = \"sidecar\"\n",
    );
    let sources = Sources {
        directory: scratch.0.clone(),
        ..with(&[("TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET", "x")])
    };
    let auth = load(&sources).unwrap().config.auth;
    assert_eq!(
        (auth.mode, auth.exchange.audience.as_deref()),
        (TokenMode::Exchange, Some("api"))
    );
    let idle = load(&with(&[(
        "TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL",
        "https://login.example.com",
    )]));
    let warnings = warnings(&idle.unwrap().config);
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("no token is exchanged")),
        "{warnings:?}"
    );
}

#[test]
fn nothing_that_prints_a_configuration_shows_a_secret() {
    let client_secret = "4b1d9e7c6a5f48e3b2c1d0e9f8a7b6c5";
    let loaded = load(&with(&[(
        "TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET",
        client_secret,
    )]))
    .unwrap();
    let shown = format!(
        "{:?} {:?}",
        loaded.config,
        loaded.effective().collect::<Vec<_>>()
    );
    for secret in [STRONG, OTHER_STRONG, client_secret] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let secrets = loaded
        .effective()
        .filter(|line| line.value == Shown::Redacted)
        .count();
    assert_eq!(secrets, 3);
}

/// `default.toml` documents every key, in the order of the table.
#[test]
fn the_default_file_documents_the_table_of_keys() {
    let mut section = "";
    let mut documented = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let Some((left, _)) = line.trim_start_matches("# ").split_once(" = ") else {
            continue;
        };
        if left
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            documented.push(if section.is_empty() {
                left.to_owned()
            } else {
                format!("{section}.{left}")
            });
        }
    }
    assert_eq!(
        documented,
        KEYS.iter()
            .map(|key| key.path.to_owned())
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_documentation_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let mut generated = written.clone();
    for (name, text) in [
        ("settings", settings_table()),
        ("defaults", format!("```toml\n{DEFAULTS}```\n")),
    ] {
        let (start, end) = (
            format!("<!-- {name}: start -->\n"),
            format!("<!-- {name}: end -->"),
        );
        let from = generated.find(&start).expect("the start mark") + start.len();
        let to = generated.find(&end).expect("the end mark");
        generated.replace_range(from..to, &format!("\n{text}\n"));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    } else {
        assert_eq!(
            written, generated,
            "run UPDATE_DOCS=1 cargo test --lib documentation"
        );
    }
}

fn settings_table() -> String {
    let loaded = load(&sources(&[])).unwrap();
    let mut table = String::from("| key | environment | value | default |\n|---|---|---|---|\n");
    for line in loaded.effective() {
        let variables: Vec<_> = line
            .key
            .variables()
            .map(|name| format!("`{name}`"))
            .collect();
        let default = match line.value {
            Shown::Plain(serde_json::Value::String(text)) => format!("`{text}`"),
            Shown::Plain(value) if value == serde_json::json!([]) => "none".to_owned(),
            Shown::Plain(value) => format!("`{value}`"),
            Shown::Unset | Shown::Redacted => "not set".to_owned(),
        };
        table += &format!(
            "| `{}` | {} | {} | {default} |\n",
            line.key.path,
            variables.join(", "),
            line.key.kind.what()
        );
    }
    table
}

#[test]
fn with_token_exchange_the_api_may_have_another_audience() {
    let ours = "https://acme.example/mcp";
    let both = [
        ("TOOLBRIDGE_AUTH_AUDIENCE", ours),
        ("JWT_AUDIENCE", "https://api.example"),
    ];
    assert!(sources(&both).merge().is_err());
    let exchanging = [both[0], both[1], ("TOOLBRIDGE_AUTH_MODE", "exchange")];
    let audience = sources(&exchanging)
        .merge()
        .unwrap()
        .find_value("auth.audience")
        .unwrap();
    assert_eq!(audience.as_str(), Some(ours));
}
