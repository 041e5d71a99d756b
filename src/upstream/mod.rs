//! The Go API as seen from here.

pub mod exchange;
