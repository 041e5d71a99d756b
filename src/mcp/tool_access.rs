//! Decides which tools a request may list and call.
//!
//! Three limits apply: the server's settings, the filter of the request, and the scopes of the
//! token. Each tool needs one bit, reading or writing in one toolset, and each limit is a set of
//! bits. Their intersection is a bitwise `and`, and two requests that may use the same tools have
//! the same [`ToolAccess`], which keys the cache of encoded lists.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rmcp::model::Tool;

use crate::api::Features;
use crate::auth::Scopes;
use crate::entities::Entity;
use crate::foundation::json::Json;
use crate::tools::{Access, Destruction, ListedTool, Outcome, ToolCall, ToolError, Toolset};

/// The number of encoded lists that are cached: a few hundred kilobytes in total.
const MAX_CACHED_LISTS: usize = 16;

/// The prefix of every scope: `toolbridge:read`, `toolbridge:notes:write`.
const PRODUCT: &str = "toolbridge";

/// A set of permissions: one bit for reading and one for writing, for each toolset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ToolAccess(u64);

impl ToolAccess {
    pub const NONE: Self = Self(0);
    /// Of a request without a filter on toolsets: what is offered unless named is left out.
    pub const ALL: Self = Self(u64::MAX);

    /// The single permission for one toolset. The bits suffice for 32 toolsets.
    fn single(toolset: usize, access: Access) -> Self {
        let shift = u32::try_from(toolset).unwrap_or(u32::MAX).saturating_mul(2);
        let bit = 1u64.checked_shl(shift).unwrap_or(0);
        Self(match access {
            Access::Read => bit,
            Access::Write => bit << 1,
        })
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A filter on the tools, set by the operator for the server or by a client for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// The toolsets to keep. `None` keeps all of them.
    pub toolsets: Option<Vec<String>>,
    pub read_only: bool,
}

/// A filter names a toolset that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownToolsetError {
    pub name: String,
    pub known: Vec<&'static str>,
}

/// Why a request may not call a tool that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessError {
    /// The API lacks a feature that it needs.
    Api,
    /// The server's settings exclude it.
    Server,
    /// The filter of the request excludes it.
    Request,
    /// The token lacks this scope.
    Scope(String),
}

/// No tool has the name that was called. The text advises what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownToolError(pub String);

/// Every tool with the permission that it requires and the toolset that executes it. Built once and
/// shared by all requests.
pub struct ToolRegistry {
    features: Features,
    tools: Vec<Tool>,
    /// The names of tools that need a feature which the API lacks.
    unavailable: HashSet<String>,
    /// The requirement of each tool, in the order of `tools`.
    needs: Vec<Need>,
    /// The toolset that executes each tool, in the order of `tools`.
    sources: Vec<Arc<dyn Toolset>>,
    /// The index of each tool in `tools`, by name.
    positions: HashMap<String, usize>,
    toolsets: Vec<&'static str>,
    /// The permissions that each scope grants.
    scopes: HashMap<String, ToolAccess>,
    /// The permissions that all tools together require.
    whole: ToolAccess,
    /// The part of `whole` that the server's settings allow.
    served: ToolAccess,
    /// The permissions of a request that names no toolset.
    unnamed: ToolAccess,
    /// A cache of tool lists, encoded as JSON.
    encoded: Mutex<HashMap<ToolAccess, Bytes>>,
}

#[derive(Debug, Clone, Copy)]
struct Need {
    tool_access: ToolAccess,
    toolset: &'static str,
    access: Access,
    also_in: Option<&'static str>,
    only_if_named: bool,
}

impl Need {
    /// Whether the name of a toolset selects the tool.
    fn is_selected_by(&self, toolset: &str) -> bool {
        toolset == self.toolset || self.also_in == Some(toolset)
    }
}

