//! Series of each tool, created when the tools are known. Unknown names, which a caller may have
//! made up, share one set of series.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::{Error, Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::label_set::LabelSet;
use super::names::{OUTCOMES, UNKNOWN};

#[derive(Debug)]
pub struct Tools {
    known: HashMap<String, Series>,
    unknown: Series,
}

#[derive(Debug)]
struct Series {
    outcomes: LabelSet<IntCounter>,
    duration: Histogram,
}

impl Series {
    fn of(
        tool: &str,
        invocations: &IntCounterVec,
        durations: &HistogramVec,
    ) -> Result<Self, Error> {
        let outcomes = OUTCOMES.iter().map(|outcome| {
            let counter = invocations.get_metric_with_label_values(&[tool, *outcome])?;
            Ok((*outcome, counter))
        });
        Ok(Self {
            outcomes: LabelSet::from(outcomes.collect::<Result<Vec<_>, Error>>()?),
            duration: durations.get_metric_with_label_values(&[tool])?,
        })
    }
}

impl Tools {
    pub fn new<'a>(
        invocations: &IntCounterVec,
        durations: &HistogramVec,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let known = names
            .into_iter()
            .map(|name| Ok((name.to_owned(), Series::of(name, invocations, durations)?)));
        Ok(Self {
            known: known.collect::<Result<_, Error>>()?,
            unknown: Series::of(UNKNOWN, invocations, durations)?,
        })
    }

    pub fn called(&self, tool: &str, outcome: &str, took: Option<Duration>) {
        let series = self.known.get(tool).unwrap_or(&self.unknown);
        series.outcomes.count(outcome);
        if let Some(took) = took {
            series.duration.observe(took.as_secs_f64());
        }
    }
}
