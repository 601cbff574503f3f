//! The walk through a body's values, which gathers its segments and files.
//!
//! Depth costs no stack. What it may gather is bounded by [`Limits`] over all pieces of a body.
//!
//! On failure: a [`DecodeError`], when the body is over a limit.

use std::{cell::OnceCell, fmt::Write as _, ops::Range};

use bytes::Bytes;
use cordon_domain::{Dialect, Place, Role, Segment, Text};

use super::{
    Document, Layer, LengthWriting, Position, Site, Spot, Writing,
    files::{File, Told},
    lengths::Length,
};
use crate::{
    Limits,
    json::{Bounds, JsonError, JsonFault, Kind, Tree, Value, scan::scan_str},
    request::DecodeError,
};

/// How many JSON texts inside strings are looked through, one in another. Each level doubles the
/// backslashes of the one above, so honest bodies stay at one or two.
pub(super) const NESTING: usize = 4;

/// Digits from which a number can be somebody's card, phone or identity number.
pub(super) const LONG_NUMBER: usize = 7;

/// Gathers the segments of one body, piece by piece, within the limits of the whole.
pub(crate) struct Walk<'l> {
    limits: &'l Limits,
    values_left: usize,
    text: usize,
    places: usize,
    pub(super) segments: Vec<Segment>,
    sites: Vec<Site>,
    layers: Vec<Layer>,
    /// The dialect by which files are told from texts; none where all are texts.
    pub(super) files_of: Option<Dialect>,
    pub(super) files: Vec<File>,
    lengths: Vec<Length>,
}

/// A container that the walk is in.
pub(super) struct Frame<'t, P> {
    pub(super) value: Value<'t>,
    at: P,
    /// Length of the container's own pointer.
    pub(super) pointer: usize,
    next_index: usize,
    /// Boxed, since few containers hold a file and a body may nest many.
    pub(super) told: OnceCell<Box<Told>>,
}

