//! A scanned body as segments, and edits back into its bytes.
//!
//! Every byte of a body that could carry what somebody wrote is in exactly one segment: each string
//! value, each key that the dialects do not name themselves, each number of seven digits or more.
//! A string whose whole content is a JSON object or array is not one segment but those of the text
//! within it, as deep as [`walk::NESTING`]: what was escaped twice is inspected as it was meant, and what is
//! put in its place is escaped twice again. An edit of a number replaces the number by a string,
//! for a placeholder is no number.
//!
//! A body need not be one JSON text: a [`Walk`] (`document/walk.rs`) takes the pieces of any container (lines, form fields,
//! parts), each with the way in which it is written there.
//!
//! Whose words a segment holds is for the dialect to say, by a [`Position`] that is stepped along. Files
//! in a request are no segments ([`crate::Attachment`]); what is read out of them is put behind the others.

mod walk;
pub(crate) use walk::Walk;

mod files;

mod lengths;
pub(crate) use lengths::LengthWriting;

use std::ops::Range;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Role, Segment, SpliceError};

use self::{
    files::File,
    lengths::{Length, Patch},
};
use super::{OffsetMap, Tree, Value, escape};
use crate::{Limits, percent, request::DecodeError};

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
        walk.body(tree, root)?;
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

#[cfg(test)]
mod tests;
