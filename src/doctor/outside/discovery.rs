//! Checks the metadata that OAuth clients use: that of the server (RFC 9728) and of its
//! authorization servers (RFC 8414).

use serde_json::Value;
use url::Url;

use super::Outside;
use crate::doctor::check::{Finding, Found};
use crate::doctor::http::at;
use crate::doctor::words::quote;

const RESOURCE: &str = ".well-known/oauth-protected-resource";

/// A parameter of a `WWW-Authenticate` challenge.
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(quote(value))
}

impl Outside {
    pub(super) async fn check_metadata(&mut self) -> Found {
        let root = at(&self.target.base, RESOURCE)?;
        let beside = at(&self.target.base, &format!("{RESOURCE}/mcp"))?;
        let fix = format!(
            "set TOOLBRIDGE_SERVER_PUBLIC_URL to {}, and check \
             TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS",
            self.target.shown()
        );
        let mut found = Vec::new();
        for url in [&root, &beside] {
            let answer = self
                .http
                .get(url)
                .await
                .map_err(|none| none.into_finding(url))?;
            found.push((url, answer));
        }
        let Some(named) = &self.metadata else {
            return match found.iter().find(|(_, answer)| answer.status == 200) {
                None => {
                    Ok("OAuth is not configured: clients ask their user for a token".to_owned())
                }
                Some((url, _)) => Err(Finding::failed(
                    format!("{url} is there, but the 401 does not lead to it"),
                    "check what stands between this URL and the server: it changes \
                     WWW-Authenticate",
                )),
            };
        };
        if *named != beside.as_str() && *named != root.as_str() {
            return Err(Finding::failed(
                format!("clients are sent to {named}, which is not at this URL"),
                fix,
            ));
        }
        for (url, answer) in &found {
            let resource = answer.text("/resource");
            if answer.status != 200 {
                return Err(Finding::failed(
                    format!("{url}: {}", answer.in_words()),
                    fix,
                ));
            }
            if resource != self.target.mcp.as_str() {
                let what = format!(
                    "{url} describes \"{resource}\", which is not {}",
                    self.target.mcp
                );
                return Err(Finding::failed(what, fix));
            }
        }
        let document = found
            .first()
            .map(|(_, answer)| answer.json())
            .unwrap_or_default();
        let servers = document
            .pointer("/authorization_servers")
            .and_then(serde_json::Value::as_array);
        let servers = servers
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str);
        self.authorization_servers = servers.map(str::to_owned).collect();
        match self.authorization_servers.as_slice() {
            [] => Err(Finding::failed("it names no authorization server", fix)),
            servers => Ok(format!(
                "clients are sent to {}",
                quote(&servers.join(", "))
            )),
        }
    }

    /// Failures are only warnings, because an authorization server may be reachable for clients
    /// only.
    pub(super) async fn check_authorization_servers(&mut self) -> Found {
        if self.authorization_servers.is_empty() {
            return Err(Finding::skipped("there are none"));
        }
        let mut ways = Vec::new();
        for server in &self.authorization_servers {
            let Some(metadata) = self.metadata_of(server).await else {
                return Err(Finding::warning(
                    format!(
                        "{} does not describe itself where clients look",
                        quote(server)
                    ),
                    "is it up, and is the issuer in TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS written \
                     as it writes it?",
                ));
            };
            ways.push(sign_in_of(server, &metadata)?);
        }
        ways.dedup();
        Ok(format!("they describe themselves; {}", ways.join("; ")))
    }

    async fn metadata_of(&self, issuer: &str) -> Option<Value> {
        for url in metadata_urls(&Url::parse(issuer).ok()?) {
            if let Ok(answer) = self.http.get(&url).await
                && answer.status == 200
                && !answer.text("/issuer").is_empty()
            {
                return Some(answer.json());
            }
        }
        None
    }
}

