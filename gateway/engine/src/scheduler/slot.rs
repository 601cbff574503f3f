//! A slot: one sequence of the context, what it holds, and the answer it is working on.

use std::time::Instant;

use llama_cpp_2::token::LlamaToken;
use tokio::sync::mpsc::UnboundedSender;

use super::{Account, Ask, End, Odds, Piece, Seen, Usage, Waiting, emitter::Emitter, sampling::Chooser};

/// One sequence of the context.
pub(super) struct Slot {
    /// Tokens whose state the context holds for this sequence, in order.
    pub(super) kept: Vec<LlamaToken>,
    /// Whose they are.
    pub(super) salt: Account,
    /// With which adapter they were decoded.
    pub(super) adapter: Option<usize>,
    pub(super) work: Option<Work>,
    /// When the last answer ended, in steps: the slot idle longest is overwritten first.
    pub(super) idle_since: u64,
}

/// An answer in progress.
pub(super) struct Work {
    /// No other work has it.
    pub(super) number: u64,
    pub(super) prompt: Vec<LlamaToken>,
    /// The token chosen last, which the next step decodes. `None` while the prompt is being read.
    pub(super) next: Option<LlamaToken>,
    /// The slot whose prompt begins alike and is being read: what they share is copied from there, when it has come that far.
    pub(super) follows: Option<Follows>,
    /// Whether what is decoded for it may serve others of its account.
    pub(super) shares: bool,
    /// Tokens decoded since its account was last charged: of the prompt, and answered.
    pub(super) uncharged: (u64, u64),
    pub(super) chooser: Chooser,
    pub(super) emitter: Emitter,
    pub(super) answer_limit: usize,
    pub(super) usage: Usage,
    /// Filled where probabilities are to be told; sent with the next text.
    pub(super) odds: Vec<Odds>,
    pub(super) out: UnboundedSender<Piece>,
    pub(super) times: Times,
    pub(super) exchange: Option<cordon_domain::ExchangeId>,
}

/// Whom a prompt waits for, and how far.
#[derive(Clone, Copy)]
pub(super) struct Follows {
    pub(super) slot: usize,
    /// Which work of that slot.
    pub(super) number: u64,
    /// Tokens at the beginning of both.
    pub(super) shared: usize,
}

/// When things happened to an answer.
pub(super) struct Times {
    pub(super) asked: Instant,
    pub(super) admitted: Instant,
    pub(super) first_token: Option<Instant>,
    pub(super) last_token: Instant,
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self {
            kept: Vec::new(),
            salt: None,
            adapter: None,
            work: None,
            idle_since: 0,
        }
    }

    /// How many tokens at the beginning of the ask's prompt this slot already holds. One less than
    /// the prompt at most: the last token must be decoded to have something to choose from.
    pub(super) fn shared_beginning(&self, ask: &Ask) -> usize {
        self.shared(&self.kept, ask)
    }

    /// The same, of what this slot will hold once its prompt is read.
    pub(super) fn coming_beginning(&self, ask: &Ask) -> usize {
        match &self.work {
            Some(work) if work.next.is_none() && work.shares => self.shared(&work.prompt, ask),
            _ => 0,
        }
    }

    fn shared(&self, ours: &[LlamaToken], ask: &Ask) -> usize {
        if !ask.reuse || self.salt != ask.salt || self.adapter != ask.adapter {
            return 0;
        }
        common(ours, &ask.prompt).min(ask.prompt.len().saturating_sub(1))
    }

    /// Takes an ask. The context holds the first `cached` tokens of its prompt, and no more.
    pub(super) fn begin(
        &mut self,
        waiting: Waiting,
        number: u64,
        cached: usize,
        follows: Option<Follows>,
        slot_length: usize,
        vocabulary: i32,
    ) {
        let Waiting { ask, out, since } = waiting;
        self.kept.truncate(cached);
        self.salt = ask.salt;
        self.adapter = ask.adapter;
        let room = slot_length.saturating_sub(ask.prompt.len());
        let now = Instant::now();
        self.work = Some(Work {
            number,
            next: None,
            follows,
            shares: ask.reuse,
            uncharged: (0, 0),
            chooser: Chooser::new(&ask.sampling, ask.form, ask.report, vocabulary),
            emitter: Emitter::new(ask.stops),
            answer_limit: ask.answer_limit.unwrap_or(room).min(room),
            usage: Usage {
                prompt: ask.prompt.len(),
                cached,
                answer: 0,
            },
            odds: Vec::new(),
            prompt: ask.prompt,
            out,
            times: Times {
                asked: since,
                admitted: now,
                first_token: None,
                last_token: now,
            },
            exchange: ask.exchange,
        });
    }

    /// Prompt tokens still to be decoded here.
    pub(super) fn unread(&self) -> usize {
        match &self.work {
            Some(work) if work.next.is_none() && work.follows.is_none() => {
                work.prompt.len() - self.kept.len()
            }
            _ => 0,
        }
    }

    /// What it is at.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            busy: self.work.is_some(),
            kept: self.kept.len(),
            usage: self.work.as_ref().map(|work| work.usage).unwrap_or_default(),
            unread: self.unread(),
        }
    }

    /// The token to decode next, if the answer is under way.
    pub(super) fn next(&self) -> Option<LlamaToken> {
        self.work.as_ref().and_then(|work| work.next)
    }

    /// Whether whoever asked has left.
    pub(super) fn abandoned(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.out.is_closed())
    }
}

/// How many tokens at the beginning of both are the same.
pub(super) fn common(ours: &[LlamaToken], theirs: &[LlamaToken]) -> usize {
    ours.iter()
        .zip(theirs)
        .take_while(|(ours, theirs)| ours == theirs)
        .count()
}

impl Work {
    /// Takes the token chosen after all that was decoded. Gives the answer's end, when it is one.
    pub(super) fn take(&mut self, token: LlamaToken, ends: bool, bytes: &[u8]) -> Option<End> {
        self.usage.answer += 1;
        self.uncharged.1 += 1;
        self.times.first_token.get_or_insert_with(Instant::now);
        if ends {
            return Some(End::Stop);
        }
        let (text, met_stop) = self.emitter.push(bytes);
        self.say(text);
        if met_stop {
            return Some(End::Stop);
        }
        if self.chooser.is_complete() {
            return Some(End::Stop);
        }
        if self.usage.answer >= self.answer_limit {
            return Some(End::Length);
        }
        self.next = Some(token);
        None
    }

    /// Sends the last pieces.
    pub(super) fn finish(&mut self, end: End) {
        let rest = self.emitter.finish();
        self.say(rest);
        let _ = self.out.send(Piece::Done {
            end,
            usage: self.usage,
            odds: std::mem::take(&mut self.odds),
        });
    }

    fn say(&mut self, text: String) {
        if !text.is_empty() {
            let odds = std::mem::take(&mut self.odds);
            // A closed channel is noticed by the sweep at the next step.
            let _ = self.out.send(Piece::Text { text, odds });
        }
    }
}
