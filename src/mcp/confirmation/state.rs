//! The state that a client sends back with the answer to a question.
//!
//! It is authenticated with a key that all processes of the tenant derive alike, and bound to the
//! caller, the tool and the arguments. It is not encrypted, since it holds no secret.

use hmac::{Hmac, KeyInit, Mac};
use rmcp::model::{RequestStateCodec, SealOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::foundation::json::Json;
use crate::foundation::secret::Secret;
use crate::tools::Confirmed;

/// Distinguishes the key from every other use of the secret.
const KEY_LABEL: &str = "toolbridge-mcp request state, version 1";

/// What a state belongs to.
pub struct Binding<'a> {
    pub subject: &'a str,
    pub tool: &'a str,
    pub arguments: Json<'a>,
}

/// What a state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub confirmed: Confirmed,
    /// Unix time in seconds.
    pub expires: u64,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    nonce: Uuid,
    expires: u64,
    version: Option<u64>,
}

pub struct States(RequestStateCodec);

impl States {
    /// Without a secret, the key is random.
    pub fn new(secret: Option<&Secret>, tenant: &str, issuer: &str) -> Self {
        let secret = secret.cloned().unwrap_or_else(|| {
            let [one, other] = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::simple);
            Secret::new(format!("{one}{other}"))
        });
        let key = mac(secret.expose().as_bytes(), &[KEY_LABEL, tenant, issuer]);
        Self(RequestStateCodec::new_unchecked(key))
    }

    pub fn seal(&self, sealed: &Sealed, binding: &Binding<'_>) -> String {
        let Sealed { confirmed, expires } = *sealed;
        let encoded = Encoded {
            nonce: confirmed.key,
            expires,
            version: confirmed.version,
        };
        // Numbers and a UUID always encode.
        let text = serde_json::to_vec(&encoded).unwrap_or_default();
        let digest = binding.digest();
        self.0
            .seal_with(&text, &SealOptions::new().associated_data(&digest))
    }

    /// `None` if the state was made elsewhere, altered, or belongs to something else.
    pub fn open(&self, state: &str, binding: &Binding<'_>) -> Option<Sealed> {
        let text = self.0.open_with(state, &binding.digest()).ok()?;
        let encoded: Encoded = serde_json::from_slice(&text).ok()?;
        let confirmed = Confirmed {
            key: encoded.nonce,
            version: encoded.version,
        };
        let expires = encoded.expires;
        Some(Sealed { confirmed, expires })
    }
}

fn mac(key: &[u8], parts: &[&str]) -> Vec<u8> {
    // A key of any length is accepted, so this cannot fail.
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.unwrap_or_else(|_| Hmac::new(&Default::default()));
    for part in parts {
        mac.update(&length(part.len()));
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().to_vec()
}

impl Binding<'_> {
    fn digest(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        text(self.subject, &mut hash);
        text(self.tool, &mut hash);
        value(self.arguments, &mut hash);
        hash.finalize().to_vec()
    }
}

/// Hashes a value, without what does not change its meaning: white space, escapes, and the order of
/// members. Its depth has been validated.
fn value(json: Json<'_>, hash: &mut Sha256) {
    if json.is_object() {
        let mut members: Vec<_> = json.members().collect();
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        hash.update(b"{");
        hash.update(length(members.len()));
        for (key, member) in members {
            text(&key, hash);
            value(member, hash);
        }
    } else if json.is_array() {
        hash.update(b"[");
        hash.update(length(json.elements().count()));
        for element in json.elements() {
            value(element, hash);
        }
    } else if let Some(string) = json.as_str() {
        hash.update(b"s");
        text(&string, hash);
    } else {
        hash.update(b"v");
        text(json.get(), hash);
    }
}

/// The length comes first, so that no two lists of texts are hashed alike.
fn text(text: &str, hash: &mut Sha256) {
    hash.update(length(text.len()));
    hash.update(text.as_bytes());
}

fn length(length: usize) -> [u8; 8] {
    u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGUMENTS: &str = r#"{"kind":"note","operations":[{"a":1,"b":"é"},2],"x":{"y":[]}}"#;

    fn binding<'a>(subject: &'a str, tool: &'a str, arguments: &'a str) -> Binding<'a> {
        Binding {
            subject,
            tool,
            arguments: Json::trusted(arguments),
        }
    }

    fn sealed() -> Sealed {
        let confirmed = Confirmed {
            key: Uuid::new_v4(),
            version: Some(7),
        };
        let expires = 1_800_000_000;
        Sealed { confirmed, expires }
    }

    fn states(secret: &str) -> States {
        States::new(Some(&Secret::new(secret)), "acme", "https://issuer")
    }

    #[test]
    fn is_opened_by_every_process_with_the_same_secret() {
        let (sealed, mine) = (sealed(), binding("ann", "batch", ARGUMENTS));
        let state = states("a secret").seal(&sealed, &mine);
        assert_eq!(states("a secret").open(&state, &mine), Some(sealed));
        let secret = Secret::new("a secret");
        for other in [
            states("another"),
            States::new(Some(&secret), "other", "https://issuer"),
            States::new(Some(&secret), "acme", "https://other"),
            States::new(Some(&secret), "acmeh", "ttps://issuer"),
            States::new(None, "acme", "https://issuer"),
        ] {
            assert_eq!(other.open(&state, &mine), None);
        }
    }

    #[test]
    fn is_bound_to_caller_tool_and_arguments() {
        let (states, sealed) = (states("a secret"), sealed());
        let state = states.seal(&sealed, &binding("ann", "batch", ARGUMENTS));
        for (subject, tool, arguments) in [
            ("bob", "batch", ARGUMENTS),
            ("ann", "restore", ARGUMENTS),
            ("annb", "atch", ARGUMENTS),
            ("ann", "batch", "{}"),
            ("ann", "batch", &ARGUMENTS.replace('1', "3")),
            ("ann", "batch", &ARGUMENTS.replace(",2]", ",\"2\"]")),
            ("ann", "batch", &ARGUMENTS.replace("[]", "{}")),
            ("ann", "batch", &ARGUMENTS.replace("\"x\"", "\"z\"")),
        ] {
            let other = binding(subject, tool, arguments);
            assert_eq!(
                states.open(&state, &other),
                None,
                "{subject} {tool} {arguments}"
            );
        }
        let rewritten = r#"{"x" : {"y":[ ]}, "operations":[{"b":"\u00e9","a":1},2],"kind":"note"}"#;
        let same = binding("ann", "batch", rewritten);
        assert_eq!(states.open(&state, &same), Some(sealed));
    }

    #[test]
    fn an_altered_state_is_none() {
        let (states, mine) = (states("a secret"), binding("ann", "batch", ARGUMENTS));
        let state = states.seal(&sealed(), &mine);
        for at in 0..state.len() {
            let mut altered = state.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(states.open(&altered, &mine), None, "{altered}");
        }
        for garbage in ["", "rs1", "rs1..", &state[1..], &format!("{state}A")] {
            assert_eq!(states.open(garbage, &mine), None, "{garbage}");
        }
    }
}
