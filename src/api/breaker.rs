//! Whether the API is asked at all: a breaker that opens when nothing but failures comes back.
//!
//! Three states. *Closed*, everything passes, and failures in a row are counted. After so many of them it is *open*:
//! whoever calls is told at once when to try again, instead of waiting for one more failure, and the API is left alone to
//! recover. When the pause is over it is *half open*: one call goes ahead as a probe, the others are still told to wait.
//! Its success closes the breaker; its failure opens it again, for twice as long.
//!
//! Time is passed in, so the whole of it can be tried without waiting. A call that goes well costs two loads and takes no
//! lock: the lock is for changes of state, and for calls that are turned away.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::metrics;

/// However often probes fail, somebody tries again after this, unless the first pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Failures in a row that open it; 0 keeps it closed for ever.
    pub failures: u32,
    /// How long it stays open the first time.
    pub pause: Duration,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    settings: Settings,
    /// In a row. Meaningful while it is closed.
    failures: AtomicU32,
    /// How often it has left the closed state or come back to it, so it is even while closed. One look says both whether
    /// all may pass and which time a call belongs to.
    era: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant, pause: Duration },
    HalfOpen { probing: bool, pause: Duration },
}

/// The right of one call to ask. What comes of it is told with [`Pass::succeeded`] and [`Pass::failed`]; a probe that is
/// dropped before it has told anything makes way for another.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Arc<Breaker>,
    era: AtomicU64,
    is_probe: AtomicBool,
}

impl Breaker {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            failures: AtomicU32::new(0),
            era: AtomicU64::new(0),
            state: Mutex::new(State::Closed),
        }
    }

    /// Or else how long to wait before trying again.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Pass, Duration> {
        let era = self.era.load(Ordering::Acquire);
        if is_closed(era) {
            return Ok(self.pass(era, false));
        }
        let mut state = self.state();
        // Whatever has happened in between, it is settled now.
        let era = self.era.load(Ordering::Acquire);
        match *state {
            State::Closed => Ok(self.pass(era, false)),
            State::Open { until, .. } if now < until => Err(until - now),
            // The probe will tell soon; nobody knows when.
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
                    metrics::breaker_is("half_open");
                }
                Ok(self.pass(era, true))
            }
        }
    }

    fn pass(self: &Arc<Self>, era: u64, is_probe: bool) -> Pass {
        Pass {
            breaker: Arc::clone(self),
            era: AtomicU64::new(era),
            is_probe: AtomicBool::new(is_probe),
        }
    }

    fn next_era(&self) -> u64 {
        self.era.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each state is written in one go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, now: Instant, pause: Duration) {
        let until = now + pause;
        *self = Self::Open { until, pause };
        metrics::breaker_is("open");
    }
}

fn is_closed(era: u64) -> bool {
    era.is_multiple_of(2)
}

impl Pass {
    /// Whether this call may go on asking: what it looks at before it sends anything again.
    pub fn holds(&self) -> bool {
        let era = self.era.load(Ordering::Acquire);
        self.is_probe.load(Ordering::Acquire)
            || (is_closed(era) && era == self.breaker.era.load(Ordering::Acquire))
    }

    /// The API has answered as one that is well.
    pub fn succeeded(&self) {
        let Self {
            breaker,
            era,
            is_probe,
        } = self;
        if !is_probe.load(Ordering::Acquire) {
            // Only written when there is something to forget, so that calls side by side do not fight for the line.
            if breaker.failures.load(Ordering::Relaxed) != 0 && self.holds() {
                breaker.failures.store(0, Ordering::Relaxed);
            }
            return;
        }
        let mut state = breaker.state();
        if is_probe.swap(false, Ordering::AcqRel) {
            *state = State::Closed;
            breaker.failures.store(0, Ordering::Relaxed);
            era.store(breaker.next_era(), Ordering::Release);
            metrics::breaker_is("closed");
            tracing::info!("the API answers again: calls go through");
        }
    }

