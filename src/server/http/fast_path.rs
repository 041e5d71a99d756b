//! The fast path: answers well-formed `tools/call` and `tools/list` requests without rmcp, over
//! HTTP without sessions and on streams of 2024-11-05.
//!
//! For each such request, rmcp would read the message into its model and the result out of it, and
//! over HTTP without sessions start a server of three tasks. That is more work than the call itself
//! and does not show in the answer. Requests that one reading of the parameters suffices for are
//! answered here, with the same bytes. All others go to rmcp, which also words most refusals.
//! `tests/it/fast_path_parity.rs` compares the two.

use std::borrow::Cow;

use axum::body::Bytes;
use http::{HeaderMap, HeaderName};
use rmcp::RoleServer;
use rmcp::model::{ProtocolVersion, RequestMetaObject};
use rmcp::service::Peer;
use tokio_util::sync::CancellationToken;

use super::response;
use super::response::{INTERNAL_ERROR, INVALID_PARAMS};
use crate::foundation::json::{Json, push_quoted};
use crate::mcp::{
    Arguments, Asking, CALL_INTERRUPTED, CallOutcome, CallRequest, Caller, LIST_TTL_MS,
    MessageContext, Server,
};
use crate::server::headers::{METHOD, NAME, PROTOCOL_VERSION};
use crate::server::jsonrpc::validate::ValidMessage;
use crate::tools::Outcome;

/// Of a request that does not name one.
const DEFAULT_VERSION: ProtocolVersion = ProtocolVersion::V_2025_03_26;

/// A request that is answered here.
pub struct FastRequest<'a> {
    id: Cow<'a, str>,
    meta: RequestMetaObject,
    version: &'static ProtocolVersion,
    method_call: Method<'a>,
}

enum Method<'a> {
    List,
    Call {
        tool: Cow<'a, str>,
        arguments: Arguments,
    },
}

/// The parameters of either method. What else may stand there is for rmcp to say.
#[derive(Default)]
struct Params<'a> {
    name: Option<Cow<'a, str>>,
    has_arguments: bool,
    meta: RequestMetaObject,
}

impl<'a> Params<'a> {
    fn read(params: Json<'a>) -> Option<Self> {
        let mut known = Self::default();
        let mut seen = [false; 3];
        for (key, value) in params.members() {
            let index = ["name", "arguments", "_meta"]
                .iter()
                .position(|name| *name == key)?;
            if std::mem::replace(seen.get_mut(index)?, true) {
                return None;
            }
            match index {
                0 => known.name = Some(value.as_str()?),
                1 if !value.is_object() && !value.is_null() => return None,
                1 => known.has_arguments = true,
                _ if value.is_null() => {}
                _ => known.meta = serde_json::from_str(value.get()).ok()?,
            }
        }
        Some(known)
    }
}

impl<'a> FastRequest<'a> {
    /// The question, if it is one that is answered here. `peer` is that of the conversation in
    /// which it is asked, if there is one.
    pub fn read(
        server: &Server,
        headers: &HeaderMap,
        id: Option<Json<'a>>,
        message: &ValidMessage<'a>,
        body: &Bytes,
        caller: &Caller,
        peer: Option<&Peer<RoleServer>>,
    ) -> Option<Self> {
        // An id that is spelled with escapes, or is less than nothing by no more than its sign, is
        // repeated in another spelling by rmcp.
        let id = id.filter(|id| !id.get().contains('\\') && id.get() != "-0")?;
        let method = message.method?.get().trim_matches('"');
        let params = message.params.filter(|params| !params.is_null());
        let (meta, method_call) = match (method, params) {
            ("tools/call", Some(params)) => {
                let params = Params::read(params)?;
                let arguments = message.split_arguments(body).unwrap_or_default();
                let tool = params.name?;
                (params.meta, Method::Call { tool, arguments })
            }
            ("tools/list", None) => (RequestMetaObject::default(), Method::List),
            ("tools/list", Some(params)) => {
                let params = Params::read(params)?;
                if params.name.is_some() || params.has_arguments {
                    return None;
                }
                (params.meta, Method::List)
            }
            _ => return None,
        };
        // A client that asks for progress may get a stream.
        if caller.accepts_progress && meta.0.0.contains_key("progressToken") {
            return None;
        }
        let tool = match &method_call {
            Method::Call { tool, .. } if !server.can_call(tool, caller) => return None,
            Method::Call { tool, .. } => Some(tool.as_ref()),
            Method::List => None,
        };
        let version = match peer {
            None => version(headers, &meta, method, tool)?,
            Some(peer) => settled_version(headers, &meta, peer)?,
        };
        // rmcp carries the question.
        if let Method::Call { tool, arguments } = &method_call {
            let asking = || match peer {
                Some(peer) => Asking::by_request(peer),
                None if version.has_initialize() => Asking::Not,
                None => Asking::by_result(&meta),
            };
            if server.asks(tool, arguments, asking) {
                return None;
            }
        }
        Some(Self {
            id: Cow::Borrowed(id.get()),
            meta,
            version,
            method_call,
        })
    }

