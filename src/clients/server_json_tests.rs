//! Validates `server.json`, the listing of this server in the MCP registry, as far as possible
//! offline.

use serde_json::{Value, json};

const LISTING: &str = include_str!("../../server.json");

fn listing() -> Value {
    serde_json::from_str(LISTING).unwrap()
}

/// The schema's rules for the fields in use; other fields are rejected.
fn schema() -> Value {
    let input = |more: Value| {
        let mut properties = json!({
            "description": {"type": "string", "minLength": 1},
            "isRequired": {"type": "boolean"},
            "isSecret": {"type": "boolean"},
            "placeholder": {"type": "string"},
        });
        properties
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    };
    let mut header = input(json!({"name": {"type": "string", "minLength": 1}}));
    header["required"] = json!(["name"]);
    let argument = input(json!({
        "type": {"const": "positional"},
        "value": {"type": "string"},
        "valueHint": {"type": "string"},
    }));
    json!({
        "type": "object",
        "required": ["$schema", "name", "description", "version", "remotes"],
        "additionalProperties": false,
        "properties": {
            "$schema": {"pattern": concat!(
                r"^https://static\.modelcontextprotocol\.io/schemas/",
                r"\d{4}-\d{2}-\d{2}/server\.schema\.json$"
            )},
            "name": {"type": "string", "minLength": 3, "maxLength": 200,
                "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$"},
            "title": {"type": "string", "minLength": 1, "maxLength": 100},
            "description": {"type": "string", "minLength": 1, "maxLength": 100},
            "version": {"type": "string", "maxLength": 255},
            "repository": {
                "type": "object",
                "required": ["url", "source"],
                "additionalProperties": false,
                "properties": {"url": {"pattern": "^https://"}, "source": {"type": "string"}},
            },
            "icons": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["src"],
                    "additionalProperties": false,
                    "properties": {
                        "src": {"type": "string", "pattern": "^https://", "maxLength": 255},
                        "mimeType": {"enum": ["image/png", "image/svg+xml"]},
                        "sizes": {"type": "array", "items": {"pattern": "^(\\d+x\\d+|any)$"}},
                    },
                },
            },
            "packages": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["registryType", "identifier", "version", "transport"],
                    "additionalProperties": false,
                    "properties": {
                        "registryType": {"const": "npm"},
                        "identifier": {"type": "string", "minLength": 1},
                        "version": {"type": "string", "minLength": 1},
                        "transport": {"const": {"type": "stdio"}},
                        "packageArguments": {"type": "array", "items": argument},
                        "environmentVariables": {"type": "array", "items": header},
                    },
                },
            },
            "remotes": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["type", "url"],
                    "additionalProperties": false,
                    "properties": {
                        "type": {"enum": ["streamable-http", "sse"]},
                        "url": {"type": "string", "pattern": "^https://[^\\s]+$"},
                        "variables": {"type": "object", "additionalProperties": input(json!({}))},
                        "headers": {"type": "array", "items": header},
                    },
                },
            },
        },
    })
}

#[test]
fn the_listing_matches_the_schema() {
    let (schema, listing) = (schema(), listing());
    let schema = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = schema
        .iter_errors(&listing)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_listing_has_this_version_and_repository() {
    let listing = listing();
    assert_eq!(listing["version"], env!("CARGO_PKG_VERSION"));
    let module = include_str!("../../api/go.mod").lines().next().unwrap();
    let repository = listing["repository"]["url"]
        .as_str()
        .unwrap()
        .trim_start_matches("https://");
    assert!(
        module.starts_with(&format!("module {repository}/")),
        "{module}"
    );
    let (owner, name) = repository
        .trim_start_matches("github.com/")
        .split_once('/')
        .unwrap();
    assert_eq!(listing["name"], format!("io.github.{owner}/{name}"));
}

#[test]
fn the_package_is_the_one_that_is_made() {
    let listing = listing();
    let made: Value =
        serde_json::from_str(include_str!("../../packaging/npm/package.json")).unwrap();
    let package = &listing["packages"][0];
    assert_eq!(package["identifier"], made["name"]);
    assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
    // How the registry tells that a package belongs to a listing.
    assert_eq!(made["mcpName"], listing["name"]);
    let token = &package["environmentVariables"][0];
    assert_eq!(
        (&token["name"], &token["isSecret"]),
        (&json!("TOOLBRIDGE_TOKEN"), &json!(true))
    );
    let icon = listing["icons"][0]["src"].as_str().unwrap();
    assert!(icon.ends_with("/main/packaging/icon.png"), "{icon}");
}

#[test]
fn remotes_name_the_tenant_and_hide_the_token() {
    // The name of the app on Fly is in `fly.toml`.
    let app = include_str!("../../fly.toml")
        .lines()
        .find_map(|line| line.strip_prefix("app = "))
        .unwrap();
    let host = format!(
        "https://{}.fly.dev",
        app.trim_matches('"').replace("TENANT", "{tenant}")
    );
    let listing = listing();
    let remotes: Vec<_> = listing["remotes"].as_array().unwrap().iter().collect();
    let ends: Vec<_> = remotes
        .iter()
        .map(|remote| {
            (
                remote["type"].as_str().unwrap(),
                remote["url"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        ends,
        [
            ("streamable-http", &*format!("{host}/mcp")),
            ("sse", &*format!("{host}/sse"))
        ]
    );
    for remote in remotes {
        let variables: Vec<_> = remote["variables"].as_object().unwrap().keys().collect();
        assert_eq!(
            variables,
            ["tenant"],
            "each variable of the URL, and no other"
        );
        let header = &remote["headers"][0];
        assert_eq!(
            (&header["name"], &header["isSecret"]),
            (&json!("Authorization"), &json!(true))
        );
    }
}
