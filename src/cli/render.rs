//! Renders the result of a tool for a person: an item as a block, a page as a table, an error with
//! the next step.
//!
//! All text here is tenant content and must not control the terminal.

use std::io;

use serde_json::{Map, Value};

use super::output::{ERROR, HEADING, NAME, Output, QUIET, escape_controls, fitted, styled};

/// The width if the output is not a terminal.
pub const USUAL_WIDTH: usize = 120;
/// Minimum width for a table with whole UIDs.
const ROOMY: usize = 100;

/// Details that the message contains already, or that only programs need.
const IN_THE_MESSAGE: &[&str] = &["status", "argument", "received", "uid"];

/// Renders a successful result. `entity` names its items; `more` builds the command for the next
/// page.
pub fn result(
    output: &mut Output,
    entity: &str,
    result: &Value,
    more: &dyn Fn(&str) -> Option<String>,
) -> io::Result<()> {
    match result.get("items").and_then(Value::as_array) {
        Some(items) => {
            page(output, entity, items)?;
            next_page(output, result, more)
        }
        None if result.get("payload").is_some() => item(output, entity, result),
        None => output.json(result),
    }
}

/// Names the command for the next page, if there is one.
pub fn next_page(
    output: &mut Output,
    result: &Value,
    more: impl Fn(&str) -> Option<String>,
) -> io::Result<()> {
    match result.get("next_cursor").and_then(Value::as_str).map(more) {
        Some(Some(command)) => output.note(styled(
            QUIET,
            format!("more: {}", escape_controls(&command)),
        )),
        Some(None) => output.note(styled(QUIET, "there is more")),
        None => Ok(()),
    }
}

fn item(output: &mut Output, entity: &str, item: &Value) -> io::Result<()> {
    let mut headline = format!(
        "{} {}",
        styled(HEADING, entity),
        styled(NAME, text_of(item, "uid"))
    );
    headline += &format!(
        "  version {}  updated {}",
        text_of(item, "version"),
        timestamp(&text_of(item, "updated_at"))
    );
    if item.get("deleted_at").is_some_and(|at| !at.is_null()) {
        headline += &styled(
            ERROR,
            format!("  deleted {}", timestamp(&text_of(item, "deleted_at"))),
        );
    }
    output.line(headline)?;
    let Some(payload) = item.get("payload").and_then(Value::as_object) else {
        return Ok(());
    };
    let width = payload
        .keys()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, value) in payload {
        let label = styled(QUIET, format!("{:width$}", escape_controls(name)));
        let text = plain(value);
        if text.trim_end().contains('\n') {
            output.line(format!("  {label}"))?;
            for line in text.trim_end().lines() {
                output.line(format!("    {}", escape_controls(line)))?;
            }
        } else {
            output.line(format!("  {label}  {}", escape_controls(text.trim_end())))?;
        }
    }
    Ok(())
}

fn page(output: &mut Output, entity: &str, items: &[Value]) -> io::Result<()> {
    if items.is_empty() {
        return output.note(styled(QUIET, format!("no {entity}s")));
    }
    let width = output.width.unwrap_or(USUAL_WIDTH);
    // Output that is not a terminal may be read by a program, which needs the whole UID.
    let whole = output.width.is_none() || width >= ROOMY;
    let rows: Vec<[String; 4]> = items
        .iter()
        .map(|item| {
            let uid = text_of(item, "uid");
            let uid = if whole { uid } else { shortened(&uid) };
            let deleted = item.get("deleted_at").is_some_and(|at| !at.is_null());
            let title = item
                .get("payload")
                .and_then(Value::as_object)
                .map(title)
                .unwrap_or_default();
            let title = if deleted {
                format!("[deleted] {title}")
            } else {
                title
            };
            [
                uid,
                title,
                timestamp(&text_of(item, "updated_at")),
                text_of(item, "version"),
            ]
        })
        .collect();
    let heads = ["UID", "TITLE", "UPDATED", "VERSION"];
    let widest = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(heads.get(column).map(|head| head.len()))
            .max()
            .unwrap_or(0)
    };
    let (uid, updated, version) = (widest(0), widest(2), widest(3));
    let width_left = width.saturating_sub(uid + updated + version + 6).max(16);
    let title = widest(1).min(width_left);
    let [a, b, c, d] = heads;
    output.line(styled(
        HEADING,
        format!("{a:uid$}  {b:title$}  {c:updated$}  {d:>version$}"),
    ))?;
    for [a, b, c, d] in &rows {
        let a = styled(NAME, format!("{a:uid$}"));
        output.line(format!(
            "{a}  {:title$}  {c:updated$}  {d:>version$}",
            fitted(b, title)
        ))?;
    }
    Ok(())
}

/// The title of an item, or the beginning of its content.
fn title(payload: &Map<String, Value>) -> String {
    ["title", "content"]
        .iter()
        .filter_map(|name| payload.get(*name).and_then(Value::as_str))
        .filter_map(|text| text.lines().map(str::trim).find(|line| !line.is_empty()))
        .map(str::to_owned)
        .next()
        .unwrap_or_default()
}

