//! The tools that a client selects for one request: `X-MCP-Toolsets` and `X-MCP-Readonly`, named as
//! in GitHub's MCP server, or `toolsets` and `readonly` in the query, for clients that can only
//! configure a URL.
//!
//! If both are given, a tool must pass both. Invalid values are refused: an unreadable restriction
//! must not lift all restrictions.

use http::{HeaderMap, HeaderName, Uri};
use url::form_urlencoded;

use crate::mcp::{ToolAccess, ToolFilter, UnknownToolsetError};
use crate::server::jsonrpc::validate::MessageError;

pub static TOOLSETS: HeaderName = HeaderName::from_static("x-mcp-toolsets");
pub static READ_ONLY: HeaderName = HeaderName::from_static("x-mcp-readonly");

/// Limit on the characters of an unknown name that are echoed.
const MAX_NAME_CHARS: usize = 64;

/// The tools that the request selects.
pub fn requested_access(
    apply_filter: impl Fn(&ToolFilter) -> Result<ToolAccess, UnknownToolsetError>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<ToolAccess, MessageError> {
    let mut access = ToolAccess::ALL;
    let query = uri.query().unwrap_or_default();
    let in_header = |name: &HeaderName| {
        let values = headers.get_all(name).iter();
        single_value(
            name.as_str(),
            values.map(|value| value.to_str().unwrap_or("?").into()),
        )
    };
    let in_query = |name: &'static str| {
        let pairs = form_urlencoded::parse(query.as_bytes());
        single_value(
            name,
            pairs
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned()),
        )
    };
    let sources = [
        (
            TOOLSETS.as_str(),
            in_header(&TOOLSETS)?,
            READ_ONLY.as_str(),
            in_header(&READ_ONLY)?,
        ),
        (
            "toolsets",
            in_query("toolsets")?,
            "readonly",
            in_query("readonly")?,
        ),
    ];
    for (toolsets_at, toolsets, read_only_at, read_only) in sources {
        if toolsets.is_none() && read_only.is_none() {
            continue;
        }
        let filter = ToolFilter {
            toolsets: toolsets.map(|text| list(toolsets_at, &text)).transpose()?,
            read_only: read_only.map_or(Ok(false), |text| flag(read_only_at, &text))?,
        };
        let left =
            apply_filter(&filter).map_err(|unknown| no_such_toolset(toolsets_at, &unknown))?;
        access = access.and(left);
    }
    Ok(access)
}

/// Refuses a repeated value: two parsers could each pick a different one.
fn single_value(
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

/// Refuses an empty list, which could mean none or all.
fn list(source: &str, text: &str) -> Result<Vec<String>, MessageError> {
    let names: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        let message = format!("{source} names no toolset: leave it out to have all");
        return Err(MessageError::invalid(message));
    }
    Ok(names)
}

fn flag(source: &str, text: &str) -> Result<bool, MessageError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(MessageError::invalid(format!(
            "{source} must be true or false"
        ))),
    }
}

fn no_such_toolset(source: &str, unknown: &UnknownToolsetError) -> MessageError {
    let truncated: String = unknown.name.chars().take(MAX_NAME_CHARS).collect();
    let known = unknown.known.join(", ");
    MessageError::invalid(format!(
        "{source} names a toolset \"{truncated}\", but there are: {known}"
    ))
}

#[cfg(test)]
mod tests {

    use http::{HeaderName, HeaderValue, StatusCode};

    use super::*;
    use crate::api::Features;
    use crate::auth::Scopes;
    use crate::mcp::ToolRegistry;
    use crate::tools::{self, Limits};

    fn registry() -> ToolRegistry {
        ToolRegistry::new(
            &tools::all(Limits::default()),
            &ToolFilter::default(),
            Features::ALL,
        )
    }

