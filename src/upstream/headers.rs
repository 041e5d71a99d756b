//! Names of the headers that only the sidecar writes.

use http::HeaderName;

pub const TENANT: HeaderName = HeaderName::from_static("x-tb-tenant-id");
pub const TIMESTAMP: HeaderName = HeaderName::from_static("x-tb-timestamp");
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-tb-signature");
pub const SESSION: HeaderName = HeaderName::from_static("x-sync-session");
pub const EPOCH: HeaderName = HeaderName::from_static("x-sync-epoch");
pub const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-tb-timeout-ms");
