//! The pieces of a call, each by itself: `scripts/bench micro`. What they are is in `pieces.rs`,
//! which sees into the house.

use toolbridge_mcp::pieces;

fn main() {
    divan::main();
}

#[divan::bench(args = pieces::NAMES)]
fn piece(bencher: divan::Bencher<'_, '_>, name: &str) {
    let piece = pieces::piece(name);
    bencher.bench_local(piece);
}
