//! Derives from the configuration what depends on more than one of its sections.

use crate::api::ApiClient;
use crate::auth::Verifier;
use crate::auth::challenge::{Challenge, Resource};
use crate::cli::exit::CliError;
use crate::config::Config;
use crate::foundation::clock::Clock;
use crate::mcp;
use crate::mcp::{ToolFilter, ToolRegistry};
use crate::workers::Workers;
use url::Url;

use super::unfit;

pub fn verifier(config: &Config) -> Result<Verifier, CliError> {
    let tenant_id = config.tenant.id.as_deref().unwrap_or_default();
    Verifier::new(&config.auth, tenant_id, Clock::system()).map_err(unfit)
}

/// Rejects a tenant without a secret, since requests could not be signed.
pub fn api_client(config: &Config, loops: &Workers) -> Result<ApiClient, CliError> {
    let identity = config.tenant.identity()?;
    ApiClient::new(config.api.clone(), identity, Clock::system(), loops).map_err(unfit)
}

pub fn mcp(config: &Config) -> mcp::Settings {
    mcp::Settings {
        website_url: config.server.public_url.as_ref().map(Url::to_string),
        tool_filter: tool_filter(config),
        rate: mcp::Rate {
            per_minute: config.server.calls_per_minute,
            burst: config.server.calls_burst,
        },
        confirmation: mcp::Confirmation {
            confirm: config.server.confirm,
            secret: config.tenant.header_secret.clone(),
            issuer: config.auth.issuer.clone().unwrap_or_default(),
            ..mcp::Confirmation::default()
        },
    }
}

pub fn tool_filter(config: &Config) -> ToolFilter {
    ToolFilter {
        toolsets: config.tools.toolsets.clone(),
        read_only: config.tools.read_only,
    }
}

/// The challenge for callers without a valid token. Its scopes depend on the tools that are served.
pub fn challenge(config: &Config, registry: &ToolRegistry) -> Challenge {
    let resource = Resource {
        url: config.server.mcp_url(),
        scopes_requested: registry.scopes_requested(),
        scopes_supported: registry.scopes_supported(),
    };
    Challenge::new(&config.auth, resource)
}