    /// The same, without the message that it was read from.
    pub fn into_owned(self) -> FastRequest<'static> {
        FastRequest {
            id: Cow::Owned(self.id.into_owned()),
            meta: self.meta,
            version: self.version,
            method_call: match self.method_call {
                Method::List => Method::List,
                Method::Call { tool, arguments } => Method::Call {
                    tool: Cow::Owned(tool.into_owned()),
                    arguments,
                },
            },
        }
    }

    /// The JSON-RPC message that answers it.
    pub async fn answer(
        self,
        server: &Server,
        caller: &Caller,
        peer: Option<&Peer<RoleServer>>,
    ) -> Vec<u8> {
        let meta = (!self.version.has_initialize()).then(|| server.encoded_meta());
        let (tool, arguments) = match self.method_call {
            Method::List => return list(&self.id, meta, &server.encoded_tools(caller).await),
            Method::Call { tool, arguments } => (tool, arguments),
        };
        let call = CallRequest {
            name: &tool,
            arguments,
            context: MessageContext {
                meta: &self.meta,
                id: &self.id,
                peer,
            },
            protocol: self.version.as_str(),
            // The call is cancelled by dropping its future.
            cancel: CancellationToken::new(),
            listener: None,
            asking: Asking::Not,
            answer: None,
        };
        let about = &*caller.correlation_id;
        let failed = |code, message: &str| {
            let id = Some(Json::trusted(&self.id));
            let error = response::rpc_error_message(code, message, id, about, None);
            error.to_string().into_bytes()
        };
        match server.execute(call, caller).await {
            CallOutcome::Done(outcome) => result(&self.id, meta, &outcome),
            CallOutcome::UnknownTool(sentence) => failed(INVALID_PARAMS, &sentence),
            // Nothing is asked here, so there is no question.
            CallOutcome::Asked(_) | CallOutcome::Interrupted => {
                failed(INTERNAL_ERROR, CALL_INTERRUPTED)
            }
        }
    }
}

/// The revision of a request whose headers and message agree on one that there is.
fn version(
    headers: &HeaderMap,
    meta: &RequestMetaObject,
    method: &str,
    tool: Option<&str>,
) -> Option<&'static ProtocolVersion> {
    let version = match single_header(headers, PROTOCOL_VERSION)? {
        None => DEFAULT_VERSION.as_str(),
        Some(version) => version,
    };
    let version = known(version)?;
    if version.has_initialize() {
        // A legacy request does not say its revision in the message.
        return meta.protocol_version().is_none().then_some(version);
    }
    let agrees = meta.protocol_version().as_ref() == Some(version)
        && meta.missing_required_keys(version).is_empty()
        && single_header(headers, METHOD)? == Some(method)
        && (tool.is_none() || single_header(headers, NAME)? == tool);
    agrees.then_some(version)
}

/// The revision that a conversation began with, unless the request says something else.
fn settled_version(
    headers: &HeaderMap,
    meta: &RequestMetaObject,
    peer: &Peer<RoleServer>,
) -> Option<&'static ProtocolVersion> {
    let legacy = |version: &str| known(version).filter(|version| version.has_initialize());
    let is_valid =
        single_header(headers, PROTOCOL_VERSION)?.is_none_or(|version| legacy(version).is_some());
    if is_valid && meta.protocol_version().is_none() {
        legacy(peer.peer_info()?.protocol_version.as_str())
    } else {
        None
    }
}

fn known(version: &str) -> Option<&'static ProtocolVersion> {
    let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
    known.find(|known| known.as_str() == version)
}

/// The header's value, or that there is none; nothing at all where it comes twice or is no text.
fn single_header(headers: &HeaderMap, name: HeaderName) -> Option<Option<&str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}

/// `meta` is the `_meta` of a modern result. Both are written by hand, since what they are made of
/// is JSON already and need not be read once more.
fn result(id: &str, meta: Option<&str>, outcome: &Outcome) -> Vec<u8> {
    let text = &outcome.text;
    let mut out = Vec::with_capacity(2 * text.len() + text.len() / 8 + 256);
    begin(id, meta.is_some(), &mut out);
    out.extend_from_slice(br#""content":[{"type":"text","text":"#);
    push_quoted(text, &mut out);
    out.extend_from_slice(b"}],");
    if outcome.failed.is_none() {
        out.extend_from_slice(br#""structuredContent":"#);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(br#","isError":false"#);
    } else {
        out.extend_from_slice(br#""isError":true"#);
    }
    if let Some(meta) = meta {
        out.extend_from_slice(br#","_meta":"#);
        out.extend_from_slice(meta.as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}

fn list(id: &str, meta: Option<&str>, tools: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tools.len() + 256);
    begin(id, meta.is_some(), &mut out);
    if let Some(meta) = meta {
        // The list depends on what the caller may do.
        let members = format!(r#""_meta":{meta},"ttlMs":{LIST_TTL_MS},"cacheScope":"private","#);
        out.extend_from_slice(members.as_bytes());
    }
    out.extend_from_slice(br#""tools":"#);
    out.extend_from_slice(tools);
    out.extend_from_slice(b"}}");
    out
}

fn begin(id: &str, modern: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","result":{"#);
    if modern {
        out.extend_from_slice(br#""resultType":"complete","#);
    }
}
