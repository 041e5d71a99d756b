//! What a browser may do with the page: show it, run its one script, and nothing else.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub const STYLE: &str = include_str!("page.css");
pub const SCRIPT: &str = include_str!("page.js");

/// As an address of its own, so that browsers do not ask for `/favicon.ico`.
pub static ICON: LazyLock<String> = LazyLock::new(|| {
    let encoded = STANDARD.encode(include_str!("icon.svg"));
    format!("data:image/svg+xml;base64,{encoded}")
});

/// Headers besides the policy. Nobody may keep the page, since readiness is in it; search engines have no use for it.
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

/// Hashes are made from the text that is embedded, so that they cannot be those of another.
pub fn content() -> String {
    [
        "default-src 'none'".to_owned(),
        format!("style-src '{}'", hash(STYLE)),
        format!("script-src '{}'", hash(SCRIPT)),
        "img-src data:".to_owned(),
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
        "frame-ancestors 'none'".to_owned(),
        // The script writes text, never markup.
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
