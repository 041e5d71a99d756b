//! Reads the values that came for a tool's arguments.
//!
//! Models make predictable mistakes: a list sent as a JSON string, a number in quotes, `null` for something left out,
//! a UID in capitals. What can only mean one thing is taken as that; everything else is refused, with words by which
//! the model can mend it. The schema promises less than what is taken here, never more.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::argument::Argument;
use super::moment;
use super::refusal::{Refusal, Remedy};
use crate::entities::Kind;

/// The arguments as they are meant, by name; absent ones are left out.
pub(super) fn read_all(arguments: &[Argument], given: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut meant = Map::new();
    for (name, value) in given {
        let Some(argument) = arguments.iter().find(|argument| argument.name == name) else {
            let known: Vec<_> = arguments.iter().map(|argument| argument.name).collect();
            return Err(Refusal::unknown(&name, &known));
        };
        if !value.is_null() {
            meant.insert(name, read(argument.name, argument.kind, value)?);
        }
    }
    match arguments
        .iter()
        .find(|argument| argument.required && !meant.contains_key(argument.name))
    {
        Some(Argument { name, kind, .. }) => {
            let refusal = Refusal::new(name, "is required").remedy(Remedy::Add);
            Err(refusal.allowed(kind.choices().unwrap_or_default()))
        }
        None => Ok(meant),
    }
}

/// One value as it is meant. `name` says where it stands, for the refusal.
pub(super) fn read(name: &str, kind: Kind, value: Value) -> Result<Value, Refusal> {
    match kind {
        Kind::Text => match value {
            Value::String(_) => Ok(value),
            _ => Err(Refusal::new(name, "must be a string").received(&value)),
        },
        Kind::Token { max } => match &value {
            Value::String(text) if text.is_empty() => {
                Err(Refusal::new(name, "must not be empty; leave it out instead").remedy(Remedy::Drop))
            }
            Value::String(text) if text.chars().count() > max => {
                Err(Refusal::new(name, format!("must not be longer than {max} characters")).received(&value))
            }
            Value::String(_) => Ok(value),
            _ => Err(Refusal::new(name, "must be a string").received(&value)),
        },
        Kind::Choice(_) | Kind::Action(_) => read_choice(name, &kind.choices().unwrap_or_default(), value),
        Kind::Flag => match value.as_str().map(str::trim) {
            _ if value.is_boolean() => Ok(value),
            Some("true") => Ok(json!(true)),
            Some("false") => Ok(json!(false)),
            _ => Err(Refusal::new(name, "must be true or false")
                .received(&value)
                .allowed(["true", "false"])),
        },
        Kind::Integer { min, max } => read_integer(name, min, max, &value),
        Kind::Moment => match value.as_str().map(str::trim) {
            Some(text) if moment::is_moment(text) => Ok(json!(text)),
            _ => Err(Refusal::new(
                name,
                "must be a date like 2026-03-01 or a time like 2026-03-01T09:00:00Z",
            )
            .received(&value)),
        },
        Kind::Uid => match value.as_str().and_then(|text| Uuid::try_parse(text.trim()).ok()) {
            Some(uid) => Ok(json!(uid.to_string())),
            None => {
                Err(Refusal::new(name, "must be a UUID like 01890a5d-ac96-774b-bcce-b302099a8057").received(&value))
            }
        },
        Kind::Texts => match unquoted(value) {
            Value::Array(items) => {
                let stranger = items.iter().enumerate().find(|(_, item)| !item.is_string());
                match stranger {
                    None => Ok(Value::Array(items)),
                    Some((at, item)) => Err(Refusal::new(format!("{name}[{at}]"), "must be a string").received(item)),
                }
            }
            other => Err(Refusal::new(name, "must be a list of strings like [\"a\",\"b\"]").received(&other)),
        },
        Kind::Object => match unquoted(value) {
            Value::Object(members) => Ok(Value::Object(members)),
            other => Err(Refusal::new(name, "must be an object").received(&other)),
        },
    }
}

fn read_choice(name: &str, allowed: &[&str], value: Value) -> Result<Value, Refusal> {
    match value.as_str() {
        Some(text) if allowed.contains(&text) => Ok(value),
        _ => {
            let problem = format!("must be one of {}", allowed.join(", "));
            Err(Refusal::new(name, problem).received(&value).allowed(allowed))
        }
    }
}

/// Takes `10`, `10.0` (which JSON Schema calls an integer too), `"10"`, and the quotes of an `ETag`: `"\"3\""`.
fn read_integer(name: &str, min: u64, max: Option<u64>, value: &Value) -> Result<Value, Refusal> {
    let number = match value {
        Value::String(text) => text.trim().trim_matches('"').parse().ok(),
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        _ => None,
    };
    match number {
        Some(number) if number >= min && max.is_none_or(|max| number <= max) => Ok(json!(number)),
        _ => {
            let range = max.map_or_else(|| format!("of at least {min}"), |max| format!("from {min} to {max}"));
            Err(Refusal::new(name, format!("must be an integer {range}")).received(value))
        }
    }
}

/// The integer that a float is, if it is one and exactly so.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

/// A list or an object that came as a JSON string, as what it says; anything else as it is.
fn unquoted(value: Value) -> Value {
    match value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        Some(said @ (Value::Array(_) | Value::Object(_))) => said,
        _ => value,
    }
}
