//! Puts into the binary what it should know about how it was built. The git revision comes from `GIT_REVISION`, which
//! whoever builds a release sets; a build that asked git itself would be stale after each commit.

#![allow(clippy::print_stdout)] // how a build script speaks to cargo

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
