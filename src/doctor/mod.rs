//! Diagnoses a deployment and says how to fix it: from the inside, with the configuration of this
//! machine, or from the outside, by its URL, as a client would.
//!
//! The doctor is a client of the server. Each side is a table of [`Check`]s ([`inside`],
//! [`outside`]). A check names the checks that it depends on, so that one cause gives one finding.
//! [`examine`] runs a table and reports each result as it arrives. Both sides share the texts for
//! error reasons ([`words`]) and the note of the round trip ([`note`]).
//!
//! Findings never contain the token, even if a server echoes it.

mod certificate;
mod check;
mod claims;
mod http;
mod inside;
mod network;
mod outside;
mod round_trip;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

pub use check::{Examined, Outcome};
pub use http::{Http, Override};
pub use inside::{Inside, Token};
pub use outside::{Outside, Target};
pub use round_trip::{CallError, CallResult, Tools};

use crate::foundation::deadline::Deadline;
use crate::foundation::secret::Secret;
use check::{Check, examine};

/// Limit of a single check, so that one that hangs leaves time for the others.
const MAX_CHECK_TIME: Duration = Duration::from_secs(10);

/// A deployment that can be examined.
pub trait Deployment: Sized + 'static {
    const CHECKS: &'static [Check<Self>];

    fn token(&self) -> Option<&Secret>;

    /// Removes what the checks have created, if anything is left.
    async fn clear(&mut self) -> Option<Examined>;
}

/// Runs all checks; `None` if `stopped` resolves first. `report` receives each result as it
/// arrives.
pub async fn diagnose<P: Deployment>(
    mut deployment: P,
    within: Duration,
    stopped: impl Future<Output = ()>,
    mut report: impl FnMut(&Examined),
) -> Option<Vec<Examined>> {
    let secret = deployment.token().cloned();
    let mut report = |examined: &mut Examined| {
        examined.hide(secret.as_ref());
        report(examined);
    };
    let until = Deadline::after(within);
    let found = tokio::select! {
        found = examine(&mut deployment, P::CHECKS, until, &mut report) => Some(found),
        () = stopped => None,
    };
    let cleared = deployment.clear().await.map(|mut cleared| {
        report(&mut cleared);
        cleared
    });
    found.map(|found| found.into_iter().chain(cleared).collect())
}
