//! `edit_text`: changes a part of a text, of which neither the old nor the new whole passes through
//! the client.
//!
//! It is built on the routes that every compatible API has: the item is read, and its field is
//! patched on the condition that the version is still the one that was read.

use serde_json::{Map, Value, json};

use super::apply_edit::{Edit, EditError, Edited, apply};
use super::changing_tool;
use super::item::{self, Item, VERSION};
use crate::api::Features;
use crate::api::request::Api;
use crate::entities::{Entity, Kind};
use crate::foundation::json::Json;
use crate::foundation::printable::is_unprintable;
use crate::tools::argument::{Argument, optional, required};
use crate::tools::argument_error::{ArgumentError, Remedy};
use crate::tools::coerce::Arguments;
use crate::tools::entities::Catalogue;
use crate::tools::error::{Category, ToolError};
use crate::tools::json_text::to_json;
use crate::tools::result::{Limits, Success};
use crate::tools::schema::object;
use crate::tools::standalone_tool::{About, Tool};
use crate::tools::toolset::Progress;

pub const NAME: &str = "edit_text";

const OPERATIONS: &[&str] = &[
    "append",
    "prepend",
    "replace",
    "insert_after",
    "replace_section",
];

/// The fields that hold long texts. Each kind has one of them.
const LONG_TEXTS: [&str; 2] = ["content", "description"];

/// The most characters around the change that the result shows.
const AROUND: usize = 300;

/// The code of the error for a version that is no longer the current one.
const VERSION_MISMATCH: &str = "version_mismatch";

pub fn tool() -> Tool {
    let about = About {
        name: NAME,
        title: "Edit text",
        description: "Appends, inserts or replaces a passage or Markdown section of a text, \
                      without sending the whole. For other fields, use patch_*.",
    };
    changing_tool(about, arguments(), output_schema(), Features::NONE).in_compact()
}

fn arguments() -> Vec<Argument> {
    let own = [
        required(
            "operation",
            Kind::Choice(OPERATIONS),
            "replace: text instead of find; insert_after: right behind it.",
        ),
        required("text", Kind::Text, "The new text."),
        optional(
            "find",
            Kind::Text,
            "For replace, insert_after: a passage that occurs once.",
        ),
        optional(
            "heading",
            Kind::Text,
            "For replace_section, such as ## Plan. It stays.",
        ),
        optional(
            "field",
            Kind::Text,
            "Default content, or description of a task or chat.",
        ),
        optional("if_match", VERSION, "Change only this version."),
    ];
    item::arguments().into_iter().chain(own).collect()
}

fn output_schema() -> Map<String, Value> {
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({
                "uid": {"type": "string"}, "version": {"type": "integer"},
                "around": {"type": "string"},
            }),
        ),
        ("required", json!(["uid", "version", "around"])),
    ])
}

/// What a call asks for.
struct Wanted<'a> {
    item: &'a Item,
    /// The name of the field, as an argument.
    field: &'static str,
    edit: Edit<'a>,
    text: &'a str,
    if_match: Option<u64>,
}

pub async fn run<A: Api>(
    given: &Arguments<'_>,
    catalogue: &Catalogue,
    api: &A,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<String, ToolError> {
    let text_of = |name| given.get(name).and_then(Json::as_str);
    let text = text_of("text").unwrap_or_default();
    let (find, heading) = (text_of("find"), text_of("heading"));
    let operation = text_of("operation").unwrap_or_default();
    let item = Item::of(given)?;
    let field = field(item.entity, given)?;
    let invalid = |error| ToolError::invalid_argument(NAME, error);
    let wanted = Wanted {
        item: &item,
        field,
        edit: edit(&operation, find.as_deref(), heading.as_deref(), &text).map_err(invalid)?,
        text: &text,
        if_match: given.get("if_match").and_then(Json::as_u64),
    };
    let step = |done, message| {
        progress(Progress {
            done,
            total: 2,
            message,
        })
    };
    step(0, "Reading the item");
    match attempt(&wanted, catalogue, api, || step(1, "Writing the text")).await {
        // Another change came between reading and writing. The edit is made on the new text.
        Err(error) if error.code == VERSION_MISMATCH && wanted.if_match.is_none() => {
            let again = attempt(&wanted, catalogue, api, || {}).await;
            again.map_err(|error| match &*error.code {
                VERSION_MISMATCH => ToolError {
                    suggested_action: format!("Call {NAME} again."),
                    ..error.retryable(true)
                },
                _ => error,
            })
        }
        result => result,
    }
}

/// The name of the field to edit.
fn field(entity: &'static Entity, given: &Arguments<'_>) -> Result<&'static str, ToolError> {
    let texts = || {
        entity
            .fields
            .iter()
            .filter(|field| field.kind == Kind::Text)
    };
    let named = given.get("field").and_then(Json::as_str);
    let field = match &named {
        Some(name) => texts().find(|field| field.name == name),
        None => texts().find(|field| LONG_TEXTS.contains(&field.name)),
    };
    let field = field.ok_or_else(|| {
        let error = ArgumentError::new("field", format!("is not a text of a {}", entity.label));
        ToolError::invalid_argument(NAME, error.allowed(texts().map(|field| field.name)))
    })?;
    Ok(field.name)
}

