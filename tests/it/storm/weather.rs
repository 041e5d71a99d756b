//! The weather: what befalls requests between a server and the API, and programs that are ended and started again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::Storm;
use super::person::Dice;
use crate::harness::{Api, Mishap, Place, Stage};

/// One of the things that happen to a request. Those that cost time come seldom.
pub fn mishap(dice: &mut Dice) -> (Stage, Mishap) {
    let stage = match dice.roll(6) {
        0 => Stage::Opening,
        1 => Stage::Ending,
        _ => Stage::Operation,
    };
    let mishap = match dice.roll(40) {
        0 => Mishap::Hang,
        1 if stage == Stage::Operation => Mishap::KeepAnswer,
        2..=6 => Mishap::HangUp,
        7..=11 if stage == Stage::Operation => Mishap::LoseAnswer,
        12..=15 if stage == Stage::Operation => Mishap::BreakOff,
        16..=18 if stage == Stage::Operation => {
            Mishap::Replace(502, "<html>Bad Gateway</html>".to_owned())
        }
        19..=21 => Mishap::json(503, &json!({"error": "away"})),
        22..=24 => Mishap::json(429, &json!({"error": "too many"})),
        25..=28 if stage == Stage::Operation => {
            Mishap::json(428, &json!({"error": "no open session"}))
        }
        29..=31 if stage == Stage::Operation => {
            Mishap::json(409, &json!({"error": "epoch_mismatch", "epoch": 2}))
        }
        32 | 33 if stage == Stage::Operation => {
            Mishap::json(500, &json!({"error": "internal error"}))
        }
        34 | 35 if stage == Stage::Operation => Mishap::Skew(600),
        _ => Mishap::HangUp,
    };
    (stage, mishap)
}

/// Ends and starts the programs, at even distances in the number of calls.
pub struct Weather {
    storm: Arc<Storm>,
    api: Api,
    places: Vec<Option<Place>>,
}

impl Weather {
    pub fn new(storm: &Arc<Storm>, api: Api, places: Vec<Place>) -> Self {
        let places = places.into_iter().map(Some).collect();
        Self {
            storm: Arc::clone(storm),
            api,
            places,
        }
    }

    /// Until the storm is over; then the programs that run now.
    pub async fn rages(mut self) -> (Api, Vec<Place>) {
        let restarts = 9.max(self.storm.calls / 2_000);
        for number in 1..=restarts {
            self.until(self.storm.calls * number / (restarts + 1)).await;
            let place = (number * 5) % self.places.len();
            match number % 3 {
                1 => self.server(place, "KILL").await,
                // Right after a server that was killed: the sessions that it could not end go with the memory of the API.
                2 => {
                    self.api = self.api.again().await;
                    self.storm.report.restarted("restarts: API killed");
                }
                _ => self.server(place, "TERM").await,
            }
        }
        if restarts % 3 == 1 {
            self.api = self.api.again().await;
        }
        (self.api, self.places.into_iter().flatten().collect())
    }

    async fn until(&self, calls: usize) {
        while self.storm.begun.load(Ordering::Relaxed) < calls && !self.storm.is_over() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn server(&mut self, number: usize, signal: &str) {
        let place = self.places[number].take().unwrap();
        place.sidecar.signal(signal);
        let code = place.sidecar.exit().await;
        let (expected, name) = match signal {
            "TERM" => (Some(0), "restarts: server asked to leave"),
            _ => (None, "restarts: server killed"),
        };
        assert_eq!(code, expected, "{}", place.sidecar.story());
        self.places[number] = Some(place.again().await);
        self.storm.report.restarted(name);
    }
}
