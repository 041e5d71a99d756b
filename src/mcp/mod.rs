//! The MCP methods over a toolset: `initialize`, `server/discover`, `tools/list`, `tools/call` and
//! `ping`.
//!
//! [`Server`] implements rmcp's handler trait and is shared by all requests: it converts the list
//! of tools once, and cloning it clones one `Arc`. It depends neither on HTTP nor on the entities.
//! The transports add a [`Caller`] to each request, [`ToolRegistry`] decides which tools that
//! caller may use, and [`Toolset`] executes the call against the [`api`](crate::api).
//!
//! Features that are not offered, such as prompts, are answered as unknown methods and not as empty
//! lists, because a client that receives an empty list asks again later.

mod arguments;
mod call;
mod call_record;
mod caller;
mod entities;
mod rate;
mod server_info;
mod tool_access;
mod toolset;

use std::sync::Arc;

use bytes::Bytes;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::model::{
    CacheScope, CallToolRequestMethod, CallToolRequestParams, CallToolResponse,
    CompleteRequestMethod, CompleteRequestParams, CompleteResult, ConstString, CustomRequest,
    CustomResult, DiscoverResult, ErrorCode, InitializeRequestParams, InitializeResult,
    InitializeResultMethod, ListPromptsRequestMethod, ListPromptsResult,
    ListResourceTemplatesRequestMethod, ListResourceTemplatesResult, ListResourcesRequestMethod,
    ListResourcesResult, ListToolsRequestMethod, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerConfig,
};
use rmcp::service::RequestContext;
use tokio::time::Instant;

pub use arguments::Arguments;
pub use call::{NO_END, PlainCall};
pub use call_record::{CallEnding, MessageContext, refused_for_scope};
pub use caller::{Caller, Callers, FixedCaller, Via};
pub use entities::EntityTools;
pub use rate::Rate;
use rate::Rates;
pub use server_info::Settings;
pub use tool_access::{AccessError, Narrowing, ToolAccess, ToolRegistry, UnknownToolsetError};
#[cfg(any(test, feature = "pieces"))]
pub use toolset::Listed;
pub use toolset::{Outcome, ToolCall, Toolset, UnknownToolError};

use crate::api::ApiClient;
use crate::auth::Scopes;
use crate::telemetry::metrics;

/// The length to which caller-controlled names are truncated before they are echoed.
const LONGEST_NAME: usize = 64;

/// How long a client may cache the list of tools, which changes only with a new deployment.
pub const LIST_TTL_MS: u64 = 5 * 60 * 1000;

/// The handler of MCP requests. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    toolset: Arc<dyn Toolset>,
    surface: ToolRegistry,
    upstream: ApiClient,
    callers: Callers,
    /// `None` if calls are not limited.
    rates: Option<Rates>,
    config: ServerConfig,
}

impl Server {
    pub fn new(
        toolset: Arc<dyn Toolset>,
        upstream: ApiClient,
        callers: Callers,
        settings: &Settings,
    ) -> Self {
        let surface = ToolRegistry::new(&*toolset, &settings.narrowing);
        let config = server_info::config(settings);
        metrics::tools_are(toolset.list().iter().map(|listed| &*listed.tool.name));
        Self(Arc::new(Inner {
            toolset,
            surface,
            upstream,
            callers,
            rates: Rates::new(settings.rate, Instant::now()),
            config,
        }))
    }

    /// The registry that decides which tools a request may use.
    pub fn surface(&self) -> &ToolRegistry {
        &self.0.surface
    }

    /// Whether the tool exists and this caller may call it.
    pub fn has_for(&self, tool: &str, caller: &Caller) -> bool {
        let surface = &self.0.surface;
        surface.has(tool)
            && surface
                .admit(tool, caller.asked, &caller.principal.scopes)
                .is_ok()
    }

