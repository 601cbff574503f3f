//! Questions to the on-prem model: is this text what the policy asks about, yes or no?
//!
//! The model is asked over OpenAI's dialect, at temperature 0, and can answer with one of the texts of a
//! list only (`response_format`), so that it has no way to say anything else, or to quote. How likely the
//! yes is, is read from the probabilities that it reports; of an upstream that reports none the answer
//! itself counts. What the model wrote is compared with the list and dropped.
//!
//! A text is data to the model, and may try to be more: `wording.rs` says how it is kept apart, and
//! `docs/questions.md` how far that goes.
//!
//! Limits: a deadline an exchange; LLM tokens an exchange and a minute; so many asked at once; answers
//! remembered ([`Memory`]). All are in the configuration's `questions`.
//!
//! On failure: a [`Missing`] by cause. What happens to the exchange then is for the policy to say.

mod memory;
mod reading;
mod wording;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use cordon_audit::{CommitmentKey, keyed_digest};
use cordon_domain::{ExchangeId, UpstreamKind};
use cordon_policy::Question;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use self::{
    memory::{Memory, Purse},
    wording::windows,
};
use crate::{config, upstream::OnPrem};

pub use self::wording::parts;

/// A part of a text that is not cut any further, in bytes.
const LEAST_WINDOW: usize = 256;
/// LLM tokens of the words around a text, and of an answer: a little more than measured.
const AROUND: usize = 300;

/// What the model holds of one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opinion {
    /// How likely it holds a yes.
    pub likelihood: f32,
    /// Which of the question's reasons it named, if it said yes.
    pub reason: Option<usize>,
}

/// Why a text has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The on-prem model is not there.
    Down,
    /// The deadline passed.
    Late,
    /// It would have cost more than an exchange, or all of them in a minute, may.
    Costly,
    /// The model refused the request.
    Refused,
    /// The text does not fit the model's context, however it is cut.
    TooLong,
    /// It answered something else than yes or no.
    Unreadable,
}

impl Missing {
    /// The name in records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Down => "model_down",
            Self::Late => "late",
            Self::Costly => "too_costly",
            Self::Refused => "refused_by_model",
            Self::TooLong => "too_long",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether the next text would fare no better.
    fn is_lasting(self) -> bool {
        matches!(self, Self::Down | Self::Late)
    }
}

/// One round of asking: who asks, until when, and what it may cost.
pub struct Round<'a> {
    /// Whose text it is: answers are remembered for each actor alone, or response times would tell one
    /// what another has sent.
    pub actor: &'a str,
    /// The exchange, for the model's log.
    pub exchange: ExchangeId,
    /// The deadline.
    pub until: Instant,
    /// LLM tokens that are left to the exchange.
    pub left: AtomicI64,
}

/// What came of asking about one text, or of a part of a long one.
#[derive(Debug, Default)]
pub struct Answered {
    /// The likeliest yes of its parts; none where no part was answered.
    pub opinion: Option<Opinion>,
    /// Why a part has no answer.
    pub missing: Option<Missing>,
    /// Parts.
    pub texts: u64,
    /// Parts that had been answered before.
    pub cached: u64,
    /// LLM tokens read and written.
    pub tokens: u64,
}

impl Answered {
    /// Takes in what came of another part.
    pub fn join(&mut self, other: Self) {
        let likelihood = |opinion: &Option<Opinion>| opinion.map_or(-1.0, |opinion| opinion.likelihood);
        if likelihood(&other.opinion) > likelihood(&self.opinion) {
            self.opinion = other.opinion;
        }
        self.missing = self.missing.or(other.missing);
        self.texts += other.texts;
        self.cached += other.cached;
        self.tokens += other.tokens;
    }
}

/// The way to the on-prem model, and what bounds its use.
pub struct Questions {
    on_prem: OnPrem,
    config: config::Questions,
    key: CommitmentKey,
    memory: Mutex<Memory>,
    minute: Mutex<Purse>,
    places: Semaphore,
}

impl Questions {
    /// Ready to ask. `key` is behind what answers are remembered by.
    pub fn new(on_prem: OnPrem, config: config::Questions, key: [u8; 32]) -> Self {
        Self {
            on_prem,
            key: CommitmentKey::from_bytes(key),
            memory: Mutex::new(Memory::new(config.remembered)),
            minute: Mutex::new(Purse::new(config.tokens_per_minute, Instant::now())),
            places: Semaphore::new(config.at_once),
            config,
        }
    }

    /// Whether it is the engine that is asked, whose state is watched.
    pub fn ask_engine(&self) -> bool {
        self.on_prem.kind() == UpstreamKind::Engine
    }

    /// Name of the upstream that is asked.
    pub fn upstream(&self) -> &str {
        self.on_prem.name()
    }

