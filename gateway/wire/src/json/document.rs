//! A scanned body as segments, and edits back into its bytes.
//!
//! Every byte of a body that could carry what somebody wrote is in exactly one segment: each string
//! value, each key that the dialects do not name themselves, each number of seven digits or more.
//! A string whose whole content is a JSON object or array is not one segment but those of the text
//! within it, as deep as [`NESTING`]: what was escaped twice is inspected as it was meant, and what is
//! put in its place is escaped twice again. An edit of a number replaces the number by a string,
//! for a placeholder is no number.
//!
//! A body need not be one JSON text: a [`Walk`] takes the pieces of any container (lines, form fields,
//! parts), each with the way in which it is written there.
//!
//! Whose words a segment holds is for the dialect to say, by a [`Position`] that is stepped along. Files
//! in a request are no segments ([`crate::Attachment`]); what is read out of them is put behind the others.

mod files;

mod lengths;
pub(crate) use lengths::LengthWriting;

use std::{cell::OnceCell, fmt::Write as _, ops::Range};

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Place, Role, Segment, SpliceError, Text};

use self::{
    files::{File, Told},
    lengths::{Length, Patch},
};
use super::{Bounds, JsonError, JsonFault, Kind, OffsetMap, Tree, Value, escape, scan::scan_str};
use crate::{Limits, percent, request::DecodeError};

/// How many JSON texts inside strings are looked through, one in another. Each level doubles the
/// backslashes of the one above, so honest bodies stay at one or two.
pub(crate) const NESTING: usize = 4;

/// Digits from which a number can be somebody's card, phone or identity number.
const LONG_NUMBER: usize = 7;

/// Where in a dialect's structure a walk has come to.
pub(crate) trait Position: Copy {
    /// On going into an object, whose fields may say what it is.
    fn enter(self, object: Value<'_>) -> Self;
    /// On going to the value of a member.
    fn member(self, key: &str) -> Self;
    /// On going to the item of an array that has that index.
    fn item(self, index: usize) -> Self;
    /// Anywhere in the JSON text that a string here holds.
    fn inside(self) -> Self;
    /// Whose words stand here.
    fn role(self) -> Role;
    /// Whether the dialects know a member of that name, so that it says nothing of the caller's.
    fn knows(self, key: &str) -> bool;
    /// Whether a long number here can be somebody's.
    fn counts(self) -> bool {
        true
    }
}

/// A body, its segments, and where each lies.
pub(crate) struct Document {
    body: Bytes,
    /// Those of the body, then those that were read out of its files.
    segments: Vec<Segment>,
    sites: Vec<Site>,
    layers: Vec<Layer>,
    files: Vec<File>,
    lengths: Vec<Length>,
    /// The body as it came, where parts of it were decompressed to be read.
    came: Option<Bytes>,
}

/// How a text is written where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As it is.
    Plain,
    /// As the content of a JSON string.
    Json,
    /// As a value of a form: percent-encoded.
    Form,
    /// As the value of a part's header, or between the quotes of one of its parameters.
    Header,
}

impl Writing {
    fn write(self, text: String) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        match self {
            Self::Plain => return text,
            Self::Json => escape(&text, &mut out),
            Self::Form => return percent::encoded(&text),
            Self::Header => {
                for character in text.chars() {
                    match character {
                        // As browsers write it; a backslash would be read in two ways.
                        '"' => out.push_str("%22"),
                        '\\' => out.push_str("%5C"),
                        control if control.is_control() => out.push(' '),
                        plain => out.push(plain),
                    }
                }
            }
        }
        out
    }
}

/// Where a segment's text was decoded from.
struct Site {
    /// Index into the layers, plus one; 0 is the body itself.
    layer: usize,
    spot: Spot,
    number: bool,
}

/// Where a text lies in what surrounds it, and how it is written there.
pub(crate) struct Spot {
    /// Where the text's content starts.
    pub(crate) start: usize,
    pub(crate) map: OffsetMap,
    pub(crate) writing: Writing,
}

