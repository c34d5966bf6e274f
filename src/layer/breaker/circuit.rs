use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::layer::Settings;
use crate::error::{Error, ErrorKind, RetryAfter};
use crate::operation::UpstreamId;
use crate::store::recent::{Recent, lock};

/// How many upstreams that fail are remembered; each takes about 500 bytes.
const UPSTREAMS: usize = 4096;

/// The circuits of those upstreams that have failed lately.
pub(super) struct Circuits {
    settings: Settings,
    upstreams: Mutex<Recent<Option<UpstreamId>, Circuit>>,
}

#[derive(Clone, Default)]
struct Circuit {
    /// Failures in a row, while it is closed.
    failures: u32,
    /// How often it has opened since the upstream was last alive.
    opened: u32,
    /// Nothing is asked before.
    until: Option<Instant>,
    /// Whether one request has been let through to see.
    is_probed: bool,
    /// What the upstream failed with.
    words: Arc<str>,
}

/// What an answer says of an upstream.
enum Verdict {
    Alive,
    /// What it failed with, and when it wants to be asked again.
    Failed(Arc<str>, Option<Duration>),
    /// Nothing: the request was given up, or failed on our side.
    Unclear,
}

impl Circuits {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, upstreams: Mutex::new(Recent::new(UPSTREAMS)) })
    }

    /// Whether a request to this upstream may be made.
    pub(super) fn admit(this: &Arc<Self>, upstream: Option<UpstreamId>) -> Result<Passage, Error> {
        let mut upstreams = lock(&this.upstreams);
        let passage = |is_probe| Passage {
            circuits: Arc::clone(this),
            upstream: upstream.clone(),
            is_probe,
            is_settled: false,
        };
        let Some(circuit) = upstreams.get(&upstream) else { return Ok(passage(false)) };
        let Some(until) = circuit.until else { return Ok(passage(false)) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() && !circuit.is_probed {
            let circuit = Circuit { is_probed: true, ..circuit.clone() };
            upstreams.insert(upstream.clone(), circuit, 1);
            return Ok(passage(true));
        }
        // Nobody knows when the one request that was let through is answered.
        let left = if left.is_zero() { this.settings.first_delay } else { left };
        Err(refusal(upstream.as_ref(), left, &circuit.words))
    }

    fn settle(&self, upstream: &Option<UpstreamId>, is_probe: bool, verdict: Verdict) {
        let mut upstreams = lock(&self.upstreams);
        let known = upstreams.get(upstream).cloned();
        let is_held = known.as_ref().is_some_and(|circuit| circuit.until.is_some());
        let mut circuit = known.unwrap_or_default();
        match verdict {
            // What was asked before the upstream wanted to be left alone doesn't change that.
            Verdict::Alive if is_held && !is_probe => return,
            Verdict::Alive => return upstreams.remove(upstream),
            Verdict::Unclear if is_probe => circuit.is_probed = false,
            Verdict::Unclear => return,
            Verdict::Failed(words, retry_after) => {
                circuit.words = words;
                if is_probe {
                    circuit.is_probed = false;
                    self.open(&mut circuit);
                } else if !is_held {
                    circuit.failures += 1;
                    if circuit.failures >= self.settings.failures {
                        self.open(&mut circuit);
                    }
                }
                let held = retry_after.map(|delay| delay.min(self.settings.longest_retry_after));
                if let Some(held) = held.filter(|held| !held.is_zero()) {
                    circuit.until = circuit.until.max(Instant::now().checked_add(held));
                }
            }
        }
        upstreams.insert(upstream.clone(), circuit, 1);
    }

    fn open(&self, circuit: &mut Circuit) {
        let back_off = self.back_off(circuit.opened);
        circuit.until = Instant::now().checked_add(back_off);
        circuit.opened = circuit.opened.saturating_add(1);
        circuit.failures = 0;
    }

    fn back_off(&self, opened: u32) -> Duration {
        let Settings { first_delay, longest_delay, jitter, random, .. } = &self.settings;
        let doubled = 1_u32.checked_shl(opened).and_then(|factor| first_delay.checked_mul(factor));
        let delay = doubled.unwrap_or(*longest_delay).min(*longest_delay);
        let jitter = 1.0 + jitter * (2.0 * random().clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(delay.as_secs_f64() * jitter).unwrap_or(delay)
    }

    fn verdict(&self, error: Option<&Error>) -> Verdict {
        let Some(error) = error else { return Verdict::Alive };
        match error.kind() {
            ErrorKind::Unavailable
            | ErrorKind::TimedOut
            | ErrorKind::BadGateway
            | ErrorKind::TooManyRequests => {
                let retry_after =
                    error.retry_after().map(|after| after.delay_from(self.settings.clock.now()));
                Verdict::Failed(error.message().into(), retry_after)
            }
            ErrorKind::Internal => Verdict::Unclear,
            _ => Verdict::Alive,
        }
    }
}

impl fmt::Debug for Circuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits").field("failing", &lock(&self.upstreams).len()).finish_non_exhaustive()
    }
}

/// A request that may be made. What comes of it is to be told; a request that is dropped tells nothing.
pub(super) struct Passage {
    circuits: Arc<Circuits>,
    upstream: Option<UpstreamId>,
    is_probe: bool,
    is_settled: bool,
}

impl Passage {
    /// The request was answered, or failed with `error`.
    pub(super) fn settle(mut self, error: Option<&Error>) {
        self.is_settled = true;
        self.circuits.settle(&self.upstream, self.is_probe, self.circuits.verdict(error));
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if !self.is_settled {
            self.circuits.settle(&self.upstream, self.is_probe, Verdict::Unclear);
        }
    }
}

fn refusal(upstream: Option<&UpstreamId>, left: Duration, words: &str) -> Error {
    // A client that comes a moment too early has come in vain.
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let name = upstream.map_or_else(|| "the upstream".to_owned(), |upstream| format!("`{upstream}`"));
    let message = format!("{name} is left alone for {seconds} s, since it failed: {words}");
    Error::unavailable(message).with_retry_after(RetryAfter::Delay(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use crate::layer::breaker::BreakerLayer;

    #[test]
    fn back_offs_double_to_their_limit_with_jitter() {
        let circuits = |random: f64| BreakerLayer::new().random(move || random).circuits();
        let seconds = |random, opened| circuits(random).back_off(opened).as_secs_f64();
        let all: Vec<_> = [0, 1, 2, 5, 6, 31, 32, u32::MAX].map(|opened| seconds(0.5, opened)).into();
        assert_eq!(all, [1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0, 60.0]);
        assert_eq!((seconds(0.0, 1), seconds(1.0, 1), seconds(1.0, 9)), (1.5, 2.5, 75.0));
    }
}
