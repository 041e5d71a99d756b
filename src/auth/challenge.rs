//! HTTP answers to failed authentication, and the metadata that leads clients to a token (RFC 6750,
//! RFC 9728).
//!
//! Without configured authorization servers discovery leads nowhere: no metadata document is served
//! and challenges omit `resource_metadata`, so that a client asks its user for a token instead of
//! starting an OAuth flow that must fail.
//!
//! Scopes are opaque here: callers pass in which exist and which a request needs.

use http::StatusCode;
use serde_json::{Value, json};

use super::{AuthError, Settings};

const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Challenges and metadata, rendered once from the settings.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The `resource_metadata` parameter; empty if there is no metadata.
    location: String,
    /// The `scope` parameter, which clients should request; empty without scopes.
    scope: String,
    metadata: Option<Value>,
}

/// The HTTP answer to a failed authentication or authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeAnswer {
    pub status: StatusCode,
    /// The OAuth error code.
    pub error: &'static str,
    pub www_authenticate: Option<String>,
}

impl Challenge {
    pub fn from_settings(settings: &Settings) -> Self {
        let resource = settings
            .public_url
            .as_deref()
            .and_then(|url| reqwest::Url::parse(url).ok());
        let discoverable = resource.filter(|_| !settings.authorization_servers.is_empty());
        // The well-known path comes between host and resource path (RFC 9728, section 3.1).
        let location = discoverable.as_ref().map(|resource| {
            let host = resource.origin().ascii_serialization();
            parameter(
                "resource_metadata",
                &format!("{host}{METADATA_PATH}{}", resource.path()),
            )
        });
        let metadata = discoverable.map(|resource| {
            json!({
                "resource": resource.as_str(),
                "resource_name": "ToolBridge",
                "authorization_servers": settings.authorization_servers,
                "scopes_supported": settings.scopes_supported,
                "bearer_methods_supported": ["header"],
            })
        });
        let requested =
            Some(settings.scopes_asked.join(" ")).filter(|requested| !requested.is_empty());
        Self {
            location: location.unwrap_or_default(),
            scope: requested
                .map(|requested| parameter("scope", &requested))
                .unwrap_or_default(),
            metadata,
        }
    }

    /// The protected-resource metadata, if authorization servers are configured.
    pub fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    /// The answer to a failed authentication.
    pub fn answer(&self, error: AuthError) -> ChallengeAnswer {
        match error {
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
            // RFC 6750, section 3.1: a request without a token gets a challenge without an error
            // code.
            AuthError::Missing => self.unauthorized("unauthorized", None),
            _ => self.unauthorized("invalid_token", Some(error)),
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

    /// The answer to a valid token with insufficient scope; `needed` lists the required scopes (RFC
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

/// Joins the parameters, with `realm` as the fallback, because a challenge needs at least one.
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

/// Configuration is trusted, but a stray quote in it must not start another parameter.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && *c != '"' && *c != '\\')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discoverable() -> Challenge {
        Challenge::from_settings(&Settings {
            public_url: Some("https://acme.example/mcp".into()),
            authorization_servers: vec!["https://login.example".into()],
            scopes_asked: vec!["x:read".into(), "x:write".into()],
            scopes_supported: vec!["x:read".into(), "x:write".into(), "x:y:read".into()],
            ..Settings::default()
        })
    }

    #[test]
    fn challenges_name_the_metadata() {
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
    fn insufficient_scope_names_the_required_scopes() {
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
        let plain = Challenge::from_settings(&Settings::default()).insufficient_scope("x:\"y");
        assert!(
            plain
                .www_authenticate
                .unwrap()
                .contains("scope=\"x:y\", error_desc")
        );
    }

    #[test]
    fn has_no_metadata_without_authorization_servers() {
        let plain = Challenge::from_settings(&Settings::default());
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
    fn another_tenant_is_403_and_missing_keys_are_503() {
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
