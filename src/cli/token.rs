//! The `token` command: generates a token for development, signed with the configured HS256 secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::exit::{CliError, Exit};
use super::output::{QUIET, styled};
use super::{CommandContext, Settings};
use crate::config::Config;
use crate::foundation::parse;
use crate::foundation::secret::Secret;

#[derive(Debug, Args)]
#[command(after_help = "\
Only the token goes to standard output.

Examples:
  export TOOLBRIDGE_TOKEN=$(toolbridge-mcp token --sub ada --ttl 8h)
  toolbridge-mcp token --sub ada --scope toolbridge:read --scope toolbridge:notes:write
  toolbridge-mcp token --sub ada --claim email=ada@example.com")]
pub struct Token {
    /// The user
    #[arg(long, default_value = "dev",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    sub: String,
    /// The tenant [default: the configured one]
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "1h",
        value_parser = parse::parse_duration)]
    ttl: Duration,
    /// What it allows, such as toolbridge:read; may be given more than once [default: everything]
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Any other claim; a value that is JSON is taken as such
    #[arg(long, value_name = "KEY=VALUE", value_parser = claim)]
    claim: Vec<(String, Value)>,
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("a claim is written KEY=VALUE")?;
    Ok((
        key.to_owned(),
        serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
    ))
}

/// Claims in addition to those that the configuration determines.
pub struct Claims<'a> {
    sub: &'a str,
    tenant: Option<&'a str>,
    lifetime: Duration,
    scope: &'a [String],
    extra: &'a [(String, Value)],
}

impl<'a> Claims<'a> {
    pub fn of(sub: &'a str, lifetime: Duration) -> Self {
        Self {
            sub,
            tenant: None,
            lifetime,
            scope: &[],
            extra: &[],
        }
    }
}

pub fn run(
    args: &Token,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let config = context.load(settings, &[])?.config;
    let claims = Claims {
        sub: &args.sub,
        tenant: args.tenant.as_deref(),
        lifetime: args.ttl,
        scope: &args.scope,
        extra: &args.claim,
    };
    let token = mint(&config, &claims, context.now)?;
    context.output.line(token.expose())?;
    if context.output.width.is_some() {
        let tenant = args
            .tenant
            .as_deref()
            .or(config.tenant.id.as_deref())
            .unwrap_or("any");
        let message = format!(
            "for {} at tenant {tenant}, valid for {} seconds",
            args.sub,
            args.ttl.as_secs()
        );
        context.output.note(styled(QUIET, message))?;
    }
    Ok(())
}

/// Signs a token that this server, and an API with the same secret, accepts.
pub fn mint(config: &Config, claims: &Claims<'_>, now: SystemTime) -> Result<Secret, CliError> {
    let Some(secret) = &config.auth.hs256_secret else {
        let reason = match config.auth.jwks_url {
            Some(_) => {
                "tokens are verified by auth.jwks_url only, and only its authorization server can \
                 make them"
            }
            None => "auth.hs256_secret is not set: set JWT_HS256_SECRET to what the API has",
        };
        return Err(CliError::because(
            Exit::Configuration,
            format!("no token can be made here, because {reason}."),
        ));
    };
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut body = Map::new();
    body.insert("sub".to_owned(), json!(claims.sub));
    body.insert("iat".to_owned(), json!(issued.as_secs()));
    body.insert(
        "exp".to_owned(),
        json!(issued.saturating_add(claims.lifetime).as_secs()),
    );
    for (name, value) in [("iss", &config.auth.issuer), ("aud", &config.auth.audience)] {
        body.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    if let Some(tenant) = claims.tenant.or(config.tenant.id.as_deref()) {
        body.insert(config.auth.tenant_claim.clone(), json!(tenant));
    }
    if !claims.scope.is_empty() {
        body.insert("scope".to_owned(), json!(claims.scope.join(" ")));
    }
    body.extend(claims.extra.iter().cloned());
    jsonwebtoken::encode(
        &Header::default(),
        &body,
        &EncodingKey::from_secret(secret.expose().as_bytes()),
    )
    .map(Secret::new)
    .map_err(|why| {
        CliError::because(
            Exit::Software,
            format!("the token cannot be signed ({why})."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn config(pairs: &[(&str, &str)]) -> Config {
        let environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        load(&Sources {
            environment,
            ..Sources::default()
        })
        .unwrap()
        .config
    }

    fn body(token: &Secret) -> Value {
        let rules = jsonwebtoken::Validation {
            validate_exp: false,
            validate_aud: false,
            ..jsonwebtoken::Validation::default()
        };
        let key = jsonwebtoken::DecodingKey::from_secret(b"9f2c4e1ab7d8035566f1e2d3c4b5a697");
        jsonwebtoken::decode::<Value>(token.expose(), &key, &rules)
            .unwrap()
            .claims
    }

    #[test]
    fn a_token_has_the_claims_that_the_configuration_requires() {
        let config = config(&[
            ("JWT_HS256_SECRET", "9f2c4e1ab7d8035566f1e2d3c4b5a697"),
            ("JWT_ISSUER", "me"),
            ("JWT_AUDIENCE", "you"),
            ("TENANT_CLAIM", "org"),
            ("TOOLBRIDGE_TENANT_ID", "acme"),
        ]);
        let scope = ["a:read".to_owned(), "b:write c".to_owned()];
        let claims = Claims {
            scope: &scope,
            extra: &[claim("admin=true").unwrap(), claim("email=a@b").unwrap()],
            ..Claims::of("ada", Duration::from_secs(60))
        };
        let token = mint(&config, &claims, UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
        assert_eq!(
            body(&token),
            json!({
                "sub": "ada", "iat": 1_000, "exp": 1_060, "iss": "me", "aud": "you", "org": "acme",
                "scope": "a:read b:write c", "admin": true, "email": "a@b",
            })
        );
    }

    #[test]
    fn minting_without_the_secret_fails_with_the_reason() {
        let claims = Claims::of("ada", Duration::from_secs(60));
        let message = mint(&config(&[]), &claims, UNIX_EPOCH).unwrap_err();
        assert!(
            message.to_string().contains("auth.hs256_secret is not set"),
            "{message}"
        );
        let keys = config(&[("JWT_JWKS_URL", "https://login.example.com/keys")]);
        let message = mint(&keys, &claims, UNIX_EPOCH).unwrap_err();
        assert!(
            message
                .to_string()
                .contains("only its authorization server can make them"),
            "{message}"
        );
        assert_eq!(message.exit(), Exit::Configuration);
    }
}
