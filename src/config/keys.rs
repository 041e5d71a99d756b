//! The table of all settings.
//!
//! The table defines the keys that a file may contain, the environment variables, how values are
//! parsed, and which of them are redacted. A new setting takes one row here, one documented line in
//! `default.toml` and one field in [`super::Config`]; tests check that the three agree.

use figment::value::Value;

use super::error::Problem;
use crate::foundation::parse;

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The path in the file: `section.key`, or `key` at the top level.
    pub path: &'static str,
    pub kind: Kind,
    /// Further environment variables, which existing deployments use.
    pub aliases: &'static [&'static str],
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text that is never printed.
    Secret,
    Url,
    /// An integer in this inclusive range.
    Integer(u64, u64),
    Duration,
    Size,
    /// A list of texts, separated by commas in the environment.
    List,
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A log level or filter, see [`parse::log_filter`].
    LogFilter,
}

/// Variables with the prefix that are not settings.
pub const OTHER_VARIABLES: &[&str] = &["TOOLBRIDGE_CONFIG", "TOOLBRIDGE_TOKEN"];

/// The prefix that is reserved for this program. An unknown variable with it is an error.
pub const PREFIX: &str = "TOOLBRIDGE_";

const fn key(path: &'static str, kind: Kind, aliases: &'static [&'static str]) -> Key {
    Key {
        path,
        kind,
        aliases,
    }
}

/// All settings, in the order of `default.toml`.
pub const KEYS: &[Key] = &[
    key("env", Kind::OneOf(&["production", "dev"]), &[]),
    key("tenant.id", Kind::Text, &[]),
    key(
        "tenant.header_secret",
        Kind::Secret,
        &["TENANT_HEADER_SECRET"],
    ),
    key("tenant.signature", Kind::OneOf(&["both", "v1", "v2"]), &[]),
    key("server.host", Kind::Text, &["TOOLBRIDGE_HOST"]),
    key(
        "server.port",
        Kind::Integer(0, 65_535),
        &["TOOLBRIDGE_PORT"],
    ),
    key("server.public_url", Kind::Url, &[]),
    key("server.allowed_hosts", Kind::List, &[]),
    key("server.allowed_origins", Kind::List, &[]),
    key("server.max_body_bytes", Kind::Size, &[]),
    key("server.max_connections", Kind::Integer(1, 1_000_000), &[]),
    key(
        "server.connections_per_principal",
        Kind::Integer(1, 1_000_000),
        &[],
    ),
    key(
        "server.unauthenticated_connections",
        Kind::Integer(1, 1_000_000),
        &[],
    ),
    key("server.request_memory", Kind::Size, &[]),
    key("server.request_memory_per_principal", Kind::Size, &[]),
    key("server.calls_per_minute", Kind::Integer(0, 1_000_000), &[]),
    key("server.calls_burst", Kind::Integer(1, 1_000_000), &[]),
    key(
        "server.confirm",
        Kind::OneOf(&["off", "bulk", "destructive", "always"]),
        &[],
    ),
    key("server.page", Kind::Flag, &[]),
    key(
        "server.sessions",
        Kind::OneOf(&["stateless", "stateful"]),
        &[],
    ),
    key("server.max_sessions", Kind::Integer(1, 100_000), &[]),
    key("server.session_idle", Kind::Duration, &[]),
    key("server.drain_notice", Kind::Duration, &[]),
    key("server.drain_timeout", Kind::Duration, &[]),
    key("server.legacy_sse", Kind::Flag, &[]),
    key("server.sse_streams", Kind::Integer(1, 1_000_000), &[]),
    key(
        "server.sse_streams_per_principal",
        Kind::Integer(1, 1_000_000),
        &[],
    ),
    key("api.base_url", Kind::Url, &["TOOLBRIDGE_GO_API_BASE_URL"]),
    key("api.startup_timeout", Kind::Duration, &[]),
    key("api.connect_timeout", Kind::Duration, &[]),
    key("api.read_timeout", Kind::Duration, &[]),
    key("api.call_deadline", Kind::Duration, &[]),
    key("api.max_attempts", Kind::Integer(1, 10), &[]),
    key("api.breaker_failures", Kind::Integer(0, 10_000), &[]),
    key("api.breaker_pause", Kind::Duration, &[]),
    key("api.max_answer_bytes", Kind::Size, &[]),
    key("api.max_idle", Kind::Integer(0, 10_000), &[]),
    key("api.idle_timeout", Kind::Duration, &[]),
    key("api.max_calls", Kind::Integer(1, 1_000_000), &[]),
    key("api.queue_length", Kind::Integer(0, 1_000_000), &[]),
    key("api.queue_wait", Kind::Duration, &[]),
    key("api.max_sessions", Kind::Integer(1, 1_000_000), &[]),
    key("auth.hs256_secret", Kind::Secret, &["JWT_HS256_SECRET"]),
    key("auth.jwks_url", Kind::Url, &["JWT_JWKS_URL"]),
    key("auth.issuer", Kind::Text, &["JWT_ISSUER"]),
    key("auth.audience", Kind::Text, &["JWT_AUDIENCE"]),
    key("auth.tenant_claim", Kind::Text, &["TENANT_CLAIM"]),
    key("auth.leeway", Kind::Duration, &[]),
    key("auth.authorization_servers", Kind::List, &[]),
    key("auth.scopeless_tokens", Kind::OneOf(&["all", "none"]), &[]),
    key("auth.mode", Kind::OneOf(&["verify", "exchange"]), &[]),
    key("auth.exchange.token_url", Kind::Url, &[]),
    key("auth.exchange.audience", Kind::Text, &[]),
    key("auth.exchange.client_id", Kind::Text, &[]),
    key("auth.exchange.client_secret", Kind::Secret, &[]),
    key("auth.exchange.scope", Kind::Text, &[]),
    key("tools.toolsets", Kind::List, &[]),
    key("tools.read_only", Kind::Flag, &[]),
    key("tools.max_result_bytes", Kind::Size, &[]),
    key("tools.max_page_bytes", Kind::Size, &[]),
    key("metrics.addr", Kind::Text, &[]),
    key("audit.to", Kind::Text, &[]),
    key(
        "audit.durable",
        Kind::OneOf(&["off", "written", "synced"]),
        &[],
    ),
    key("audit.max_file_bytes", Kind::Size, &[]),
    key("audit.max_files", Kind::Integer(1, 10_000), &[]),
    key("log.level", Kind::LogFilter, &[]),
    key("log.format", Kind::OneOf(&["auto", "json", "pretty"]), &[]),
];

/// The minimum sizes, below which a request, an API response or an error would not fit.
const MIN_SIZES: &[(&str, usize, &str)] = &[
    ("server.max_body_bytes", 1 << 10, "1KiB"),
    ("server.request_memory", 4 << 20, "4MiB"),
    ("server.request_memory_per_principal", 4 << 20, "4MiB"),
    ("api.max_answer_bytes", 64 << 10, "64KiB"),
    ("tools.max_result_bytes", 4 << 10, "4KiB"),
    ("tools.max_page_bytes", 4 << 10, "4KiB"),
    ("audit.max_file_bytes", 64 << 10, "64KiB"),
];

/// The longest tenant id that the API accepts.
const MAX_TENANT_BYTES: usize = 255;

impl Key {
    /// Parses a value from the environment or a flag. `None` if it counts as not set.
    pub fn read_text(&self, text: &str) -> Result<Option<Value>, Problem> {
        self.bounded(self.kind.read_text(text)?)
    }

    /// Parses a value from a file. `None` if it counts as not set.
    pub fn read(&self, value: &toml::Value) -> Result<Option<Value>, Problem> {
        self.bounded(self.kind.read(value)?)
    }

    /// Enforces the bounds that depend on the key.
    fn bounded(&self, value: Option<Value>) -> Result<Option<Value>, Problem> {
        let Some(text) = value.as_ref().and_then(Value::as_str) else {
            return Ok(value);
        };
        let least = MIN_SIZES.iter().find(|(path, ..)| *path == self.path);
        if let Some((_, least, shown)) = least
            && parse::parse_size(text).is_ok_and(|size| size < *least)
        {
            let problem = format!("must be at least {shown}, not {}", parse::quoted(text));
            return Err(Problem::new(problem, format!("give {shown} or more")));
        }
        if self.path == "tenant.id" && text.len() > MAX_TENANT_BYTES {
            let problem = format!(
                "must be at most {MAX_TENANT_BYTES} bytes long, not {}",
                text.len()
            );
            return Err(Problem::new(
                problem,
                "give the tenant's own, shorter id".to_owned(),
            ));
        }
        Ok(value)
    }

    pub fn find(path: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// `server.port` → `TOOLBRIDGE_SERVER_PORT`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }

    /// All environment variables, the systematic name first.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.variable()).chain(self.aliases.iter().map(|alias| (*alias).to_owned()))
    }

    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// The key without its section.
    pub fn leaf(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, leaf)| leaf)
    }

    /// The section, or `""` at the top level.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }
}

