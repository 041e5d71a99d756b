//! Metric families whose label values are listed. Every series is created at the start, so that
//! counting is one atomic addition and each series is exported as 0 before its first event.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

use super::names::{Kind, Name};

/// From calls answered from memory to calls that use their whole deadline.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0,
];

/// The series of a family with one label.
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

    /// The series of `word`, or else the last one, which stands for all other values where the list
    /// ends in such a value. The lists are short, so a scan costs less than a hash.
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
    /// Sets the series of `word` to 1 and all others to 0.
    pub fn only(&self, word: &str) {
        for (listed, child) in &self.0 {
            child.set(i64::from(*listed == word));
        }
    }
}

fn options(name: &Name) -> Opts {
    Opts::new(name.name, name.help)
}

/// Registers the collector and returns it.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

pub fn counter(registry: &Registry, name: &Name) -> Result<IntCounter, Error> {
    debug_assert_eq!(name.kind, Kind::Counter, "{}", name.name);
    registered(registry, IntCounter::with_opts(options(name))?)
}

pub fn counters(registry: &Registry, name: &Name) -> Result<IntCounterVec, Error> {
    debug_assert_eq!(name.kind, Kind::Counter, "{}", name.name);
    registered(registry, IntCounterVec::new(options(name), name.labels)?)
}

pub fn gauge(registry: &Registry, name: &Name) -> Result<IntGauge, Error> {
    debug_assert_eq!(name.kind, Kind::Gauge, "{}", name.name);
    registered(registry, IntGauge::with_opts(options(name))?)
}

pub fn gauges(registry: &Registry, name: &Name) -> Result<prometheus::IntGaugeVec, Error> {
    debug_assert_eq!(name.kind, Kind::Gauge, "{}", name.name);
    registered(
        registry,
        prometheus::IntGaugeVec::new(options(name), name.labels)?,
    )
}

pub fn histograms(registry: &Registry, name: &Name) -> Result<HistogramVec, Error> {
    debug_assert_eq!(name.kind, Kind::Histogram, "{}", name.name);
    let options = HistogramOpts::new(name.name, name.help).buckets(BUCKETS.to_vec());
    registered(registry, HistogramVec::new(options, name.labels)?)
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
