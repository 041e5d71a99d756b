//! The suite that drives the real sidecar against the real API.
//!
//! [`harness`] starts the programs and puts a recording forwarder between them; [`entities`] is the table of what
//! ToolBridge keeps, by which most tests are driven: a sixth entity is one more row. The other modules are the tests,
//! each about one side of the product; [`last`] comes when all others are done. `tests/README.md` tells more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "a test says what it expects by failing loudly"
)]

mod arguments;
mod audit;
mod command_line;
mod connect;
mod cut_short;
mod doctor;
mod door;
mod entities;
mod eras;
mod errors;
mod exchange;
mod family;
mod faults;
mod find;
mod harness;
mod hostile_crowd;
mod hostile_heads;
mod hostile_http;
mod hostile_json;
mod hostile_memory;
mod hostile_streams;
mod hostile_tokens;
mod keys;
mod last;
mod leaving;
mod lifecycle;
mod limits;
mod mending;
mod moves;
mod outages;
mod pages;
mod progress;
mod reach;
mod rotation;
#[path = "../support/scripted_as.rs"]
mod scripted_as;
mod sse;
mod storm;
mod straight;
#[path = "../support/surface.rs"]
mod surface;
mod telemetry;
mod tenants;
mod traces;
mod upstream;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of the time a test waits for a program, so more of them run than there are processors.
    arguments.test_threads.get_or_insert(8);
    let tests = [
        arguments::tests(),
        audit::tests(),
        command_line::tests(),
        connect::tests(),
        cut_short::tests(),
        doctor::tests(),
        door::tests(),
        eras::tests(),
        errors::tests(),
        exchange::tests(),
        family::tests(),
        faults::tests(),
        find::tests(),
        hostile_crowd::tests(),
        hostile_heads::tests(),
        hostile_json::tests(),
        hostile_http::tests(),
        hostile_memory::tests(),
        hostile_streams::tests(),
        hostile_tokens::tests(),
        keys::tests(),
        leaving::tests(),
        lifecycle::tests(),
        limits::tests(),
        mending::tests(),
        moves::tests(),
        outages::tests(),
        pages::tests(),
        progress::tests(),
        reach::tests(),
        rotation::tests(),
        sse::tests(),
        storm::tests(),
        straight::tests(),
        telemetry::tests(),
        traces::tests(),
        tenants::tests(),
        upstream::tests(),
    ]
    .concat_all();
    if arguments.list {
        let all = tests.into_iter().chain(last::tests()).collect();
        libtest_mimic::run(&arguments, all).exit_if_failed();
        return ExitCode::SUCCESS;
    }
    harness::runner::begin();
    let passed = !libtest_mimic::run(&arguments, tests).has_failed();
    let in_order = Arguments {
        test_threads: Some(1),
        filter: None,
        skip: Vec::new(),
        exact: false,
        ..arguments
    };
    let left_well = !libtest_mimic::run(&in_order, last::tests()).has_failed();
    harness::runner::end();
    if passed && left_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

trait ConcatAll<T> {
    fn concat_all(self) -> Vec<T>;
}

impl<T, const N: usize> ConcatAll<T> for [Vec<T>; N] {
    fn concat_all(self) -> Vec<T> {
        self.into_iter().flatten().collect()
    }
}
