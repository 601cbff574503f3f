//! `multipart/form-data` (RFC 7578): parts of text and JSON as segments at `form:NAME`, files as
//! [`Attachment`](crate::Attachment)s; a file's name, and headers beside the usual, are segments, too.
//!
//! Strict, because the upstream's parser is not ours: nothing but line ends may stand before the first and
//! behind the last part, the boundary may stand nowhere but in a delimiter, lines of headers end in CR LF
//! and are not folded, and a part is neither encoded nor a multipart itself. An edit that would make another
//! boundary is refused when it is put in ([`Boundary::same_in`]).
//!
//! On failure: a [`DecodeError`].

use bytes::Bytes;
use cordon_domain::{Role, SpliceError, Text};
use memchr::memmem;

use super::{
    DecodeError,
    container::{Container, MediaType, lines, utf8},
};
use crate::{
    attachment,
    envelope::is_media,
    json::{OffsetMap, Position, Spot, Value, Walk, Writing},
};

/// The longest boundary (RFC 2046).
const LONGEST_BOUNDARY: usize = 70;
/// Parts of one body.
const MOST_PARTS: usize = 1024;
/// Headers of one part, and bytes of them.
const MOST_HEADERS: usize = 16;
const HEADER_BYTES: usize = 8 << 10;

/// What stands between the parts of a body, dashes included.
pub(super) struct Boundary(String);

impl Boundary {
    /// The boundary that a content type names.
    pub(super) fn new(media: &MediaType) -> Result<Self, DecodeError> {
        let fits = |boundary: &&String| {
            let of_boundary = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
            (1..=LONGEST_BOUNDARY).contains(&boundary.len())
                && boundary.bytes().all(of_boundary)
                && !boundary.ends_with(' ')
        };
        match media.boundary.as_ref().filter(fits) {
            Some(boundary) => Ok(Self(format!("--{boundary}"))),
            None => malformed("a boundary of 1 to 70 characters in the content type"),
        }
    }

    /// Whether an edited body has its boundaries where the body itself had them: as many, that is.
    pub(super) fn same_in(&self, body: &[u8], edited: &[u8]) -> Result<(), SpliceError> {
        let count = |bytes| memmem::find_iter(bytes, self.0.as_bytes()).count();
        if count(body) == count(edited) {
            Ok(())
        } else {
            Err(SpliceError::Boundary)
        }
    }
}

fn malformed<T>(what: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Malformed { what })
}

