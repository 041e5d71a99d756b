//! A check, what comes of it, and the way through a table of them.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::time::Instant;

use super::LONGEST_CHECK;
use crate::foundation::deadline::Deadline;
use crate::foundation::token_secret::Secret;

/// One thing to look at.
pub struct Check<P: 'static> {
    /// Stable; programs may branch on it.
    pub id: &'static str,
    pub title: &'static str,
    /// Checks before it in the table that have to be well.
    pub needs: &'static [&'static str],
    pub run: for<'a> fn(&'a mut P) -> LocalBoxFuture<'a, Found>,
}

pub const fn check<P>(
    id: &'static str,
    title: &'static str,
    needs: &'static [&'static str],
    run: for<'a> fn(&'a mut P) -> LocalBoxFuture<'a, Found>,
) -> Check<P> {
    Check {
        id,
        title,
        needs,
        run,
    }
}

/// What was seen, in a sentence; or what is to be said instead.
pub type Found = Result<String, Finding>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Warning(Advice),
    Failed(Advice),
    /// There was nothing to look at, for this reason.
    Skipped(String),
}

/// What is wrong, and the command or setting that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    pub what: String,
    pub mend: String,
}

impl Advice {
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            mend: mend.into(),
        }
    }
}

impl Finding {
    pub fn warning(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Warning(Advice::new(what, mend))
    }

    pub fn failed(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Failed(Advice::new(what, mend))
    }

    pub fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Warning,
    Failed,
    Skipped,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A check that is over.
#[derive(Debug, Clone)]
pub struct Examined {
    pub id: &'static str,
    pub title: &'static str,
    pub outcome: Outcome,
    pub what: String,
    pub mend: Option<String>,
    /// Of one that was skipped because of another: that one.
    pub because: Option<&'static str>,
    pub took: Duration,
}

impl Examined {
    pub fn new(id: &'static str, title: &'static str, found: Found) -> Self {
        let (outcome, what, mend) = match found {
            Ok(what) => (Outcome::Ok, what, None),
            Err(Finding::Warning(advice)) => (Outcome::Warning, advice.what, Some(advice.mend)),
            Err(Finding::Failed(advice)) => (Outcome::Failed, advice.what, Some(advice.mend)),
            Err(Finding::Skipped(why)) => (Outcome::Skipped, why, None),
        };
        Self {
            id,
            title,
            outcome,
            what,
            mend,
            because: None,
            took: Duration::ZERO,
        }
    }

    /// Servers may repeat what they were sent. What is shorter than any token may be an ordinary word.
    pub(super) fn hide(&mut self, secret: Option<&Secret>) {
        const SHORTEST: usize = 16;
        let Some(secret) = secret
            .map(Secret::expose)
            .filter(|secret| secret.len() >= SHORTEST)
        else {
            return;
        };
        for text in [Some(&mut self.what), self.mend.as_mut()]
            .into_iter()
            .flatten()
        {
            *text = text.replace(secret, "[token]");
        }
    }
}

/// Goes through a table in its order. A check whose needs are not met is not run, and says because of which one.
pub async fn examine<P>(
    patient: &mut P,
    checks: &[Check<P>],
    until: Deadline,
    told: &mut dyn FnMut(&mut Examined),
) -> Vec<Examined> {
    let mut all: Vec<Examined> = Vec::with_capacity(checks.len());
    let mut time_is_up: Option<&'static str> = None;
    for check in checks {
        let since = Instant::now();
        let cause = cause(&all, check.needs).or(time_is_up);
        let mut examined = match cause.and_then(|id| all.iter().find(|examined| examined.id == id))
        {
            Some(cause) => Examined {
                because: Some(cause.id),
                ..Examined::new(check.id, check.title, Err(because(cause)))
            },
            None => {
                let limit = until.remaining().min(LONGEST_CHECK);
                let found = tokio::time::timeout(limit, (check.run)(patient)).await;
                let found = found.unwrap_or_else(|_| {
                    let up = until.remaining().is_zero();
                    time_is_up = up.then_some(check.id);
                    Err(too_slow(since.elapsed(), up))
                });
                Examined::new(check.id, check.title, found)
            }
        };
        examined.took = since.elapsed();
        told(&mut examined);
        all.push(examined);
    }
    all
}

/// The check that all of this comes from: the need that is not met, or the one that it was itself skipped for.
fn cause(all: &[Examined], needs: &[&str]) -> Option<&'static str> {
    let of_need = |need: &&str| all.iter().find(|examined| examined.id == *need);
    let unmet =
        |examined: &&Examined| matches!(examined.outcome, Outcome::Failed | Outcome::Skipped);
    let unmet = needs.iter().filter_map(of_need).find(unmet)?;
    Some(unmet.because.unwrap_or(unmet.id))
}

fn because(cause: &Examined) -> Finding {
    Finding::skipped(format!("not tried, because of \"{}\"", cause.title))
}

fn too_slow(after: Duration, time_is_up: bool) -> Finding {
    let mend = match time_is_up {
        true => "give more time with --timeout, such as --timeout 2m",
        false => "see the log of whatever answers there: it may be stuck",
    };
    Finding::failed(
        format!("no answer within {:.1} s", after.as_secs_f64()),
        mend,
    )
}
