//! Which tools a request may see: what the server is set to serve, less what the request leaves out, less what the
//! token's scopes do not allow. This is the one place that knows.
//!
//! The trick is that every tool hangs on one bit: reading or writing, in one toolset. All three limits are sets of those
//! bits, so putting them together is an `and`, and two requests that may see the same tools have the same [`ToolAccess`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rmcp::model::Tool;

use super::toolset::{Listed, Toolset};
use crate::auth::Scopes;
use crate::tools::Access;

/// Encoded lists are kept for so many reaches: some hundred kilobytes at most.
const KEPT_LISTS: usize = 16;

/// Begins every scope: `toolbridge:read`, `toolbridge:notes:write`.
const PRODUCT: &str = "toolbridge";

/// One bit for reading and one for writing, for each toolset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ToolAccess(u64);

impl ToolAccess {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u64::MAX);

    /// A toolset beyond the last bit would be out of everybody's reach; there are five, and room for 32.
    fn one(toolset: usize, access: Access) -> Self {
        let place = u32::try_from(toolset).unwrap_or(u32::MAX).saturating_mul(2);
        let bit = 1u64.checked_shl(place).unwrap_or(0);
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

/// What somebody wants to leave out: the server's operator, or a client for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// The toolsets to keep; `None` keeps all.
    pub toolsets: Option<Vec<String>>,
    pub read_only: bool,
}

/// A toolset of that name is not among these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownToolsetError {
    pub name: String,
    pub known: Vec<&'static str>,
}

/// FailureDetails a tool that exists is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessError {
    /// The server is set not to serve it.
    Server,
    /// The request itself left it out.
    Request,
    /// The token would need this scope.
    Scope(String),
}

/// All tools with what each needs. Built once.
#[derive(Debug)]
pub struct ToolRegistry {
    tools: Vec<Tool>,
    /// What each of `tools` needs.
    needs: Vec<Need>,
    /// Where each name stands in `tools`.
    places: HashMap<String, usize>,
    toolsets: Vec<&'static str>,
    /// What each scope allows.
    scopes: HashMap<String, ToolAccess>,
    /// Everything that any tool needs.
    whole: ToolAccess,
    /// The part of it that this server serves.
    served: ToolAccess,
    /// Lists that were asked for, as JSON.
    encoded: Mutex<HashMap<ToolAccess, Bytes>>,
}

#[derive(Debug, Clone, Copy)]
struct Need {
    reach: ToolAccess,
    toolset: &'static str,
    access: Access,
}

impl ToolRegistry {
    /// A name in `narrowing` that no toolset has keeps nothing: the configuration has refused it long before.
    pub fn new(source: &dyn Toolset, narrowing: &Narrowing) -> Self {
        let (mut tools, mut needs, mut toolsets) =
            (Vec::new(), Vec::new(), Vec::<&'static str>::new());
        for Listed {
            tool,
            toolset,
            access,
        } in source.list()
        {
            let place = toolsets.iter().position(|known| *known == toolset);
            let place = place.unwrap_or_else(|| {
                toolsets.push(toolset);
                toolsets.len() - 1
            });
            tools.push(tool);
            needs.push(Need {
                reach: ToolAccess::one(place, access),
                toolset,
                access,
            });
        }
        let places = tools
            .iter()
            .enumerate()
            .map(|(place, tool)| (tool.name.to_string(), place))
            .collect();
        let mut scopes: HashMap<String, ToolAccess> = HashMap::new();
        for need in &needs {
            for scope in [
                product_scope(need.access),
                toolset_scope(need.toolset, need.access),
            ] {
                let allowed = scopes.entry(scope).or_insert(ToolAccess::NONE);
                *allowed = allowed.or(need.reach);
            }
        }
        let whole = needs
            .iter()
            .fold(ToolAccess::NONE, |whole, need| whole.or(need.reach));
        let mut surface = Self {
            tools,
            needs,
            places,
            toolsets,
            scopes,
            whole,
            served: whole,
            encoded: Mutex::default(),
        };
        surface.served = surface
            .narrowed(narrowing)
            .unwrap_or(ToolAccess::NONE)
            .and(whole);
        surface
    }

    /// What a narrowing leaves.
    pub fn narrowed(&self, narrowing: &Narrowing) -> Result<ToolAccess, UnknownToolsetError> {
        let mut left = match &narrowing.toolsets {
            None => ToolAccess::ALL,
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
                self.where_it(|need| kept.iter().any(|name| name == need.toolset))
            }
        };
        if narrowing.read_only {
            left = left.and(self.where_it(|need| need.access == Access::Read));
        }
        Ok(left)
    }

