//! Plain replies: like requests, for the way back.
//!
//! The texts of a reply are segments so that the inspector can look at them and originals can be put
//! where placeholders stand. The arguments of a tool call are a JSON text in a string, so their segments
//! are the texts within it, and what is put there is escaped for both.
//!
//! A reply is not asked to be of a certain shape: an error object or a field of tomorrow passes as it
//! came. Where an endpoint gives out files, sound or plain text, a reply need not be one JSON text: lines of JSON are
//! read each, a text is one segment, and anything else has none.
//!
//! Limits: [`Limits`]. On failure: a [`DecodeError`]; the reply is not handed on.

use std::fmt;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Place, Role, Segment, Splice, SpliceError, Text};

use crate::{
    Container, DecodeError, Endpoint, Limits, Operation,
    json::{Document, in_order, scan},
    request::{self, Anywhere, Described, Station},
};

mod counted;
pub(crate) use counted::Chunk;

mod usage;
pub use usage::Usage;
pub(crate) use usage::{counts, usage_of};

/// A decoded plain reply.
pub struct ReplyBody {
    content: Content,
    model: Option<String>,
    usage: Option<Usage>,
}

enum Content {
    /// Texts within JSON, lines of it, or protobuf.
    Read(Document),
    /// Lines of JSON, each behind its length.
    Counted(Document, Vec<Chunk>),
    /// A text, which is its one segment.
    Text(Bytes, [Segment; 1]),
    /// Sound, a picture, a file.
    Opaque(Bytes),
}

/// Reads a plain reply of an endpoint by what its head says it is.
///
/// # Errors
/// When the body is over a limit, or is not strict JSON where the endpoint answers with nothing else.
pub fn decode_reply_of(
    endpoint: Endpoint,
    content_type: &str,
    body: Bytes,
    limits: &Limits,
) -> Result<ReplyBody, DecodeError> {
    let plain = |content| {
        Ok(ReplyBody {
            content,
            model: None,
            usage: None,
        })
    };
    if body.is_empty() {
        return plain(Content::Opaque(body));
    }
    let kind = content_type.trim_start().to_ascii_lowercase();
    let gives_files = matches!(
        endpoint.operation,
        Operation::Convert | Operation::Upload | Operation::Manage
    );
    if gives_files
        && ["audio/", "image/", "video/"]
            .iter()
            .any(|media| kind.starts_with(media))
    {
        return plain(Content::Opaque(body));
    }
    let open = endpoint.dialect == Dialect::Unknown || endpoint.shape.is_some();
    if open && let Some(read) = request::reply_framed(endpoint, content_type, &body, limits) {
        return match read {
            Ok(document) => plain(Content::Read(document)),
            Err(_) => plain(Content::Opaque(body)),
        };
    }
    match decode_reply(endpoint, body.clone(), limits) {
        // Pages and applications answer with anything, and files hold anything. What holds JSON a line, as the answers to
        // a batch, is read line by line.
        Err(DecodeError::Json(_)) if open || gives_files => {
            if let Some(chunks) = std::str::from_utf8(&body).ok().and_then(counted::chunks)
                && let Ok(document) = request::reply_chunks(&chunks, endpoint, body.clone(), limits)
            {
                return plain(Content::Counted(document, chunks));
            }
            match request::reply_in(Container::Lines, endpoint, body.clone(), limits) {
                Ok(document) => plain(Content::Read(document)),
                Err(_) => plain(text(&kind, &body).unwrap_or(Content::Opaque(body))),
            }
        }
        read => read,
    }
}

/// A reply that says it is a plain text, and is one.
fn text(kind: &str, body: &Bytes) -> Option<Content> {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|_| kind.starts_with("text/plain"))?;
    let segment = Segment {
        place: Place::new(""),
        role: Role::Assistant,
        text: Text::from(text.to_owned()),
    };
    Some(Content::Text(body.clone(), [segment]))
}

/// Reads a plain reply of an endpoint's dialect, which is JSON.
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
    let answer = root.get("response").unwrap_or(root);
    let model = ["model", "modelVersion"]
        .iter()
        .find_map(|name| answer.get(name).and_then(|model| model.text()).map(String::from));
    let usage = usage_of(root);
    let document = match (endpoint.shape, endpoint.dialect) {
        (Some(shape), _) => Document::read(body, &tree, limits, Described::reply(shape))?,
        (None, Dialect::Unknown) => Document::read(body, &tree, limits, Anywhere(Role::Assistant))?,
        (None, dialect) => Document::read(body, &tree, limits, Station::reply(dialect))?,
    };
    Ok(ReplyBody {
        content: Content::Read(document),
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

impl Splice for ReplyBody {
    fn segments(&self) -> &[Segment] {
        match &self.content {
            Content::Read(document) | Content::Counted(document, _) => document.segments(),
            Content::Text(_, segments) => segments,
            Content::Opaque(_) => &[],
        }
    }

    fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError> {
        let (body, segments) = match &self.content {
            Content::Read(document) => return document.splice(edits),
            Content::Counted(document, chunks) => {
                let edited = document.splice(edits)?;
                return Ok(counted::set_right(document.body(), chunks, edited));
            }
            Content::Text(body, segments) => (body, segments.as_slice()),
            Content::Opaque(body) => (body, &[][..]),
        };
        let mut out = Vec::with_capacity(body.len());
        let mut copied = 0;
        for edit in in_order(segments, edits)? {
            out.extend_from_slice(&body[copied..edit.span.start]);
            out.extend_from_slice(edit.replacement.as_bytes());
            copied = edit.span.end;
        }
        out.extend_from_slice(&body[copied..]);
        Ok(out.into())
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.content {
            Content::Read(document) | Content::Counted(document, _) => document.body().len(),
            Content::Text(body, _) | Content::Opaque(body) => body.len(),
        };
        f.debug_struct("ReplyBody")
            .field("bytes", &bytes)
            .field("segments", &self.segments().len())
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}
