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

pub(crate) mod shape;

mod container;
pub use container::Container;
pub(crate) use container::{Anywhere, FRAME_END, MediaType};

mod form;

mod multipart;

mod described;
pub(crate) use described::Described;

use std::fmt;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Role, Segment, Splice, SpliceError, Text};

use crate::{
    Attachment, Endpoint, JsonError, JsonFault, Limits, Operation,
    json::{Bounds, Document, Kind, Value, scan},
    reply::Chunk,
};

/// A decoded request body.
pub struct RequestBody {
    document: Document,
    endpoint: Endpoint,
    model: Option<String>,
    stream: bool,
    usage: bool,
    /// Of a multipart body.
    boundary: Option<multipart::Boundary>,
}

/// Reads a request body of an endpoint's dialect that is JSON.
///
/// # Errors
/// When the body is over a limit, is not strict JSON, or lacks what the dialect asks for.
pub fn decode(endpoint: Endpoint, body: Bytes, limits: &Limits) -> Result<RequestBody, DecodeError> {
    decode_as(endpoint, None, body, limits)
}

/// Reads a request body of an endpoint's dialect, in the container that its content type names. At an
/// endpoint of [`Dialect::Unknown`] it is read string by string, each as the user's words.
///
/// # Errors
/// When the body is over a limit, is not what its container asks for, or lacks what the dialect asks for.
pub fn decode_as(
    endpoint: Endpoint,
    content_type: Option<&str>,
    body: Bytes,
    limits: &Limits,
) -> Result<RequestBody, DecodeError> {
    if body.len() > limits.max_body {
        return Err(DecodeError::BodyTooLarge {
            limit: limits.max_body,
        });
    }
    match endpoint.operation {
        Operation::ListModels if !body.is_empty() => {
            return Err(DecodeError::Shape {
                expected: "no body, since listing models takes none",
            });
        }
        Operation::ListModels | Operation::Manage | Operation::Upload if body.is_empty() => {
            return Ok(RequestBody {
                document: Document::empty(),
                endpoint,
                model: None,
                stream: endpoint.streamed.unwrap_or(false),
                usage: false,
                boundary: None,
            });
        }
        _ => {}
    }
    let media = MediaType::read(content_type)?;
    let expected = match (endpoint.shape, endpoint.dialect, endpoint.operation) {
        (Some(shape), ..) => shape.container,
        (None, Dialect::Unknown, _) => None,
        // Files and sounds come as forms, or by what JSON says of them.
        (None, _, Operation::Upload | Operation::Convert)
            if media.container() == Some(Container::Multipart) =>
        {
            Some(Container::Multipart)
        }
        _ => Some(Container::Json),
    };
    let container = container::pick(expected, &media, &body)?;
    if container.is_text() {
        media.check_charset()?;
    }
    let dialect = endpoint.dialect;
    if let Some(shape) = endpoint.shape {
        let root = Described::request(shape);
        let document = container::read(container, &media, body, limits, Some(dialect), root, |_| Ok(root))?;
        let model = shape.model.as_deref().and_then(|place| text_at(&document, place));
        return RequestBody::of(endpoint, document, model, container, &media);
    }
    if dialect == Dialect::Unknown {
        let root = container::Anywhere(Role::User);
        let document = container::read(container, &media, body, limits, Some(dialect), root, |_| Ok(root))?;
        return RequestBody::of(endpoint, document, None, container, &media);
    }
    if container != Container::Json {
        let root = Station::request(dialect);
        let of_line = |line: Value<'_>| station_of_line(line).map(|(_, _, station)| station);
        let document = container::read(container, &media, body, limits, Some(dialect), root, of_line)?;
        let model = text_at(&document, "form:model");
        return RequestBody::of(endpoint, document, model, container, &media);
    }
    read(endpoint, body, limits, |root| shape::check(endpoint, root))
}

