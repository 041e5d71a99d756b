//! Converts `key=value` pairs of a command line to the arguments of a tool.
//!
//! The tool's schema determines the type: `content=123` is a string, `limit=10` a number. A value
//! that does not match is passed on as a string, because the tool's own error is more precise.
//! Values that are JSON stay text, so that numbers keep their digits.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

use serde_json::{Map, Value};

use crate::foundation::json::{Json, JsonError};

/// Sources of values besides the command line.
pub trait Reader {
    fn file(&mut self, path: &str) -> io::Result<String>;
    fn stdin(&mut self) -> io::Result<String>;
}

/// The types of a tool's arguments, and of the fields inside object arguments.
pub struct Types<'a> {
    /// `properties` of the tool's input schema.
    pub arguments: Option<&'a Map<String, Value>>,
    /// `properties` of the entity's create tool, which types fields such as `updates.title`.
    pub fields: Option<&'a Map<String, Value>>,
}

impl Types<'_> {
    fn of<'s>(properties: Option<&'s Map<String, Value>>, key: &str) -> Option<&'s str> {
        properties?.get(key)?.get("type")?.as_str()
    }
}

/// The members of a JSON object, as text.
#[derive(Debug, Default)]
struct Members(Vec<(String, String)>);

impl Members {
    fn of(object: Json<'_>) -> Self {
        let member = |(name, value): (Cow<'_, str>, Json<'_>)| (name.into(), value.get().into());
        Self(object.members().map(member).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(other, _)| other == name)?;
        Some(value)
    }

    fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), value));
    }

    fn into_text(self) -> String {
        let member = |(name, value)| format!("{}:{value}", Value::String(name));
        let members: Vec<String> = self.0.into_iter().map(member).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// Reads `--args` and then the pairs, which take precedence. The result is the text of an object.
pub fn read(
    base: Option<&str>,
    pairs: &[String],
    types: &Types<'_>,
    reader: &mut dyn Reader,
) -> Result<String, String> {
    refuse_second_stdin(base, pairs)?;
    let mut arguments = match base {
        Some(text) => object(&fetch(text, "--args", reader)?)?,
        None => Members::default(),
    };
    let mut seen: Vec<&str> = Vec::new();
    for pair in pairs {
        let (key, text) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("\"{pair}\" is no argument: write it key=value"))?;
        if seen.contains(&key) {
            return Err(format!(
                "\"{key}\" is given twice: write a list as {key}=one,two"
            ));
        }
        seen.push(key);
        let text = fetch(text, key, reader)?;
        match key.split_once('.') {
            Some((outer, inner)) if Types::of(types.arguments, outer) == Some("object") => {
                let value = typed(&text, Types::of(types.fields, inner));
                let given = Json::trusted(arguments.get(outer).unwrap_or("{}"));
                if !given.is_object() {
                    return Err(format!("\"{outer}\" is no object already"));
                }
                let mut nested = Members::of(given);
                nested.set(inner, value);
                arguments.set(outer, nested.into_text());
            }
            _ => arguments.set(key, typed(&text, Types::of(types.arguments, key))),
        }
    }
    Ok(arguments.into_text())
}

fn refuse_second_stdin(base: Option<&str>, pairs: &[String]) -> Result<(), String> {
    let base = base.map(|text| ("--args", text));
    let texts = base
        .into_iter()
        .chain(pairs.iter().filter_map(|pair| pair.split_once('=')));
    let mut from_stdin = texts.filter(|(_, text)| *text == "-").map(|(key, _)| key);
    match (from_stdin.next(), from_stdin.next()) {
        (Some(first), Some(second)) => Err(format!(
            "\"{first}\" and \"{second}\" both want standard input, which can be read once"
        )),
        _ => Ok(()),
    }
}

fn object(text: &str) -> Result<Members, String> {
    let refused = |why: &dyn Display| format!("--args is no JSON object ({why})");
    let json = Json::parse(text.as_bytes()).map_err(|why: JsonError| refused(&why))?;
    if !json.is_object() {
        return Err(refused(&"it is another value"));
    }
    Ok(Members::of(json))
}

/// Resolves `@file`, `-` for standard input, and `@@text` for text that begins with `@`.
fn fetch(text: &str, key: &str, reader: &mut dyn Reader) -> Result<String, String> {
    let failed = |why: io::Error| format!("\"{key}\" cannot be read from {text} ({why})");
    match text.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => reader.file(path).map_err(failed),
        None if text == "-" => reader.stdin().map_err(failed),
        None => Ok(text.to_owned()),
    }
}