    /// Asks about a text that is short enough to be tried in one piece; where the model finds it too long
    /// after all, about its halves.
    pub async fn about(&self, round: &Round<'_>, question: &Question, text: &str) -> Answered {
        let mut answered = Answered::default();
        let mut pending = vec![text];
        while let Some(part) = pending.pop() {
            match self.part(round, question, part).await {
                Err(Missing::TooLong) if part.len() > LEAST_WINDOW => {
                    pending.extend(windows(part, part.len().div_ceil(2) + part.len() / 16));
                }
                Ok(one) => answered.join(one),
                Err(missing) => {
                    answered.texts += 1;
                    answered.missing = answered.missing.or(Some(missing));
                    if missing.is_lasting() {
                        break;
                    }
                }
            }
        }
        answered
    }

    async fn part(&self, round: &Round<'_>, question: &Question, text: &str) -> Result<Answered, Missing> {
        let name = self.name(round, question, text);
        let known = lock(&self.memory).known(&name, Instant::now());
        if let Some(opinion) = known {
            return Ok(Answered {
                opinion: Some(opinion),
                texts: 1,
                cached: 1,
                ..Answered::default()
            });
        }
        let (opinion, tokens) = self.ask(round, question, text, &name).await?;
        lock(&self.memory).remember(name, opinion, Instant::now());
        Ok(Answered {
            opinion: Some(opinion),
            texts: 1,
            tokens,
            ..Answered::default()
        })
    }

    async fn ask(
        &self,
        round: &Round<'_>,
        question: &Question,
        text: &str,
        name: &str,
    ) -> Result<(Opinion, u64), Missing> {
        // Taken before, so that many at once cannot overdraw; what it did cost is settled after.
        let estimate = i64::try_from(text.len() / 3 + question.ask().len() + AROUND).unwrap_or(i64::MAX);
        if round.left.fetch_sub(estimate, Ordering::Relaxed) < estimate {
            round.left.fetch_add(estimate, Ordering::Relaxed);
            return Err(Missing::Costly);
        }
        if !lock(&self.minute).take(estimate, Instant::now()) {
            round.left.fetch_add(estimate, Ordering::Relaxed);
            return Err(Missing::Costly);
        }
        let answers = wording::answers(question);
        let body = wording::body(question, text, self.on_prem.model(), &answers, &name[..16]);
        let headers = self.headers(round);
        let asked = async {
            let _place = self.places.acquire().await.map_err(|_| Missing::Down)?;
            self.on_prem.ask(body, &headers).await.map_err(|_| Missing::Down)
        };
        let replied = tokio::time::timeout_at(round.until.into(), asked)
            .await
            .unwrap_or(Err(Missing::Late));
        let read = replied.and_then(|(status, reply)| match status {
            StatusCode::OK => reading::read(&reply, &answers),
            StatusCode::BAD_REQUEST if reading::is_too_long(&reply) => Err(Missing::TooLong),
            status if status.is_server_error() => Err(Missing::Down),
            _ => Err(Missing::Refused),
        });
        let spent = match &read {
            Ok((_, Some(tokens))) => i64::try_from(*tokens).unwrap_or(i64::MAX),
            Ok((_, None)) | Err(Missing::Unreadable | Missing::Late) => estimate,
            // Nothing was read.
            Err(_) => 0,
        };
        round.left.fetch_add(estimate - spent, Ordering::Relaxed);
        lock(&self.minute).give_back(estimate - spent);
        read.map(|(opinion, _)| (opinion, u64::try_from(spent).unwrap_or(0)))
    }

    /// What an answer is remembered by. Without the installation's key nobody can tell a text from it.
    fn name(&self, round: &Round<'_>, question: &Question, text: &str) -> String {
        let mut named = Vec::with_capacity(text.len() + 256);
        let parts = [self.upstream(), self.on_prem.model(), round.actor, question.ask()];
        let reasons = question.reasons().iter().map(AsRef::as_ref);
        for part in parts.into_iter().chain(reasons).chain([text]) {
            named.extend_from_slice(&(part.len() as u64).to_le_bytes());
            named.extend_from_slice(part.as_bytes());
        }
        keyed_digest(&self.key, &named)
    }

    fn headers(&self, round: &Round<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let salt = keyed_digest(&self.key, format!("cache salt\0{}", round.actor).as_bytes());
        let named = [
            ("x-cordon-exchange", round.exchange.to_string()),
            ("x-cordon-cache-salt", salt),
        ];
        named
            .into_iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
            })
            .collect()
    }

    /// What bounds its use.
    pub fn config(&self) -> &config::Questions {
        &self.config
    }
}

/// What is behind these locks is whole whenever a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
