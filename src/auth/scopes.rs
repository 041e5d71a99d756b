//! Reads the scopes of a token. What a scope allows is decided in `src/mcp/tool_access.rs`.
//!
//! Issuers disagree on the claim: `scope` (RFC 8693, section 4.2: words with spaces between them),
//! `scp` (the same, or a list) and `permissions` (a list). All that are present count together. A
//! claim of another form makes the token invalid: ignoring it would lift the token's limits.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::AuthError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// Nothing limits the token.
    All,
    /// These and no others; there may be none.
    Only(Arc<[Box<str>]>),
}

/// The forms in which a claim may list its words.
const CLAIMS: [(&str, Forms); 3] = [
    (
        "scope",
        Forms {
            text: true,
            list: false,
        },
    ),
    (
        "scp",
        Forms {
            text: true,
            list: true,
        },
    ),
    (
        "permissions",
        Forms {
            text: false,
            list: true,
        },
    ),
];

struct Forms {
    text: bool,
    list: bool,
}

impl Scopes {
    pub fn none() -> Self {
        Self::Only(Arc::from([]))
    }

    /// What the claims say; `None` when they say nothing of scopes. `null` is something, and of the
    /// wrong form.
    pub fn claimed(claims: &Map<String, Value>) -> Result<Option<Self>, AuthError> {
        let mut words: Option<Vec<Box<str>>> = None;
        for (name, forms) in &CLAIMS {
            let Some(claim) = claims.get(*name) else {
                continue;
            };
            let words = words.get_or_insert_default();
            match claim {
                Value::String(text) if forms.text => {
                    words.extend(
                        text.split(' ')
                            .filter(|word| !word.is_empty())
                            .map(Box::from),
                    );
                }
                Value::Array(list) if forms.list => {
                    for word in list {
                        words.push(Box::from(word.as_str().ok_or(AuthError::Malformed)?));
                    }
                }
                _ => return Err(AuthError::Malformed),
            }
        }
        Ok(words.map(|words| Self::Only(words.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claimed(claims: Value) -> Result<Option<Scopes>, AuthError> {
        Scopes::claimed(claims.as_object().unwrap())
    }

    #[test]
    fn the_claims_of_all_issuers_are_read_together() {
        for (claims, words) in [
            (json!({"scope": "a b:c"}), &["a", "b:c"][..]),
            (json!({"scope": "  a  b "}), &["a", "b"]),
            (json!({"scp": "a b"}), &["a", "b"]),
            (json!({"scp": ["a", "b c"]}), &["a", "b c"]),
            (json!({"permissions": ["a"]}), &["a"]),
            (
                json!({"scope": "a", "scp": ["b"], "permissions": ["c"]}),
                &["a", "b", "c"],
            ),
            (json!({"scope": ""}), &[]),
            (json!({"permissions": []}), &[]),
            // Only a space stands between words.
            (json!({"scope": "a\tb,c"}), &["a\tb,c"]),
        ] {
            let expected = Scopes::Only(words.iter().map(|word| Box::from(*word)).collect());
            assert_eq!(claimed(claims.clone()), Ok(Some(expected)), "{claims}");
        }
        assert_eq!(claimed(json!({"sub": "u", "scopes": "a"})), Ok(None));
    }

    #[test]
    fn a_malformed_claim_is_not_ignored() {
        for claims in [
            json!({"scope": ["a"]}),
            json!({"scope": null}),
            json!({"scope": 7}),
            json!({"scope": {"a": true}}),
            json!({"scp": 7}),
            json!({"scp": ["a", 7]}),
            json!({"scp": ["a", ["b"]]}),
            json!({"permissions": "a"}),
            json!({"permissions": [null]}),
            json!({"scope": "a", "permissions": false}),
        ] {
            assert_eq!(
                claimed(claims.clone()),
                Err(AuthError::Malformed),
                "{claims}"
            );
        }
    }
}
