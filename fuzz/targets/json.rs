//! JSON text: what is taken is what serde_json takes, and its slices say what serde_json reads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "an input that does not hold has to be noticed"
)]

use serde_json::Value;

use super::json::{Json, JsonError, MAX_DEPTH};

pub fn feed(input: &[u8]) {
    let read = serde_json::from_slice::<Value>(input);
    let json = match (Json::parse(input), read) {
        (Ok(json), Ok(value)) => {
            assert_eq!(rebuilt(json), value);
            json
        }
        // Text keeps numbers that no number type holds.
        (Ok(json), Err(error)) if error.to_string().contains("out of range") => json,
        (Ok(_), Err(error)) => panic!("taken here and not by serde_json: {error}"),
        (Err(error), Ok(_)) => panic!("taken by serde_json and not here: {error}"),
        (Err(error), Err(_)) => {
            // A refusal for depth or surrogates is one of valid JSON.
            assert_eq!(
                error == JsonError::Syntax,
                Json::parse_syntax(input).is_err()
            );
            return;
        }
    };
    assert!(json.depth() <= MAX_DEPTH);
    for written in [json.to_compact().into_owned(), json.to_pretty()] {
        assert_eq!(
            Json::parse(written.as_bytes()).unwrap().to_value(),
            json.to_value()
        );
    }
}

/// The same document, built from slices.
pub fn rebuilt(json: Json<'_>) -> Value {
    if json.is_object() {
        let members = json
            .members()
            .map(|(key, value)| (key.into_owned(), rebuilt(value)));
        Value::Object(members.collect())
    } else if json.is_array() {
        json.elements().map(rebuilt).collect()
    } else {
        json.to_value().unwrap()
    }
}
