//! `Default` for the sections, as `default.toml` states them, for tests and benchmarks of modules.

use super::{Config, Sources};
use crate::{api, auth, server, tools};

impl Default for Config {
    #[allow(clippy::expect_used, reason = "a test holds the embedded file to this")]
    fn default() -> Self {
        let layers = Sources::default().merge().expect("default.toml is valid");
        layers.extract().expect("default.toml has every setting")
    }
}

macro_rules! sections {
    ($($section:ident: $settings:ty),+) => {$(
        impl Default for $settings {
            fn default() -> Self {
                Config::default().$section
            }
        }
    )+};
}

sections!(
    api: api::Settings,
    auth: auth::Settings,
    server: server::Settings,
    tools: tools::Settings
);

impl Default for tools::Limits {
    fn default() -> Self {
        tools::Settings::default().limits()
    }
}
