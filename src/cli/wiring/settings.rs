//! Derives the settings of each module from the configuration. A module setting that is not set
//! here keeps the module's default and is not configurable.

use crate::auth;
use crate::auth::Scopes;
use crate::auth::challenge::Challenge;
use crate::config::{Config, ConfigError, Confirm, Scopeless, Sessions, Signature, TokenMode};
use crate::foundation::memory_budget;
use crate::foundation::token_secret::Secret;
use crate::mcp::{ToolFilter, ToolRegistry};
use crate::{api, mcp, server, tools};
use url::Url;

pub fn auth(config: &Config) -> auth::Settings {
    let from = &config.auth;
    auth::Settings {
        tenant_id: config.tenant.id.clone().unwrap_or_default(),
        tenant_claim: from.tenant_claim.clone(),
        hs256_secret: from.hs256_secret.clone(),
        jwks_url: from.jwks_url.as_ref().map(Url::to_string),
        issuer: from.issuer.clone(),
        audience: from.audience.clone(),
        leeway: from.leeway,
        public_url: mcp_url(config),
        authorization_servers: from.authorization_servers.clone(),
        default_scopes: match from.scopeless_tokens {
            Scopeless::All => Scopes::All,
            Scopeless::None => Scopes::none(),
        },
        exchange: exchange(config),
        ..auth::Settings::default()
    }
}

/// The configuration has validated that everything is set when tokens are exchanged. If it were
/// not, `None` must never mean that callers' own tokens are forwarded, so a missing URL prevents
/// the start.
fn exchange(config: &Config) -> Option<auth::token_exchange::Settings> {
    let from = Some(&config.auth.exchange).filter(|_| config.auth.mode == TokenMode::Exchange)?;
    Some(auth::token_exchange::Settings {
        token_url: from
            .token_url
            .as_ref()
            .map(Url::to_string)
            .unwrap_or_default(),
        audience: from.audience.clone().unwrap_or_default(),
        client_id: from.client_id.clone().unwrap_or_default(),
        client_secret: from
            .client_secret
            .clone()
            .unwrap_or_else(|| Secret::new("")),
        scope: from.scope.clone(),
        ..auth::token_exchange::Settings::default()
    })
}

/// Rejects a tenant without a secret, since requests could not be signed.
pub fn api(config: &Config) -> Result<api::Settings, ConfigError> {
    let (tenant_id, secret): (&str, &Secret) = config.tenant.require_identity()?;
    let from = &config.api;
    Ok(api::Settings {
        // Paths begin with a slash.
        base_url: from.base_url.as_str().trim_end_matches('/').to_owned(),
        tenant_id: tenant_id.to_owned(),
        tenant_secret: secret.clone(),
        signature: match config.tenant.signature {
            Signature::Both => api::Versions::Both,
            Signature::V1 => api::Versions::V1,
            Signature::V2 => api::Versions::V2,
        },
        call_deadline: from.call_deadline,
        connect_timeout: from.connect_timeout,
        read_timeout: from.read_timeout,
        max_idle: from.max_idle,
        idle_timeout: from.idle_timeout,
        max_answer_bytes: from.max_answer_bytes,
        max_sessions: from.max_sessions,
        max_attempts: from.max_attempts,
        calls: api::Calls {
            max_concurrent: from.max_calls,
            queue: from.queue_length,
            wait: from.queue_wait,
        },
        breaker: api::Breaking {
            failures: from.breaker_failures,
            pause: from.breaker_pause,
        },
        ..api::Settings::default()
    })
}

pub fn limits(config: &Config) -> tools::Limits {
    tools::Limits {
        max_result_bytes: config.tools.max_result_bytes,
        max_page_bytes: config.tools.max_page_bytes,
    }
}

pub fn transport(config: &Config) -> server::Settings {
    let from = &config.server;
    server::Settings {
        allowed_hosts: from.allowed_hosts.clone(),
        allowed_origins: from.allowed_origins.clone(),
        public_url: mcp_url(config),
        max_body_bytes: from.max_body_bytes,
        max_connections: from.max_connections,
        connections_per_principal: from.connections_per_principal,
        unauthenticated_connections: from.unauthenticated_connections,
        memory: memory_budget::Limits {
            total: from.request_memory,
            per_principal: from.request_memory_per_principal,
            ..memory_budget::Limits::default()
        },
        legacy_sse: from.legacy_sse,
        sse_streams: from.sse_streams,
        sse_streams_per_principal: from.sse_streams_per_principal,
        sessions: (from.sessions == Sessions::Stateful).then_some(server::SessionLimits {
            max_concurrent: from.max_sessions,
            idle: from.session_idle,
        }),
        ..server::Settings::default()
    }
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
            confirm: match config.server.confirm {
                Confirm::Off => mcp::Confirm::Off,
                Confirm::Bulk => mcp::Confirm::Bulk,
                Confirm::Destructive => mcp::Confirm::Destructive,
                Confirm::Always => mcp::Confirm::Always,
            },
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
pub fn challenge(settings: &auth::Settings, registry: &ToolRegistry) -> Challenge {
    Challenge::from_settings(&auth::Settings {
        scopes_requested: registry.scopes_requested(),
        scopes_supported: registry.scopes_supported(),
        ..settings.clone()
    })
}

/// The URL of `/mcp`, which identifies the server to clients.
fn mcp_url(config: &Config) -> Option<String> {
    config
        .server
        .public_url
        .as_ref()
        .and_then(|url| url.join("mcp").ok())
        .map(String::from)
}
