//! What OAuth clients go by: the metadata of the server (RFC 9728) and of its authorization servers (RFC 8414).

use url::Url;

use super::Outside;
use crate::doctor::check::{Finding, Found};
use crate::doctor::http::at;
use crate::doctor::words::quote;

const RESOURCE: &str = ".well-known/oauth-protected-resource";

/// A parameter of a challenge.
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(quote(value))
}

impl Outside {
    pub(super) async fn look_at_metadata(&mut self) -> Found {
        let root = at(&self.aim.base, RESOURCE)?;
        let beside = at(&self.aim.base, &format!("{RESOURCE}/mcp"))?;
        let mend = format!(
            "set TOOLBRIDGE_SERVER_PUBLIC_URL to {}, and check TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS",
            self.aim.shown()
        );
        let mut found = Vec::new();
        for place in [&root, &beside] {
            let answer = self.http.get(place).await.map_err(|none| none.ill(place))?;
            found.push((place, answer));
        }
        let Some(named) = &self.metadata else {
            return match found.iter().find(|(_, answer)| answer.status == 200) {
                None => {
                    Ok("OAuth is not configured: clients ask their user for a token".to_owned())
                }
                Some((place, _)) => Err(Finding::failed(
                    format!("{place} is there, but the 401 does not lead to it"),
                    "check what stands between this URL and the server: it changes WWW-Authenticate",
                )),
            };
        };
        if *named != beside.as_str() && *named != root.as_str() {
            return Err(Finding::failed(
                format!("clients are sent to {named}, which is not at this URL"),
                mend,
            ));
        }
        for (place, answer) in &found {
            let resource = answer.text("/resource");
            if answer.status != 200 {
                return Err(Finding::failed(
                    format!("{place}: {}", answer.in_words()),
                    mend,
                ));
            }
            if resource != self.aim.mcp.as_str() {
                let what = format!(
                    "{place} describes \"{resource}\", which is not {}",
                    self.aim.mcp
                );
                return Err(Finding::failed(what, mend));
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
            [] => Err(Finding::failed("it names no authorization server", mend)),
            servers => Ok(format!(
                "clients are sent to {}",
                quote(&servers.join(", "))
            )),
        }
    }

    /// Only warned of: what is needed here may be reachable for clients only.
    pub(super) async fn look_at_authorization_servers(&mut self) -> Found {
        if self.authorization_servers.is_empty() {
            return Err(Finding::skipped("there are none"));
        }
        for server in &self.authorization_servers {
            if !self.describes_itself(server).await {
                return Err(Finding::warning(
                    format!(
                        "{} does not describe itself where clients look",
                        quote(server)
                    ),
                    "is it up, and is the issuer in TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS written as it writes it?",
                ));
            }
        }
        Ok("they describe themselves".to_owned())
    }

    async fn describes_itself(&self, issuer: &str) -> bool {
        let Ok(issuer) = Url::parse(issuer) else {
            return false;
        };
        for place in places(&issuer) {
            if let Ok(answer) = self.http.get(&place).await
                && answer.status == 200
                && !answer.text("/issuer").is_empty()
            {
                return true;
            }
        }
        false
    }
}

/// Where the metadata of an issuer may be: RFC 8414 puts the well-known part before the path, OpenID Connect after it.
fn places(issuer: &Url) -> Vec<Url> {
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
    use super::*;

    #[test]
    fn a_challenge_is_read_by_name() {
        let challenge = r#"Bearer resource_metadata="https://a.example/x", scope="a b""#;
        assert_eq!(
            parameter(challenge, "resource_metadata").unwrap(),
            "https://a.example/x"
        );
        assert_eq!(parameter(challenge, "scope").unwrap(), "a b");
        assert_eq!(parameter(challenge, "realm"), None);
    }

    #[test]
    fn an_issuer_with_a_path_is_looked_for_where_both_standards_say() {
        let issuer = Url::parse("https://login.example/realms/acme").unwrap();
        let places: Vec<String> = places(&issuer).iter().map(Url::to_string).collect();
        assert_eq!(
            places,
            [
                "https://login.example/.well-known/oauth-authorization-server/realms/acme",
                "https://login.example/.well-known/openid-configuration/realms/acme",
                "https://login.example/realms/acme/.well-known/openid-configuration",
            ]
        );
    }
}