impl Spot {
    /// Of a text that is written as it is.
    pub(crate) fn plain(start: usize) -> Self {
        Self {
            start,
            map: OffsetMap::default(),
            writing: Writing::Plain,
        }
    }
}

/// A JSON text inside a string or another piece: the decoded content of a piece of the layer that it lies in.
struct Layer {
    outer: usize,
    spot: Spot,
    /// How many strings it lies in.
    depth: usize,
}

impl Document {
    /// Collects the segments of a scanned body, starting from `root`.
    pub(crate) fn read<P: Position>(
        body: Bytes,
        tree: &Tree<'_>,
        limits: &Limits,
        root: P,
    ) -> Result<Self, DecodeError> {
        Self::walked(body, tree, limits, root, None)
    }

    /// The same, with the files of a request in a dialect told from its texts.
    pub(crate) fn read_with_files<P: Position>(
        body: Bytes,
        tree: &Tree<'_>,
        limits: &Limits,
        root: P,
        dialect: Dialect,
    ) -> Result<Self, DecodeError> {
        Self::walked(body, tree, limits, root, Some(dialect))
    }

    fn walked<P: Position>(
        body: Bytes,
        tree: &Tree<'_>,
        limits: &Limits,
        root: P,
        files_of: Option<Dialect>,
    ) -> Result<Self, DecodeError> {
        let mut walk = Walk::new(limits, files_of);
        walk.values_left = walk.values_left.saturating_sub(tree.len());
        walk.tree(tree, root, 0, &mut String::new())?;
        Ok(walk.finish(body))
    }

    /// A body without any text.
    pub(crate) fn empty() -> Self {
        Self {
            body: Bytes::new(),
            segments: Vec::new(),
            sites: Vec::new(),
            layers: Vec::new(),
            files: Vec::new(),
            lengths: Vec::new(),
            came: None,
        }
    }

    /// The same document, of a body that came otherwise: without edits it goes on as it came.
    pub(crate) fn came_as(mut self, came: Bytes) -> Self {
        self.came = Some(came);
        self
    }

    /// The body, with what was compressed within it decompressed.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Every text of the body, in its order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The body with the edits put in; see [`cordon_domain::Splice::splice`].
    pub(crate) fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError> {
        if edits.is_empty() {
            return Ok(self.came.as_ref().unwrap_or(&self.body).clone());
        }
        let ordered = in_order(&self.segments, edits)?;
        let own = ordered.partition_point(|edit| edit.segment < self.sites.len());
        let (own, of_files) = ordered.split_at(own);
        let mut patches = self.patches(own);
        patches.extend(self.file_patches(of_files)?);
        // A longer one first: what lies in a part that is taken out goes with it.
        patches.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
        let mut apart: Vec<Patch> = Vec::with_capacity(patches.len());
        for (span, written) in patches {
            match apart.last_mut() {
                // In a text, what is replaced can reach into a file or out of it: then the rest of it goes too.
                Some((before, _)) if span.start < before.end => before.end = before.end.max(span.end),
                _ => apart.push((span, written.into_bytes())),
            }
        }
        if !self.lengths.is_empty() {
            lengths::set_right(&self.lengths, &mut apart)?;
        }
        let added: usize = apart.iter().map(|(_, written)| written.len()).sum();
        let mut out = Vec::with_capacity(self.body.len() + added);
        let mut copied = 0;
        for (span, written) in apart {
            // A length that is edited over goes with what it lies in.
            if span.start < copied {
                continue;
            }
            out.extend_from_slice(&self.body[copied..span.start]);
            out.extend_from_slice(&written);
            copied = span.end;
        }
        out.extend_from_slice(&self.body[copied..]);
        Ok(out.into())
    }

