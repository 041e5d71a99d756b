//! Measures the parts of a call one by one: `scripts/bench micro`. The cases are in
//! `micro_cases.rs`, which has access to private modules.

use toolbridge_mcp::micro_cases;

fn main() {
    divan::main();
}

#[divan::bench(args = micro_cases::NAMES)]
fn case(bencher: divan::Bencher<'_, '_>, name: &str) {
    let case = micro_cases::case(name);
    bencher.bench_local(case);
}
