//! Who is decoded when: one thread, one context, several conversations in every step.
//!
//! A step is one llama.cpp batch. Each conversation that is answering puts in its last token; what
//! is left of the step goes to prompts, in chunks, so that a long prompt slows the streams of
//! others a little instead of stopping them. A prompt that begins like what its slot decoded
//! before is decoded only from where they part.
//!
//! Leaves what a request means to [`crate::chat`], and text forms to [`crate::http`]. Knows
//! requests as [`Ask`]s and answers them with [`Piece`]s. The answer channel has no bound of its
//! own: an answer never holds more pieces than a slot holds tokens.
//!
//! Limits: `slots` conversations, `queue` waiting; more are refused with [`Failure::Busy`].
//!
//! On failure: an error of llama.cpp fails the conversations of that step and empties their slots;
//! after [`FAULTS_IN_A_ROW`] the thread ends, [`Scheduler::lost`] resolves, and the process exits.

mod emitter;
mod sampling;
mod slot;
mod step;

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use cordon_domain::ExchangeId;
use llama_cpp_2::token::LlamaToken;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    sampling::{Sampling, likeliest},
    step::context_params,
};
use crate::{failure::Failure, form::Form, gauges::Gauges, weights::Weights};

/// After so many failed steps with no good one between, the context is given up.
const FAULTS_IN_A_ROW: u32 = 3;

/// A step that takes this long hangs: it is one batch, which even a crowded CPU ends in seconds.
const STEP_LIMIT: Duration = Duration::from_secs(120);

/// One conversation to be continued.
pub(crate) struct Ask {
    /// Never empty, and shorter than a slot: [`Scheduler::submit`] checks.
    pub(crate) prompt: Vec<LlamaToken>,
    pub(crate) sampling: Sampling,
    /// Texts that end the answer and are not part of it.
    pub(crate) stops: Vec<String>,
    /// Most tokens to answer; `None` for as many as the slot holds.
    pub(crate) answer_limit: Option<usize>,
    /// Whether what the slot decoded before may be used again.
    pub(crate) reuse: bool,
    /// The form that the answer shall have.
    pub(crate) form: Option<Form>,
    /// Tell the probability of each token, and of so many others in its place.
    pub(crate) report: Option<usize>,
    /// Only asks with the same salt share what was decoded: otherwise one employee could tell from
    /// response times and cached counts what another has asked.
    pub(crate) salt: Option<String>,
    pub(crate) exchange: Option<ExchangeId>,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// Whole characters, with no part of a stop text.
    Text(String),
    /// The last piece. A channel that closes without it says that llama.cpp failed, or that the
    /// engine was stopped.
    Done {
        end: End,
        usage: Usage,
        /// Each token of the answer, where probabilities were asked for.
        odds: Vec<Odds>,
    },
}

/// One token of an answer, and what else could have stood there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Odds {
    pub(crate) chosen: Likelihood,
    /// The likeliest first.
    pub(crate) likeliest: Vec<Likelihood>,
}

/// The bytes of a token and the logarithm of its probability.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Likelihood {
    pub(crate) bytes: Vec<u8>,
    pub(crate) logprob: f32,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The model ended it, or a stop text appeared.
    Stop,
    /// The answer's limit, or the slot's end.
    Length,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    /// How many of `prompt` were not decoded again.
    pub(crate) cached: usize,
    pub(crate) answer: usize,
}

/// How the context is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) slots: u32,
    /// Tokens a slot holds.
    pub(crate) slot_length: u32,
    pub(crate) threads: u32,
    pub(crate) chunk: u32,
    pub(crate) queue: usize,
}

/// An ask on its way to a slot.
struct Waiting {
    ask: Ask,
    out: UnboundedSender<Piece>,
    since: Instant,
}

/// What the decode thread and the others share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    busy: usize,
    /// When the present step began; none while there is nothing to decode.
    step_began: Option<Instant>,
    stopping: bool,
}

impl Shared {
    // A poisoned lock means the decode thread panicked between two plain assignments; the state is
    // whole, and the thread's end is noticed by `lost`.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle on the decode thread.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    layout: Layout,
    lost: CancellationToken,
    gauges: Arc<Gauges>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Scheduler {
    /// Allocates the context on a thread of its own and waits until it stands.
    pub(crate) fn start(weights: Arc<Weights>, layout: Layout, gauges: Arc<Gauges>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let lost = CancellationToken::new();
        let (ready, opened) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("decode".to_owned()).spawn({
            let (shared, gauges) = (Arc::clone(&shared), Arc::clone(&gauges));
            // Cancelled on every way out of the thread, a panic included.
            let guard = lost.clone().drop_guard();
            move || {
                let _guard = guard;
                step::run(&weights, layout, &shared, &gauges, &ready);
            }
        })?;
        opened
            .recv()
            .map_err(|_| anyhow::anyhow!("the decode thread ended before it began"))??;
        gauges.slots.set(i64::from(layout.slots));
        Ok(Self {
            shared,
            layout,
            lost,
            gauges,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Puts an ask in the queue. Dropping the receiver takes it out again, or frees its slot
    /// within one step.
    pub(crate) fn submit(&self, ask: Ask) -> Result<UnboundedReceiver<Piece>, Failure> {
        let limit = self.slot_length();
        if ask.prompt.is_empty() {
            return Err(Failure::Template(None));
        }
        if ask.prompt.len() >= limit {
            return Err(Failure::ContextLength {
                tokens: ask.prompt.len(),
                exact: true,
                limit,
            });
        }
        let (out, pieces) = mpsc::unbounded_channel();
        {
            let mut state = self.shared.lock();
            if state.stopping {
                return Err(Failure::Draining);
            }
            // Those whose callers left while waiting hold no place.
            state.waiting.retain(|waiting| !waiting.out.is_closed());
            if state.waiting.len() + state.busy >= self.layout.queue + self.layout.slots as usize {
                return Err(Failure::Busy);
            }
            state.waiting.push_back(Waiting {
                ask,
                out,
                since: Instant::now(),
            });
            self.gauges
                .waiting
                .set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
        }
        self.shared.changed.notify_one();
        Ok(pieces)
    }

    /// Tokens that prompt and answer may have together.
    pub(crate) fn slot_length(&self) -> usize {
        self.layout.slot_length as usize
    }

    /// Slots busy and asks waiting, now.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.busy, state.waiting.len())
    }

    /// Whether the present step takes so long that it will not end.
    pub(crate) fn hangs(&self) -> bool {
        let began = self.shared.lock().step_began;
        began.is_some_and(|began| began.elapsed() > STEP_LIMIT)
    }

    /// Resolves when the decode thread has ended, wanted or not.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Ends the decode thread after its present step; unfinished answers fail.
    pub(crate) fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}
