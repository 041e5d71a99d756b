//! What was seen of the storm: counted as it happens, and told as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

#[derive(Default)]
pub struct Report(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// How often a call came to what: `ok`, the code of an error, a status, or no answer.
    outcomes: BTreeMap<String, usize>,
    restarts: BTreeMap<&'static str, usize>,
    /// Items of one user that another user saw.
    crossings: Vec<String>,
    /// What belonged to the asker and was not true all the same.
    untrue: Vec<String>,
}

impl Report {
    pub fn record_outcome(&self, outcome: &str) {
        *self
            .0
            .lock()
            .unwrap()
            .outcomes
            .entry(outcome.to_owned())
            .or_default() += 1;
    }

    pub fn restarted(&self, what: &'static str) {
        *self.0.lock().unwrap().restarts.entry(what).or_default() += 1;
    }

    pub fn crossed(&self, what: String) {
        self.0.lock().unwrap().crossings.push(what);
    }

    pub fn untrue(&self, what: String) {
        self.0.lock().unwrap().untrue.push(what);
    }

    pub fn crossings(&self) -> Vec<String> {
        self.0.lock().unwrap().crossings.clone()
    }

    pub fn table(&self, calls: usize, took: Duration, faults: usize) -> String {
        let seen = self.0.lock().unwrap();
        let mut table = String::new();
        let mut row = |name: &str, count: usize| writeln!(table, "{name:<44} {count:>8}").unwrap();
        row("calls", calls);
        row("a second", (calls as f64 / took.as_secs_f64()) as usize);
        row("faults between server and API", faults);
        for (what, count) in &seen.restarts {
            row(what, *count);
        }
        for (outcome, count) in &seen.outcomes {
            row(&format!("  came to: {outcome}"), *count);
        }
        row("untrue", seen.untrue.len());
        row("crossings", seen.crossings.len());
        table
    }

    pub fn is_clean(&self) {
        let seen = self.0.lock().unwrap();
        let first = |all: &[String]| all.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            seen.crossings.is_empty(),
            "crossings:\n{}",
            first(&seen.crossings)
        );
        assert!(seen.untrue.is_empty(), "untrue:\n{}", first(&seen.untrue));
    }
}
