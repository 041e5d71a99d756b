//! Validates and normalizes the values of a tool's arguments.
//!
//! Models make predictable mistakes: a list as a JSON string, a number in quotes, `null` for an
//! omitted argument, a UID in capitals. Unambiguous values are accepted and normalized; all others
//! are refused with an error that lets the model correct them. Every value that the schema allows
//! is accepted, up to the few formats that the schema cannot express.

use std::borrow::Cow;

use uuid::Uuid;

use super::argument::Argument;
use super::argument_error::{ArgumentError, Remedy};
use super::json_text::to_json;
use super::rfc3339;
use crate::entities::Kind;
use crate::foundation::json::Json;

/// The normalized value of an argument, as JSON text. Borrowed where normalizing changed nothing.
pub(crate) type ArgumentValue<'a> = Cow<'a, str>;

/// The normalized arguments, without absent ones.
#[derive(Debug, Default)]
pub(crate) struct Arguments<'a>(Vec<(&'static str, ArgumentValue<'a>)>);

impl<'a> Arguments<'a> {
    /// Validates the members of `given` against the rows in `arguments`.
    pub fn read(arguments: &[Argument], given: Json<'a>) -> Result<Self, ArgumentError> {
        let mut normalized = Self::default();
        for (name, value) in given.members() {
            let Some(argument) = arguments.iter().find(|argument| argument.name == name) else {
                let known: Vec<_> = arguments.iter().map(|argument| argument.name).collect();
                return Err(ArgumentError::unknown(&name, &known));
            };
            if normalized.has(argument.name) {
                return Err(ArgumentError::new(name, "is given twice"));
            }
            if !value.is_null() {
                normalized
                    .0
                    .push((argument.name, read(argument.name, argument.kind, value)?));
            }
        }
        let missing = arguments
            .iter()
            .find(|argument| argument.required && !normalized.has(argument.name));
        match missing {
            Some(Argument { name, kind, .. }) => {
                let error = ArgumentError::new(name, "is required").remedy(Remedy::Add);
                Err(error.allowed(kind.choices().unwrap_or_default()))
            }
            None => Ok(normalized),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn get(&self, name: &str) -> Option<Json<'_>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| Json::trusted(value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Json<'_>)> {
        self.0
            .iter()
            .map(|(name, value)| (*name, Json::trusted(value)))
    }
}

/// Normalizes one value. `name` is the path of the value, for the error.
pub(crate) fn read<'a>(
    name: &str,
    kind: Kind,
    value: Json<'a>,
) -> Result<ArgumentValue<'a>, ArgumentError> {
    let unchanged = || Ok(value.get().into());
    match kind {
        Kind::Text if value.is_string() => unchanged(),
        Kind::Text => Err(ArgumentError::new(name, "must be a string").received(value)),
        Kind::Token { max } => match value.as_str() {
            Some(text) if text.is_empty() => Err(ArgumentError::new(
                name,
                "must not be empty; leave it out instead",
            )
            .remedy(Remedy::Drop)),
            Some(text) if text.chars().count() > max => Err(ArgumentError::new(
                name,
                format!("must not be longer than {max} characters"),
            )
            .received(value)),
            Some(_) => unchanged(),
            None => Err(ArgumentError::new(name, "must be a string").received(value)),
        },
        Kind::Choice(_) | Kind::Action(_) => {
            read_choice(name, &kind.choices().unwrap_or_default(), value)
        }
        Kind::Flag => match value.as_str().as_deref().map(str::trim) {
            _ if value.as_bool().is_some() => unchanged(),
            Some("true") => Ok("true".into()),
            Some("false") => Ok("false".into()),
            _ => Err(ArgumentError::new(name, "must be true or false")
                .received(value)
                .allowed(["true", "false"])),
        },
        Kind::Integer { min, max } => read_integer(name, min, max, value),
        Kind::DateTime => match value.as_str().as_deref().map(str::trim) {
            Some(text) if rfc3339::is_date_or_time(text) => Ok(to_json(text).into()),
            _ => Err(ArgumentError::new(
                name,
                "must be a date like 2026-03-01 or a time like 2026-03-01T09:00:00Z",
            )
            .received(value)),
        },
        Kind::Uid => match value
            .as_str()
            .and_then(|text| Uuid::try_parse(text.trim()).ok())
        {
            Some(uid) => Ok(to_json(&uid.to_string()).into()),
            None => Err(ArgumentError::new(
                name,
                "must be a UUID like 01890a5d-ac96-774b-bcce-b302099a8057",
            )
            .received(value)),
        },
        Kind::Texts => {
            let list = read_list(name, value)?;
            let mut items = Json::trusted(&list).elements().enumerate();
            match items.find(|(_, item)| !item.is_string()) {
                Some((at, item)) => Err(ArgumentError::new(
                    format!("{name}[{at}]"),
                    "must be a string",
                )
                .received(item)),
                None => Ok(list),
            }
        }
        Kind::Choices(words) => {
            let list = read_list(name, value)?;
            for (at, item) in Json::trusted(&list).elements().enumerate() {
                read_choice(&format!("{name}[{at}]"), words, item)?;
            }
            Ok(list)
        }
        Kind::Objects => {
            let list = unquoted(value);
            let list_of_objects = Json::trusted(&list);
            if !list_of_objects.is_array() {
                let problem = "must be a list of objects";
                return Err(ArgumentError::new(name, problem).received(list_of_objects));
            }
            let mut items = list_of_objects.elements().enumerate();
            match items.find(|(_, item)| !item.is_object()) {
                Some((at, item)) => Err(ArgumentError::new(
                    format!("{name}[{at}]"),
                    "must be an object",
                )
                .received(item)),
                None => Ok(list),
            }
        }
        Kind::Object => {
            let object = unquoted(value);
            if Json::trusted(&object).is_object() {
                Ok(object)
            } else {
                Err(ArgumentError::new(name, "must be an object").received(Json::trusted(&object)))
            }
        }
    }
}

