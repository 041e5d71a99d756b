//! Arguments of tools that are repeated in headers, as MCP 2026-07-28 has it: `x-mcp-header` in a
//! tool's input schema names the header. A client behind the bridge knows no headers, so the bridge
//! learns them from lists of tools on their way to the client.

use std::collections::{HashMap, HashSet};

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::message::in_header;
use crate::foundation::json::Json;

const KEY: &str = "x-mcp-header";
const PREFIX: &str = "mcp-param-";

/// Tools that are remembered. A list with more annotated ones is no list for a client.
const MAX_TOOLS: usize = 4096;

/// Keywords of a schema that hold values, in which a key of that name means nothing.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// By the name of the tool.
#[derive(Debug, Default, Clone)]
pub struct Parameters(HashMap<String, Vec<Parameter>>);

#[derive(Debug, Clone)]
struct Parameter {
    /// From the arguments to the value.
    path: Vec<String>,
    header: HeaderName,
}

impl Parameters {
    /// Reads the answer to a `tools/list`. Returns the answer that the client gets if it is another
    /// one: without the tools whose annotations are invalid, as the specification demands.
    pub fn learn(&mut self, answer: &str) -> Option<String> {
        // A cheap test that rules out nearly all servers.
        if self.0.is_empty() && !answer.contains(KEY) {
            return None;
        }
        let mut message: Value = serde_json::from_str(answer).ok()?;
        let tools = message.pointer_mut("/result/tools")?.as_array_mut()?;
        let all = tools.len();
        tools.retain(|tool| {
            let Some(name) = tool["name"].as_str() else {
                return true;
            };
            match parameters(&tool["inputSchema"]) {
                Ok(parameters) if parameters.is_empty() => {
                    self.0.remove(name);
                }
                Ok(parameters) if self.0.len() < MAX_TOOLS => {
                    self.0.insert(name.to_owned(), parameters);
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!("the tool {name:?} is left out: {why}");
                    self.0.remove(name);
                    return false;
                }
            }
            true
        });
        (tools.len() < all).then(|| message.to_string())
    }

    /// The headers of a `tools/call` with this body. A parameter that is absent or null has none.
    pub fn headers(&self, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let found = || {
            let params = Json::parse(body).ok()?.sole_member("params")?;
            let name = params.sole_member("name")?.as_str()?;
            Some((self.0.get(&*name)?, params.sole_member("arguments")?))
        };
        let Some((parameters, arguments)) = found() else {
            return Vec::new();
        };
        let value = |parameter: &Parameter| {
            let mut path = parameter.path.iter();
            let value = path.try_fold(arguments, |value, key| value.sole_member(key))?;
            let text = if value.is_string() {
                value.as_str()?.into_owned()
            } else if value.is_number() || value.as_bool().is_some() {
                value.get().to_owned()
            } else {
                return None;
            };
            let header = HeaderValue::from_str(&in_header(&text)).ok()?;
            Some((parameter.header.clone(), header))
        };
        parameters.iter().filter_map(value).collect()
    }
}

/// The annotated parameters of an input schema, or what is wrong with an annotation.
fn parameters(schema: &Value) -> Result<Vec<Parameter>, String> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found)?;
    if occurrences(schema) != found.len() {
        return Err(format!("{KEY} is not at a property of the arguments"));
    }
    let mut seen = HashSet::new();
    match found.iter().find(|each| !seen.insert(each.header.clone())) {
        Some(twice) => Err(format!("two parameters have the header {}", twice.header)),
        None => Ok(found),
    }
}

fn collect(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<Parameter>,
) -> Result<(), String> {
    let Some(properties) = schema["properties"].as_object() else {
        return Ok(());
    };
    for (key, property) in properties {
        path.push(key.clone());
        if let Some(name) = property.get(KEY) {
            let name = name.as_str().unwrap_or_default();
            let header = HeaderName::try_from(format!("{PREFIX}{name}"));
            let header = header.ok().filter(|_| !name.is_empty());
            let header = header.ok_or_else(|| format!("{name:?} is no name of a header"))?;
            let kind = property["type"].as_str().unwrap_or_default();
            if !["string", "integer", "boolean"].contains(&kind) {
                return Err(format!("{key:?} is no string, integer or boolean"));
            }
            found.push(Parameter {
                path: path.clone(),
                header,
            });
        }
        collect(property, path, found)?;
        path.pop();
    }
    Ok(())
}

