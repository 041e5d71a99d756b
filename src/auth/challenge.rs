//! The HTTP response to a refused caller, and the metadata that tells clients how to get a token
//! (RFC 6750, RFC 9728).
//!
//! Without configured authorization servers no metadata document is served, and the challenge has
//! no `resource_metadata`. Clients then ask their user for a token, instead of starting an OAuth
//! flow that cannot succeed.

use http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::{AuthError, Settings};

const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Challenges and metadata, rendered once from the settings.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// Where to find the metadata, as a parameter; empty when there is none.
    location: String,
    /// The scopes that a client should ask for, as a parameter; empty without any.
    scope: String,
    metadata: Option<Value>,
}

/// This server as an OAuth protected resource.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    /// The URL of `/mcp`.
    pub url: Option<Url>,
    /// The scopes that a client should ask for.
    pub scopes_requested: Vec<String>,
    pub scopes_supported: Vec<String>,
}

/// The HTTP side of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeAnswer {
    pub status: StatusCode,
    /// The OAuth error code.
    pub error: &'static str,
    pub www_authenticate: Option<String>,
}

impl Challenge {
    pub fn new(settings: &Settings, resource: Resource) -> Self {
        let has_issuer = !settings.authorization_servers.is_empty();
        let discoverable = resource.url.filter(|_| has_issuer);
        // The path-suffixed place comes after the host, before the path of the resource (RFC 9728,
        // section 3.1).
        let location = discoverable.as_ref().map(|url| {
            let host = url.origin().ascii_serialization();
            parameter(
                "resource_metadata",
                &format!("{host}{METADATA_PATH}{}", url.path()),
            )
        });
        let metadata = discoverable.map(|url| {
            json!({
                "resource": url.as_str(),
                "resource_name": "ToolBridge",
                "authorization_servers": settings.authorization_servers,
                "scopes_supported": resource.scopes_supported,
                "bearer_methods_supported": ["header"],
            })
        });
        let requested =
            Some(resource.scopes_requested.join(" ")).filter(|requested| !requested.is_empty());
        Self {
            location: location.unwrap_or_default(),
            scope: requested
                .map(|requested| parameter("scope", &requested))
                .unwrap_or_default(),
            metadata,
        }
    }

    /// The protected-resource metadata, when there is an authorization server to point to.
    pub fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    pub fn answer(&self, refusal: AuthError) -> ChallengeAnswer {
        match refusal {
            AuthError::TenantMismatch => ChallengeAnswer {
                status: StatusCode::FORBIDDEN,
                error: "tenant_mismatch",
                www_authenticate: None,
            },
            AuthError::KeysUnavailable => ChallengeAnswer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                error: "keys_unavailable",
                www_authenticate: None,
            },
            // RFC 6750, section 3.1: without a token, the challenge has no error code.
            AuthError::Missing => self.unauthorized("unauthorized", None),
            _ => self.unauthorized("invalid_token", Some(refusal)),
        }
    }

    fn unauthorized(&self, error: &'static str, cause: Option<AuthError>) -> ChallengeAnswer {
        let mut parameters = vec![self.location.clone(), self.scope.clone()];
        if let Some(cause) = cause {
            parameters.push(parameter("error", error));
            parameters.push(parameter("error_description", &cause.to_string()));
        }
        ChallengeAnswer {
            status: StatusCode::UNAUTHORIZED,
            error,
            www_authenticate: Some(bearer(parameters)),
        }
    }

    /// A good token that does not reach as far as what was asked; `needed` is all that would (RFC
    /// 6750, section 3.1).
    pub fn insufficient_scope(&self, needed: &str) -> ChallengeAnswer {
        const ERROR: &str = "insufficient_scope";
        let parameters = vec![
            parameter("error", ERROR),
            parameter("scope", needed),
            self.location.clone(),
            parameter(
                "error_description",
                "the token does not have the scope that this needs",
            ),
        ];
        ChallengeAnswer {
            status: StatusCode::FORBIDDEN,
            error: ERROR,
            www_authenticate: Some(bearer(parameters)),
        }
    }
}

/// A challenge has at least one parameter.
fn bearer(mut parameters: Vec<String>) -> String {
    parameters.retain(|part| !part.is_empty());
    if parameters.is_empty() {
        parameters.push(parameter("realm", "toolbridge"));
    }
    format!("Bearer {}", parameters.join(", "))
}

fn parameter(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", quotable(value))
}

/// Configuration is trusted, yet a stray quote in it must not forge a second parameter.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && *c != '"' && *c != '\\')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discoverable() -> Challenge {
        let settings = Settings {
            authorization_servers: vec!["https://login.example".into()],
            ..Settings::default()
        };
        let resource = Resource {
            url: Url::parse("https://acme.example/mcp").ok(),
            scopes_requested: vec!["x:read".into(), "x:write".into()],
            scopes_supported: vec!["x:read".into(), "x:write".into(), "x:y:read".into()],
        };
        Challenge::new(&settings, resource)
    }

    #[test]
    fn names_the_metadata() {
        let missing = discoverable().answer(AuthError::Missing);
        assert_eq!(missing.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            missing.www_authenticate.as_deref(),
            Some(
                "Bearer resource_metadata=\"https://acme.example/.well-known/\
                 oauth-protected-resource/mcp\", \
                 scope=\"x:read x:write\""
            )
        );
        let expired = discoverable()
            .answer(AuthError::Expired)
            .www_authenticate
            .unwrap();
        assert!(
            expired.ends_with(
                ", error=\"invalid_token\", error_description=\"the token has expired\""
            ),
            "{expired}"
        );
        assert_eq!(
            discoverable().metadata().unwrap()["resource"],
            "https://acme.example/mcp"
        );
        assert_eq!(
            discoverable().metadata().unwrap()["scopes_supported"],
            json!(["x:read", "x:write", "x:y:read"])
        );
    }

    #[test]
    fn an_insufficient_token_is_told_the_required_scope() {
        let answer = discoverable().insufficient_scope("x:y:write");
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(
            answer.www_authenticate.as_deref(),
            Some(
                "Bearer error=\"insufficient_scope\", scope=\"x:y:write\", \
                 resource_metadata=\"https://acme.example/.well-known/\
                 oauth-protected-resource/mcp\", \
                 error_description=\"the token does not have the scope that this needs\""
            )
        );
        let plain =
            Challenge::new(&Settings::default(), Resource::default()).insufficient_scope("x:\"y");
        assert!(
            plain
                .www_authenticate
                .unwrap()
                .contains("scope=\"x:y\", error_desc")
        );
    }

    #[test]
    fn without_authorization_servers_there_is_nothing_to_discover() {
        let plain = Challenge::new(&Settings::default(), Resource::default());
        assert_eq!(plain.metadata(), None);
        assert_eq!(
            plain.answer(AuthError::Missing).www_authenticate.as_deref(),
            Some("Bearer realm=\"toolbridge\"")
        );
        let malformed = plain.answer(AuthError::Malformed).www_authenticate.unwrap();
        assert!(
            malformed.starts_with("Bearer error=\"invalid_token\", "),
            "{malformed}"
        );
    }

    #[test]
    fn another_tenant_is_forbidden_and_missing_keys_are_a_server_error() {
        assert_eq!(
            discoverable().answer(AuthError::TenantMismatch).status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            discoverable().answer(AuthError::KeysUnavailable).status,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