/// Reads a body that `check` finds fit.
pub(crate) fn read(
    endpoint: Endpoint,
    body: Bytes,
    limits: &Limits,
    check: impl FnOnce(Value<'_>) -> Result<(), DecodeError>,
) -> Result<RequestBody, DecodeError> {
    let dialect = endpoint.dialect;
    let source = body.clone();
    let tree = scan(&source, &bounds(limits))?;
    let root = tree.root();
    check(root)?;
    let document = Document::read_with_files(body, &tree, limits, Station::request(dialect), dialect)?;
    Ok(RequestBody {
        document,
        endpoint,
        model: model_of(dialect, root),
        stream: is_streamed(endpoint, root),
        usage: matches!(dialect, Dialect::OpenaiChat | Dialect::OpenaiCompletions)
            && crate::translate::asks_for_usage(root),
        boundary: None,
    })
}

/// A reply that is described or unknown, in protobuf or in envelopes if its content type says so; else none.
pub(crate) fn reply_framed(
    endpoint: Endpoint,
    content_type: &str,
    body: &Bytes,
    limits: &Limits,
) -> Option<Result<Document, DecodeError>> {
    let container = MediaType::read(Some(content_type)).ok()?.container()?;
    matches!(
        container,
        Container::Protobuf | Container::ProtobufEnvelopes | Container::JsonEnvelopes
    )
    .then(|| reply_in(container, endpoint, body.clone(), limits))
}

/// A reply that is described or unknown, in that container.
pub(crate) fn reply_in(
    container: Container,
    endpoint: Endpoint,
    body: Bytes,
    limits: &Limits,
) -> Result<Document, DecodeError> {
    let media = MediaType::read(None)?;
    match endpoint.shape {
        Some(shape) => {
            let root = Described::reply(shape);
            container::read(container, &media, body, limits, None, root, |_| Ok(root))
        }
        None => {
            let root = Anywhere(Role::Assistant);
            container::read(container, &media, body, limits, None, root, |_| Ok(root))
        }
    }
}

/// A described or unknown reply that is JSON in chunks.
pub(crate) fn reply_chunks(
    chunks: &[Chunk],
    endpoint: Endpoint,
    body: Bytes,
    limits: &Limits,
) -> Result<Document, DecodeError> {
    match endpoint.shape {
        Some(shape) => container::chunks(chunks, body, limits, Described::reply(shape)),
        None => container::chunks(chunks, body, limits, Anywhere(Role::Assistant)),
    }
}

/// The text at one place of a body.
fn text_at(document: &Document, place: &str) -> Option<String> {
    document
        .segments()
        .iter()
        .find(|segment| segment.place.as_str() == place)
        .map(|segment| segment.text.as_str().to_owned())
}

/// Reads one line of a file of requests, as the request of the `url` that it names.
///
/// A line that names none is read string by string: the examples that a model is tuned with, and requests whose
/// endpoint the batch itself names, as Mistral's do. Roles are then those of `openai-chat`.
///
/// # Errors
/// When it is over a limit, is not strict JSON, or what it holds is none of its `url`'s.
pub fn decode_line(line: Bytes, limits: &Limits) -> Result<RequestBody, DecodeError> {
    if line.len() > limits.max_body {
        return Err(DecodeError::BodyTooLarge {
            limit: limits.max_body,
        });
    }
    let source = line.clone();
    let tree = scan(&source, &bounds(limits))?;
    let root = tree.root();
    let (endpoint, body, at) = station_of_line(root)?;
    Ok(RequestBody {
        endpoint,
        model: model_of(endpoint.dialect, body),
        stream: false,
        usage: false,
        document: Document::read_with_files(line, &tree, limits, at, endpoint.dialect)?,
        boundary: None,
    })
}

/// What a line of a file of requests asks for, its body, and where the walk of the line starts.
fn station_of_line(root: Value<'_>) -> Result<(Endpoint, Value<'_>, Station), DecodeError> {
    match (root.get("url").and_then(|url| url.text()), root.get("body")) {
        (Some(url), Some(body)) => {
            let endpoint = crate::endpoint("POST", None, &url).ok_or(DecodeError::Shape {
                expected: "the `url` of each line to be one that is known",
            })?;
            shape::check(endpoint, body)?;
            Ok((endpoint, body, Station::line(endpoint.dialect)))
        }
        (None, Some(body)) if body.kind() == Kind::Object => {
            shape::line(body)?;
            let endpoint = Endpoint::new(Dialect::OpenaiChat, Operation::Upload);
            Ok((endpoint, body, Station::line(endpoint.dialect)))
        }
        _ => {
            let endpoint = Endpoint::new(Dialect::OpenaiChat, Operation::Upload);
            Ok((endpoint, root, Station::request(endpoint.dialect)))
        }
    }
}

/// The model that a JSON body names.
#[must_use]
pub fn model_in_body(body: &[u8]) -> Option<String> {
    let bounds = Bounds {
        depth: usize::MAX,
        values: usize::MAX,
        duplicates: true,
    };
    let tree = scan(body, &bounds).ok()?;
    tree.root()
        .get("model")
        .and_then(|model| model.text())
        .map(String::from)
}

/// The model that a body asks for; of a batch, the one that all its requests ask for.
fn model_of(dialect: Dialect, root: Value<'_>) -> Option<String> {
    let model = |value: Value<'_>| {
        value
            .get("model")
            .and_then(|model| model.text())
            .map(String::from)
    };
    if dialect != Dialect::AnthropicBatches {
        return model(root);
    }
    let mut asked = root
        .get("requests")?
        .items()
        .map(|request| request.get("params").and_then(model));
    let first = asked.next()??;
    asked
        .all(|model| model.as_deref() == Some(first.as_str()))
        .then_some(first)
}

fn is_streamed(endpoint: Endpoint, root: Value<'_>) -> bool {
    // Ollama streams unless it is told not to.
    let by_itself = endpoint.dialect == Dialect::Ollama && endpoint.operation == Operation::Generate;
    endpoint.streamed.unwrap_or_else(|| {
        root.get("stream")
            .and_then(|stream| stream.as_bool())
            .unwrap_or(by_itself)
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
    /// A body in a container of pieces.
    fn of(
        endpoint: Endpoint,
        document: Document,
        model: Option<String>,
        container: Container,
        media: &MediaType,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            document,
            endpoint,
            model,
            stream: endpoint.streamed.unwrap_or(false),
            usage: false,
            boundary: (container == Container::Multipart)
                .then(|| multipart::Boundary::new(media))
                .transpose()?,
        })
    }

    /// Lets the model that the path names, if it does, go before one in the body.
    #[must_use]
    pub fn at_path(mut self, host: Option<&str>, path: &str) -> Self {
        self.model = crate::model_in_path(host, path).or(self.model);
        self
    }

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

    /// Whether a streaming caller of `openai-chat` asked for usage itself, and so expects the chunk that carries it.
    #[must_use]
    pub fn asks_for_usage(&self) -> bool {
        self.usage
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
        let edited = self.document.splice(edits)?;
        if let Some(boundary) = self.boundary.as_ref().filter(|_| !edits.is_empty()) {
            boundary.same_in(self.document.body(), &edited)?;
        }
        Ok(edited)
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
    /// A content type that contradicts the endpoint or says too little.
    #[error("the content type is not acceptable: expected {expected}")]
    ContentType {
        /// What was expected.
        expected: &'static str,
    },
    /// Not what its container asks for.
    #[error("the body is malformed: expected {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
    },
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
            Self::ContentType { .. } => 415,
            Self::Json(_) | Self::Malformed { .. } | Self::Shape { .. } => 400,
        }
    }
}
