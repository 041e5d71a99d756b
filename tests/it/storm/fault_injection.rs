//! The weather: what befalls requests between a server and the API, and programs that are ended and
//! started again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::Storm;
use crate::harness::{Api, Fault, Rng, Server, Stage};

/// One of the things that happen to a request. Those that cost time come seldom.
pub fn fault(rng: &mut Rng) -> (Stage, Fault) {
    let stage = match rng.roll(6) {
        0 => Stage::Opening,
        1 => Stage::Ending,
        _ => Stage::Operation,
    };
    let fault = match rng.roll(40) {
        0 => Fault::Hang,
        1 if stage == Stage::Operation => Fault::WithholdAnswer,
        2..=6 => Fault::HangUp,
        7..=11 if stage == Stage::Operation => Fault::LoseAnswer,
        12..=15 if stage == Stage::Operation => Fault::TruncateAnswer,
        16..=18 if stage == Stage::Operation => {
            Fault::Replace(502, "<html>Bad Gateway</html>".to_owned())
        }
        19..=21 => Fault::json(503, &json!({"error": "away"})),
        22..=24 => Fault::json(429, &json!({"error": "too many"})),
        25..=28 if stage == Stage::Operation => {
            Fault::json(428, &json!({"error": "no open session"}))
        }
        29..=31 if stage == Stage::Operation => {
            Fault::json(409, &json!({"error": "epoch_mismatch", "epoch": 2}))
        }
        32 | 33 if stage == Stage::Operation => {
            Fault::json(500, &json!({"error": "internal error"}))
        }
        34 | 35 if stage == Stage::Operation => Fault::Skew(600),
        _ => Fault::HangUp,
    };
    (stage, fault)
}

/// Ends and starts the programs, at even distances in the number of calls.
pub struct FaultInjection {
    storm: Arc<Storm>,
    api: Api,
    servers: Vec<Option<Server>>,
}

impl FaultInjection {
    pub fn new(storm: &Arc<Storm>, api: Api, servers: Vec<Server>) -> Self {
        let servers = servers.into_iter().map(Some).collect();
        Self {
            storm: Arc::clone(storm),
            api,
            servers,
        }
    }

    /// Until the storm is over; then the programs that run now.
    pub async fn run(mut self) -> (Api, Vec<Server>) {
        let restarts = 9.max(self.storm.calls / 2_000);
        for number in 1..=restarts {
            self.until(self.storm.calls * number / (restarts + 1)).await;
            let server = (number * 5) % self.servers.len();
            match number % 3 {
                1 => self.end_and_restart(server, "KILL").await,
                // Right after a server that was killed: the sessions that it could not end go with
                // the memory of the API.
                2 => {
                    self.api = self.api.restart().await;
                    self.storm.report.restarted("restarts: API killed");
                }
                _ => self.end_and_restart(server, "TERM").await,
            }
        }
        if restarts % 3 == 1 {
            self.api = self.api.restart().await;
        }
        (self.api, self.servers.into_iter().flatten().collect())
    }

    async fn until(&self, calls: usize) {
        while self.storm.begun.load(Ordering::Relaxed) < calls && !self.storm.is_over() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end_and_restart(&mut self, number: usize, signal: &str) {
        let server = self.servers[number].take().unwrap();
        server.process.signal(signal);
        let code = server.process.exit().await;
        let (expected, name) = match signal {
            "TERM" => (Some(0), "restarts: server asked to leave"),
            _ => (None, "restarts: server killed"),
        };
        assert_eq!(code, expected, "{}", server.process.all_output());
        self.servers[number] = Some(server.restart().await);
        self.storm.report.restarted(name);
    }
}
