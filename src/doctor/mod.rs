//! What is wrong with a deployment, and what mends it: looked at from the inside, with the configuration of this machine,
//! or from the outside, by its URL, as a client would.
//!
//! A client of the house, not a part of the server. What there is to look at is a table of [`Check`]s on either side
//! ([`inside`], [`outside`]); a check says what has to be well before it is worth a look, so that one cause gives one
//! finding. [`examine`] goes through the table, and whoever asked hears of each as it ends. The words for what servers say
//! are tables too ([`words`]), and shared by both sides, as is the note that goes there and back ([`note`]).
//!
//! Nothing secret is said: a finding has no token in it, whatever a server answers.

mod certificate;
mod check;
mod claims;
mod http;
mod inside;
mod network;
mod note;
mod outside;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

pub use check::{Examined, Outcome};
pub use http::{Http, Override};
pub use inside::{Inside, Token};
pub use note::{Called, Tools, Uncalled};
pub use outside::{Aim, Outside};

use crate::foundation::deadline::Deadline;
use crate::foundation::token_secret::Secret;
use check::{Check, examine};

/// No single check takes longer: whatever hangs leaves time for the others.
const LONGEST_CHECK: Duration = Duration::from_secs(10);

/// Something that can be looked at.
pub trait Deployment: Sized + 'static {
    const CHECKS: &'static [Check<Self>];

    fn token(&self) -> Option<&Secret>;

    /// Takes away what the checks have made, if anything is left of it.
    async fn clear(&mut self) -> Option<Examined>;
}

/// Looks at everything; `None` when `stopped` has resolved before. `told` hears of each check as it ends.
pub async fn look<P: Deployment>(
    mut patient: P,
    within: Duration,
    stopped: impl Future<Output = ()>,
    mut told: impl FnMut(&Examined),
) -> Option<Vec<Examined>> {
    let secret = patient.token().cloned();
    let mut told = |examined: &mut Examined| {
        examined.hide(secret.as_ref());
        told(examined);
    };
    let until = Deadline::after(within);
    let found = tokio::select! {
        found = examine(&mut patient, P::CHECKS, until, &mut told) => Some(found),
        () = stopped => None,
    };
    let cleared = patient.clear().await.map(|mut cleared| {
        told(&mut cleared);
        cleared
    });
    found.map(|found| found.into_iter().chain(cleared).collect())
}
