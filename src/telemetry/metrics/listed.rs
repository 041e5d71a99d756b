//! A family of figures whose labels are on lists: every one is made at the start, so that to count is one atomic addition
//! and each series is there, at 0, before anything has happened.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

use super::names::{Kind, Name};

/// From a call that is answered from memory to one that takes all of its time.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0,
];

/// The children of one label.
#[derive(Debug)]
pub struct Listed<T>(Vec<(&'static str, T)>);

impl<T> Listed<T> {
    pub fn of<B>(family: &MetricVec<B>, words: &[&'static str]) -> Result<Self, Error>
    where
        B: MetricVecBuilder<M = T>,
        T: prometheus::core::Metric,
    {
        let children = words
            .iter()
            .map(|word| Ok((*word, family.get_metric_with_label_values(&[*word])?)));
        Ok(Self(children.collect::<Result<_, Error>>()?))
    }

    /// The child of this word, or the last one, where the list ends in a word for all others. The lists are short, so
    /// looking through one costs less than a hash.
    pub fn get(&self, word: &str) -> Option<&T> {
        let found = self.0.iter().find(|(listed, _)| *listed == word);
        found.or(self.0.last()).map(|(_, child)| child)
    }
}

impl<T> From<Vec<(&'static str, T)>> for Listed<T> {
    fn from(children: Vec<(&'static str, T)>) -> Self {
        Self(children)
    }
}

impl Listed<IntCounter> {
    pub fn count(&self, word: &str) {
        if let Some(child) = self.get(word) {
            child.inc();
        }
    }

    pub fn count_many(&self, word: &str, many: u64) {
        if let Some(child) = self.get(word) {
            child.inc_by(many);
        }
    }
}

impl Listed<IntGauge> {
    /// 1 for this word, 0 for all others.
    pub fn only(&self, word: &str) {
        for (listed, child) in &self.0 {
            child.set(i64::from(*listed == word));
        }
    }
}

fn options(name: &Name) -> Opts {
    Opts::new(name.name, name.help)
}

/// Puts it where a scrape finds it, and hands it back.
fn kept<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

pub fn counter(registry: &Registry, name: &Name) -> Result<IntCounter, Error> {
    debug_assert_eq!(name.kind, Kind::Counter, "{}", name.name);
    kept(registry, IntCounter::with_opts(options(name))?)
}

pub fn counters(registry: &Registry, name: &Name) -> Result<IntCounterVec, Error> {
    debug_assert_eq!(name.kind, Kind::Counter, "{}", name.name);
    kept(registry, IntCounterVec::new(options(name), name.labels)?)
}

pub fn gauge(registry: &Registry, name: &Name) -> Result<IntGauge, Error> {
    debug_assert_eq!(name.kind, Kind::Gauge, "{}", name.name);
    kept(registry, IntGauge::with_opts(options(name))?)
}

pub fn gauges(registry: &Registry, name: &Name) -> Result<prometheus::IntGaugeVec, Error> {
    debug_assert_eq!(name.kind, Kind::Gauge, "{}", name.name);
    kept(
        registry,
        prometheus::IntGaugeVec::new(options(name), name.labels)?,
    )
}

pub fn histograms(registry: &Registry, name: &Name) -> Result<HistogramVec, Error> {
    debug_assert_eq!(name.kind, Kind::Histogram, "{}", name.name);
    let options = HistogramOpts::new(name.name, name.help).buckets(BUCKETS.to_vec());
    kept(registry, HistogramVec::new(options, name.labels)?)
}

pub fn listed_counters(
    registry: &Registry,
    name: &Name,
    words: &[&'static str],
) -> Result<Listed<IntCounter>, Error> {
    Listed::of(&counters(registry, name)?, words)
}

pub fn listed_histograms(
    registry: &Registry,
    name: &Name,
    words: &[&'static str],
) -> Result<Listed<Histogram>, Error> {
    Listed::of(&histograms(registry, name)?, words)
}