pub(super) fn read<P: Position>(
    walk: &mut Walk<'_>,
    body: &Bytes,
    boundary: &Boundary,
    root: P,
    line: &impl Fn(Value<'_>) -> Result<P, DecodeError>,
) -> Result<(), DecodeError> {
    let delimiter = boundary.0.as_bytes();
    let mut found: Vec<usize> = memmem::find_iter(body, delimiter).take(MOST_PARTS + 2).collect();
    if found.len() > MOST_PARTS + 1 {
        return malformed("at most 1024 parts");
    }
    if found.first() != Some(&0) {
        return malformed("nothing before the first boundary");
    }
    let Some(last) = found.pop() else {
        return malformed("parts between boundaries");
    };
    if !matches!(&body[last + delimiter.len()..], b"--" | b"--\r\n") {
        return malformed("nothing behind the last boundary");
    }
    let ends = found.iter().skip(1).copied().chain([last]);
    for (&at, end) in found.iter().zip(ends) {
        let start = at + delimiter.len();
        // Of a part the line ends around it belong to the delimiters.
        let content = body
            .get(start + 2..end.saturating_sub(2))
            .filter(|_| body[start..].starts_with(b"\r\n") && body[..end].ends_with(b"\r\n"));
        match content {
            Some(content) => part(walk, body, content, start + 2, root, line)?,
            None => return malformed("boundaries on lines of their own"),
        }
    }
    Ok(())
}

fn part<P: Position>(
    walk: &mut Walk<'_>,
    body: &Bytes,
    part: &[u8],
    start: usize,
    root: P,
    line: &impl Fn(Value<'_>) -> Result<P, DecodeError>,
) -> Result<(), DecodeError> {
    let Some(end) = memmem::find(part, b"\r\n\r\n").filter(|&end| end <= HEADER_BYTES) else {
        return malformed("each part with its headers");
    };
    let headers = Headers::read(walk, utf8(&part[..end])?, start)?;
    let (content, start) = (&part[end + 4..], start + end + 4);
    let Some((name, name_at)) = headers.name else {
        return malformed("each part with a name");
    };
    let at = root.member(name);
    if !root.knows(name) {
        let spot = in_header(name_at);
        walk.word(Role::Other, format!("key:form:{name}"), name.to_owned(), spot)?;
    }
    let place = format!("form:{name}");
    if let Some((filename, filename_at)) = headers.filename {
        let spot = in_header(filename_at);
        walk.word(at.role(), format!("{place}:filename"), filename.to_owned(), spot)?;
    }
    let of_lines = headers.media.container() == Some(Container::Lines)
        || headers
            .filename
            .is_some_and(|(name, _)| name.to_ascii_lowercase().ends_with(".jsonl"));
    match headers.media.container() {
        _ if of_lines => lines(walk, utf8(content)?, start, &format!("{place}/"), line),
        Some(Container::Json) if headers.filename.is_none() => {
            headers.media.check_charset()?;
            walk.json(
                utf8(content)?,
                |_| Ok(at.inside()),
                &mut format!("{place}#"),
                start,
            )
        }
        None | Some(Container::Text) if headers.filename.is_none() => {
            headers.media.check_charset()?;
            let text = utf8(content)?.to_owned();
            walk.piece(at, &mut place.clone(), text, Spot::plain(start))
        }
        _ => {
            let name = headers
                .filename
                .map(|(name, _)| Text::from(attachment::clipped(name)));
            let told = &headers.media.name;
            let told = (!told.is_empty()).then(|| Text::from(attachment::clipped(told)));
            let bytes = body.slice(start..start + content.len());
            // Nobody says whose words a file holds: it is the user's own.
            let role = if at.role() == Role::Other {
                Role::User
            } else {
                at.role()
            };
            walk.attach(role, &place, name, told, bytes, start)
        }
    }
}

/// A text of a part's header: no escapes are resolved there, since parsers differ in which they know.
fn in_header(start: usize) -> Spot {
    Spot {
        start,
        map: OffsetMap::default(),
        writing: Writing::Header,
    }
}

/// What the headers of a part say; each text with where it starts.
struct Headers<'b> {
    name: Option<(&'b str, usize)>,
    filename: Option<(&'b str, usize)>,
    media: MediaType,
}

impl<'b> Headers<'b> {
    fn read(walk: &mut Walk<'_>, source: &'b str, start: usize) -> Result<Self, DecodeError> {
        let (mut name, mut filename, mut media, mut disposed) = (None, None, None, false);
        let mut at = start;
        for (number, line) in source.split("\r\n").enumerate() {
            let Some((key, value)) = line.split_once(':').filter(|(key, _)| is_token(key)) else {
                return malformed("headers of parts as NAME: VALUE");
            };
            if number >= MOST_HEADERS || value.chars().any(|c| c.is_control() && c != '\t') {
                return malformed("few and plain headers of parts");
            }
            let value_at = at + key.len() + 1;
            match key.to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    if std::mem::replace(&mut disposed, true) {
                        return malformed("one disposition a part");
                    }
                    (name, filename) = disposition(value, value_at)?;
                }
                "content-type" => {
                    if !is_media(value.as_bytes()) {
                        let place = "form:header:content-type".to_owned();
                        walk.word(Role::Other, place, value.to_owned(), in_header(value_at))?;
                    }
                    if media.replace(MediaType::read(Some(value))?).is_some() {
                        return malformed("one content type a part");
                    }
                }
                "content-transfer-encoding" => {
                    let plain = ["binary", "8bit", "7bit"];
                    if !plain.iter().any(|known| value.trim().eq_ignore_ascii_case(known)) {
                        return malformed("parts that are not encoded");
                    }
                }
                "content-length" if value.trim_ascii().bytes().all(|byte| byte.is_ascii_digit()) => {}
                other => {
                    let place = format!("form:header:{other}");
                    walk.word(Role::Other, place, value.to_owned(), in_header(value_at))?;
                }
            }
            at += line.len() + 2;
        }
        let media = match media {
            Some(media) => media,
            None => MediaType::read(None)?,
        };
        if media.name.starts_with("multipart/") || media.name.starts_with("message/") {
            return malformed("no parts within parts");
        }
        Ok(Self {
            name,
            filename,
            media,
        })
    }
}

type Named<'b> = Option<(&'b str, usize)>;

/// The name and the file's name of `form-data; name="..."; filename="..."`.
fn disposition(value: &str, start: usize) -> Result<(Named<'_>, Named<'_>), DecodeError> {
    let unclear = || malformed("a disposition of form-data with quoted names");
    let trimmed = value.trim_ascii_start();
    let Some(mut rest) = trimmed
        .get(.."form-data".len())
        .filter(|kind| kind.eq_ignore_ascii_case("form-data"))
        .map(|kind| &trimmed[kind.len()..])
    else {
        return unclear();
    };
    let (mut name, mut filename) = (None, None);
    loop {
        rest = rest.trim_ascii();
        if rest.is_empty() {
            return Ok((name, filename));
        }
        let Some((key, after)) = rest.strip_prefix(';').and_then(|rest| rest.split_once('=')) else {
            return unclear();
        };
        let (text, behind) = match after.strip_prefix('"') {
            // A backslash is an escape to one parser and a character to another.
            Some(quoted) => match quoted.split_once('"') {
                Some((text, behind)) if !text.contains('\\') => (text, behind),
                _ => return unclear(),
            },
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (text, behind) = after.split_at(end);
                if !is_token(text.trim_ascii()) {
                    return unclear();
                }
                (text.trim_ascii(), behind)
            }
        };
        // Both lie in `value`, so the distance is where the text starts.
        let at = start + (text.as_ptr() as usize - value.as_ptr() as usize);
        let slot = match key.trim_ascii().to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut filename,
            // A second name for the same file: nobody knows which of them counts.
            _ => return unclear(),
        };
        if slot.replace((text, at)).is_some() {
            return unclear();
        }
        rest = behind;
    }
}

fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}
