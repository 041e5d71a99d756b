//! The fast path: answers well-formed `tools/call` and `tools/list` requests without rmcp, over
//! stateless HTTP and on the streams of 2024-11-05.
//!
//! For each such request rmcp would parse the message into its model and serialize the result from
//! it, and over stateless HTTP start a server of three tasks. That costs more than the call itself
//! and does not change the response. A request that can be answered from one pass over its
//! parameters gets the same response here; everything else goes to rmcp, including every request to
//! be refused. `tests/it/straight.rs` compares the two.

use std::borrow::Cow;

use axum::body::Bytes;
use http::HeaderMap;
use rmcp::RoleServer;
use rmcp::model::{ProtocolVersion, RequestMetaObject};
use rmcp::service::Peer;

use super::response;
use super::response::INTERNAL_ERROR;
use crate::foundation::json::Json;
use crate::mcp::{
    Arguments, Caller, LIST_TTL_MS, MessageContext, NO_END, Outcome, PlainCall, Server,
};
use crate::server::jsonrpc::validate::ValidMessage;

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// The revision of a request that names none.
const DEFAULT_VERSION: ProtocolVersion = ProtocolVersion::V_2025_03_26;

/// A request that is answered without rmcp.
pub struct FastRequest<'a> {
    id: Cow<'a, str>,
    meta: RequestMetaObject,
    version: &'static ProtocolVersion,
    operation: Operation<'a>,
}

enum Operation<'a> {
    List,
    Call {
        tool: Cow<'a, str>,
        arguments: Arguments,
    },
}

/// The parameters of both methods. Any other parameter is left to rmcp.
#[derive(Default)]
struct Params<'a> {
    name: Option<Cow<'a, str>>,
    has_arguments: bool,
    meta: RequestMetaObject,
}

impl<'a> Params<'a> {
    fn read(params: Json<'a>) -> Option<Self> {
        let mut read = Self::default();
        let mut seen = [false; 3];
        for (key, value) in params.members() {
            let index = ["name", "arguments", "_meta"]
                .iter()
                .position(|name| *name == key)?;
            if std::mem::replace(seen.get_mut(index)?, true) {
                return None;
            }
            match index {
                0 => read.name = Some(value.as_str()?),
                1 if !value.is_object() && !value.is_null() => return None,
                1 => read.has_arguments = true,
                _ if value.is_null() => {}
                _ => read.meta = serde_json::from_str(value.get()).ok()?,
            }
        }
        Some(read)
    }
}

impl<'a> FastRequest<'a> {
    /// Reads a request; `None` leaves it to rmcp. `peer` is that of the MCP session, if there is
    /// one.
    pub fn read(
        server: &Server,
        headers: &HeaderMap,
        id: Option<Json<'a>>,
        message: &ValidMessage<'a>,
        body: &Bytes,
        caller: &Caller,
        peer: Option<&Peer<RoleServer>>,
    ) -> Option<Self> {
        // rmcp re-encodes the id, so one with escapes, or `-0`, would come back in another
        // spelling.
        let id = id.filter(|id| !id.get().contains('\\') && id.get() != "-0")?;
        let method = message.method?.get().trim_matches('"');
        let params = message.params.filter(|params| !params.is_null());
        let (meta, operation) = match (method, params) {
            ("tools/call", Some(params)) => {
                let params = Params::read(params)?;
                let arguments = message.split_arguments(body).unwrap_or_default();
                let tool = params.name?;
                (params.meta, Operation::Call { tool, arguments })
            }
            ("tools/list", None) => (RequestMetaObject::default(), Operation::List),
            ("tools/list", Some(params)) => {
                let params = Params::read(params)?;
                if params.name.is_some() || params.has_arguments {
                    return None;
                }
                (params.meta, Operation::List)
            }
            _ => return None,
        };
        // A request for progress notifications may be answered with a stream.
        if caller.hears_progress && meta.0.0.contains_key("progressToken") {
            return None;
        }
        let tool = match &operation {
            Operation::Call { tool, .. } if !server.has_for(tool, caller) => return None,
            Operation::Call { tool, .. } => Some(tool.as_ref()),
            Operation::List => None,
        };
        let version = match peer {
            None => version(headers, &meta, method, tool)?,
            Some(peer) => session_version(headers, &meta, peer)?,
        };
        Some(Self {
            id: Cow::Borrowed(id.get()),
            meta,
            version,
            operation,
        })
    }