impl ToolRegistry {
    /// Builds the registry of the tools that all `sources` have with these features. If `filter`
    /// names an unknown toolset, no tool is served; the configuration rejects such a name at start.
    pub fn new(sources: &[Arc<dyn Toolset>], filter: &ToolFilter, features: Features) -> Self {
        // The permission of a toolset does not depend on the features.
        let (mut toolsets, mut unavailable) = (Vec::<&'static str>::new(), HashSet::new());
        for listed in sources.iter().flat_map(|source| source.list(Features::ALL)) {
            if !toolsets.contains(&listed.toolset) {
                toolsets.push(listed.toolset);
            }
            unavailable.insert(listed.tool.name.into_owned());
        }
        let (mut tools, mut needs) = (Vec::new(), Vec::new());
        let listed = sources.iter().flat_map(|source| {
            let listed = source.list(features).into_iter();
            listed.map(|listed| (listed, Arc::clone(source)))
        });
        let (listed, sources): (Vec<_>, Vec<_>) = listed.unzip();
        for ListedTool {
            tool,
            toolset,
            access,
            also_in,
            only_if_named,
        } in listed
        {
            let position = toolsets.iter().position(|known| *known == toolset);
            unavailable.remove(&*tool.name);
            tools.push(tool);
            needs.push(Need {
                tool_access: ToolAccess::single(position.unwrap_or(usize::MAX), access),
                toolset,
                access,
                also_in,
                only_if_named,
            });
        }
        let positions = tools
            .iter()
            .enumerate()
            .map(|(position, tool)| (tool.name.to_string(), position))
            .collect();
        let mut scopes: HashMap<String, ToolAccess> = HashMap::new();
        for need in &needs {
            for scope in [
                product_scope(need.access),
                toolset_scope(need.toolset, need.access),
            ] {
                let allowed = scopes.entry(scope).or_insert(ToolAccess::NONE);
                *allowed = allowed.or(need.tool_access);
            }
        }
        let whole = needs
            .iter()
            .fold(ToolAccess::NONE, |whole, need| whole.or(need.tool_access));
        let mut registry = Self {
            features,
            tools,
            unavailable,
            needs,
            sources,
            positions,
            toolsets,
            scopes,
            whole,
            served: whole,
            unnamed: ToolAccess::ALL,
            encoded: Mutex::default(),
        };
        registry.served = registry
            .apply_filter(filter)
            .unwrap_or(ToolAccess::NONE)
            .and(whole);
        if filter.toolsets.is_none() {
            registry.unnamed = registry.matching(|need| !need.only_if_named);
        }
        registry
    }

    /// The permissions that a filter leaves. Fails if the filter names an unknown toolset.
    pub fn apply_filter(&self, filter: &ToolFilter) -> Result<ToolAccess, UnknownToolsetError> {
        let mut left = match &filter.toolsets {
            None => self.unnamed,
            Some(kept) => {
                let unknown = kept
                    .iter()
                    .find(|name| !self.toolsets.contains(&name.as_str()));
                if let Some(name) = unknown {
                    return Err(UnknownToolsetError {
                        name: name.clone(),
                        known: self.toolsets.clone(),
                    });
                }
                self.matching(|need| kept.iter().any(|name| need.is_selected_by(name)))
            }
        };
        if filter.read_only {
            left = left.and(self.matching(|need| need.access == Access::Read));
        }
        Ok(left)
    }

    /// The permissions of a request: the intersection of the server's settings, the filter of the
    /// request and the scopes of the token.
    pub fn accessible(&self, requested_access: ToolAccess, scopes: &Scopes) -> ToolAccess {
        let requested = self.requested(requested_access);
        self.served.and(requested).and(self.granted(scopes))
    }

    fn requested(&self, requested_access: ToolAccess) -> ToolAccess {
        if requested_access == ToolAccess::ALL {
            self.unnamed
        } else {
            requested_access
        }
    }

    /// The permissions of a caller who names every toolset.
    pub fn named(&self) -> ToolAccess {
        self.matching(|_| true)
    }

    /// The tools that the permissions `within` allow, in the order of `tools/list`.
    pub fn tools(&self, within: ToolAccess) -> Vec<Tool> {
        if within.covers(self.whole) {
            return self.tools.clone();
        }
        let with_needs = self.tools.iter().zip(&self.needs);
        with_needs
            .filter(|(_, need)| within.covers(need.tool_access))
            .map(|(tool, _)| tool.clone())
            .collect()
    }

    /// The tools that the permissions `within` allow, encoded as a JSON array. A limited number of
    /// encoded lists is cached.
    pub fn encoded(&self, within: ToolAccess) -> Bytes {
        let within = within.and(self.whole);
        let mut kept = self.encoded.lock();
        if let Some(text) = kept.get(&within) {
            return text.clone();
        }
        // Names, texts and schemas always encode.
        let text = Bytes::from(serde_json::to_vec(&self.tools(within)).unwrap_or_default());
        if kept.len() < MAX_CACHED_LISTS {
            kept.insert(within, text.clone());
        }
        text
    }

    /// Checks whether a request may call a tool. Succeeds for a name that no tool has, since that
    /// name is reported as unknown later.
    pub fn admit(
        &self,
        name: &str,
        requested_access: ToolAccess,
        scopes: &Scopes,
    ) -> Result<(), AccessError> {
        let Some(need) = self
            .positions
            .get(name)
            .and_then(|position| self.needs.get(*position))
        else {
            return if self.unavailable.contains(name) {
                Err(AccessError::Api)
            } else {
                Ok(())
            };
        };
        if !self.served.covers(need.tool_access) {
            Err(AccessError::Server)
        } else if !self.requested(requested_access).covers(need.tool_access) {
            Err(AccessError::Request)
        } else if !self.granted(scopes).covers(need.tool_access) {
            Err(AccessError::Scope(toolset_scope(need.toolset, need.access)))
        } else {
            Ok(())
        }
    }

    /// The features with which it was built.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Begins a call of a tool, whether or not the caller may use it: [`admit`](Self::admit)
    /// decides that.
    pub fn call<'a>(
        &'a self,
        call: ToolCall<'a>,
    ) -> Result<BoxFuture<'a, Outcome>, UnknownToolError> {
        let position = self.positions.get(call.name);
        match position.and_then(|position| self.sources.get(*position)) {
            Some(source) => Ok(source.call(call)),
            None => {
                let names: Vec<_> = self.tools.iter().map(|tool| &*tool.name).collect();
                let error = ToolError::unknown_tool(call.name, &names);
                Err(UnknownToolError(error.suggested_action))
            }
        }
    }

    /// What a call of a tool would destroy, if that is anything.
    pub fn destruction(&self, name: &str, arguments: Json<'_>) -> Option<Destruction> {
        let position = *self.positions.get(name)?;
        if self.needs.get(position)?.access == Access::Read {
            return None;
        }
        let source = self.sources.get(position)?;
        source.destruction(name, arguments, self.features)
    }

    /// Whether these scopes allow reading items of a kind, whatever else stands in the way.
    pub fn may_read(&self, entity: &Entity, scopes: &Scopes) -> bool {
        let mut toolsets = self.toolsets.iter();
        let position = toolsets.position(|name| *name == entity.plural);
        let need = ToolAccess::single(position.unwrap_or(usize::MAX), Access::Read);
        need != ToolAccess::NONE && self.granted(scopes).covers(need)
    }

    /// The names of the toolsets, in the order in which their tools are listed.
    pub fn toolsets(&self) -> &[&'static str] {
        &self.toolsets
    }

    /// Every tool that the server offers to a request that names no toolset, with its toolset.
    pub fn served(&self) -> impl Iterator<Item = (&Tool, &'static str)> {
        let with_needs = self.tools.iter().zip(&self.needs);
        let offered = self.served.and(self.unnamed);
        let served = with_needs.filter(move |(_, need)| offered.covers(need.tool_access));
        served.map(|(tool, need)| (tool, need.toolset))
    }

    /// The names of all tools, even of those that are not served.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(|tool| &*tool.name)
    }

    /// Whether the tool needs a feature that the API is not known to have.
    pub fn is_unavailable(&self, name: &str) -> bool {
        self.unavailable.contains(name)
    }

    /// Whether the tool exists, even if it is not served.
    pub fn has(&self, name: &str) -> bool {
        self.positions.contains_key(name)
    }

    /// Whether the tool may change something. False for an unknown tool.
    pub fn writes(&self, name: &str) -> bool {
        let need = self
            .positions
            .get(name)
            .and_then(|position| self.needs.get(*position));
        need.is_some_and(|need| need.access == Access::Write)
    }

    /// Whether the scopes allow every tool that is served.
    pub fn is_unlimited(&self, scopes: &Scopes) -> bool {
        self.granted(scopes).covers(self.served)
    }

    /// The scopes that a client should request in order to use every tool that is served.
    pub fn scopes_requested(&self) -> Vec<String> {
        let served = |access: &Access| self.served_needs().any(|need| need.access == *access);
        let both = [Access::Read, Access::Write];
        both.into_iter().filter(served).map(product_scope).collect()
    }

    /// Every scope that grants a served tool, the product-wide scopes first.
    pub fn scopes_supported(&self) -> Vec<String> {
        let mut supported = self.scopes_requested();
        for need in self.served_needs() {
            let scope = toolset_scope(need.toolset, need.access);
            if !supported.contains(&scope) {
                supported.push(scope);
            }
        }
        supported
    }

    fn granted(&self, scopes: &Scopes) -> ToolAccess {
        match scopes {
            Scopes::All => ToolAccess::ALL,
            Scopes::Only(words) => words
                .iter()
                .filter_map(|word| self.scopes.get(&**word))
                .fold(ToolAccess::NONE, |granted, access| granted.or(*access)),
        }
    }

    fn matching(&self, matches: impl Fn(&Need) -> bool) -> ToolAccess {
        let matching = self.needs.iter().filter(|need| matches(need));
        matching.fold(ToolAccess::NONE, |whole, need| whole.or(need.tool_access))
    }

    fn served_needs(&self) -> impl Iterator<Item = &Need> {
        self.needs
            .iter()
            .filter(|need| self.served.covers(need.tool_access))
    }
}

impl AccessError {
    /// Explains to the caller that the name is right but the tool is not available.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Api => "It exists, but the REST API behind this server does not offer it.",
            Self::Server => "It exists, but this server is set to serve without it.",
            Self::Request => {
                "It exists, but this connection leaves it out: its client narrows the tools with \
                 X-MCP-Toolsets, X-MCP-Readonly or the URL, or has to name the toolset compact \
                 there."
            }
            Self::Scope(_) => "It exists, but the token's scopes do not allow it.",
        }
    }
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

fn product_scope(access: Access) -> String {
    format!("{PRODUCT}:{}", access_name(access))
}

fn toolset_scope(toolset: &str, access: Access) -> String {
    format!("{PRODUCT}:{toolset}:{}", access_name(access))
}

#[cfg(test)]
mod tests;
