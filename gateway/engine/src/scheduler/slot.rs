//! A slot: one sequence of the context, what it holds, and the answer it is working on.

use std::time::Instant;

use llama_cpp_2::token::LlamaToken;
use tokio::sync::mpsc::UnboundedSender;

use super::{Ask, End, Odds, Piece, Usage, Waiting, emitter::Emitter, sampling::Chooser};

/// One sequence of the context.
pub(super) struct Slot {
    /// Tokens whose state the context holds for this sequence, in order.
    pub(super) kept: Vec<LlamaToken>,
    /// Whose they are.
    salt: Option<String>,
    pub(super) work: Option<Work>,
    /// When the last answer ended, in steps: the slot idle longest is overwritten first.
    pub(super) idle_since: u64,
}

/// An answer in progress.
pub(super) struct Work {
    pub(super) prompt: Vec<LlamaToken>,
    /// The token chosen last, which the next step decodes. `None` while the prompt is being read.
    pub(super) next: Option<LlamaToken>,
    pub(super) chooser: Chooser,
    pub(super) emitter: Emitter,
    pub(super) answer_limit: usize,
    pub(super) usage: Usage,
    /// Filled where probabilities are to be told; never more than the answer has tokens.
    pub(super) odds: Vec<Odds>,
    pub(super) out: UnboundedSender<Piece>,
    pub(super) times: Times,
    pub(super) exchange: Option<cordon_domain::ExchangeId>,
}

/// When things happened to an answer.
pub(super) struct Times {
    pub(super) asked: Instant,
    pub(super) admitted: Instant,
    pub(super) first_token: Option<Instant>,
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self {
            kept: Vec::new(),
            salt: None,
            work: None,
            idle_since: 0,
        }
    }

    /// How many tokens at the beginning of the ask's prompt this slot already holds. One less than
    /// the prompt at most: the last token must be decoded to have something to choose from.
    pub(super) fn shared_beginning(&self, ask: &Ask) -> usize {
        if !ask.reuse || self.salt != ask.salt {
            return 0;
        }
        let same = self
            .kept
            .iter()
            .zip(&ask.prompt)
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        same.min(ask.prompt.len().saturating_sub(1))
    }

    /// Takes an ask. The context holds the first `cached` tokens of its prompt, and no more.
    pub(super) fn begin(&mut self, waiting: Waiting, cached: usize, slot_length: usize, vocabulary: i32) {
        let Waiting { ask, out, since } = waiting;
        self.kept.truncate(cached);
        self.salt = ask.salt;
        let room = slot_length.saturating_sub(ask.prompt.len());
        self.work = Some(Work {
            next: None,
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
                admitted: Instant::now(),
                first_token: None,
            },
            exchange: ask.exchange,
        });
    }

    /// Prompt tokens still to be decoded.
    pub(super) fn unread(&self) -> usize {
        match &self.work {
            Some(work) if work.next.is_none() => work.prompt.len() - self.kept.len(),
            _ => 0,
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

impl Work {
    /// Takes the token chosen after all that was decoded. Gives the answer's end, when it is one.
    pub(super) fn take(&mut self, token: LlamaToken, ends: bool, bytes: &[u8]) -> Option<End> {
        self.usage.answer += 1;
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

    fn say(&self, text: String) {
        if !text.is_empty() {
            // A closed channel is noticed by the sweep at the next step.
            let _ = self.out.send(Piece::Text(text));
        }
    }
}
