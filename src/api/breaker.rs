//! Circuit breaker: stops requests to an API that only fails.
//!
//! It has three states. *Closed*: all calls pass, and consecutive failures are counted. *Open*,
//! after `failures` of them: calls are refused at once, with the time after which to retry, so that
//! the API can recover. *Half open*, after the pause: one call passes as a probe, the others are
//! still refused. A successful probe closes the breaker; a failed one opens it again, for twice as
//! long.
//!
//! Time is a parameter, so tests need no waiting. A successful call costs two atomic loads and
//! takes no lock; the lock is for state changes and for refused calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::telemetry::metrics;

/// Upper limit of the doubled pause, unless the first pause is longer.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Shared by all calls.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Consecutive failures that open the breaker; 0 disables it.
    max_failures: u32,
    /// Pause after it opens for the first time.
    first_pause: Duration,
    /// Consecutive failures. Meaningful only while closed.
    failures: AtomicU32,
    /// Counts the transitions out of and into the closed state, so it is even while closed. A
    /// single load tells both whether calls pass and whether a call started in the current period.
    period: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant, pause: Duration },
    HalfOpen { probing: bool, pause: Duration },
}

/// Permission of one call to send requests. The call reports outcomes with [`Pass::succeeded`] and
/// [`Pass::failed`]. A probe dropped without a report lets another call be the probe.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Arc<Breaker>,
    period: AtomicU64,
    is_probe: AtomicBool,
}

impl Breaker {
    pub fn new(max_failures: u32, first_pause: Duration) -> Self {
        Self {
            max_failures,
            first_pause,
            failures: AtomicU32::new(0),
            period: AtomicU64::new(0),
            state: Mutex::new(State::Closed),
        }
    }

    /// Admits a call, or returns the time after which to retry.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Pass, Duration> {
        let period = self.period.load(Ordering::Acquire);
        if is_closed(period) {
            return Ok(self.pass(period, false));
        }
        let mut state = self.state();
        // Loaded again under the lock, which makes it consistent with the state.
        let period = self.period.load(Ordering::Acquire);
        match *state {
            State::Closed => Ok(self.pass(period, false)),
            State::Open { until, .. } if now < until => Err(until - now),
            // The outcome of the probe is pending, so the pause is the best estimate.
            State::HalfOpen {
                probing: true,
                pause,
            } => Err(pause),
            State::Open { pause, .. }
            | State::HalfOpen {
                probing: false,
                pause,
            } => {
                let was_open = matches!(*state, State::Open { .. });
                *state = State::HalfOpen {
                    probing: true,
                    pause,
                };
                if was_open {
                    metrics::breaker_changed("half_open");
                }
                Ok(self.pass(period, true))
            }
        }
    }

    fn pass(self: &Arc<Self>, period: u64, is_probe: bool) -> Pass {
        Pass {
            breaker: Arc::clone(self),
            period: AtomicU64::new(period),
            is_probe: AtomicBool::new(is_probe),
        }
    }

    fn next_period(&self) -> u64 {
        self.period.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoning is harmless: each state is written by a single assignment.
        self.state.lock()
    }
}

impl State {
    fn open(&mut self, now: Instant, pause: Duration) {
        let until = now + pause;
        *self = Self::Open { until, pause };
        metrics::breaker_changed("open");
    }
}

fn is_closed(period: u64) -> bool {
    period.is_multiple_of(2)
}

impl Pass {
    /// Whether the call may still send requests. Checked before each retry.
    pub fn is_valid(&self) -> bool {
        let period = self.period.load(Ordering::Acquire);
        self.is_probe.load(Ordering::Acquire)
            || (is_closed(period) && period == self.breaker.period.load(Ordering::Acquire))
    }

    /// Reports an answer of a healthy API.
    pub fn succeeded(&self) {
        let Self {
            breaker,
            period,
            is_probe,
        } = self;
        if !is_probe.load(Ordering::Acquire) {
            // Stores only when there is a count to reset, which avoids contention on the cache
            // line.
            if breaker.failures.load(Ordering::Relaxed) != 0 && self.is_valid() {
                breaker.failures.store(0, Ordering::Relaxed);
            }
            return;
        }
        let mut state = breaker.state();
        if is_probe.swap(false, Ordering::AcqRel) {
            *state = State::Closed;
            breaker.failures.store(0, Ordering::Relaxed);
            period.store(breaker.next_period(), Ordering::Release);
            metrics::breaker_changed("closed");
            tracing::info!("the API answers again: calls go through");
        }
    }

