//! A check, its result, and the runner of a table of checks.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::time::Instant;

use super::MAX_CHECK_TIME;
use crate::foundation::deadline::Deadline;
use crate::foundation::secret::Secret;

/// A single check.
pub struct Check<P: 'static> {
    /// Stable, since programs may depend on it.
    pub id: &'static str,
    pub title: &'static str,
    /// Ids of preceding checks that must have passed.
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

/// What the check saw, as a sentence, or a finding.
pub type Found = Result<String, Finding>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Warning(Advice),
    Failed(Advice),
    /// The check did not apply, for this reason.
    Skipped(String),
}

/// What is wrong, and the command or setting that fixes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    pub what: String,
    pub fix: String,
}

impl Advice {
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl Finding {
    pub fn warning(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Warning(Advice::new(what, fix))
    }

    pub fn failed(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Failed(Advice::new(what, fix))
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

/// The result of a check.
#[derive(Debug, Clone)]
pub struct Examined {
    pub id: &'static str,
    pub title: &'static str,
    pub outcome: Outcome,
    pub what: String,
    pub fix: Option<String>,
    /// The check whose failure caused this one to be skipped.
    pub because: Option<&'static str>,
    pub took: Duration,
}

impl Examined {
    pub fn new(id: &'static str, title: &'static str, found: Found) -> Self {
        let (outcome, what, fix) = match found {
            Ok(what) => (Outcome::Ok, what, None),
            Err(Finding::Warning(advice)) => (Outcome::Warning, advice.what, Some(advice.fix)),
            Err(Finding::Failed(advice)) => (Outcome::Failed, advice.what, Some(advice.fix)),
            Err(Finding::Skipped(why)) => (Outcome::Skipped, why, None),
        };
        Self {
            id,
            title,
            outcome,
            what,
            fix,
            because: None,
            took: Duration::ZERO,
        }
    }

    /// Redacts the token, which a server may echo. Short tokens are exempt, since they may be
    /// ordinary words.
    pub(super) fn hide(&mut self, secret: Option<&Secret>) {
        const MIN_SECRET_CHARS: usize = 16;
        let Some(secret) = secret
            .map(Secret::expose)
            .filter(|secret| secret.len() >= MIN_SECRET_CHARS)
        else {
            return;
        };
        for text in [Some(&mut self.what), self.fix.as_mut()]
            .into_iter()
            .flatten()
        {
            *text = text.replace(secret, "[token]");
        }
    }
}

/// Runs a table in order. A check whose dependencies have not passed is skipped, with its cause.
pub async fn examine<P>(
    deployment: &mut P,
    checks: &[Check<P>],
    until: Deadline,
    report: &mut dyn FnMut(&mut Examined),
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
                let limit = until.remaining().min(MAX_CHECK_TIME);
                let found = tokio::time::timeout(limit, (check.run)(deployment)).await;
                let found = found.unwrap_or_else(|_| {
                    let up = until.remaining().is_zero();
                    time_is_up = up.then_some(check.id);
                    Err(too_slow(since.elapsed(), up))
                });
                Examined::new(check.id, check.title, found)
            }
        };
        examined.took = since.elapsed();
        report(&mut examined);
        all.push(examined);
    }
    all
}

/// The root cause: the dependency that failed, or the one that it was skipped for itself.
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
    let fix = match time_is_up {
        true => "give more time with --timeout, such as --timeout 2m",
        false => "see the log of whatever answers there: it may be stuck",
    };
    Finding::failed(
        format!("no answer within {:.1} s", after.as_secs_f64()),
        fix,
    )
}