impl<'l> Walk<'l> {
    pub(crate) fn new(limits: &'l Limits, files_of: Option<Dialect>) -> Self {
        Self {
            limits,
            values_left: limits.max_values(),
            text: 0,
            places: 0,
            segments: Vec::new(),
            sites: Vec::new(),
            layers: Vec::new(),
            files_of,
            files: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// Whether files are told from texts, as in requests.
    pub(crate) fn tells_files(&self) -> bool {
        self.files_of.is_some()
    }

    /// How many values the body may still hold.
    pub(crate) fn values_left(&self) -> usize {
        self.values_left
    }

    /// Counts values that are not of JSON.
    pub(crate) fn spend(&mut self, values: usize) -> Result<(), DecodeError> {
        self.values_left = self.values_left.checked_sub(values).ok_or(self.too_many())?;
        Ok(())
    }

    /// What a body with too many values is refused with.
    pub(crate) fn too_many(&self) -> DecodeError {
        DecodeError::TooManySegments {
            limit: self.limits.max_segments,
        }
    }

    /// Notes a length and the part that it is of, `around` being that of the part that both lie in. Edits
    /// within the part change the length.
    pub(crate) fn length(
        &mut self,
        written: Range<usize>,
        content: Range<usize>,
        around: Option<usize>,
        writing: LengthWriting,
    ) -> usize {
        self.lengths.push(Length {
            written,
            content,
            around,
            writing,
        });
        self.lengths.len() - 1
    }

    /// How many strings a layer lies in.
    pub(super) fn depth(&self, layer: usize) -> usize {
        layer.checked_sub(1).map_or(0, |index| self.layers[index].depth)
    }

    /// The body whose pieces these were.
    pub(crate) fn finish(self, body: Bytes) -> Document {
        Document {
            body,
            segments: self.segments,
            sites: self.sites,
            layers: self.layers,
            files: self.files,
            lengths: self.lengths,
            came: None,
        }
    }

    /// A body that is one JSON text.
    pub(super) fn body<P: Position>(&mut self, tree: &Tree<'_>, root: P) -> Result<(), DecodeError> {
        self.values_left = self.values_left.saturating_sub(tree.len());
        self.tree(tree, root, 0, &mut String::new())
    }

    /// A piece of the body that has to be a JSON text: a line, a frame, a part that says so. `root` says
    /// whose words it holds, once its outermost value is known.
    pub(crate) fn json<P: Position>(
        &mut self,
        source: &str,
        root: impl FnOnce(Value<'_>) -> Result<P, DecodeError>,
        place: &mut String,
        start: usize,
    ) -> Result<(), DecodeError> {
        let bounds = Bounds {
            depth: self.limits.max_depth,
            values: self.values_left,
            duplicates: false,
        };
        let tree = scan_str(source, &bounds).map_err(|error| match error.fault {
            JsonFault::TooManyValues => DecodeError::TooManySegments {
                limit: self.limits.max_segments,
            },
            fault => DecodeError::Json(JsonError {
                offset: error.offset + start,
                fault,
            }),
        })?;
        self.values_left -= tree.len();
        let root = root(tree.root())?;
        self.layers.push(Layer {
            outer: 0,
            spot: Spot::plain(start),
            depth: 0,
        });
        let (length, layer) = (place.len(), self.layers.len());
        self.tree(&tree, root, layer, place)?;
        place.truncate(length);
        Ok(())
    }

    /// A piece of the body that is a text, or a JSON text in the place of one: a form field, a part, the
    /// body itself.
    pub(crate) fn piece<P: Position>(
        &mut self,
        at: P,
        place: &mut String,
        text: String,
        spot: Spot,
    ) -> Result<(), DecodeError> {
        self.text_or_json(text, at, 0, place, spot, &[])
    }

    /// A piece that is a name or the like, and never looked into.
    pub(crate) fn word(
        &mut self,
        role: Role,
        place: String,
        text: String,
        spot: Spot,
    ) -> Result<(), DecodeError> {
        if text.is_empty() {
            return Ok(());
        }
        let site = Site {
            layer: 0,
            spot,
            number: false,
        };
        self.push(Place::new(place), role, text, site)
    }

    /// Walks one JSON text. Depth costs no stack: containers are kept in a list. The recursion is by
    /// texts inside strings, which [`NESTING`] bounds.
    fn tree<P: Position>(
        &mut self,
        tree: &Tree<'_>,
        root: P,
        layer: usize,
        pointer: &mut String,
    ) -> Result<(), DecodeError> {
        let mut frames: Vec<Frame<'_, P>> = Vec::new();
        let mut next = Some(tree.root());
        let mut at = root;
        while let Some(value) = next {
            next = value.following();
            while frames.last().is_some_and(|frame| !frame.value.contains(&value)) {
                frames.pop();
            }
            if let Some(frame) = frames.last_mut() {
                if value.kind() == Kind::Key {
                    let key = value.text().unwrap_or_default();
                    pointer.truncate(frame.pointer);
                    push_step(pointer, &key);
                    at = frame.at.member(&key);
                    let frame_at = frame.at;
                    if !frame_at.knows(&key) {
                        self.key(&value, frame_at, layer, pointer)?;
                    }
                    continue;
                }
                if frame.value.kind() == Kind::Array {
                    pointer.truncate(frame.pointer);
                    // Writing to a string cannot fail.
                    let _ = write!(pointer, "/{}", frame.next_index);
                    at = frame.at.item(frame.next_index);
                    frame.next_index += 1;
                }
            }
            match value.kind() {
                Kind::Object | Kind::Array => {
                    let at = if value.kind() == Kind::Object {
                        at.enter(value)
                    } else {
                        at
                    };
                    frames.push(Frame {
                        value,
                        at,
                        pointer: pointer.len(),
                        next_index: 0,
                        told: OnceCell::new(),
                    });
                }
                Kind::String => self.string(&value, at, layer, pointer, &frames)?,
                Kind::Number => self.number(&value, at, layer, pointer)?,
                Kind::Key | Kind::True | Kind::False | Kind::Null => {}
            }
        }
        Ok(())
    }

    fn string<P: Position>(
        &mut self,
        value: &Value<'_>,
        at: P,
        layer: usize,
        pointer: &mut String,
        frames: &[Frame<'_, P>],
    ) -> Result<(), DecodeError> {
        let Some((text, map)) = value.decoded() else {
            return Ok(());
        };
        let spot = Spot {
            start: value.content_span().start,
            map,
            writing: Writing::Json,
        };
        self.text_or_json(text.into_owned(), at, layer, pointer, spot, frames)
    }

    fn text_or_json<P: Position>(
        &mut self,
        text: String,
        at: P,
        layer: usize,
        pointer: &mut String,
        spot: Spot,
        frames: &[Frame<'_, P>],
    ) -> Result<(), DecodeError> {
        let depth = self.depth(layer);
        if depth < NESTING && looks_like_json(&text) {
            // The text is in a string, where nobody but the receiver parses it: it may be as deep
            // as it likes, and hold a key twice, and is still looked through.
            let bounds = Bounds {
                depth: usize::MAX,
                values: self.values_left,
                duplicates: true,
            };
            match scan_str(&text, &bounds) {
                Ok(tree) => {
                    self.values_left -= tree.len();
                    self.layers.push(Layer {
                        outer: layer,
                        spot,
                        depth: depth + 1,
                    });
                    let length = pointer.len();
                    pointer.push('#');
                    let inner = self.layers.len();
                    self.tree(&tree, at.inside(), inner, pointer)?;
                    pointer.truncate(length);
                    return Ok(());
                }
                Err(JsonError {
                    fault: JsonFault::TooManyValues,
                    ..
                }) => {
                    return Err(DecodeError::TooManySegments {
                        limit: self.limits.max_segments,
                    });
                }
                Err(_) => {}
            }
        }
        let site = Site {
            layer,
            spot,
            number: false,
        };
        let Some(site) = self.file(&text, site, at, pointer, frames)? else {
            return Ok(());
        };
        self.push(Place::new(pointer.as_str()), at.role(), text, site)?;
        self.files_within(at, pointer)
    }

    fn key<P: Position>(
        &mut self,
        key: &Value<'_>,
        at: P,
        layer: usize,
        pointer: &str,
    ) -> Result<(), DecodeError> {
        let Some((text, map)) = key.decoded() else {
            return Ok(());
        };
        if text.is_empty() {
            return Ok(());
        }
        let site = Site {
            layer,
            spot: Spot {
                start: key.content_span().start,
                map,
                writing: Writing::Json,
            },
            number: false,
        };
        self.push(
            Place::new(format!("key:{pointer}")),
            at.role(),
            text.into_owned(),
            site,
        )
    }

    fn number<P: Position>(
        &mut self,
        value: &Value<'_>,
        at: P,
        layer: usize,
        pointer: &str,
    ) -> Result<(), DecodeError> {
        let raw = value.raw();
        if significant_digits(raw) < LONG_NUMBER || !at.counts() {
            return Ok(());
        }
        let site = Site {
            layer,
            spot: Spot::plain(value.span().start),
            number: true,
        };
        self.push(Place::new(pointer), at.role(), raw.to_owned(), site)
    }

    pub(super) fn push(
        &mut self,
        place: Place,
        role: Role,
        text: String,
        site: Site,
    ) -> Result<(), DecodeError> {
        if self.segments.len() >= self.limits.max_segments {
            return Err(DecodeError::TooManySegments {
                limit: self.limits.max_segments,
            });
        }
        self.text += text.len();
        self.places += place.as_str().len();
        if self.text.max(self.places) > self.limits.max_text {
            return Err(DecodeError::TooMuchText {
                limit: self.limits.max_text,
            });
        }
        self.segments.push(Segment {
            place,
            role,
            text: Text::from(text),
        });
        self.sites.push(site);
        Ok(())
    }
}

/// Adds a member's name to an RFC 6901 pointer.
fn push_step(pointer: &mut String, key: &str) {
    pointer.push('/');
    let mut rest = key;
    while let Some(at) = rest.find(['~', '/']) {
        let (plain, special) = rest.split_at(at);
        pointer.push_str(plain);
        pointer.push_str(if special.starts_with('~') { "~0" } else { "~1" });
        rest = &special[1..];
    }
    pointer.push_str(rest);
}

/// Whether it is worth scanning a text: it starts and ends as an object or an array does.
fn looks_like_json(text: &str) -> bool {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    let (first, last) = (trimmed.as_bytes().first(), trimmed.as_bytes().last());
    trimmed.len() >= 2 && matches!((first, last), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

/// Digits of a number without leading zeros and exponent.
fn significant_digits(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    mantissa
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|&digit| digit == b'0')
        .count()
}
