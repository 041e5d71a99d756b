//! The figures of a server, as Prometheus reads them.

use std::time::Duration;

use tokio::time::Instant;

use super::process::HANG_TIMEOUT;
use super::server::Server;

/// The figures of a place at one moment.
pub struct Metrics(pub String);

impl Metrics {
    pub async fn of(server: &Server) -> Self {
        let url = server
            .process
            .logged("metrics are served at", "address")
            .await;
        let answer = reqwest::get(format!("http://{url}/metrics")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Self(answer.text().await.unwrap())
    }

    /// All series of that name whose labels have these words in them, added up.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.0.lines().filter(|line| {
            let of_this =
                line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"));
            of_this && labels.iter().all(|label| line.contains(label))
        });
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    pub async fn until(server: &Server, what: &str, holds: impl Fn(&Self) -> bool) -> Self {
        let deadline = Instant::now() + HANG_TIMEOUT;
        loop {
            let metrics = Self::of(server).await;
            if holds(&metrics) {
                return metrics;
            }
            assert!(
                Instant::now() < deadline,
                "waited for {what}:\n{}",
                metrics.0
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