/// A list, given as such or as a JSON string.
fn read_list<'a>(name: &str, value: Json<'a>) -> Result<ArgumentValue<'a>, ArgumentError> {
    let list = unquoted(value);
    if Json::trusted(&list).is_array() {
        Ok(list)
    } else {
        let problem = "must be a list of strings like [\"a\",\"b\"]";
        Err(ArgumentError::new(name, problem).received(Json::trusted(&list)))
    }
}

fn read_choice<'a>(
    name: &str,
    allowed: &[&str],
    value: Json<'a>,
) -> Result<ArgumentValue<'a>, ArgumentError> {
    match value.as_str() {
        Some(text) if allowed.contains(&text.as_ref()) => Ok(to_json(&text).into()),
        _ => {
            let problem = format!("must be one of {}", allowed.join(", "));
            Err(ArgumentError::new(name, problem)
                .received(value)
                .allowed(allowed))
        }
    }
}

/// Accepts `10`, `10.0` (also an integer in JSON Schema), `"10"`, and a quoted `ETag`: `"\"3\""`.
fn read_integer<'a>(
    name: &str,
    min: u64,
    max: Option<u64>,
    value: Json<'a>,
) -> Result<ArgumentValue<'a>, ArgumentError> {
    let number = match value.as_str() {
        Some(text) => text.trim().trim_matches('"').parse().ok(),
        None => value.as_u64().or_else(|| value.as_f64().and_then(whole)),
    };
    match number {
        Some(number) if number >= min && max.is_none_or(|max| number <= max) => {
            Ok(number.to_string().into())
        }
        _ => {
            let range = max.map_or_else(
                || format!("of at least {min}"),
                |max| format!("from {min} to {max}"),
            );
            Err(ArgumentError::new(name, format!("must be an integer {range}")).received(value))
        }
    }
}

/// The float as an integer, if it is a whole number in the range that floats represent exactly.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

/// Unwraps a list or an object that is encoded as a JSON string. Other values are unchanged.
fn unquoted(value: Json<'_>) -> ArgumentValue<'_> {
    let text = value.as_str();
    let inner = text
        .as_deref()
        .and_then(|text| Json::parse(text.as_bytes()).ok());
    match inner {
        Some(inner) if inner.is_array() || inner.is_object() => inner.get().to_owned().into(),
        _ => value.get().into(),
    }
}
