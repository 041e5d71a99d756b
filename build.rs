//! Embeds facts about the build. The git revision comes from `GIT_REVISION`, which a release build
//! sets; asking git here would be stale after each commit.

#![allow(clippy::print_stdout)] // the protocol between a build script and cargo

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo::rustc-env=BUILD_RUSTC={rustc}");
    println!(
        "cargo::rustc-env=BUILD_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
    println!(
        "cargo::rustc-env=BUILD_REVISION={}",
        std::env::var("GIT_REVISION").unwrap_or_default()
    );
    println!("cargo::rerun-if-env-changed=GIT_REVISION");
    println!("cargo::rerun-if-changed=build.rs");
}
