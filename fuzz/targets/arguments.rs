//! Arguments of a tool: its name, a line's end, and JSON. Whatever is accepted leaves on the path
//! of the tool's own table row, with a query that says what was meant and a body that is JSON;
//! whatever is refused is refused in a few plain words.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fuzz target reports a finding by a panic"
)]

use std::cell::LazyCell;
use std::collections::HashSet;

use http::uri::PathAndQuery;
use url::form_urlencoded;
use uuid::Uuid;

use super::entities::Plan;
use super::{Catalogue, ToolError};
use crate::api::Features;
use crate::api::target;
use crate::entities;
use crate::foundation::json::Json;

const NEW: Uuid = Uuid::from_u128(0x0192_f0c8_7b1a_7cc0_8a1e_3f2b_6f0d_9a11);
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_BODY_DEPTH: usize = 64;

/// What is said of a mistake repeats little of it.
const MAX_MESSAGE_BYTES: usize = 1500;

thread_local! {
    static CATALOGUE: LazyCell<Catalogue> = LazyCell::new(|| Catalogue::new(|| NEW,
        Features::NONE));
}

pub fn feed(input: &[u8]) {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (name, arguments) = input.split_at(at);
    let Some(arguments) = Json::parse(arguments)
        .ok()
        .filter(|arguments| arguments.is_object())
    else {
        return;
    };
    let name = String::from_utf8_lossy(name);
    match CATALOGUE.with(|catalogue| catalogue.prepare(&name, arguments)) {
        Ok(plan) => is_clean(&plan),
        Err(error) => is_plain(&error),
    }
}

fn is_clean(plan: &Plan) {
    let request = &plan.request;
    let mut parts = request.path.split('/');
    assert_eq!(
        (parts.next(), parts.next()),
        (Some(""), Some("v1")),
        "{}",
        request.path
    );
    let plural = parts.next().unwrap();
    assert!(entities::ALL.iter().any(|entity| entity.plural == plural));
    if let Some(uid) = parts.next() {
        assert_eq!(
            Uuid::try_parse(uid).unwrap().to_string(),
            uid,
            "one spelling of each"
        );
    }
    assert!(matches!(parts.next(), None | Some("archive" | "process")) && parts.next().is_none());

    let line = target("", &request.path, &request.query);
    assert!(
        line.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#'),
        "{line}"
    );
    let read: PathAndQuery = line.parse().unwrap();
    assert_eq!(read.path(), request.path);
    let pairs: Vec<_> =
        form_urlencoded::parse(read.query().unwrap_or_default().as_bytes()).collect();
    assert_eq!(pairs.len(), request.query.len());
    for ((name, value), (meant, said)) in request.query.iter().zip(&pairs) {
        assert_eq!((*name, value.as_str()), (&**meant, &**said));
        assert!(["limit", "cursor", "includeDeleted"].contains(name));
    }

    let Some(body) = &request.body else { return };
    assert!(body.len() <= MAX_BODY_BYTES && !body.contains(&b'\n'));
    let body = Json::parse(body).unwrap();
    assert!(
        body.is_object() && body.depth() <= MAX_BODY_DEPTH,
        "{body:?}"
    );
    let keys: Vec<_> = body.members().map(|(key, _)| key).collect();
    assert_eq!(
        keys.iter().collect::<HashSet<_>>().len(),
        keys.len(),
        "no key comes twice"
    );
    let uid = body.member("uid").map(|uid| uid.as_str().unwrap());
    assert!(
        uid.is_none_or(|uid| uid == NEW.to_string()),
        "only a new item is named in the body"
    );
    assert!(
        !["sync", "updatedTs"]
            .iter()
            .any(|name| body.member(name).is_some())
    );
}

fn is_plain(error: &ToolError) {
    for words in [&error.message, &error.suggested_action] {
        assert!(
            !words.is_empty() && words.len() < MAX_MESSAGE_BYTES,
            "{words}"
        );
        assert!(!words.contains(char::is_control), "{words:?}");
    }
    assert!(
        error
            .code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    );
}
