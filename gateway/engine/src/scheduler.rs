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
//! after [`FAULTS_IN_A_ROW`] the thread ends, the token given to [`Scheduler::start`] is cancelled, and the process exits.

mod emitter;
mod fairness;
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

use self::fairness::{Account, Turns};
pub(crate) use self::{
    sampling::{Sampling, likeliest},
    step::context_params,
};
use crate::{args::Keeping, failure::Failure, form::Form, gauges::Gauges, weights::Weights};

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
    /// response times and cached counts what another has asked. It is also whom turns are counted to.
    pub(crate) salt: Account,
    /// Which of the model's adapters answers. What was decoded with one is of no use to another.
    pub(crate) adapter: Option<usize>,
    pub(crate) exchange: Option<ExchangeId>,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// Whole characters, with no part of a stop text.
    Text {
        text: String,
        /// Each token since the last piece, where probabilities were asked for: those of a text that is held back come with it.
        odds: Vec<Odds>,
    },
    /// Nothing was answered, and nothing will be.
    Refused(Failure),
    /// The last piece. A channel that closes without it says that llama.cpp failed, or that the
    /// engine was stopped.
    Done {
        end: End,
        usage: Usage,
        /// Tokens that came after the last piece of text.
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
    /// How long an ask may wait for a slot.
    pub(crate) wait: Duration,
    pub(crate) kv: Keeping,
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
    /// In the order they came.
    waiting: VecDeque<Waiting>,
    turns: Turns,
    pace: Pace,
    busy: usize,
    /// The slots as they were before the present step.
    slots: Vec<Seen>,
    /// When the present step began; none while there is nothing to decode.
    step_began: Option<Instant>,
    stopping: bool,
}

/// What a slot is at; nothing of what is said in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) busy: bool,
    /// Tokens that the context holds for it.
    pub(crate) kept: usize,
    /// Of the answer under way.
    pub(crate) usage: Usage,
    /// Tokens of its prompt that are still to be read.
    pub(crate) unread: usize,
}

/// How fast slots become free.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    /// Seconds between two answers' ends while all slots are busy, smoothed; 0 before there were two.
    between: f64,
}

impl Pace {
    /// An answer ended.
    fn ended(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let span = (now - last).as_secs_f64();
            self.between = if self.between == 0.0 {
                span
            } else {
                self.between + (span - self.between) / 8.0
            };
        }
    }

    /// Nothing is at work: the time until the next answer says nothing.
    fn pause(&mut self) {
        self.last = None;
    }

    /// Seconds until so many have ended, 1 to 60.
    fn seconds(&self, answers: usize) -> u32 {
        // The cast saturates.
        (self.between * answers as f64).ceil().clamp(1.0, 60.0) as u32
    }
}

impl State {
    /// Takes those out who left, and those who waited too long, whom it tells so.
    fn tidy(&mut self, wait: Duration, now: Instant) {
        let seconds = self.pace.seconds(self.waiting.len());
        let turns = &mut self.turns;
        self.waiting.retain(|waiting| {
            let late = now.saturating_duration_since(waiting.since) > wait;
            if late {
                let _ = waiting.out.send(Piece::Refused(Failure::Busy { seconds }));
            }
            let stays = !late && !waiting.out.is_closed();
            if !stays {
                turns.leave(&waiting.ask.salt, false);
            }
            stays
        });
    }

    /// The ask whose turn it is.
    fn next(&mut self, slots: usize) -> Option<Waiting> {
        let accounts = self.waiting.iter().map(|waiting| &waiting.ask.salt);
        let index = self.turns.next(accounts, slots)?;
        let waiting = self.waiting.remove(index)?;
        self.turns.begin(&waiting.ask.salt);
        self.busy += 1;
        Some(waiting)
    }
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
    gauges: Arc<Gauges>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Scheduler {
    /// Allocates the context on a thread of its own and waits until it stands.
    /// `lost` is cancelled when that thread ends without having been told to.
    pub(crate) fn start(
        weights: Arc<Weights>,
        layout: Layout,
        gauges: Arc<Gauges>,
        lost: CancellationToken,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let (ready, opened) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("decode".to_owned()).spawn({
            let (shared, gauges) = (Arc::clone(&shared), Arc::clone(&gauges));
            // Cancelled on every way out of the thread, a panic included.
            let guard = lost.clone().drop_guard();
            move || {
                // One that did not begin is told to who starts it, and lost to nobody.
                let began = step::run(&weights, layout, &shared, &gauges, &ready);
                if !began || shared.lock().stopping {
                    guard.disarm();
                }
            }
        })?;
        opened
            .recv()
            .map_err(|_| anyhow::anyhow!("the decode thread ended before it began"))??;
        gauges.slots.set(i64::from(layout.slots));
        Ok(Self {
            shared,
            layout,
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
            let since = Instant::now();
            state.tidy(self.layout.wait, since);
            if state.waiting.len() + state.busy >= self.layout.queue + self.layout.slots as usize {
                let seconds = state.pace.seconds(state.waiting.len());
                return Err(Failure::Busy { seconds });
            }
            // Half of the queue is for others, whoever they are.
            let own = state.turns.waiting(&ask.salt);
            if ask.salt.is_some() && own > 0 && own >= self.layout.queue / 2 {
                let seconds = state.pace.seconds(own);
                return Err(Failure::TooMany { seconds });
            }
            state.turns.arrive(&ask.salt);
            state.waiting.push_back(Waiting { ask, out, since });
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

    /// Conversations decoded at the same time.
    pub(crate) fn slot_count(&self) -> usize {
        self.layout.slots as usize
    }

    /// Asks of one account that can be under way and wait.
    pub(crate) fn most_at_once(&self) -> usize {
        (self.layout.queue / 2).max(1)
    }

    /// CPU threads that decode.
    pub(crate) fn threads(&self) -> u32 {
        self.layout.threads
    }

    /// Slots busy and asks waiting, now.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.busy, state.waiting.len())
    }

    /// What each slot is at.
    pub(crate) fn slots(&self) -> Vec<Seen> {
        self.shared.lock().slots.clone()
    }

    /// Whether the present step takes so long that it will not end.
    pub(crate) fn hangs(&self) -> bool {
        let began = self.shared.lock().step_began;
        began.is_some_and(|began| began.elapsed() > STEP_LIMIT)
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