/// The JSON text of an argument of this type.
fn typed(text: &str, kind: Option<&str>) -> String {
    let as_text = || Value::from(text).to_string();
    let json = Json::parse(text.as_bytes()).ok();
    match kind {
        Some("string") => as_text(),
        Some("array") => match json.filter(|json| json.is_array()) {
            Some(list) => list.get().to_owned(),
            None => {
                let parts = text.split(',').map(str::trim);
                let parts = parts.filter(|part| !part.is_empty()).map(Value::from);
                Value::Array(parts.collect()).to_string()
            }
        },
        _ => json
            .filter(|value| !value.is_string() && !value.is_null())
            .map_or_else(as_text, |value| value.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Canned;

    impl Reader for Canned {
        fn file(&mut self, path: &str) -> io::Result<String> {
            match path {
                "note.md" => Ok("# From a file\n".to_owned()),
                "args.json" => Ok(r#"{"title":"base","tags":["x"]}"#.to_owned()),
                _ => Err(io::Error::from(io::ErrorKind::NotFound)),
            }
        }

        fn stdin(&mut self) -> io::Result<String> {
            Ok("from stdin".to_owned())
        }
    }

    fn reading(base: Option<&str>, pairs: &[&str]) -> Result<Value, String> {
        text_of(base, pairs).map(|text| serde_json::from_str(&text).unwrap())
    }

    fn text_of(base: Option<&str>, pairs: &[&str]) -> Result<String, String> {
        let arguments = json!({
            "content": {"type": "string"}, "title": {"type": "string"},
            "limit": {"type": "integer"},
            "full": {"type": "boolean"}, "tags": {"type": "array"}, "updates": {"type": "object"},
        });
        let fields = json!({ "title": {"type": "string"}, "tags": {"type": "array"} });
        let types = Types {
            arguments: arguments.as_object(),
            fields: fields.as_object(),
        };
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        read(base, &pairs, &types, &mut Canned)
    }

    #[test]
    fn numbers_keep_their_digits() {
        let args =
            r#"{"title":"t","x":{"n":12345678901234567890.10,"m":1E400},"updates":{"a":1.0}}"#;
        assert_eq!(text_of(Some(args), &[]).unwrap(), args);
        let pairs = ["updates.stars=5.00", "y=0.1000", "tags=[1.50]", "title=2.0"];
        assert_eq!(
            text_of(Some(args), &pairs).unwrap(),
            "{\"x\":{\"n\":12345678901234567890.10,\"m\":1E400},\
             \"updates\":{\"a\":1.0,\"stars\":5.00},\"y\":0.1000,\"tags\":[1.50],\"title\":\"2.0\"}"
        );
    }

    #[test]
    fn the_schema_determines_the_type() {
        assert_eq!(
            reading(
                None,
                &[
                    "content=123",
                    "title={\"a\":1}",
                    "limit=10",
                    "full=true",
                    "tags=a, b"
                ]
            )
            .unwrap(),
            json!({
                "content": "123",
                "title": "{\"a\":1}",
                "limit": 10,
                "full": true,
                "tags": ["a", "b"],
            })
        );
        assert_eq!(
            reading(None, &["tags=[\"a,b\"]"]).unwrap(),
            json!({"tags": ["a,b"]})
        );
        assert_eq!(
            reading(None, &["limit=ten"]).unwrap(),
            json!({"limit": "ten"}),
            "left to the tool to refuse"
        );
        assert_eq!(
            reading(None, &["content="]).unwrap(),
            json!({"content": ""})
        );
        assert_eq!(
            reading(None, &["content=a=b"]).unwrap(),
            json!({"content": "a=b"})
        );
    }

    #[test]
    fn fields_inside_an_object_have_the_types_of_the_entity() {
        assert_eq!(
            reading(
                None,
                &["updates.title=7", "updates.tags=a,b", "updates.stars=5"]
            )
            .unwrap(),
            json!({"updates": {"title": "7", "tags": ["a", "b"], "stars": 5}})
        );
    }

    #[test]
    fn values_come_from_files_and_standard_input() {
        assert_eq!(
            reading(Some("@args.json"), &["content=@note.md", "title=-"]).unwrap(),
            json!({"title": "from stdin", "tags": ["x"], "content": "# From a file\n"})
        );
        assert_eq!(
            reading(None, &["content=@@ada"]).unwrap(),
            json!({"content": "@ada"})
        );
    }

    #[test]
    fn names_the_value_that_cannot_be_read() {
        for (base, pairs) in [
            (None, &["title=-", "content=-"][..]),
            (Some("-"), &["title=-"]),
        ] {
            let message = reading(base, pairs).unwrap_err();
            assert!(message.contains("can be read once"), "{message}");
        }
        assert_eq!(
            reading(None, &["content"]).unwrap_err(),
            "\"content\" is no argument: write it key=value"
        );
        assert_eq!(
            reading(None, &["=x"]).unwrap_err(),
            "\"=x\" is no argument: write it key=value"
        );
        assert!(
            reading(None, &["limit=1", "limit=2"])
                .unwrap_err()
                .contains("given twice")
        );
        assert!(
            reading(None, &["content=@nope.md"])
                .unwrap_err()
                .starts_with("\"content\" cannot be read from @nope.md")
        );
        assert!(
            reading(Some("[1]"), &[])
                .unwrap_err()
                .starts_with("--args is no JSON object")
        );
    }
}
