//! What a client leaves out of the tools for one request: `X-MCP-Toolsets` and `X-MCP-Readonly`, the names that GitHub's
//! MCP server uses, or `toolsets` and `readonly` in the query, for clients that can set nothing but a URL.
//!
//! Both may be given; what either leaves out is left out. What cannot be read is refused: a narrowing that is not
//! understood must not become none.

use http::{HeaderMap, Uri};
use url::form_urlencoded;

use crate::mcp::{Narrowing, ToolAccess, UnknownToolsetError};
use crate::server::jsonrpc::validate::MessageError;

pub const TOOLSETS: &str = "x-mcp-toolsets";
pub const READ_ONLY: &str = "x-mcp-readonly";

/// How much of a name that is none is repeated.
const LONGEST_NAME: usize = 64;

/// What the request leaves of the tools.
pub fn asked(
    narrowed: impl Fn(&Narrowing) -> Result<ToolAccess, UnknownToolsetError>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<ToolAccess, MessageError> {
    let mut reach = ToolAccess::ALL;
    let query = uri.query().unwrap_or_default();
    let in_header = |name: &'static str| {
        let values = headers.get_all(name).iter();
        the_only(
            name,
            values.map(|value| value.to_str().unwrap_or("?").into()),
        )
    };
    let in_query = |name: &'static str| {
        let pairs = form_urlencoded::parse(query.as_bytes());
        the_only(
            name,
            pairs
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned()),
        )
    };
    let places = [
        (
            TOOLSETS,
            in_header(TOOLSETS)?,
            READ_ONLY,
            in_header(READ_ONLY)?,
        ),
        (
            "toolsets",
            in_query("toolsets")?,
            "readonly",
            in_query("readonly")?,
        ),
    ];
    for (toolsets_at, toolsets, read_only_at, read_only) in places {
        if toolsets.is_none() && read_only.is_none() {
            continue;
        }
        let narrowing = Narrowing {
            toolsets: toolsets.map(|text| list(toolsets_at, &text)).transpose()?,
            read_only: read_only.map_or(Ok(false), |text| flag(read_only_at, &text))?,
        };
        let left =
            narrowed(&narrowing).map_err(|unknown| no_such_toolset(toolsets_at, &unknown))?;
        reach = reach.and(left);
    }
    Ok(reach)
}

/// Two readers could each believe another one.
fn the_only(
    name: &str,
    mut values: impl Iterator<Item = String>,
) -> Result<Option<String>, MessageError> {
    let first = values.next();
    match values.next() {
        Some(_) => Err(MessageError::invalid(format!(
            "{name} is given more than once"
        ))),
        None => Ok(first),
    }
}

/// An empty list could mean nothing or everything, so it is neither.
fn list(place: &str, text: &str) -> Result<Vec<String>, MessageError> {
    let names: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        let message = format!("{place} names no toolset: leave it out to have all");
        return Err(MessageError::invalid(message));
    }
    Ok(names)
}

fn flag(place: &str, text: &str) -> Result<bool, MessageError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(MessageError::invalid(format!(
            "{place} must be true or false"
        ))),
    }
}