/// The edit, if its arguments belong together.
fn edit<'a>(
    operation: &str,
    find: Option<&'a str>,
    heading: Option<&'a str>,
    text: &str,
) -> Result<Edit<'a>, ArgumentError> {
    let (edit, used) = match operation {
        "append" => (Edit::Append, None),
        "prepend" => (Edit::Prepend, None),
        "replace" => (Edit::Replace(find.unwrap_or_default()), Some("find")),
        "insert_after" => (Edit::InsertAfter(find.unwrap_or_default()), Some("find")),
        _ => (
            Edit::ReplaceSection(heading.unwrap_or_default()),
            Some("heading"),
        ),
    };
    for (name, value) in [("find", find), ("heading", heading)] {
        if used == Some(name) && value.is_none_or(str::is_empty) {
            let problem = format!("is required for {operation}");
            return Err(ArgumentError::new(name, problem).remedy(Remedy::Add));
        }
        if used != Some(name) && value.is_some() {
            let problem = format!("is not used by {operation}");
            return Err(ArgumentError::new(name, problem).remedy(Remedy::Drop));
        }
    }
    let removes = matches!(edit, Edit::Replace(_) | Edit::ReplaceSection(_));
    if text.is_empty() && !removes {
        return Err(ArgumentError::new("text", "must not be empty"));
    }
    Ok(edit)
}