    /// It has not answered, or as one that is not.
    pub fn failed(&self, now: Instant) {
        let Self {
            breaker, is_probe, ..
        } = self;
        let Settings { failures, pause } = breaker.settings;
        if is_probe.load(Ordering::Acquire) {
            let mut state = breaker.state();
            if let State::HalfOpen { pause: last, .. } = *state
                && is_probe.swap(false, Ordering::AcqRel)
            {
                state.open(now, (last * 2).min(LONGEST_PAUSE.max(pause)));
            }
            return;
        }
        // What an earlier time has left behind says nothing of this one.
        if failures == 0
            || !self.holds()
            || breaker.failures.fetch_add(1, Ordering::AcqRel) + 1 < failures
        {
            return;
        }
        let mut state = breaker.state();
        // It may have opened, and even closed again, while this one waited for the lock.
        if self.holds() {
            state.open(now, pause);
            breaker.next_era();
            tracing::warn!(
                "the API failed {failures} times in a row: calls are refused for {pause:?}, then one tries it again"
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
        Arc::new(Breaker::new(Settings {
            failures,
            pause: PAUSE,
        }))
    }

    fn admit(breaker: &Arc<Breaker>) -> Result<Pass, Duration> {
        breaker.admit(Instant::now())
    }

    fn fail(breaker: &Arc<Breaker>) {
        admit(breaker).unwrap().failed(Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_says_how_long() {
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
        assert!(!early.holds());
        // Who was under way when it opened changes nothing, neither way.
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
        assert!(probe.holds());
        assert!(admit(&breaker).is_err(), "one at a time");
        probe.failed(Instant::now());
        assert_eq!(
            admit(&breaker).unwrap_err(),
            PAUSE * 2,
            "it waits twice as long"
        );
        advance(PAUSE * 2).await;
        let probe = admit(&breaker).unwrap();
        probe.succeeded();
        assert!(admit(&breaker).is_ok() && probe.holds());
        // The next time begins from the beginning.
        probe.failed(Instant::now());
        assert_eq!(admit(&breaker).unwrap_err(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_tells_nothing_makes_way_for_another() {
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
    async fn pauses_grow_to_an_end() {
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
    async fn it_can_be_left_out() {
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
        /// Whatever happens in whatever order: it never keeps everybody out for longer than it says, never lets in a
        /// second probe, and a success of the probe is the only way back.
        #[test]
        fn whatever_happens_somebody_gets_through_in_the_end(steps in prop::collection::vec(step(), 0..200)) {
            let breaker = breaker(3);
            let mut now = Instant::now();
            let mut passes: Vec<Pass> = Vec::new();
            for step in steps {
                let closed = is_closed(breaker.era.load(Ordering::Relaxed));
                match step {
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Admit => match breaker.admit(now) {
                        Ok(pass) => {
                            prop_assert_eq!(pass.is_probe.load(Ordering::Relaxed), !closed);
                            passes.push(pass);
                        }
                        Err(wait) => prop_assert!(!closed && wait <= LONGEST_PAUSE),
                    },
                    Step::Succeed(which) if !passes.is_empty() => {
                        let pass = which.get(&passes);
                        let back = closed || pass.is_probe.load(Ordering::Relaxed);
                        pass.succeeded();
                        prop_assert_eq!(is_closed(breaker.era.load(Ordering::Relaxed)), back);
                    }
                    Step::Fail(which) if !passes.is_empty() => which.get(&passes).failed(now),
                    Step::GiveUp(which) if !passes.is_empty() => drop(passes.swap_remove(which.index(passes.len()))),
                    _ => {}
                }
                let probes = passes.iter().filter(|pass| pass.is_probe.load(Ordering::Relaxed));
                prop_assert!(probes.count() <= 1);
            }
            drop(passes);
            prop_assert!(breaker.admit(now + LONGEST_PAUSE).is_ok());
        }
    }
}
