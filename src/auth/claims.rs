//! What a genuine token says, held against what this place demands. Pure: the time is an argument.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AuthError, Credential, Principal, Scopes};
use crate::foundation::secret::Secret;

const MAX_SUBJECT_BYTES: usize = 255;

/// The demands, taken from the settings once.
#[derive(Debug, Clone)]
pub struct ClaimRules {
    pub tenant_id: String,
    pub tenant_claim: String,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub leeway_secs: u64,
    /// What a token may do that says nothing of scopes.
    pub default_scopes: Scopes,
}

impl ClaimRules {
    /// Reads the claims of a token whose signature has been verified.
    ///
    /// The tenant comes last: a caller learns that a tenant exists only with a token that is good
    /// in all other respects.
    pub fn check(
        &self,
        claims: &Map<String, Value>,
        token: Secret,
        now_secs: u64,
    ) -> Result<Principal, AuthError> {
        let expires_at = numeric_date(claims.get("exp")).ok_or(AuthError::Malformed)?;
        if now_secs >= expires_at.saturating_add(self.leeway_secs) {
            return Err(AuthError::Expired);
        }
        if let Some(not_before) = present(claims, "nbf") {
            let not_before = numeric_date(Some(not_before)).ok_or(AuthError::Malformed)?;
            if now_secs.saturating_add(self.leeway_secs) < not_before {
                return Err(AuthError::NotYetValid);
            }
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(AuthError::WrongIssuer);
        }
        if let Some(audience) = &self.audience
            && !names(claims.get("aud"), audience)
        {
            return Err(AuthError::WrongAudience);
        }
        let subject = claims
            .get("sub")
            .and_then(Value::as_str)
            .ok_or(AuthError::Malformed)?;
        if !is_plain_name(subject) {
            return Err(AuthError::Malformed);
        }
        let scopes = Scopes::claimed(claims)?.unwrap_or_else(|| self.default_scopes.clone());
        if present(claims, &self.tenant_claim)
            .is_some_and(|claim| claim.as_str() != Some(&self.tenant_id))
        {
            return Err(AuthError::TenantMismatch);
        }
        Ok(Principal {
            subject: Arc::from(subject),
            scopes,
            expires_at,
            credential: Credential::Own(token),
        })
    }
}

/// Whether a subject can be stored, logged and compared without surprises. The replacement
/// character stands for whatever a decoder could not read, so different people would have the same
/// name. The API has the same rule: `plain` in `api/internal/auth/auth.go`.
fn is_plain_name(subject: &str) -> bool {
    !subject.is_empty()
        && subject.len() <= MAX_SUBJECT_BYTES
        && !subject
            .chars()
            .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
}

fn present<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// RFC 7519 allows fractions of a second; they are cut off.
fn numeric_date(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    let fraction = || {
        value
            .as_f64()
            .filter(|secs| *secs >= 0.0 && *secs < 1e15)
            .map(|secs| secs as u64)
    };
    // What the API, which counts in signed numbers, could not read must not be good here.
    value
        .as_u64()
        .filter(|secs| i64::try_from(*secs).is_ok())
        .or_else(fraction)
}

