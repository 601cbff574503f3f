//! Request bodies: from bytes to segments with their roles, and back with edits.
//!
//! Every text anywhere in the body is a segment; the role says whose words it holds, by where it
//! stands. The shape is checked only as far as roles depend on it: whether a request makes sense is
//! the upstream's to say, but a body in which the messages are not where they belong is none that
//! was inspected.
//!
//! Limits: [`Limits`]. On failure: a [`DecodeError`] with a message for the caller that tells a
//! position or an expectation, never content; the exchange is refused.

mod fields;

mod position;
pub(crate) use position::Station;

use std::fmt;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Segment, Splice, SpliceError, Text};

use crate::{
    Attachment, Endpoint, JsonError, JsonFault, Limits, Operation,
    json::{Bounds, Document, Kind, Value, scan},
};

/// A decoded request body.
pub struct RequestBody {
    document: Document,
    endpoint: Endpoint,
    model: Option<String>,
    stream: bool,
}

/// Reads a request body of an endpoint's dialect.
///
/// # Errors
/// When the body is over a limit, is not strict JSON, or lacks what the dialect asks for.
pub fn decode(endpoint: Endpoint, body: Bytes, limits: &Limits) -> Result<RequestBody, DecodeError> {
    if body.len() > limits.max_body {
        return Err(DecodeError::BodyTooLarge {
            limit: limits.max_body,
        });
    }
    if endpoint.operation == Operation::ListModels {
        return if body.is_empty() {
            Ok(RequestBody {
                document: Document::empty(),
                endpoint,
                model: None,
                stream: false,
            })
        } else {
            Err(DecodeError::Shape {
                expected: "no body, since listing models takes none",
            })
        };
    }
    let source = body.clone();
    let tree = scan(&source, &bounds(limits))?;
    let root = tree.root();
    check_shape(endpoint.dialect, root)?;
    let model = root.get("model").and_then(|model| model.text()).map(String::from);
    let stream = root
        .get("stream")
        .and_then(|stream| stream.as_bool())
        .unwrap_or(false);
    let position = Station::request(endpoint.dialect);
    let document = Document::read_with_files(body, &tree, limits, position, endpoint.dialect)?;
    Ok(RequestBody {
        document,
        endpoint,
        model,
        stream,
    })
}

pub(crate) fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        depth: limits.max_depth,
        values: limits.max_values(),
        duplicates: false,
    }
}

impl RequestBody {
    /// The model that is asked for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Whether the reply is to be streamed.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// What the body was decoded as.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The files in the body, in its order. They are no segments.
    pub fn attachments(&self) -> impl ExactSizeIterator<Item = &Attachment> {
        self.document.files()
    }

    /// Puts the texts that were read out of an attachment behind the segments, each with its way into the
    /// file (`a.zip!/b.pdf!/page 3`); once for each attachment. An edit of such a segment changes the file
    /// where it is a plain text, and otherwise puts a note in the file's place.
    pub fn read_out(&mut self, attachment: usize, texts: Vec<(String, Text)>) {
        self.document.read_out(attachment, texts);
    }
}

impl Splice for RequestBody {
    fn segments(&self) -> &[Segment] {
        self.document.segments()
    }

    fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError> {
        self.document.splice(edits)
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("endpoint", &self.endpoint)
            .field("bytes", &self.document.body().len())
            .field("segments", &self.document.segments().len())
            .finish_non_exhaustive()
    }
}

/// What is asked of a body before its texts are given roles.
fn check_shape(dialect: Dialect, root: Value<'_>) -> Result<(), DecodeError> {
    let shape = |expected| Err(DecodeError::Shape { expected });
    if root.kind() != Kind::Object {
        return shape("a JSON object");
    }
    let kind_of = |name| root.get(name).map(|value| value.kind());
    if !matches!(kind_of("model"), None | Some(Kind::String)) {
        return shape("`model` to be a string");
    }
    if !matches!(
        kind_of("stream"),
        None | Some(Kind::True | Kind::False | Kind::Null)
    ) {
        return shape("`stream` to be true or false");
    }
    match dialect {
        Dialect::OpenaiChat | Dialect::AnthropicMessages => {
            let Some(messages) = root.get("messages").filter(|value| value.kind() == Kind::Array) else {
                return shape("`messages` to be an array of messages");
            };
            if messages.items().any(|message| message.kind() != Kind::Object) {
                return shape("each of `messages` to be an object with `role` and `content`");
            }
        }
        Dialect::OpenaiResponses => match root.get("input") {
            Some(input) if input.kind() == Kind::String => {}
            Some(input) if input.kind() == Kind::Array => {
                if input.items().any(|item| item.kind() != Kind::Object) {
                    return shape("each item of `input` to be an object");
                }
            }
            // A stored prompt or an earlier response can stand for the input.
            None if ["prompt", "previous_response_id", "conversation"]
                .iter()
                .any(|name| kind_of(name).is_some()) => {}
            _ => return shape("`input` to be a string or an array of items"),
        },
        _ => return shape("a dialect that has request bodies"),
    }
    Ok(())
}

/// A body that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than the limit.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// More values or texts than the limit.
    #[error("the body holds more than {limit} texts, or too many values")]
    TooManySegments {
        /// The limit of texts.
        limit: usize,
    },
    /// More text, or more names above it, than the limit.
    #[error("the body holds more than {limit} bytes of text")]
    TooMuchText {
        /// The limit.
        limit: usize,
    },
    /// More files than the limit.
    #[error("the body holds more than {limit} files")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// Not strict JSON.
    #[error("the body is not acceptable JSON: {0}")]
    Json(JsonError),
    /// JSON, but not of the shape that the dialect has.
    #[error("the body does not have the expected shape: expected {expected}")]
    Shape {
        /// What was expected.
        expected: &'static str,
    },
}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl DecodeError {
    /// What the caller may be told: a position or an expectation, never content.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The HTTP status to refuse with: 413 for a limit, 400 for what is wrong in itself.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { .. }
            | Self::TooManySegments { .. }
            | Self::TooMuchText { .. }
            | Self::TooManyFiles { .. } => 413,
            Self::Json(JsonError {
                fault: JsonFault::TooManyValues | JsonFault::TooLong,
                ..
            }) => 413,
            Self::Json(_) | Self::Shape { .. } => 400,
        }
    }
}