    /// Executes a call of a tool that this caller may call. `None` if the tool panicked.
    pub async fn carry_out(&self, call: PlainCall<'_>, caller: &Caller) -> Option<Outcome> {
        call::carry_out(&self.0, call, caller).await
    }

    /// The tools that this caller may use, encoded as a JSON array.
    pub fn list_for(&self, caller: &Caller) -> Bytes {
        let surface = &self.0.surface;
        surface.encoded(surface.reach(caller.asked, &caller.principal.scopes))
    }

    /// The scope that the caller's token lacks for the tool, and the outcome to report. `None` if
    /// the call is allowed, or denied for another reason.
    pub fn lacks_scope(&self, tool: &str, caller: &Caller) -> Option<(String, Outcome)> {
        match self
            .0
            .surface
            .admit(tool, caller.asked, &caller.principal.scopes)
        {
            Err(AccessError::Scope(scope)) => {
                let outcome = self
                    .0
                    .toolset
                    .out_of_scope(tool, &scope, &caller.correlation_id);
                Some((scope, outcome))
            }
            _ => None,
        }
    }
}

impl rmcp::ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        self.0.config.clone()
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        // The modern revision has no handshake. Over stdio it is accepted all the same, because an
        // error would end the process instead of the request.
        let modern = context
            .meta
            .protocol_version()
            .is_some_and(|version| !version.has_initialize());
        if modern && matches!(self.0.callers, Callers::Request) {
            return Err(unknown_method(InitializeResultMethod::VALUE));
        }
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let mut result = DiscoverResult::from_server_info(versions, self.get_info());
        result.ttl_ms = LIST_TTL_MS;
        result.cache_scope = CacheScope::Private;
        Ok(result)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // The list has a single page, so this server has never issued a cursor.
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params(
                "the cursor is not one of this server",
                None,
            ));
        }
        let mut result =
            ListToolsResult::with_all_items(self.0.surface.tools(self.reach(&context).await));
        if is_modern(&context) {
            // The list depends on the caller's permissions.
            result.ttl_ms = Some(LIST_TTL_MS);
            result.cache_scope = Some(CacheScope::Private);
        }
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        call::serve(&self.0, request, context)
            .await
            .map(CallToolResponse::from)
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(unknown_method(CompleteRequestMethod::VALUE))
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(unknown_method(ListPromptsRequestMethod::VALUE))
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(unknown_method(ListResourcesRequestMethod::VALUE))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(unknown_method(ListResourceTemplatesRequestMethod::VALUE))
    }

    /// Answers requests that rmcp does not recognize. They include requests with a known method
    /// whose parameters rmcp cannot parse.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        const KNOWN: [&str; 3] = [
            InitializeResultMethod::VALUE,
            ListToolsRequestMethod::VALUE,
            CallToolRequestMethod::VALUE,
        ];
        let method = request.method;
        // The modern revision has no handshake, so `initialize` is an unknown method there.
        let handshake = method == InitializeResultMethod::VALUE && is_modern(&context);
        if KNOWN.contains(&method.as_str()) && !handshake {
            Err(ErrorData::invalid_params(
                format!("the parameters of {method} are malformed"),
                None,
            ))
        } else {
            Err(unknown_method(&method))
        }
    }
}

/// The method is caller-controlled, so it is truncated before it is echoed.
fn unknown_method(method: &str) -> ErrorData {
    let shown: String = method.chars().take(LONGEST_NAME).collect();
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("unknown method: {shown}"),
        None,
    )
}

impl Server {
    async fn reach(&self, context: &RequestContext<RoleServer>) -> ToolAccess {
        match self.0.callers.identify(context).await {
            Ok(caller) => self.0.surface.reach(caller.asked, &caller.principal.scopes),
            // Only stdio can get here without a valid token. Listing all tools lets a call report
            // the error, which a model can pass on; with an empty list, no call would be made.
            Err(_) => self.0.surface.reach(ToolAccess::ALL, &Scopes::All),
        }
    }
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    // Revisions are ISO dates, which compare correctly as strings.
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}
