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
pub struct LabelSet<T>(Vec<(&'static str, T)>);

impl<T> LabelSet<T> {
    pub fn of<B>(family: &MetricVec<B>, values: &[&'static str]) -> Result<Self, Error>
    where
        B: MetricVecBuilder<M = T>,
        T: prometheus::core::Metric,
    {
        let children = values
            .iter()
            .map(|value| Ok((*value, family.get_metric_with_label_values(&[*value])?)));
        Ok(Self(children.collect::<Result<_, Error>>()?))
    }

    /// The series of `value`, or else the last one, which stands for all other values where the
    /// list ends in such a value. The lists are short, so a scan costs less than a hash.
    pub fn get(&self, value: &str) -> Option<&T> {
        let found = self.0.iter().find(|(known, _)| *known == value);
        found.or(self.0.last()).map(|(_, child)| child)
    }
}

impl<T> From<Vec<(&'static str, T)>> for LabelSet<T> {
    fn from(children: Vec<(&'static str, T)>) -> Self {
        Self(children)
    }
}

impl LabelSet<IntCounter> {
    pub fn count(&self, value: &str) {
        if let Some(child) = self.get(value) {
            child.inc();
        }
    }

    pub fn count_many(&self, value: &str, amount: u64) {
        if let Some(child) = self.get(value) {
            child.inc_by(amount);
        }
    }
}

impl LabelSet<IntGauge> {
    /// Sets the series of `value` to 1 and all others to 0.
    pub fn set_only(&self, value: &str) {
        for (known, child) in &self.0 {
            child.set(i64::from(*known == value));
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

pub fn labelled_counters(
    registry: &Registry,
    name: &Name,
    values: &[&'static str],
) -> Result<LabelSet<IntCounter>, Error> {
    LabelSet::of(&counters(registry, name)?, values)
}

pub fn labelled_histograms(
    registry: &Registry,
    name: &Name,
    values: &[&'static str],
) -> Result<LabelSet<Histogram>, Error> {
    LabelSet::of(&histograms(registry, name)?, values)
}