    /// Reports a failure of the API.
    pub fn failed(&self, now: Instant) {
        let Self {
            breaker, is_probe, ..
        } = self;
        let Breaker {
            max_failures,
            first_pause,
            ..
        } = **breaker;
        if is_probe.load(Ordering::Acquire) {
            let mut state = breaker.state();
            if let State::HalfOpen { pause: last, .. } = *state
                && is_probe.swap(false, Ordering::AcqRel)
            {
                state.open(now, (last * 2).min(MAX_PAUSE.max(first_pause)));
            }
            return;
        }
        // A failure of a call from an earlier period does not count.
        if max_failures == 0
            || !self.is_valid()
            || breaker.failures.fetch_add(1, Ordering::AcqRel) + 1 < max_failures
        {
            return;
        }
        let mut state = breaker.state();
        // The breaker may have opened, and even closed again, before the lock was acquired.
        if self.is_valid() {
            state.open(now, first_pause);
            breaker.next_period();
            tracing::warn!(
                "the API failed {max_failures} times in a row: calls are refused for \
                 {first_pause:?}, then one tries it again"
            );
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if *self.is_probe.get_mut()
            && let State::HalfOpen { probing, .. } = &mut *self.breaker.state()
        {
            *probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker(failures: u32) -> Arc<Breaker> {
        Arc::new(Breaker::new(failures, PAUSE))
    }

    fn admit(breaker: &Arc<Breaker>) -> Result<Pass, Duration> {
        breaker.admit(Instant::now())
    }

    fn fail(breaker: &Arc<Breaker>) {
        admit(breaker).unwrap().failed(Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_consecutive_failures_and_returns_the_wait() {
        let breaker = breaker(3);
        for _ in 0..10 {
            fail(&breaker);
            fail(&breaker);
            admit(&breaker).unwrap().succeeded();
        }
        fail(&breaker);
        fail(&breaker);
        let early = admit(&breaker).unwrap();
        fail(&breaker);
        assert_eq!(admit(&breaker).unwrap_err(), PAUSE);
        advance(Duration::from_millis(400)).await;
        assert_eq!(admit(&breaker).unwrap_err(), Duration::from_millis(600));
        assert!(!early.is_valid());
        // Calls admitted before it opened have no effect.
        early.succeeded();
        early.failed(Instant::now());
        assert_eq!(admit(&breaker).unwrap_err(), Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides() {
        let breaker = breaker(1);
        fail(&breaker);
        advance(PAUSE).await;
        let probe = admit(&breaker).unwrap();
        assert!(probe.is_valid());
        assert!(admit(&breaker).is_err(), "one at a time");
        probe.failed(Instant::now());
        assert_eq!(admit(&breaker).unwrap_err(), PAUSE * 2, "the pause doubles");
        advance(PAUSE * 2).await;
        let probe = admit(&breaker).unwrap();
        probe.succeeded();
        assert!(admit(&breaker).is_ok() && probe.is_valid());
        // The pause starts again from its first value.
        probe.failed(Instant::now());
        assert_eq!(admit(&breaker).unwrap_err(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_without_outcome_is_replaced() {
        let breaker = breaker(1);
        fail(&breaker);
        advance(PAUSE).await;
        let given_up = admit(&breaker).unwrap();
        assert!(admit(&breaker).is_err());
        drop(given_up);
        admit(&breaker).unwrap().succeeded();
        assert!(admit(&breaker).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_limit() {
        let breaker = breaker(1);
        fail(&breaker);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = admit(&breaker).unwrap_err();
            pauses.push(pause.as_secs());
            advance(pause).await;
            fail(&breaker);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_failures_disable_it() {
        let breaker = breaker(0);
        for _ in 0..1000 {
            fail(&breaker);
        }
        assert!(admit(&breaker).is_ok());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Admit,
        Succeed(prop::sample::Index),
        Fail(prop::sample::Index),
        GiveUp(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3000u64).prop_map(Step::Wait),
            Just(Step::Admit),
            any::<prop::sample::Index>().prop_map(Step::Succeed),
            any::<prop::sample::Index>().prop_map(Step::Fail),
            any::<prop::sample::Index>().prop_map(Step::GiveUp),
        ]
    }

    proptest! {
        /// For any sequence of events: it never refuses calls for longer than it announces, never
        /// admits a second probe, and closes only after a successful probe.
        #[test]
        fn always_admits_a_call_in_the_end(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let breaker = breaker(3);
            let mut now = Instant::now();
            let mut passes: Vec<Pass> = Vec::new();
            for step in steps {
                let closed = is_closed(breaker.period.load(Ordering::Relaxed));
                match step {
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Admit => match breaker.admit(now) {
                        Ok(pass) => {
                            prop_assert_eq!(pass.is_probe.load(Ordering::Relaxed), !closed);
                            passes.push(pass);
                        }
                        Err(wait) => prop_assert!(!closed && wait <= MAX_PAUSE),
                    },
                    Step::Succeed(which) if !passes.is_empty() => {
                        let pass = which.get(&passes);
                        let back = closed || pass.is_probe.load(Ordering::Relaxed);
                        pass.succeeded();
                        prop_assert_eq!(is_closed(breaker.period.load(Ordering::Relaxed)), back);
                    }
                    Step::Fail(which) if !passes.is_empty() => which.get(&passes).failed(now),
                    Step::GiveUp(which) if !passes.is_empty() => {
                        drop(passes.swap_remove(which.index(passes.len())));
                    }
                    _ => {}
                }
                let probes = passes.iter().filter(|pass| pass.is_probe.load(Ordering::Relaxed));
                prop_assert!(probes.count() <= 1);
            }
            drop(passes);
            prop_assert!(breaker.admit(now + MAX_PAUSE).is_ok());
        }
    }
}
