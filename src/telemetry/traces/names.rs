//! Names of span attributes, declared once. They are those of OpenTelemetry's conventions for HTTP, JSON-RPC and MCP, and
//! two of our own, which the API uses too.

pub const HTTP_METHOD: &str = "http.request.method";
pub const HTTP_ROUTE: &str = "http.route";
pub const HTTP_STATUS: &str = "http.response.status_code";
pub const URL_TEMPLATE: &str = "url.template";
pub const ERROR_TYPE: &str = "error.type";
pub const NETWORK_TRANSPORT: &str = "network.transport";

pub const MCP_METHOD: &str = "mcp.method.name";
pub const MCP_PROTOCOL: &str = "mcp.protocol.version";
pub const JSONRPC_ID: &str = "jsonrpc.request.id";
pub const TOOL: &str = "gen_ai.tool.name";
pub const OPERATION: &str = "gen_ai.operation.name";

pub const CORRELATION_ID: &str = "toolbridge.correlation_id";
/// How a tool call ended, in the words of the log.
pub const OUTCOME: &str = "toolbridge.outcome";

/// All of them, for the documentation.
#[cfg(test)]
pub const ALL: &[&str] = &[
    HTTP_METHOD,
    HTTP_ROUTE,
    HTTP_STATUS,
    URL_TEMPLATE,
    ERROR_TYPE,
    NETWORK_TRANSPORT,
    MCP_METHOD,
    MCP_PROTOCOL,
    JSONRPC_ID,
    TOOL,
    OPERATION,
    CORRELATION_ID,
    OUTCOME,
];