    /// What a request may see: the whole of the rule.
    pub fn reach(&self, asked: ToolAccess, scopes: &Scopes) -> ToolAccess {
        self.served.and(asked).and(self.granted(scopes))
    }

    /// The tools within a reach, in their order.
    pub fn tools(&self, within: ToolAccess) -> Vec<Tool> {
        if within.covers(self.whole) {
            return self.tools.clone();
        }
        let seen = self.tools.iter().zip(&self.needs);
        seen.filter(|(_, need)| within.covers(need.reach))
            .map(|(tool, _)| tool.clone())
            .collect()
    }

    /// The same as JSON, which is made once for each reach that is met, as long as there are few of them.
    pub fn encoded(&self, within: ToolAccess) -> Bytes {
        let within = within.and(self.whole);
        let mut kept = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = kept.get(&within) {
            return text.clone();
        }
        // Names, texts and schemas: there is nothing that could fail to be encoded.
        let text = Bytes::from(serde_json::to_vec(&self.tools(within)).unwrap_or_default());
        if kept.len() < KEPT_LISTS {
            kept.insert(within, text.clone());
        }
        text
    }

    /// Whether a request may call a tool, and if not, why. A name that no tool has is not judged here.
    pub fn admit(&self, name: &str, asked: ToolAccess, scopes: &Scopes) -> Result<(), AccessError> {
        let Some(need) = self
            .places
            .get(name)
            .and_then(|place| self.needs.get(*place))
        else {
            return Ok(());
        };
        if !self.served.covers(need.reach) {
            Err(AccessError::Server)
        } else if !asked.covers(need.reach) {
            Err(AccessError::Request)
        } else if !self.granted(scopes).covers(need.reach) {
            Err(AccessError::Scope(toolset_scope(need.toolset, need.access)))
        } else {
            Ok(())
        }
    }

    /// Whether there is such a tool, served or not.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Whether a tool may change something. One that does not exist changes nothing.
    pub fn writes(&self, name: &str) -> bool {
        let need = self
            .places
            .get(name)
            .and_then(|place| self.needs.get(*place));
        need.is_some_and(|need| need.access == Access::Write)
    }

    /// Whether the token itself limits nothing that is served.
    pub fn is_unlimited(&self, scopes: &Scopes) -> bool {
        self.granted(scopes).covers(self.served)
    }

    /// The scopes that a client should ask for, to use all that is served.
    pub fn scopes_asked(&self) -> Vec<String> {
        let served = |access: &Access| self.served_needs().any(|need| need.access == *access);
        let both = [Access::Read, Access::Write];
        both.into_iter().filter(served).map(product_scope).collect()
    }

    /// Every scope that opens something here, the wide ones first.
    pub fn scopes_supported(&self) -> Vec<String> {
        let mut supported = self.scopes_asked();
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
                .fold(ToolAccess::NONE, |granted, reach| granted.or(*reach)),
        }
    }

    fn where_it(&self, is: impl Fn(&Need) -> bool) -> ToolAccess {
        let fitting = self.needs.iter().filter(|need| is(need));
        fitting.fold(ToolAccess::NONE, |reach, need| reach.or(need.reach))
    }

    fn served_needs(&self) -> impl Iterator<Item = &Need> {
        self.needs
            .iter()
            .filter(|need| self.served.covers(need.reach))
    }
}

impl AccessError {
    /// For a caller who cannot know whether the name was a slip: it was none.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Server => "It exists, but this server is set to serve without it.",
            Self::Request => {
                "It exists, but this connection leaves it out: its client narrows the tools with X-MCP-Toolsets, \
                 X-MCP-Readonly or the URL."
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