    /// The number of selected tools, or the error message.
    fn left(query: &str, headers: &[(&HeaderName, &[u8])]) -> Result<usize, String> {
        let registry = registry();
        let uri: Uri = format!("/mcp{query}").parse().unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).clone(), HeaderValue::from_bytes(value).unwrap()))
            .collect();
        match requested_access(|filter| registry.apply_filter(filter), &uri, &headers) {
            Ok(access) => Ok(registry
                .tools(registry.accessible(access, &Scopes::All))
                .len()),
            Err(error) => {
                assert_eq!(error.status, StatusCode::BAD_REQUEST);
                Err(error.message.into_owned())
            }
        }
    }

    #[test]
    fn applies_header_and_query() {
        let registry = registry();
        let all = registry.served().count();
        let reads = registry
            .served()
            .filter(|(tool, _)| !registry.writes(&tool.name));
        let reads = reads.count();
        for (query, headers, count) in [
            ("", &[][..], all),
            ("", &[(&TOOLSETS, &b"notes"[..])], 8),
            ("", &[(&TOOLSETS, b" notes , tasks,notes,")], 16),
            ("", &[(&READ_ONLY, b"true")], reads),
            ("", &[(&READ_ONLY, b"False")], all),
            ("", &[(&TOOLSETS, b"chat_messages"), (&READ_ONLY, b"1")], 2),
            ("?toolsets=notes", &[], 8),
            ("?toolsets=notes,tasks&readonly=true", &[], 4),
            ("?toolsets=notes%2Ctasks&x=y", &[], 16),
            ("?toolsets=%6eotes", &[], 8),
            ("?toolsets=notes,tasks", &[(&TOOLSETS, b"tasks,chats")], 8),
            ("?toolsets=notes", &[(&TOOLSETS, b"tasks")], 0),
            ("?toolsets=compact", &[], 9),
            ("?readonly=true", &[(&TOOLSETS, b"compact")], 3),
            ("?readonly=false", &[(&READ_ONLY, b"true")], reads),
            (
                "?readonly=true",
                &[(&TOOLSETS, b"notes"), (&READ_ONLY, b"false")],
                2,
            ),
            ("?access_token=x&Toolsets=notes", &[], all),
        ] {
            assert_eq!(left(query, headers), Ok(count), "{query} {headers:?}");
        }
    }

    #[test]
    fn refuses_invalid_values() {
        let known = format!("but there are: {}", tools::toolset_names().join(", "));
        let twice = &[(&TOOLSETS, &b"notes"[..]), (&TOOLSETS, b"notes")][..];
        let longest = "x".repeat(64);
        let long = "x".repeat(30_000);
        for (query, headers, expected) in [
            (
                "",
                &[(&TOOLSETS, &b"note"[..])][..],
                format!("x-mcp-toolsets names a toolset \"note\", {known}"),
            ),
            (
                "",
                &[(&TOOLSETS, b"notes;tasks")],
                format!("x-mcp-toolsets names a toolset \"notes;tasks\", {known}"),
            ),
            (
                "",
                &[(&TOOLSETS, b"Notes")],
                format!("x-mcp-toolsets names a toolset \"Notes\", {known}"),
            ),
            (
                "",
                &[(&TOOLSETS, b"\xff")],
                format!("x-mcp-toolsets names a toolset \"?\", {known}"),
            ),
            (
                "",
                &[(&TOOLSETS, long.as_bytes())],
                format!("x-mcp-toolsets names a toolset \"{longest}\", {known}"),
            ),
            (
                "",
                &[(&TOOLSETS, b"")],
                "x-mcp-toolsets names no toolset: leave it out to have all".into(),
            ),
            (
                "",
                &[(&TOOLSETS, b" , ")],
                "x-mcp-toolsets names no toolset: leave it out to have all".into(),
            ),
            ("", twice, "x-mcp-toolsets is given more than once".into()),
            (
                "",
                &[(&READ_ONLY, b"yes")],
                "x-mcp-readonly must be true or false".into(),
            ),
            (
                "",
                &[(&READ_ONLY, b"")],
                "x-mcp-readonly must be true or false".into(),
            ),
            (
                "",
                &[(&READ_ONLY, b"true"), (&READ_ONLY, b"true")],
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
            assert_eq!(
                left(query, headers),
                Err(expected),
                "{query} {headers:.60?}"
            );
        }
    }
}
