//! The scopes of a token, as its issuer names them. Their meaning is not known here.
//!
//! Issuers use different claims: `scope` (RFC 8693, section 4.2: space-separated words), `scp` (the
//! same, or a list) and `permissions` (a list). All present claims count, together. A claim of
//! another form makes the token invalid: ignoring it would turn a restricted token into an
//! unrestricted one.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::AuthError;

/// The scopes of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// All scopes.
    All,
    /// Only these scopes, possibly none.
    Only(Arc<[Box<str>]>),
}

/// The claims, and the forms in which each may list scopes.
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
    /// No scope at all.
    pub fn none() -> Self {
        Self::Only(Arc::from([]))
    }

    /// The scopes in the claims; `None` without any scope claim. `null` counts as a claim, of an
    /// invalid form.
    pub fn claimed(claims: &Map<String, Value>) -> Result<Option<Self>, AuthError> {
        let mut scopes: Option<Vec<Box<str>>> = None;
        for (name, forms) in &CLAIMS {
            let Some(claim) = claims.get(*name) else {
                continue;
            };
            let scopes = scopes.get_or_insert_default();
            match claim {
                Value::String(text) if forms.text => {
                    scopes.extend(
                        text.split(' ')
                            .filter(|word| !word.is_empty())
                            .map(Box::from),
                    );
                }
                Value::Array(list) if forms.list => {
                    for word in list {
                        scopes.push(Box::from(word.as_str().ok_or(AuthError::Malformed)?));
                    }
                }
                _ => return Err(AuthError::Malformed),
            }
        }
        Ok(scopes.map(|scopes| Self::Only(scopes.into())))
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
    fn combines_the_claims_of_all_issuers() {
        for (claims, scopes) in [
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
            // Only spaces separate scopes.
            (json!({"scope": "a\tb,c"}), &["a\tb,c"]),
        ] {
            let expected = Scopes::Only(scopes.iter().map(|word| Box::from(*word)).collect());
            assert_eq!(claimed(claims.clone()), Ok(Some(expected)), "{claims}");
        }
        assert_eq!(claimed(json!({"sub": "u", "scopes": "a"})), Ok(None));
    }

    #[test]
    fn refuses_a_claim_of_another_form() {
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