    /// Detaches the request from the message it was read from.
    pub fn into_owned(self) -> FastRequest<'static> {
        FastRequest {
            id: Cow::Owned(self.id.into_owned()),
            meta: self.meta,
            version: self.version,
            operation: match self.operation {
                Operation::List => Operation::List,
                Operation::Call { tool, arguments } => Operation::Call {
                    tool: Cow::Owned(tool.into_owned()),
                    arguments,
                },
            },
        }
    }

    /// Answers with an encoded JSON-RPC message.
    pub async fn answer(
        self,
        server: &Server,
        caller: &Caller,
        peer: Option<&Peer<RoleServer>>,
    ) -> Vec<u8> {
        let modern = !self.version.has_initialize();
        let (tool, arguments) = match self.operation {
            Operation::List => return list(&self.id, modern, &server.list_for(caller)),
            Operation::Call { tool, arguments } => (tool, arguments),
        };
        let call = PlainCall {
            name: &tool,
            arguments,
            said: MessageContext {
                meta: &self.meta,
                id: &self.id,
                peer,
            },
            protocol: self.version.as_str(),
        };
        match server.carry_out(call, caller).await {
            Some(outcome) => result(&self.id, modern, &outcome),
            None => {
                let correlation_id = &*caller.correlation_id;
                let error = response::rpc_error_message(
                    INTERNAL_ERROR,
                    NO_END,
                    Some(Json::trusted(&self.id)),
                    correlation_id,
                    None,
                );
                error.to_string().into_bytes()
            }
        }
    }
}

/// The revision of a stateless request, if it is known and headers and message agree on it.
fn version(
    headers: &HeaderMap,
    meta: &RequestMetaObject,
    method: &str,
    tool: Option<&str>,
) -> Option<&'static ProtocolVersion> {
    let version = match single_header(headers, VERSION)? {
        None => DEFAULT_VERSION.as_str(),
        Some(version) => version,
    };
    let version = known_version(version)?;
    if version.has_initialize() {
        // A legacy request names its revision only in the header.
        return meta.protocol_version().is_none().then_some(version);
    }
    let agrees = meta.protocol_version().as_ref() == Some(version)
        && meta.missing_required_keys(version).is_empty()
        && single_header(headers, METHOD)? == Some(method)
        && (tool.is_none() || single_header(headers, NAME)? == tool);
    agrees.then_some(version)
}

/// The revision of the MCP session, unless the request names another one.
fn session_version(
    headers: &HeaderMap,
    meta: &RequestMetaObject,
    peer: &Peer<RoleServer>,
) -> Option<&'static ProtocolVersion> {
    let legacy = |version: &str| known_version(version).filter(|version| version.has_initialize());
    let is_legacy =
        single_header(headers, VERSION)?.is_none_or(|version| legacy(version).is_some());
    if is_legacy && meta.protocol_version().is_none() {
        legacy(peer.peer_info()?.protocol_version.as_str())
    } else {
        None
    }
}

fn known_version(version: &str) -> Option<&'static ProtocolVersion> {
    let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
    known.find(|known| known.as_str() == version)
}

/// The value of a header, or `Some(None)` if it is missing; `None` if it is repeated or not ASCII.
fn single_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}

/// Encodes a result by hand, as its parts are JSON already and need no second parse.
fn result(id: &str, modern: bool, outcome: &Outcome) -> Vec<u8> {
    let text = &outcome.text;
    let mut out = Vec::with_capacity(2 * text.len() + text.len() / 8 + 256);
    begin(id, modern, &mut out);
    out.extend_from_slice(br#""content":[{"type":"text","text":"#);
    // Cannot fail: the value is text and the writer a vector.
    let _ = serde_json::to_writer(&mut out, text);
    out.extend_from_slice(b"}],");
    if outcome.failed.is_none() {
        out.extend_from_slice(br#""structuredContent":"#);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(br#","isError":false}}"#);
    } else {
        out.extend_from_slice(br#""isError":true}}"#);
    }
    out
}

fn list(id: &str, modern: bool, tools: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tools.len() + 256);
    begin(id, modern, &mut out);
    if modern {
        // The list depends on the caller's scopes.
        out.extend_from_slice(
            format!(r#""ttlMs":{LIST_TTL_MS},"cacheScope":"private","#).as_bytes(),
        );
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
