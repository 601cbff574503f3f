//! What a body is made of: which container its content type names, and the container's pieces as segments.
//!
//! An endpoint whose bodies are JSON takes JSON under whatever content type programs send by habit (none,
//! `text/plain`, curl's form), since it parses strictly. Where a body can be several things its content
//! type picks the container; one that contradicts the endpoint is refused.
//!
//! Places: numbers of fields in protobuf, `form:NAME` for a field or a part, `line:N` and `frame:N` before the pointer, `text` and `file`
//! for a body that is one text or one file.
//!
//! On failure: a [`DecodeError`].

use bytes::Bytes;
use cordon_domain::{Dialect, Role, Text};

use super::{DecodeError, form, multipart};
use crate::{
    Limits, attachment,
    envelopes::{self, Messages},
    json::{Document, Position, Spot, Value, Walk},
    protobuf,
    reply::Chunk,
};

/// What holds the texts of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// One JSON text.
    Json,
    /// A JSON text on each line.
    Lines,
    /// JSON texts that each end in the byte 0x1e, as SignalR frames them.
    Frames,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data` (RFC 7578).
    Multipart,
    /// One text.
    Text,
    /// One file.
    File,
    /// One message of protobuf, read without its schema.
    Protobuf,
    /// Such messages in the envelopes of gRPC and of Connect's streams.
    ProtobufEnvelopes,
    /// JSON texts in such envelopes.
    JsonEnvelopes,
}

impl Container {
    /// Whether its bytes are read as text, so that a character set makes a difference.
    pub(super) fn is_text(self) -> bool {
        use Container::{Form, Frames, Json, JsonEnvelopes, Lines, Text};
        matches!(self, Json | Lines | Frames | Form | Text | JsonEnvelopes)
    }
}

/// What a content type says.
pub(crate) struct MediaType {
    /// Type and subtype in lower case; empty where there is none.
    pub(crate) name: String,
    pub(crate) boundary: Option<String>,
    charset: Option<String>,
}

impl MediaType {
    /// Reads the value of a `content-type` header.
    pub(crate) fn read(value: Option<&str>) -> Result<Self, DecodeError> {
        let mut parts = value.unwrap_or_default().split(';');
        let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let (mut boundary, mut charset) = (None, None);
        for parameter in parts {
            let Some((key, value)) = parameter.split_once('=') else {
                continue;
            };
            let value = value.trim();
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value)
                .to_owned();
            let slot = match key.trim().to_ascii_lowercase().as_str() {
                "boundary" => &mut boundary,
                "charset" => &mut charset,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(DecodeError::ContentType {
                    expected: "each parameter once",
                });
            }
        }
        Ok(Self {
            name,
            boundary,
            charset,
        })
    }

    /// The container that it names; none for a type that names none.
    pub(crate) fn container(&self) -> Option<Container> {
        Some(match self.name.as_str() {
            "application/json" | "text/json" => Container::Json,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/jsonlines"
            | "application/json-lines"
            | "application/x-jsonlines" => Container::Lines,
            "application/x-www-form-urlencoded" => Container::Form,
            "multipart/form-data" => Container::Multipart,
            "application/proto" | "application/protobuf" | "application/x-protobuf" => Container::Protobuf,
            "application/connect+proto"
            | "application/grpc"
            | "application/grpc+proto"
            | "application/grpc-web"
            | "application/grpc-web+proto"
            | "application/grpc-web-text"
            | "application/grpc-web-text+proto" => Container::ProtobufEnvelopes,
            "application/connect+json" | "application/grpc+json" | "application/grpc-web+json" => {
                Container::JsonEnvelopes
            }
            "" => return None,
            name if name.ends_with("+json") => Container::Json,
            name if name.starts_with("text/") => Container::Text,
            _ => Container::File,
        })
    }

    /// Text in another encoding would be read as other words than the receiver reads: in UTF-7 or EBCDIC, plain
    /// letters are others. Latin-1 is what some libraries say of any JSON; read so, UTF-8 loses letters but gains none.
    pub(crate) fn check_charset(&self) -> Result<(), DecodeError> {
        let utf8 = |charset: &String| {
            ["utf-8", "utf8", "us-ascii", "iso-8859-1"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        };
        if self.charset.as_ref().is_none_or(utf8) {
            Ok(())
        } else {
            Err(DecodeError::ContentType {
                expected: "text in UTF-8",
            })
        }
    }
}

/// The container of a body: what the endpoint says, or what the content type does where the endpoint
/// leaves it open.
pub(crate) fn pick(
    expected: Option<Container>,
    media: &MediaType,
    body: &[u8],
) -> Result<Container, DecodeError> {
    use Container::{File, Form, Frames, Json, Lines, Text};
    let told = media.container();
    match (expected, told) {
        // A type that programs send by habit says nothing against what is parsed strictly.
        (Some(Json | Lines | Frames), None | Some(Json | Text | Form | File)) => Ok(expected.unwrap_or(Json)),
        (Some(expected), Some(told)) if expected == told => Ok(told),
        (Some(Text), None | Some(Text)) => Ok(Text),
        // An upload's type is that of the file.
        (Some(File), _) => Ok(File),
        (Some(_), _) => Err(DecodeError::ContentType {
            expected: "the type that this endpoint takes",
        }),
        (None, Some(told)) => Ok(told),
        (None, None) if matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) => Ok(Json),
        (None, None) => Err(DecodeError::ContentType {
            expected: "one that says what the body is",
        }),
    }
}

/// The segments of a body in a container that is not one JSON text.
pub(crate) fn read<P: Position>(
    container: Container,
    media: &MediaType,
    body: Bytes,
    limits: &Limits,
    files_of: Option<Dialect>,
    root: P,
    line: impl Fn(Value<'_>) -> Result<P, DecodeError>,
) -> Result<Document, DecodeError> {
    let came = body;
    let body = match container {
        Container::ProtobufEnvelopes | Container::JsonEnvelopes => envelopes::uncompressed(&came, limits)?,
        _ => came.clone(),
    };
    let source = body.clone();
    let mut walk = Walk::new(limits, files_of);
    match container {
        Container::Json => walk.json(utf8(&source)?, line, &mut String::new(), 0)?,
        Container::Lines => lines(&mut walk, utf8(&source)?, 0, "", &line)?,
        Container::Frames => frames(&mut walk, utf8(&source)?, &line)?,
        Container::Form => form::read(&mut walk, utf8(&source)?, root)?,
        Container::Multipart => {
            let boundary = multipart::Boundary::new(media)?;
            multipart::read(&mut walk, &source, &boundary, root, &line)?;
        }
        Container::Text => {
            let text = utf8(&source)?.to_owned();
            walk.piece(root, &mut "text".to_owned(), text, Spot::plain(0))?;
        }
        Container::File => {
            let told = Some(Text::from(attachment::clipped(&media.name)));
            walk.attach(Role::User, "file", None, told, source, 0)?;
        }
        Container::Protobuf => protobuf::read(&mut walk, &source, 0, None, root, &mut String::new())?,
        Container::ProtobufEnvelopes => {
            envelopes::read(&mut walk, &source, Messages::Protobuf, root, &line)?;
        }
        Container::JsonEnvelopes => envelopes::read(&mut walk, &source, Messages::Json, root, &line)?,
    }
    Ok(walk.finish(body).came_as(came))
}

/// The segments of a reply that is JSON in chunks.
pub(crate) fn chunks<P: Position>(
    chunks: &[Chunk],
    body: Bytes,
    limits: &Limits,
    root: P,
) -> Result<Document, DecodeError> {
    let source = body.clone();
    let text = utf8(&source)?;
    let mut walk = Walk::new(limits, None);
    for (number, chunk) in chunks.iter().enumerate() {
        let json = &text[chunk.json.clone()];
        walk.json(
            json,
            |_| Ok(root),
            &mut format!("chunk:{number}"),
            chunk.json.start,
        )?;
    }
    Ok(walk.finish(body))
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed {
        what: "text in UTF-8",
    })
}

/// JSON texts, one a line. Lines of nothing are passed over; they hold nothing.
pub(super) fn lines<P: Position>(
    walk: &mut Walk<'_>,
    source: &str,
    from: usize,
    around: &str,
    root: &impl Fn(Value<'_>) -> Result<P, DecodeError>,
) -> Result<(), DecodeError> {
    let mut start = 0;
    for (number, line) in source.split('\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            let mut place = format!("{around}line:{number}");
            walk.json(line, root, &mut place, from + start)?;
        }
        start += line.len() + 1;
    }
    Ok(())
}

/// What ends each of SignalR's frames.
pub(crate) const FRAME_END: u8 = 0x1e;

fn frames<P: Position>(
    walk: &mut Walk<'_>,
    source: &str,
    root: &impl Fn(Value<'_>) -> Result<P, DecodeError>,
) -> Result<(), DecodeError> {
    let mut start = 0;
    for (number, frame) in source.split(char::from(FRAME_END)).enumerate() {
        let last = start + frame.len() == source.len();
        if !frame.is_empty() {
            if last && number > 0 {
                return Err(DecodeError::Malformed {
                    what: "frames that each end in 0x1e",
                });
            }
            walk.json(frame, root, &mut format!("frame:{number}"), start)?;
        }
        start += frame.len() + 1;
    }
    Ok(())
}

/// Everything is somebody's words: the position in a body that no dialect describes.
#[derive(Clone, Copy)]
pub(crate) struct Anywhere(pub(crate) Role);

impl Position for Anywhere {
    fn enter(self, _object: Value<'_>) -> Self {
        self
    }

    fn member(self, _key: &str) -> Self {
        self
    }

    fn item(self, _index: usize) -> Self {
        self
    }

    fn inside(self) -> Self {
        self
    }

    fn role(self) -> Role {
        self.0
    }

    fn knows(self, key: &str) -> bool {
        super::fields::known(key)
    }
}
