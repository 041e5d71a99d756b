//! Tests of the whole layer through its public interface, against a scripted API.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::entities::Plan;
use super::error::{Category, Details};
use super::result::Success;
use super::spec::Hints;
use super::*;
use crate::api::Features;
use crate::api::request::{Api, ApiError, Reply, Request};
use crate::foundation::json::Json;

mod arguments;
mod docs;
mod errors;
mod follow_up_requests;
mod properties;
mod requests;
mod results;
mod surface;

/// The UID of an existing item.
const UID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// The UID that the next new item gets.
const NEW_UID: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee";
const PARENT: &str = "01890a5d-0000-7000-8000-000000000001";

fn catalogue() -> &'static Catalogue {
    static SHARED: LazyLock<Catalogue> =
        LazyLock::new(|| Catalogue::new(|| NEW_UID.parse().unwrap(), Features::NONE));
    &SHARED
}

/// A test double of the API. It returns scripted responses in order and records the requests.
#[derive(Default)]
pub(in crate::tools) struct Script {
    answers: Mutex<VecDeque<Result<Reply, ApiError>>>,
    sent: Mutex<Vec<Request>>,
}

impl Script {
    pub fn new(answers: impl IntoIterator<Item = Result<Reply, ApiError>>) -> Self {
        Self {
            answers: Mutex::new(answers.into_iter().collect()),
            sent: Mutex::default(),
        }
    }

    /// With a status and a body for each answer.
    pub fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self::new(
            answers
                .into_iter()
                .map(|(status, body)| reply(status, body)),
        )
    }

    pub fn sent(&self) -> Vec<Request> {
        self.sent.lock().unwrap().clone()
    }

    /// Whether every answer has been asked for.
    pub fn is_over(&self) -> bool {
        self.answers.lock().unwrap().is_empty()
    }
}

impl Api for Script {
    async fn send(&self, request: Request) -> Result<Reply, ApiError> {
        self.sent.lock().unwrap().push(request);
        self.answers
            .lock()
            .unwrap()
            .pop_front()
            .expect("an unexpected request")
    }
}

fn reply(status: u16, body: impl ToString) -> Result<Reply, ApiError> {
    Ok(Reply {
        status,
        body: Bytes::from(body.to_string()),
        retry_after: None,
        has_next: false,
        maybe_applied: false,
    })
}

/// A response to a retry whose earlier attempt may have been carried out.
fn maybe_applied(answer: Result<Reply, ApiError>) -> Result<Reply, ApiError> {
    answer.map(|reply| Reply {
        maybe_applied: true,
        ..reply
    })
}

fn item(payload: Value) -> Value {
    json!({"uid": UID, "version": 3, "updatedAt": "2026-01-02T03:04:05.678Z", "payload": payload})
}

/// An item or a page of the API as a tool on this entity returns it.
fn as_result(entity: &str, answer: &Value) -> Value {
    let entity = crate::entities::Entity::by_key(entity).unwrap();
    if answer.get("items").is_some() {
        hostile_answers::page_as_result(entity, answer)
    } else {
        hostile_answers::as_result(entity, answer)
    }
}

/// The entity of a tool.
fn entity_of(tool: &str) -> &'static str {
    catalogue().get(tool).unwrap().entity.key
}

fn args(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

fn prepare(tool: &str, arguments: Value) -> Result<Plan, ToolError> {
    prepare_text(tool, &arguments.to_string())
}

fn prepare_text(tool: &str, arguments: &str) -> Result<Plan, ToolError> {
    catalogue().prepare(tool, Json::parse(arguments.as_bytes()).unwrap())
}

fn refusal(tool: &str, arguments: Value) -> ToolError {
    prepare(tool, arguments).expect_err("refused")
}

async fn call(tool: &str, arguments: Value, script: &Script) -> Result<Success, ToolError> {
    let plan = prepare(tool, arguments).expect("accepted");
    plan.run(script, &Limits::default(), |_| {}).await
}

/// The minimal arguments of a tool.
fn minimal_arguments(spec: &ToolSpec) -> Value {
    let properties = &spec.input_schema["properties"];
    let required = spec
        .input_schema
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let example = |name: &str| match name {
        "uid" => json!(UID),
        "parent_uid" | "chat_uid" => json!(PARENT),
        "updates" => json!({"title": "t"}),
        _ => match properties[name].get("enum") {
            Some(choices) => choices[0].clone(),
            None => json!("text"),
        },
    };
    let members = required.iter().map(|name| name.as_str().unwrap());
    Value::Object(
        members
            .map(|name| (name.to_owned(), example(name)))
            .collect(),
    )
}