fn names(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_763_636_400;

    fn rules() -> ClaimRules {
        ClaimRules {
            tenant_id: "acme".into(),
            tenant_claim: "tenant_id".into(),
            issuer: None,
            audience: None,
            leeway_secs: 60,
            default_scopes: Scopes::All,
        }
    }

    fn check(rules: &ClaimRules, claims: Value) -> Result<Principal, AuthError> {
        rules.check(claims.as_object().unwrap(), Secret::new("a.b.c"), NOW)
    }

    fn refusal(claims: Value) -> Option<AuthError> {
        check(&rules(), claims).err()
    }

    #[test]
    fn times_are_checked_with_leeway() {
        for (exp, expected) in [
            (json!(NOW + 1), None),
            (json!(NOW - 59), None),
            (json!(NOW - 60), Some(AuthError::Expired)),
            (json!(0), Some(AuthError::Expired)),
            (json!(NOW as f64 + 0.5), None),
            (json!(i64::MAX), None),
            (json!(u64::MAX), Some(AuthError::Malformed)),
            (json!(i64::MAX as u64 + 1), Some(AuthError::Malformed)),
            (json!("1999999999"), Some(AuthError::Malformed)),
            (json!(-1), Some(AuthError::Malformed)),
            (Value::Null, Some(AuthError::Malformed)),
        ] {
            assert_eq!(
                refusal(json!({"sub": "u", "exp": exp})),
                expected,
                "exp {exp}"
            );
        }
        assert_eq!(
            refusal(json!({"sub": "u"})),
            Some(AuthError::Malformed),
            "exp is required"
        );
        for (nbf, expected) in [
            (json!(NOW + 60), None),
            (json!(NOW + 61), Some(AuthError::NotYetValid)),
            (json!("soon"), Some(AuthError::Malformed)),
        ] {
            assert_eq!(
                refusal(json!({"sub": "u", "exp": NOW + 1, "nbf": nbf})),
                expected,
                "nbf {nbf}"
            );
        }
    }

    #[test]
    fn the_subject_is_a_plain_name() {
        for (sub, ok) in [
            (json!("user-1"), true),
            (json!("é".repeat(127)), true),
            (json!(""), false),
            (json!("x".repeat(256)), false),
            (json!("a\nb"), false),
            (json!(7), false),
            (Value::Null, false),
        ] {
            assert_eq!(
                refusal(json!({"sub": sub, "exp": NOW + 1})).is_none(),
                ok,
                "sub {sub}"
            );
        }
    }

    /// The same table as in `api/internal/auth/auth_test.go`.
    #[test]
    fn subjects_are_checked_as_in_the_api() {
        let table: Value =
            serde_json::from_str(include_str!("../../tests/vectors/subjects.json")).unwrap();
        let vectors = table["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 20, "{} vectors", vectors.len());
        for vector in vectors {
            let (name, sub) = (&vector["name"], vector["sub"].as_str().unwrap());
            let claims = format!(r#"{{"sub":{sub},"exp":{}}}"#, NOW + 1);
            let taken = serde_json::from_str::<Value>(&claims)
                .is_ok_and(|claims| refusal(claims).is_none());
            assert_eq!(Some(taken), vector["good"].as_bool(), "{name}");
        }
    }

    #[test]
    fn issuer_and_audience_only_when_configured() {
        assert_eq!(
            refusal(json!({"sub": "u", "exp": NOW, "iss": "x", "aud": "y"})),
            None
        );
        let strict = ClaimRules {
            issuer: Some("me".into()),
            audience: Some("api".into()),
            ..rules()
        };
        for (iss, aud, expected) in [
            (json!("me"), json!("api"), None),
            (json!("me"), json!(["other", "api"]), None),
            (json!("you"), json!("api"), Some(AuthError::WrongIssuer)),
            (Value::Null, json!("api"), Some(AuthError::WrongIssuer)),
            (json!("me"), json!("apix"), Some(AuthError::WrongAudience)),
            (json!("me"), json!([]), Some(AuthError::WrongAudience)),
            (json!("me"), Value::Null, Some(AuthError::WrongAudience)),
        ] {
            let result = check(
                &strict,
                json!({"sub": "u", "exp": NOW, "iss": iss, "aud": aud}),
            );
            assert_eq!(result.err(), expected, "iss {iss} aud {aud}");
        }
    }

    #[test]
    fn a_tenant_claim_must_match() {
        for (claim, expected) in [
            (json!("acme"), None),
            (Value::Null, None),
            (json!("Acme"), Some(AuthError::TenantMismatch)),
            (json!(""), Some(AuthError::TenantMismatch)),
            (json!(["acme"]), Some(AuthError::TenantMismatch)),
        ] {
            assert_eq!(
                refusal(json!({"sub": "u", "exp": NOW, "tenant_id": claim})),
                expected,
                "{claim}"
            );
        }
        let expired_other_tenant = refusal(json!({"sub": "u", "exp": 0, "tenant_id": "other"}));
        assert_eq!(expired_other_tenant, Some(AuthError::Expired));
    }

    #[test]
    fn a_token_without_scopes_has_the_default_scopes() {
        let scopes =
            |rules: &ClaimRules, claims| check(rules, claims).map(|principal| principal.scopes);
        let strict = ClaimRules {
            default_scopes: Scopes::none(),
            ..rules()
        };
        let plain = json!({"sub": "u", "exp": NOW});
        assert_eq!(scopes(&rules(), plain.clone()), Ok(Scopes::All));
        assert_eq!(scopes(&strict, plain), Ok(Scopes::none()));
        let limited = json!({"sub": "u", "exp": NOW, "scope": "a"});
        for rules in [rules(), strict] {
            assert_eq!(
                scopes(&rules, limited.clone()),
                Ok(Scopes::Only(["a".into()].into()))
            );
        }
        assert_eq!(
            refusal(json!({"sub": "u", "exp": NOW, "scope": 7})),
            Some(AuthError::Malformed)
        );
    }
}
