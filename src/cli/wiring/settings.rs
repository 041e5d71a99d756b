//! What each room of the house is told, out of the one configuration. A room's setting that is not named here keeps
//! the room's own default, which is then no setting of ours.

use crate::auth::{self, Secret};
use crate::config::{Config, Mistake, Sessions};
use crate::{mcp, tools, transport, upstream};
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
        ..auth::Settings::default()
    }
}

/// Refuses a tenant without a secret: nothing could be signed.
pub fn upstream(config: &Config) -> Result<upstream::Settings, Mistake> {
    let (tenant_id, secret): (&str, &Secret) = config.tenant.require_identity()?;
    let from = &config.api;
    Ok(upstream::Settings {
        // Paths begin with a slash of their own.
        base_url: from.base_url.as_str().trim_end_matches('/').to_owned(),
        tenant_id: tenant_id.to_owned(),
        tenant_secret: secret.clone(),
        call_deadline: from.call_deadline,
        connect_timeout: from.connect_timeout,
        read_timeout: from.call_deadline,
        max_idle: from.max_idle,
        idle_timeout: from.idle_timeout,
        max_answer_bytes: from.max_answer_bytes,
        max_sessions: from.max_sessions,
        ..upstream::Settings::default()
    })
}

pub fn limits(config: &Config) -> tools::Limits {
    tools::Limits {
        max_result_bytes: config.tools.max_result_bytes,
    }
}

pub fn transport(config: &Config) -> transport::Settings {
    let from = &config.server;
    transport::Settings {
        allowed_hosts: from.allowed_hosts.clone(),
        allowed_origins: from.allowed_origins.clone(),
        public_url: mcp_url(config),
        max_body_bytes: from.max_body_bytes,
        max_connections: from.max_connections,
        sessions: (from.sessions == Sessions::Stateful).then_some(transport::SessionLimits {
            at_once: from.max_sessions,
            idle: from.session_idle,
        }),
        ..transport::Settings::default()
    }
}

pub fn mcp(config: &Config) -> mcp::Settings {
    mcp::Settings {
        website_url: config.server.public_url.as_ref().map(Url::to_string),
    }
}

/// Clients know the server by the URL of `/mcp`.
fn mcp_url(config: &Config) -> Option<String> {
    config
        .server
        .public_url
        .as_ref()
        .and_then(|url| url.join("mcp").ok())
        .map(String::from)
}
