//! Names of span attributes, declared once: those of OpenTelemetry's semantic conventions for HTTP,
//! JSON-RPC and MCP, and two specific to ToolBridge, which the API uses too.

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
/// The outcome of a tool call, with the values of the log field.
pub const OUTCOME: &str = "toolbridge.outcome";

/// All names, for the test of the documentation.
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