/// How often the annotation is anywhere in the schema.
fn occurrences(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !VALUES.contains(&key.as_str()))
            .map(|(key, value)| usize::from(key == KEY) + occurrences(value))
            .sum(),
        Value::Array(items) => items.iter().map(occurrences).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(properties: Value) -> String {
        let schema = json!({"type": "object", "properties": properties});
        let tool = json!({"name": "t", "inputSchema": schema});
        json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool, {"name": "other"}]}})
            .to_string()
    }

    fn learned(properties: Value) -> (Parameters, Option<String>) {
        let mut parameters = Parameters::default();
        let changed = parameters.learn(&list(properties));
        (parameters, changed)
    }

    fn headers(parameters: &Parameters, name: &str, arguments: &str) -> Vec<(String, String)> {
        let body = format!(r#"{{"params":{{"name":"{name}","arguments":{arguments}}}}}"#);
        let headers = parameters.headers(body.as_bytes());
        let shown = |(name, value): &(HeaderName, HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        headers.iter().map(shown).collect()
    }

    #[test]
    fn repeats_arguments_in_headers() {
        let (parameters, changed) = learned(json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "size": {"type": "integer", "x-mcp-header": "Size"},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"},
            "plain": {"type": "string"},
            "deep": {
                "type": "object",
                "properties": {"key": {"type": "string", "x-mcp-header": "Key"}},
            },
        }));
        assert_eq!(changed, None);
        let arguments = r#"{"region":"ü","size":12345678901234567890,"dry":false,"plain":"p",
            "deep":{"key":"two words"}}"#;
        let expected = [
            ("mcp-param-region", "=?base64?w7w=?="),
            ("mcp-param-size", "12345678901234567890"),
            ("mcp-param-dry", "false"),
            ("mcp-param-key", "two words"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&parameters, "t", arguments), expected);
        assert_eq!(headers(&parameters, "t", r#"{"region":null}"#), []);
        assert_eq!(headers(&parameters, "other", arguments), []);
    }

    #[test]
    fn a_list_without_annotations_is_unchanged_and_forgets() {
        let (mut parameters, _) = learned(json!({"a": {"type": "string", "x-mcp-header": "A"}}));
        assert_eq!(headers(&parameters, "t", r#"{"a":"b"}"#).len(), 1);
        assert_eq!(parameters.learn(&list(json!({}))), None);
        assert_eq!(headers(&parameters, "t", r#"{"a":"b"}"#), []);
    }

    #[test]
    fn tools_with_invalid_annotations_are_left_out() {
        let string = |name: &str| json!({"type": "string", "x-mcp-header": name});
        for properties in [
            json!({"a": string("")}),
            json!({"a": string("two words")}),
            json!({"a": string("co:lon")}),
            json!({"a": string("ü")}),
            json!({"a": {"type": "string", "x-mcp-header": 7}}),
            json!({"a": {"type": "number", "x-mcp-header": "A"}}),
            json!({"a": {"type": "object", "x-mcp-header": "A"}}),
            json!({"a": string("Same"), "b": string("same")}),
            json!({"a": {"type": "array", "items": string("A")}}),
        ] {
            let (parameters, changed) = learned(properties.clone());
            let changed: Value = serde_json::from_str(&changed.expect("a change")).unwrap();
            assert_eq!(
                changed["result"]["tools"],
                json!([{"name": "other"}]),
                "{properties}"
            );
            assert_eq!(headers(&parameters, "t", r#"{"a":"b"}"#), []);
        }
        // A value is no annotation.
        let value = json!({"a": {"type": "object", "default": {"x-mcp-header": "A"}}});
        assert_eq!(learned(value).1, None);
    }
}
