//! MCP's methods over the toolsets: `initialize`, `server/discover`, `tools/list`, `tools/call`,
//! `ping`.
//!
//! The handler implements rmcp's trait and is shared by all requests: the list of tools is
//! converted once, and serving a request clones one `Arc`. It depends on neither HTTP nor the
//! entities. [`server`](crate::server) puts a [`Caller`] into the request, [`ToolRegistry`] decides
//! which tools that caller may use, a [`Toolset`] runs the call, against the [API](crate::api).
//!

mod arguments;
mod call;
mod call_record;
mod caller;
mod confirmation;
mod rate;
mod refusal;
mod server_info;
mod tool_access;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::model::{
    CacheScope, CallToolRequestMethod, CallToolRequestParams, CallToolResponse, ConstString,
    CustomRequest, CustomResult, DiscoverResult, ErrorCode, InitializeRequestParams,
    InitializeResult, InitializeResultMethod, ListToolsRequestMethod, ListToolsResult, MetaObject,
    PaginatedRequestParams, ProtocolVersion, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use serde_json::json;
use tokio::time::Instant;

pub use arguments::Arguments;
pub use call::{CALL_INTERRUPTED, CallOutcome, CallRequest};
pub use call_record::{CallEnding, MessageContext, refused_for_scope};
pub use caller::{Caller, Callers, FixedCaller, TransportKind};
use confirmation::Confirmations;
pub use confirmation::{Asking, Confirm, Settings as Confirmation};
pub use rate::Rate;
use rate::Rates;
pub use refusal::{out_of_scope, unauthenticated};
pub use server_info::Settings;
pub use tool_access::{
    AccessError, ToolAccess, ToolFilter, ToolRegistry, UnknownToolError, UnknownToolsetError,
};

use crate::api::{ApiClient, Features};
use crate::auth::Scopes;
use crate::telemetry::metrics;
use crate::tools::{Outcome, Toolset};

/// How much of a name that is not one of ours is repeated.
const MAX_NAME_CHARS: usize = 64;

/// How long a client may keep the list of tools. It changes only when the server is deployed anew.
pub const LIST_TTL_MS: u64 = 5 * 60 * 1000;

/// Answers MCP requests. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    toolsets: Vec<Arc<dyn Toolset>>,
    filter: ToolFilter,
    /// The registry for the features that the API had last.
    registry: RwLock<Arc<ToolRegistry>>,
    api_client: ApiClient,
    callers: Callers,
    /// Where there is a limit.
    rates: Option<Rates>,
    confirmations: Confirmations,
    config: ServerConfig,
    /// The `_meta` of every modern result, and the same encoded.
    result_meta: MetaObject,
    encoded_meta: String,
}

impl Inner {
    /// The tools that there are with these features.
    fn tools(&self, features: Features) -> Arc<ToolRegistry> {
        let last = Arc::clone(&self.registry.read());
        if last.features() == features {
            return last;
        }
        let registry = ToolRegistry::new(&self.toolsets, &self.filter, features);
        let registry = Arc::new(registry);
        *self.registry.write() = Arc::clone(&registry);
        registry
    }

    /// The tools that there are now. If `name` is none of them because the features are not known
    /// yet, they are asked for.
    async fn tools_for(&self, name: &str) -> Arc<ToolRegistry> {
        let tools = self.tools(self.api_client.features());
        // Over stdio no readiness check has asked for them before the first call.
        if tools.is_unavailable(name) || matches!(self.callers, Callers::Fixed(_)) {
            return self.known_tools().await;
        }
        tools
    }

    /// Like [`tools`](Self::tools), but asks the API for its features if they are not known.
    async fn known_tools(&self) -> Arc<ToolRegistry> {
        self.tools(self.api_client.known_features().await)
    }
}

impl Server {
    pub fn new(
        toolsets: Vec<Arc<dyn Toolset>>,
        api_client: ApiClient,
        callers: Callers,
        settings: &Settings,
    ) -> Self {
        let every = ToolRegistry::new(&toolsets, &settings.tool_filter, Features::ALL);
        let config = server_info::config(settings);
        let result_meta = server_info::result_meta();
        let encoded_meta = json!(result_meta).to_string();
        metrics::register_tools(every.names());
        let filter = settings.tool_filter.clone();
        let tenant = api_client.tenant();
        let confirmations = Confirmations::new(&settings.confirmation, tenant);
        let registry = ToolRegistry::new(&toolsets, &filter, api_client.features());
        Self(Arc::new(Inner {
            toolsets,
            filter,
            registry: RwLock::new(Arc::new(registry)),
            api_client,
            callers,
            rates: Rates::new(settings.rate, Instant::now()),
            confirmations,
            config,
            result_meta,
            encoded_meta,
        }))
    }

