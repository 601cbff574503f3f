//! From a request that is read to asks of the scheduler.

use cordon_domain::ExchangeId;
use hyper::HeaderMap;
use llama_cpp_2::token::LlamaToken;
use tokio::sync::mpsc::UnboundedReceiver;

use super::header;
use crate::{
    chat::{Answering, invalid},
    failure::Failure,
    form::{Form, Forms},
    models::{Chosen, Loaded},
    scheduler::{Ask, Piece},
};

/// Longest salt that is looked at.
const SALT_LENGTH: usize = 256;

/// For whom a request is answered, as the gateway says.
pub(super) struct Whom {
    exchange: Option<ExchangeId>,
    salt: Option<String>,
}

impl Whom {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            exchange: header(headers, "x-cordon-exchange").and_then(|id| id.parse().ok()),
            salt: header(headers, "x-cordon-cache-salt")
                .filter(|salt| salt.len() <= SALT_LENGTH)
                .map(str::to_owned),
        }
    }

    /// Puts one of a request's answers in the queue; `number` tells it from the others by its seed.
    pub(super) fn ask(
        &self,
        model: &Chosen,
        answering: &Answering,
        number: u32,
        prompt: Vec<LlamaToken>,
        form: Option<Form>,
    ) -> Result<UnboundedReceiver<Piece>, Failure> {
        let mut sampling = answering.sampling.clone();
        sampling.seed = sampling.seed.wrapping_add(number);
        model.loaded.scheduler.submit(Ask {
            prompt,
            sampling,
            stops: answering.stops.clone(),
            answer_limit: answering.answer_limit,
            reuse: answering.reuse,
            form,
            report: answering.report,
            salt: self.salt.clone(),
            adapter: model.adapter,
            exchange: self.exchange,
        })
    }
}

/// Refuses far too much text without tokenising it.
pub(super) fn bound(loaded: &Loaded, text: &str) -> Result<(), Failure> {
    let limit = loaded.scheduler.slot_length();
    let least = text.len() / loaded.weights.longest_piece();
    if least > limit {
        return Err(Failure::ContextLength {
            tokens: least,
            exact: false,
            limit,
        });
    }
    Ok(())
}

/// Refuses answers of weights that give none, and more than could ever be under way or wait at once.
fn can_answer(loaded: &Loaded, count: usize) -> Result<(), Failure> {
    if !loaded.weights.generates() {
        return Err(Failure::Unsupported {
            param: "model".to_owned(),
            why: "these weights embed texts and do not answer; use /v1/embeddings",
        });
    }
    if count > loaded.scheduler.most_at_once() {
        return Err(invalid(
            "n",
            "asks for more answers than this engine takes at once",
        ));
    }
    Ok(())
}

/// The form of each of a request's answers, of which there are `count`; each keeps its own place in it.
pub(super) fn forms(
    loaded: &Loaded,
    answering: &mut Answering,
    count: usize,
) -> Result<Vec<Option<Form>>, Failure> {
    if answering.ignore_end {
        answering.sampling.never = loaded.weights.ends().to_vec();
    }
    can_answer(loaded, count)?;
    let format = answering.format.take();
    (0..count)
        .map(|_| match &format {
            Some((format, param)) => Ok(Some(vocabulary(loaded)?.of(format.clone(), param)?)),
            None => Ok(None),
        })
        .collect()
}

/// What forms are made from, made at its first use: most engines are never asked for one.
fn vocabulary(loaded: &Loaded) -> Result<&Forms, Failure> {
    if let Some(forms) = loaded.forms.get() {
        return Ok(forms);
    }
    let made = Forms::new(&loaded.weights).map_err(|error| {
        tracing::error!(%error, "answers in a set form are not possible with these weights");
        Failure::Unsupported {
            param: "response_format".to_owned(),
            why: "these weights have no usable vocabulary for it",
        }
    })?;
    // Another request may have been first; both are the same.
    Ok(loaded.forms.get_or_init(|| made))
}

/// The seed of a request that brings none.
pub(super) fn fresh_seed() -> u32 {
    // Without randomness from the system the answer is merely the same each time.
    getrandom::u32().unwrap_or(0)
}