impl Kind {
    /// Parses a value from the environment or a flag. `None` if it counts as not set.
    pub fn read_text(self, text: &str) -> Result<Option<Value>, Problem> {
        // Secrets are not trimmed: the API does not trim them either, and both must sign alike.
        let trimmed = if self == Kind::Secret {
            text
        } else {
            text.trim()
        };
        if trimmed.is_empty() {
            return Ok(None);
        }
        let value = match self {
            Kind::Integer(..) => {
                let number = trimmed.parse::<i64>().map_err(|_| self.problem(trimmed))?;
                return self.read(&toml::Value::Integer(number));
            }
            Kind::Flag => match trimmed {
                "true" => toml::Value::Boolean(true),
                "false" => toml::Value::Boolean(false),
                _ => return Err(self.problem(trimmed)),
            },
            Kind::List => toml::Value::Array(
                trimmed
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| toml::Value::String(part.to_owned()))
                    .collect(),
            ),
            _ => toml::Value::String(trimmed.to_owned()),
        };
        self.read(&value)
    }

    /// Parses a value from a file. `None` if it counts as not set.
    pub fn read(self, value: &toml::Value) -> Result<Option<Value>, Problem> {
        match (self, value) {
            (Kind::Integer(least, most), toml::Value::Integer(number)) => {
                if u64::try_from(*number).is_ok_and(|number| (least..=most).contains(&number)) {
                    Ok(Some(Value::from(*number)))
                } else {
                    Err(self.problem(&number.to_string()))
                }
            }
            (Kind::Size, toml::Value::Integer(number)) => self.text(&number.to_string()),
            (Kind::List, toml::Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(|text| Value::from(text.trim())))
                .collect::<Option<Vec<_>>>()
                .map(|items| Some(Value::from(items)))
                .ok_or_else(|| self.problem(&value.to_string())),
            (Kind::Flag, toml::Value::Boolean(flag)) => Ok(Some(Value::from(*flag))),
            (Kind::Integer(..) | Kind::List | Kind::Flag, _) => {
                Err(self.problem(&value.to_string()))
            }
            (_, toml::Value::String(text)) => self.text(text),
            _ => Err(self.problem(&value.to_string())),
        }
    }

    fn text(self, text: &str) -> Result<Option<Value>, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        match self {
            Kind::Duration => parse::parse_duration(text)
                .map(drop)
                .map_err(|why| Problem::new(why, self.fix()))?,
            Kind::Size => parse::parse_size(text)
                .map(drop)
                .map_err(|why| Problem::new(why, self.fix()))?,
            Kind::LogFilter => parse::log_filter(text)
                .map(drop)
                .map_err(|why| Problem::new(why, self.fix()))?,
            Kind::Url => parse::parse_url(text)
                .map(drop)
                .map_err(|why| Problem::new(why, self.fix()))?,
            Kind::OneOf(choices) if !choices.contains(&text) => return Err(self.problem(text)),
            _ => {}
        }
        Ok(Some(Value::from(text)))
    }

    fn problem(self, shown: &str) -> Problem {
        // A secret of the wrong type may still be a secret.
        let shown = if self == Kind::Secret {
            "something else".to_owned()
        } else {
            parse::quoted(shown)
        };
        Problem::new(format!("must be {}, not {shown}", self.what()), self.fix())
    }

    /// Describes the type, for errors and for the documentation.
    pub fn what(self) -> String {
        match self {
            Kind::Text => "text in quotes".to_owned(),
            Kind::Secret => "text in quotes".to_owned(),
            Kind::Url => "a URL".to_owned(),
            Kind::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Duration => "a duration".to_owned(),
            Kind::Size => "a size".to_owned(),
            Kind::List => "a list of texts".to_owned(),
            Kind::OneOf(choices) => {
                let quoted: Vec<_> = choices
                    .iter()
                    .map(|choice| format!("\"{choice}\""))
                    .collect();
                quoted.join(" or ")
            }
            Kind::Flag => "true or false".to_owned(),
            Kind::LogFilter => "a log level or filter".to_owned(),
        }
    }

    fn fix(self) -> String {
        match self {
            Kind::Text | Kind::Secret => "put it in quotes".to_owned(),
            Kind::Url => "write it like \"https://host:port\"".to_owned(),
            Kind::Integer(..) => "give a number in that range".to_owned(),
            Kind::Duration => "write it like \"250ms\", \"25s\" or \"5m\"".to_owned(),
            Kind::Size => "write it like 65536, \"64KiB\" or \"1MiB\"".to_owned(),
            Kind::List => "write it like [\"one\", \"two\"], or with commas in the \
                environment"
                .to_owned(),
            Kind::OneOf(_) => "choose one of them".to_owned(),
            Kind::Flag => "write true or false, without quotes in a file".to_owned(),
            Kind::LogFilter => "use error, warn, info, debug or trace, or a filter like \
                 \"info,toolbridge_mcp=debug\""
                .to_owned(),
        }
    }
}