/// Renders an error: what went wrong, what to do, and the correlation id for the logs.
pub fn failure(output: &mut Output, body: &Value) -> io::Result<()> {
    let error = body.get("error").unwrap_or(body);
    let code = styled(QUIET, format!("({})", text_of(error, "code")));
    output.error(format!("{} {code}", text_of(error, "message")))?;
    if let Some(details) = error.get("details").and_then(Value::as_object) {
        for (name, value) in details
            .iter()
            .filter(|(name, _)| !IN_THE_MESSAGE.contains(&name.as_str()))
        {
            output.note(format!(
                "  {} {}",
                styled(QUIET, format!("{}:", escape_controls(name))),
                escape_controls(&plain(value))
            ))?;
        }
    }
    for (key, label) in [
        ("suggested_action", "next:"),
        ("correlation_id", "correlation id:"),
    ] {
        let text = text_of(error, key);
        if !text.is_empty() {
            output.note(format!("  {} {}", styled(QUIET, label), text))?;
        }
    }
    Ok(())
}

/// A string member as one line, safe for a terminal.
pub fn text_of(value: &Value, key: &str) -> String {
    value
        .get(key)
        .map(|value| escape_controls(&plain(value)))
        .unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

/// Converts `2026-11-20T11:03:58.120Z` to `2026-11-20 11:03:58`. All times are UTC.
pub fn timestamp(text: &str) -> String {
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) if text.ends_with('Z') => format!("{date} {time}"),
        _ => text.to_owned(),
    }
}

/// Keeps both ends, because UUIDs created within a minute share their beginning.
fn shortened(uid: &str) -> String {
    match (
        uid.get(..8),
        uid.len().checked_sub(4).and_then(|start| uid.get(start..)),
    ) {
        (Some(head), Some(tail)) if uid.len() > 13 => format!("{head}…{tail}"),
        _ => uid.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::tests::{Captured, captured, captured_raw};

    fn note(uid: &str, title: &str) -> Value {
        json!({
            "uid": uid, "version": 3, "updated_at": "2026-11-20T11:03:58.120Z",
            "payload": {"title": title, "content": "Milk\nBread\n", "tags": ["home", "food"]},
        })
    }

    fn rendered(value: &Value, width: Option<usize>) -> Captured {
        captured(width, |output| {
            result(output, "note", value, &|cursor| {
                Some(format!("list_notes cursor={cursor}"))
            })
        })
    }

    #[test]
    fn renders_an_item_as_a_block() {
        let shown = rendered(
            &note("0198c5a2-0000-7000-8000-00000000abcd", "Groceries"),
            Some(80),
        );
        assert_eq!(
            shown.out,
            "note 0198c5a2-0000-7000-8000-00000000abcd  version 3  updated 2026-11-20 11:03:58\n  \
             title    Groceries\n  content\n    Milk\n    Bread\n  tags     home, food\n"
        );
    }

    #[test]
    fn renders_a_page_as_a_table_with_the_next_command() {
        let page = json!({
            "items": [
                note("0198c5a2-0000-7000-8000-00000000abcd", "Groceries"),
                note("0198c5a2-0000-7000-8000-00000000abce", "A title that goes on and on, far \
                    beyond what fits into a line"),
            ],
            "next_cursor": "abc",
        });
        let shown = rendered(&page, Some(72));
        assert_eq!(
            shown.out,
            "UID            TITLE                        UPDATED              VERSION\n\
             0198c5a2…abcd  Groceries                    2026-11-20 11:03:58        3\n\
             0198c5a2…abce  A title that goes on and o…  2026-11-20 11:03:58        3\n"
        );
        assert_eq!(shown.err, "more: list_notes cursor=abc\n");
        assert!(
            rendered(&page, None)
                .out
                .contains("0198c5a2-0000-7000-8000-00000000abcd")
        );
    }

    #[test]
    fn renders_an_error_with_the_next_step() {
        let body = json!({"error": {
            "category": "conflict", "code": "version_mismatch", "message": "The note has changed.",
            "suggested_action": "Read it with get_note.", "details": {"actual_version": 4},
            "correlation_id": "c-1",
        }});
        let shown = captured(None, |output| failure(output, &body));
        assert_eq!(
            shown.err,
            "error: The note has changed. (version_mismatch)\n  actual_version: 4\n  next: Read it \
             with get_note.\n  correlation id: c-1\n"
        );
    }

    #[test]
    fn tenant_content_cannot_control_the_terminal() {
        let evil = "\x1b]0;owned\x07\x1b[2J\u{9b}2J\u{7f}\u{202e}\u{2066}";
        let item = json!({
            "uid": evil, "version": evil, "updated_at": format!("{evil}Z"), "deleted_at": evil,
            "payload": {"title": evil, "content": format!("a\n{evil}"), evil: evil, "list": [evil]},
        });
        let page = json!({"items": [item.clone()], "next_cursor": evil});
        let error = json!({"error": {
            "code": evil, "message": evil, "suggested_action": evil, "correlation_id": evil,
            "details": {evil: evil},
        }});
        for shown in [
            captured_raw(Some(80), |output| {
                result(output, "note", &item, &|cursor| Some(cursor.to_owned()))
            }),
            captured_raw(Some(80), |output| {
                result(output, "note", &page, &|cursor| Some(cursor.to_owned()))
            }),
            captured_raw(None, |output| failure(output, &error)),
        ] {
            for text in [shown.out, shown.err] {
                for sequence in [
                    "\x1b]", "\x07", "\x1b[2J", "\u{9b}", "\u{7f}", "\u{202e}", "\u{2066}",
                ] {
                    assert!(!text.contains(sequence), "{sequence:?} in {text:?}");
                }
            }
        }
    }
}