async fn attempt<A: Api>(
    wanted: &Wanted<'_>,
    catalogue: &Catalogue,
    api: &A,
    before_writing: impl Fn(),
) -> Result<String, ToolError> {
    let (Item { entity, uid }, field) = (wanted.item, wanted.field);
    let arguments = format!(r#"{{"uid":{}}}"#, to_json(uid));
    let item = call(&format!("get_{}", entity.key), &arguments, catalogue, api).await?;
    let item = Json::trusted(&item.text);
    let Some(version) = item.member("version").and_then(Json::as_u64) else {
        return Err(ToolError::internal("an item without a version"));
    };
    if wanted.if_match.is_some_and(|expected| expected != version) {
        return Err(mismatch(wanted, version));
    }
    let stored = item
        .member("payload")
        .and_then(|payload| payload.member(field));
    let old = match stored.filter(|stored| !stored.is_null()) {
        None => "".into(),
        Some(stored) => stored.as_str().ok_or_else(|| no_text(wanted))?,
    };
    let edited = apply(&old, wanted.edit, wanted.text).map_err(|error| refused(wanted, error))?;
    let version = if edited.text == *old {
        version
    } else {
        before_writing();
        write(wanted, &edited.text, version, catalogue, api).await?
    };
    Ok(json!({
        "uid": uid,
        "version": version,
        "bytes_before": old.len(),
        "bytes_after": edited.text.len(),
        "around": around(&edited),
    })
    .to_string())
}

/// Writes the text, and returns the new version.
async fn write<A: Api>(
    wanted: &Wanted<'_>,
    text: &str,
    version: u64,
    catalogue: &Catalogue,
    api: &A,
) -> Result<u64, ToolError> {
    let (Item { entity, uid }, field) = (wanted.item, wanted.field);
    let arguments = format!(
        r#"{{"uid":{},"updates":{{"{field}":{}}},"if_match":{version}}}"#,
        to_json(uid),
        to_json(text)
    );
    let written = call(&format!("patch_{}", entity.key), &arguments, catalogue, api).await;
    let written = written.map_err(|mut error| {
        if error.code == "request_too_large" {
            error.message = format!("With this change, the {field} would be too large to store.");
            error.suggested_action =
                "Put the text into another item, or make it shorter.".to_owned();
        }
        error
    })?;
    let version = Json::trusted(&written.text).member("version");
    let version = version.and_then(Json::as_u64);
    version.ok_or_else(|| ToolError::internal("a written item without a version"))
}

/// Calls a tool of one kind. The result is not for the client, so its size is not limited.
async fn call<A: Api>(
    tool: &str,
    arguments: &str,
    catalogue: &Catalogue,
    api: &A,
) -> Result<Success, ToolError> {
    let plan = catalogue.prepare(tool, Json::trusted(arguments))?;
    plan.run(api, &Limits::UNLIMITED, |_| {}).await
}

/// The new text and some of what is around it.
fn around(edited: &Edited) -> String {
    let Edited { text, changed } = edited;
    let (before, rest) = text.split_at_checked(changed.start).unwrap_or((text, ""));
    let length = changed.len().min(rest.len());
    let (new, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
    let third = AROUND / 3;
    let lead = beginning_of_end(before, third);
    let tail = end_of_beginning(after, third);
    // Where the new text is long, its two ends are shown.
    let shown = if end_of_beginning(new, third).len() == new.len() {
        new.to_owned()
    } else {
        let half = third / 2 - 1;
        let (first, last) = (end_of_beginning(new, half), beginning_of_end(new, half));
        format!("{first}…{last}")
    };
    format!("{lead}{shown}{tail}")
}

/// The first characters of a text.
fn end_of_beginning(text: &str, most: usize) -> &str {
    let end = text
        .char_indices()
        .nth(most)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

/// The last characters of a text.
fn beginning_of_end(text: &str, most: usize) -> &str {
    let begin = text.char_indices().rev().take(most).last();
    begin.and_then(|(at, _)| text.get(at..)).unwrap_or_default()
}

fn error(wanted: &Wanted<'_>, argument: &str, message: String, remedy: String) -> ToolError {
    ToolError::new(Category::Validation, "invalid_argument", message, remedy).details(|details| {
        details.argument = Some(argument.to_owned());
        details.uid = Some(wanted.item.uid.clone());
    })
}

fn no_text(wanted: &Wanted<'_>) -> ToolError {
    let (entity, field) = (wanted.item.entity, wanted.field);
    let message = format!("The {field} of this {} is not a text.", entity.label);
    error(
        wanted,
        "field",
        message,
        format!("Change it with patch_{}.", entity.key),
    )
}

fn mismatch(wanted: &Wanted<'_>, version: u64) -> ToolError {
    let (Item { entity, uid }, if_match) = (wanted.item, wanted.if_match);
    let message = format!("The {} has been changed in the meantime.", entity.label);
    let remedy = format!(
        "Read the {} with get_{}, then call {NAME} with its version as if_match.",
        entity.label, entity.key
    );
    ToolError::new(Category::Conflict, VERSION_MISMATCH, message, remedy).details(|details| {
        details.uid = Some(uid.clone());
        (details.expected_version, details.actual_version) = (if_match, Some(version));
    })
}

/// The error for an edit that does not fit the text.
fn refused(wanted: &Wanted<'_>, why: EditError) -> ToolError {
    let (entity, field) = (wanted.item.entity, wanted.field);
    let place = format!("the {field} of this {}", entity.label);
    let read = format!("Read it with get_{}, then call {NAME} again", entity.key);
    match why {
        EditError::NotFound { nearest } => {
            let (message, remedy) = match nearest {
                Some(line) => (
                    format!(
                        "`find` is not in {place}. The nearest line is {}.",
                        shown(&line)
                    ),
                    format!("Call {NAME} again with `find` exactly as it is in the text."),
                ),
                None => (
                    format!("`find` is not in {place}."),
                    format!("{read} with `find` exactly as it is in the text."),
                ),
            };
            error(wanted, "find", message, remedy)
        }
        EditError::NotUnique { count } => error(
            wanted,
            "find",
            format!("`find` occurs {count} times in {place}."),
            format!("Call {NAME} again with a longer `find`, which occurs only once."),
        ),
        EditError::NoSection { headings } if headings.is_empty() => error(
            wanted,
            "heading",
            format!("There is no Markdown heading in {place}."),
            format!("{read} with operation replace and a `find`."),
        ),
        EditError::NoSection { headings } => error(
            wanted,
            "heading",
            format!("There is no such heading in {place}."),
            format!("Call {NAME} again with one of the headings."),
        )
        .details(|details| details.allowed = headings.iter().map(|line| printable(line)).collect()),
        EditError::SectionNotUnique { count, lines } => {
            let lines: Vec<_> = lines.iter().map(usize::to_string).collect();
            error(
                wanted,
                "heading",
                format!(
                    "The heading occurs {count} times in {place}, in the lines {}.",
                    lines.join(", ")
                ),
                format!(
                    "Call {NAME} again with the level of the heading, such as ## Plan, or with \
                     operation replace and a `find`."
                ),
            )
        }
    }
}

/// A text in quotes, which keep it apart from the sentence.
fn shown(text: &str) -> String {
    to_json(&printable(text))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).collect()
}