fn no_such_toolset(place: &str, unknown: &UnknownToolsetError) -> MessageError {
    let shown: String = unknown.name.chars().take(LONGEST_NAME).collect();
    let known = unknown.known.join(", ");
    MessageError::invalid(format!(
        "{place} names a toolset \"{shown}\", but there are: {known}"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderName, HeaderValue, StatusCode};

    use super::*;
    use crate::auth::Scopes;
    use crate::mcp::{EntityTools, ToolRegistry};
    use crate::tools::{Catalogue, Limits};

    fn surface() -> ToolRegistry {
        let tools = EntityTools::new(
            Arc::new(Catalogue::new(uuid::Uuid::now_v7)),
            Limits::default(),
        );
        ToolRegistry::new(&tools, &Narrowing::default())
    }

    /// How many tools are left, or what is said.
    fn left(query: &str, headers: &[(&'static str, &[u8])]) -> Result<usize, String> {
        let surface = surface();
        let uri: Uri = format!("/mcp{query}").parse().unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_bytes(value).unwrap(),
                )
            })
            .collect();
        match asked(|narrowing| surface.narrowed(narrowing), &uri, &headers) {
            Ok(reach) => Ok(surface.tools(surface.reach(reach, &Scopes::All)).len()),
            Err(objection) => {
                assert_eq!(objection.status, StatusCode::BAD_REQUEST);
                Err(objection.message.into_owned())
            }
        }
    }

    #[test]
    fn header_and_query_narrow_alike_and_together() {
        for (query, headers, count) in [
            ("", &[][..], 40),
            ("", &[(TOOLSETS, &b"notes"[..])], 8),
            ("", &[(TOOLSETS, b" notes , tasks,notes,")], 16),
            ("", &[(READ_ONLY, b"true")], 10),
            ("", &[(READ_ONLY, b"False")], 40),
            ("", &[(TOOLSETS, b"chat_messages"), (READ_ONLY, b"1")], 2),
            ("?toolsets=notes", &[], 8),
            ("?toolsets=notes,tasks&readonly=true", &[], 4),
            ("?toolsets=notes%2Ctasks&x=y", &[], 16),
            ("?toolsets=%6eotes", &[], 8),
            ("?toolsets=notes,tasks", &[(TOOLSETS, b"tasks,chats")], 8),
            ("?toolsets=notes", &[(TOOLSETS, b"tasks")], 0),
            ("?readonly=false", &[(READ_ONLY, b"true")], 10),
            (
                "?readonly=true",
                &[(TOOLSETS, b"notes"), (READ_ONLY, b"false")],
                2,
            ),
            ("?access_token=x&Toolsets=notes", &[], 40),
        ] {
            assert_eq!(left(query, headers), Ok(count), "{query} {headers:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_leave_to_have_everything() {
        let known = "but there are: notes, tasks, comments, chats, chat_messages";
        let twice = &[(TOOLSETS, &b"notes"[..]), (TOOLSETS, b"notes")][..];
        let longest = "x".repeat(64);
        let long = "x".repeat(30_000);
        for (query, headers, said) in [
            (
                "",
                &[(TOOLSETS, &b"note"[..])][..],
                format!("x-mcp-toolsets names a toolset \"note\", {known}"),
            ),
            (
                "",
                &[(TOOLSETS, b"notes;tasks")],
                format!("x-mcp-toolsets names a toolset \"notes;tasks\", {known}"),
            ),
            (
                "",
                &[(TOOLSETS, b"Notes")],
                format!("x-mcp-toolsets names a toolset \"Notes\", {known}"),
            ),
            (
                "",
                &[(TOOLSETS, b"\xff")],
                format!("x-mcp-toolsets names a toolset \"?\", {known}"),
            ),
            (
                "",
                &[(TOOLSETS, long.as_bytes())],
                format!("x-mcp-toolsets names a toolset \"{longest}\", {known}"),
            ),
            (
                "",
                &[(TOOLSETS, b"")],
                "x-mcp-toolsets names no toolset: leave it out to have all".into(),
            ),
            (
                "",
                &[(TOOLSETS, b" , ")],
                "x-mcp-toolsets names no toolset: leave it out to have all".into(),
            ),
            ("", twice, "x-mcp-toolsets is given more than once".into()),
            (
                "",
                &[(READ_ONLY, b"yes")],
                "x-mcp-readonly must be true or false".into(),
            ),
            (
                "",
                &[(READ_ONLY, b"")],
                "x-mcp-readonly must be true or false".into(),
            ),
            (
                "",
                &[(READ_ONLY, b"true"), (READ_ONLY, b"true")],
                "x-mcp-readonly is given more than once".into(),
            ),
            (
                "?toolsets=",
                &[],
                "toolsets names no toolset: leave it out to have all".into(),
            ),
            (
                "?toolsets",
                &[],
                "toolsets names no toolset: leave it out to have all".into(),
            ),
            (
                "?toolsets=notes&toolsets=notes",
                &[],
                "toolsets is given more than once".into(),
            ),
            (
                "?toolsets=notes&%74oolsets=tasks",
                &[],
                "toolsets is given more than once".into(),
            ),
            ("?readonly", &[], "readonly must be true or false".into()),
            (
                "?toolsets=all",
                &[],
                format!("toolsets names a toolset \"all\", {known}"),
            ),
        ] {
            assert_eq!(left(query, headers), Err(said), "{query} {headers:.60?}");
        }
    }
}
