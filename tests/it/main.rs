//! The suite that drives the real MCP server against the real API.
//!
//! [`harness`] starts the programs and puts a recording forwarder between them; [`entities`] is the
//! table of what ToolBridge keeps, by which most tests are driven: a sixth entity is one more row.
//! The other modules are the tests, each about one side of the product; [`postconditions`] comes
//! when all others are done. `tests/README.md` tells more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "a test says what it expects by failing loudly"
)]

mod api_requests;
mod arguments;
mod audit;
mod auth_routing;
mod client_disconnect;
mod command_line;
mod compact;
mod compatible_apis;
mod confirmation;
mod connect;
mod dns_change;
mod doctor;
mod edit;
mod elicitation;
mod entities;
mod eras;
mod errors;
mod fast_path_parity;
mod faults;
mod find;
mod harness;
mod hostile_connections;
mod hostile_headers;
mod hostile_http;
mod hostile_json;
mod hostile_memory;
mod hostile_streams;
mod hostile_tokens;
mod key_set;
mod lifecycle;
mod limits;
mod model;
mod outages;
mod pagination;
mod postconditions;
mod progress;
mod rotation;
#[path = "../support/scripted_as.rs"]
mod scripted_as;
mod session_recovery;
mod shutdown;
mod sse;
mod storm;
#[path = "../support/surface.rs"]
mod surface;
mod telemetry;
mod tenants;
mod token_exchange;
mod tool_access;
mod traces;

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
        confirmation::tests(),
        connect::tests(),
        client_disconnect::tests(),
        compact::tests(),
        doctor::tests(),
        edit::tests(),
        elicitation::tests(),
        auth_routing::tests(),
        eras::tests(),
        errors::tests(),
        token_exchange::tests(),
        compatible_apis::tests(),
        faults::tests(),
        find::tests(),
        hostile_connections::tests(),
        hostile_headers::tests(),
        hostile_json::tests(),
        hostile_http::tests(),
        hostile_memory::tests(),
        hostile_streams::tests(),
        hostile_tokens::tests(),
        key_set::tests(),
        shutdown::tests(),
        lifecycle::tests(),
        limits::tests(),
        model::tests(),
        session_recovery::tests(),
        dns_change::tests(),
        outages::tests(),
        pagination::tests(),
        progress::tests(),
        tool_access::tests(),
        rotation::tests(),
        sse::tests(),
        storm::tests(),
        fast_path_parity::tests(),
        telemetry::tests(),
        traces::tests(),
        tenants::tests(),
        api_requests::tests(),
    ]
    .concat_all();
    if arguments.list {
        let all = tests.into_iter().chain(postconditions::tests()).collect();
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
    let postconditions_hold = !libtest_mimic::run(&in_order, postconditions::tests()).has_failed();
    harness::runner::end();
    if passed && postconditions_hold {
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