/// How a client becomes known to an authorization server, from its metadata. A warning if it cannot
/// by itself, or if it cannot sign in as MCP wants it.
fn sign_in_of(server: &str, metadata: &Value) -> Result<&'static str, Finding> {
    let methods = metadata["code_challenge_methods_supported"].as_array();
    if !methods.is_some_and(|methods| methods.iter().any(|method| method == "S256")) {
        return Err(Finding::warning(
            format!(
                "{} does not say that it supports PKCE with S256, without which clients refuse to \
                 sign in",
                quote(server)
            ),
            "turn PKCE on there, so that code_challenge_methods_supported of its metadata has S256",
        ));
    }
    let documents = metadata["client_id_metadata_document_supported"] == true;
    let registers = metadata["registration_endpoint"].is_string();
    match (documents, registers) {
        (true, true) => {
            Ok("clients name a document about them as their client id, or register themselves")
        }
        (true, false) => Ok("clients name a document about them as their client id"),
        (false, true) => Ok("clients register themselves"),
        (false, false) => Err(Finding::warning(
            format!(
                "{} offers neither client id metadata documents nor dynamic registration, so most \
                 clients cannot sign in",
                quote(server)
            ),
            "turn one of the two on there; otherwise each client needs a client id that was made \
             for it, where it lets its user enter one",
        )),
    }
}

/// Candidate metadata URLs of an issuer: RFC 8414 inserts the well-known part before the path,
/// OpenID Connect appends it.
fn metadata_urls(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let with = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    vec![
        with(format!("/.well-known/oauth-authorization-server{path}")),
        with(format!("/.well-known/openid-configuration{path}")),
        with(format!("{path}/.well-known/openid-configuration")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_client_must_be_able_to_sign_in_by_itself() {
        let base = json!({"issuer": "https://login.example"});
        let with = |more: Value| {
            let mut metadata = base.clone();
            let more = more.as_object().unwrap().clone();
            metadata.as_object_mut().unwrap().extend(more);
            sign_in_of("https://login.example", &metadata)
        };
        let pkce = json!(["plain", "S256"]);
        let registration = "https://login.example/register";
        for (metadata, way) in [
            (
                json!({
                    "code_challenge_methods_supported": pkce,
                    "registration_endpoint": registration,
                }),
                "clients register themselves",
            ),
            (
                json!({
                    "code_challenge_methods_supported": pkce,
                    "client_id_metadata_document_supported": true,
                }),
                "clients name a document",
            ),
        ] {
            assert!(with(metadata).unwrap().starts_with(way));
        }
        for (metadata, what) in [
            (json!({"registration_endpoint": registration}), "S256"),
            (
                json!({
                    "code_challenge_methods_supported": ["plain"],
                    "registration_endpoint": registration,
                }),
                "S256",
            ),
            (
                json!({
                    "code_challenge_methods_supported": pkce,
                    "client_id_metadata_document_supported": false,
                }),
                "neither",
            ),
        ] {
            let Err(Finding::Warning(advice)) = with(metadata) else {
                panic!("no warning");
            };
            assert!(advice.what.contains(what), "{}", advice.what);
        }
    }

    #[test]
    fn parses_a_challenge_parameter() {
        let challenge = r#"Bearer resource_metadata="https://a.example/x", scope="a b""#;
        assert_eq!(
            parameter(challenge, "resource_metadata").unwrap(),
            "https://a.example/x"
        );
        assert_eq!(parameter(challenge, "scope").unwrap(), "a b");
        assert_eq!(parameter(challenge, "realm"), None);
    }

    #[test]
    fn an_issuer_with_a_path_has_the_urls_of_both_standards() {
        let issuer = Url::parse("https://login.example/realms/acme").unwrap();
        let metadata_urls: Vec<String> =
            metadata_urls(&issuer).iter().map(Url::to_string).collect();
        assert_eq!(
            metadata_urls,
            [
                "https://login.example/.well-known/oauth-authorization-server/realms/acme",
                "https://login.example/.well-known/openid-configuration/realms/acme",
                "https://login.example/realms/acme/.well-known/openid-configuration",
            ]
        );
    }
}
