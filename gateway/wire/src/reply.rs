//! Plain replies: like requests, for the way back.
//!
//! The texts of a reply are segments so that the inspector can look at them and originals can be put
//! where placeholders stand. The arguments of a tool call are a JSON text in a string, so their segments
//! are the texts within it, and what is put there is escaped for both.
//!
//! A reply is not asked to be of a certain shape: an error object or a field of tomorrow passes as it
//! came. Limits: [`Limits`]. On failure: a [`DecodeError`]; the reply is not handed on.

use std::fmt;

use bytes::Bytes;
use cordon_domain::{Edit, Segment, Splice, SpliceError};

use crate::{
    DecodeError, Endpoint, Limits,
    json::{Document, Value, scan},
    request::{self, Station},
};

/// A decoded plain reply.
pub struct ReplyBody {
    document: Document,
    model: Option<String>,
    usage: Option<Usage>,
}

/// LLM tokens that an exchange took, as the upstream counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the request, those read from a cache included.
    pub input: u64,
    /// Tokens of the reply, reasoning included.
    pub output: u64,
}

/// Reads a plain reply of an endpoint's dialect.
///
/// # Errors
/// When the body is over a limit or is not strict JSON.
pub fn decode_reply(endpoint: Endpoint, body: Bytes, limits: &Limits) -> Result<ReplyBody, DecodeError> {
    if body.len() > limits.max_body {
        return Err(DecodeError::BodyTooLarge {
            limit: limits.max_body,
        });
    }
    let source = body.clone();
    let tree = scan(&source, &request::bounds(limits))?;
    let root = tree.root();
    let model = root.get("model").and_then(|model| model.text()).map(String::from);
    let usage = usage_of(root);
    let document = Document::read(body, &tree, limits, Station::reply(endpoint.dialect))?;
    Ok(ReplyBody {
        document,
        model,
        usage,
    })
}

impl ReplyBody {
    /// The LLM tokens that the reply says it took.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The model that the reply says it is from.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// The usage that an object tells: a whole reply, or the part of a stream that carries it.
pub(crate) fn usage_of(object: Value<'_>) -> Option<Usage> {
    // Counting answers with the bare number.
    let usage = object.get("usage").unwrap_or(object);
    let count = |name: &str| usage.get(name).and_then(|value| value.as_u64());
    let input = count("input_tokens").or_else(|| count("prompt_tokens"));
    let output = count("output_tokens").or_else(|| count("completion_tokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    // Anthropic leaves cached tokens out of `input_tokens`; OpenAI names them inside `..._details`.
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"]
        .into_iter()
        .filter_map(count);
    let input = cached.fold(input.unwrap_or(0), u64::saturating_add);
    Some(Usage {
        input,
        output: output.unwrap_or(0),
    })
}

impl Splice for ReplyBody {
    fn segments(&self) -> &[Segment] {
        self.document.segments()
    }

    fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError> {
        self.document.splice(edits)
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody")
            .field("bytes", &self.document.body().len())
            .field("segments", &self.document.segments().len())
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}
