//! Restricts the page in the browser: it may be shown and run its one script, and nothing else.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub const STYLE: &str = include_str!("page.css");
pub const SCRIPT: &str = include_str!("page.js");

/// The drawing of the icon.
pub const SVG: &str = include_str!("icon.svg");

/// A data URL, so that browsers do not request `/favicon.ico`.
pub static ICON: LazyLock<String> = LazyLock::new(|| {
    let encoded = STANDARD.encode(SVG);
    format!("data:image/svg+xml;base64,{encoded}")
});

/// Headers besides the policy. The page must not be cached, since it shows the readiness, nor
/// indexed by search engines.
pub const HEADERS: [(&str, &str); 9] = [
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("x-robots-tag", "noindex, nofollow"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];

/// Builds the policy. The hashes are computed from the embedded texts, so they always match.
pub fn content() -> String {
    [
        "default-src 'none'".to_owned(),
        format!("style-src '{}'", hash(STYLE)),
        format!("script-src '{}'", hash(SCRIPT)),
        "img-src data:".to_owned(),
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
        "frame-ancestors 'none'".to_owned(),
        // The script sets text only, never markup.
        "require-trusted-types-for 'script'".to_owned(),
        "trusted-types 'none'".to_owned(),
    ]
    .join("; ")
}

fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}