    /// The tools that there are with the features that the API is known to have.
    pub fn tools(&self) -> Arc<ToolRegistry> {
        self.0.tools(self.0.api_client.features())
    }

    /// Every tool that there can be, whatever features the API has.
    pub fn every_tool(&self) -> ToolRegistry {
        ToolRegistry::new(&self.0.toolsets, &self.0.filter, Features::ALL)
    }

    /// Whether there is such a tool, and within this caller's reach.
    pub fn can_call(&self, tool: &str, caller: &Caller) -> bool {
        let tools = self.tools();
        tools.has(tool)
            && tools
                .admit(tool, caller.requested_access, &caller.principal.scopes)
                .is_ok()
    }

    /// Whether a person has to be asked before this call, and can be.
    pub fn asks<'a>(
        &self,
        tool: &str,
        arguments: &Arguments,
        asking: impl FnOnce() -> Asking<'a>,
    ) -> bool {
        let tools = self.tools();
        if !tools.writes(tool) {
            return false;
        }
        let (asking, confirmations) = (asking(), &self.0.confirmations);
        let needed = || confirmations.needed(&tools, tool, arguments.json(), asking);
        asking.is_possible() && needed().is_some()
    }

    /// Ends the calls that wait for a person.
    pub fn stop_asking(&self) {
        self.0.confirmations.stop();
    }

    /// Carries out a call: access, rate, the call itself, and its record.
    pub fn execute<'a>(
        &'a self,
        request: CallRequest<'a>,
        caller: &'a Caller,
    ) -> impl Future<Output = CallOutcome> + 'a {
        call::execute(&self.0, caller, request)
    }

    /// The `_meta` of every modern result, encoded.
    pub fn encoded_meta(&self) -> &str {
        &self.0.encoded_meta
    }

    /// The tools that this caller may see, encoded.
    pub async fn encoded_tools(&self, caller: &Caller) -> Bytes {
        let tools = self.0.known_tools().await;
        tools.encoded(tools.accessible(caller.requested_access, &caller.principal.scopes))
    }

    /// The scope without which this caller may not call the tool, and what a model is told. `None`
    /// when scopes do not stand in the way.
    pub fn missing_scope(&self, tool: &str, caller: &Caller) -> Option<(String, Outcome)> {
        let tools = self.tools();
        match tools.admit(tool, caller.requested_access, &caller.principal.scopes) {
            Err(AccessError::Scope(scope)) => {
                let outcome = out_of_scope(tool, &scope, &caller.correlation_id);
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
        // A request of the modern revision has no handshake. Over a pipe a refusal would end the
        // process instead of the request, so there the handshake settles it.
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
        // There is one page, so no cursor can be ours.
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params(
                "the cursor is not one of this server",
                None,
            ));
        }
        let mut result = ListToolsResult::with_all_items(self.listed(&context).await);
        if is_modern(&context) {
            // The list depends on what the caller may do.
            result.ttl_ms = Some(LIST_TTL_MS);
            result.cache_scope = Some(CacheScope::Private);
            result.meta = Some(self.0.result_meta.clone());
        }
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let modern = is_modern(&context);
        let mut result = call::serve(&self.0, request, context).await?;
        let meta = modern.then(|| self.0.result_meta.clone());
        match &mut result {
            CallToolResponse::Complete(result) => result.meta = meta,
            CallToolResponse::InputRequired(question) => question.meta = meta,
            _ => {}
        }
        Ok(result)
    }

    /// A request whose parameters rmcp cannot read arrives here too, under its known name.
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
        // The modern revision has no handshake, whatever its parameters.
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

/// The name may be of any length; it is shown, not repeated in full.
fn unknown_method(method: &str) -> ErrorData {
    let shown: String = method.chars().take(MAX_NAME_CHARS).collect();
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("unknown method: {shown}"),
        None,
    )
}

impl Server {
    async fn listed(&self, context: &RequestContext<RoleServer>) -> Vec<Tool> {
        let tools = self.0.known_tools().await;
        let accessible = match self.0.callers.identify(context).await {
            Ok(caller) => tools.accessible(caller.requested_access, &caller.principal.scopes),
            // Only over stdio can a request get here without a valid token. All tools are listed: a
            // call's error explains what is wrong with the token, while a client that sees no tools
            // makes no calls.
            Err(_) => tools.accessible(ToolAccess::ALL, &Scopes::All),
        };
        tools.tools(accessible)
    }
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    // Dates as text sort as dates.
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}