    /// What edits of the body's own segments come to in the body, in its order.
    fn patches(&self, mut rest: &[&Edit]) -> Vec<(Range<usize>, String)> {
        let mut patches = Vec::with_capacity(rest.len());
        while let Some(&first) = rest.first() {
            let site = &self.sites[first.segment];
            let run = if site.number {
                // A number is replaced as a whole, by a string that holds what the edits make of it.
                rest.iter()
                    .take_while(|edit| edit.segment == first.segment)
                    .count()
            } else {
                1
            };
            let (edits, behind) = rest.split_at(run);
            rest = behind;
            let (span, written) = if site.number {
                let text = &self.segments[first.segment].text;
                let mut quoted = String::from("\"");
                escape(&edited(text, edits), &mut quoted);
                quoted.push('"');
                (0..text.len(), quoted)
            } else {
                (
                    first.span.clone(),
                    site.spot.writing.write(first.replacement.clone()),
                )
            };
            let written = self.written(written, site.layer);
            patches.push((self.in_body(site, span), written));
        }
        patches
    }

    /// A text in the place of a site, as it is written in the body.
    fn put(&self, site: &Site, text: String) -> String {
        self.written(site.spot.writing.write(text), site.layer)
    }

    /// A text of a layer as it is written in the body.
    fn written(&self, mut text: String, mut layer: usize) -> String {
        while let Some(index) = layer.checked_sub(1) {
            let inner = &self.layers[index];
            text = inner.spot.writing.write(text);
            layer = inner.outer;
        }
        text
    }

    /// From a span of a segment's text to the bytes of the body that it was decoded from.
    fn in_body(&self, site: &Site, span: Range<usize>) -> Range<usize> {
        let out = |offset| self.outward(site.layer, site.spot.start + site.spot.map.raw(offset));
        out(span.start)..out(span.end)
    }

    /// From an offset in a layer to the body.
    fn outward(&self, mut layer: usize, mut offset: usize) -> usize {
        while let Some(index) = layer.checked_sub(1) {
            let inner = &self.layers[index];
            offset = inner.spot.start + inner.spot.map.raw(offset);
            layer = inner.outer;
        }
        offset
    }
}

/// The edits in the order of the text, once each of them is known to fit.
pub(crate) fn in_order<'e>(segments: &[Segment], edits: &'e [Edit]) -> Result<Vec<&'e Edit>, SpliceError> {
    for edit in edits {
        let segment = segments
            .get(edit.segment)
            .ok_or(SpliceError::NoSuchSegment(edit.segment))?;
        if segment.text.get(edit.span.clone()).is_none() {
            let Range { start, end } = edit.span;
            return Err(SpliceError::BadSpan {
                segment: edit.segment,
                start,
                end,
            });
        }
    }
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    ordered.sort_by_key(|edit| (edit.segment, edit.span.start, edit.span.end));
    match ordered
        .windows(2)
        .find(|pair| pair[0].segment == pair[1].segment && pair[0].span.end > pair[1].span.start)
    {
        Some(pair) => Err(SpliceError::Overlap(pair[0].segment)),
        None => Ok(ordered),
    }
}

/// A text with edits of it, which are in order and fit.
fn edited(text: &str, edits: &[&Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for edit in edits {
        out.push_str(&text[copied..edit.span.start]);
        out.push_str(&edit.replacement);
        copied = edit.span.end;
    }
    out.push_str(&text[copied..]);
    out
}

/// Gathers the segments of one body, piece by piece, within the limits of the whole.
pub(crate) struct Walk<'l> {
    limits: &'l Limits,
    values_left: usize,
    text: usize,
    places: usize,
    segments: Vec<Segment>,
    sites: Vec<Site>,
    layers: Vec<Layer>,
    /// The dialect by which files are told from texts; none where all are texts.
    files_of: Option<Dialect>,
    files: Vec<File>,
    lengths: Vec<Length>,
}

/// A container that the walk is in.
struct Frame<'t, P> {
    value: Value<'t>,
    at: P,
    /// Length of the container's own pointer.
    pointer: usize,
    next_index: usize,
    told: OnceCell<Told>,
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
    fn depth(&self, layer: usize) -> usize {
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

    fn push(&mut self, place: Place, role: Role, text: String, site: Site) -> Result<(), DecodeError> {
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

#[cfg(test)]
mod tests;
