//! Names of the headers that only the sidecar writes.

use http::HeaderName;

pub const TENANT: HeaderName = HeaderName::from_static("x-tb-tenant-id");
pub const TIMESTAMP: HeaderName = HeaderName::from_static("x-tb-timestamp");
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-tb-signature");
pub const KEY_ID: HeaderName = HeaderName::from_static("x-tb-key-id");
pub const NONCE: HeaderName = HeaderName::from_static("x-tb-nonce");
pub const CONTENT_HASH: HeaderName = HeaderName::from_static("x-tb-content-sha256");
pub const SIGNATURE_V2: HeaderName = HeaderName::from_static("x-tb-signature-v2");
pub const SESSION: HeaderName = HeaderName::from_static("x-sync-session");
pub const EPOCH: HeaderName = HeaderName::from_static("x-sync-epoch");
pub const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-tb-timeout-ms");
