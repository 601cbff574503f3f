//! A [`View`]: one text derived from another, with the way back to the bytes it came from.
//!
//! Detectors read views; findings speak of the caller's own bytes. Whatever a view changed, its map
//! answers, for every span of the view, with the span of the source that produced it, on character
//! boundaries. Views can be laid one over the other. What is derived, and why, is for
//! [`crate::normalise`], [`crate::decode`] and [`crate::disguise`] to say.
//!
//! Limits: a view costs one [`Piece`] per change of kind, and nothing at all where nothing changed: a
//! million full-width digits in a row, or percent signs, or a zero-width space behind each letter, are one
//! piece. Texts are shorter than 4 GiB, as every body is.

use std::{borrow::Cow, ops::Range};

/// A text derived from a source text, and the map back.
pub struct View<'t> {
    text: Cow<'t, str>,
    /// In the order of the view; empty when the view is the source itself.
    pieces: Vec<Piece>,
}

/// A run of elements of one size, each a stretch of the view and the stretch of the source that produced
/// it; in the source they lie `stride` bytes apart, backwards where it is negative.
#[derive(Clone, Copy)]
struct Piece {
    view: u32,
    view_unit: u32,
    source: u32,
    source_unit: u32,
    stride: i32,
    count: u32,
    /// The bytes are the same, so offsets within an element carry over one to one.
    exact: bool,
    /// The last step wrote it anew, or dropped something right before it.
    derived: bool,
}

impl Piece {
    fn view_end(&self) -> usize {
        self.view as usize + self.view_unit as usize * self.count as usize
    }

    fn element_source(&self, index: usize) -> Range<usize> {
        let start = i64::from(self.source) + i64::from(self.stride) * index as i64;
        let start = usize::try_from(start).unwrap_or_default();
        start..start + self.source_unit as usize
    }

    /// The index of the element that holds a byte of the view, and where it starts in the view.
    fn element_at(&self, offset: usize) -> (usize, usize) {
        let index = (offset - self.view as usize) / (self.view_unit as usize).max(1);
        (index, self.view as usize + index * self.view_unit as usize)
    }
}

impl<'t> View<'t> {
    /// The source itself.
    #[must_use]
    pub fn unchanged(source: &'t str) -> Self {
        Self {
            text: Cow::Borrowed(source),
            pieces: Vec::new(),
        }
    }

    /// The derived text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the view is the source itself, borrowed.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The source bytes that produced a span of the view; everything that was dropped between them is
    /// part of the answer. An empty span, or one outside the view, gives an empty span.
    #[must_use]
    pub fn source_span(&self, span: Range<usize>) -> Range<usize> {
        if self.pieces.is_empty() {
            return span;
        }
        if span.is_empty() || span.end > self.text.len() {
            return 0..0;
        }
        let mut whole: Option<Range<usize>> = None;
        for piece in self.overlapping(&span) {
            let from = span.start.max(piece.view as usize);
            let to = span.end.min(piece.view_end());
            // Within a run the sources rise or fall steadily, so its two ends tell all of it.
            for offset in [Some(from), to.checked_sub(1).filter(|last| *last > from)]
                .into_iter()
                .flatten()
            {
                let (index, start) = piece.element_at(offset);
                let mut source = piece.element_source(index);
                if piece.exact {
                    let end = start + piece.view_unit as usize;
                    source.end -= end - to.min(end);
                    source.start += from.max(start) - start;
                }
                whole = Some(whole.map_or(source.clone(), |whole| {
                    whole.start.min(source.start)..whole.end.max(source.end)
                }));
            }
        }
        whole.unwrap_or(0..0)
    }

    /// Whether the last step wrote anything in the span anew, or dropped something within it.
    #[must_use]
    pub fn is_derived(&self, span: Range<usize>) -> bool {
        self.overlapping(&span).any(|piece| piece.derived)
    }

    /// This view, of the text of `under`, as a view of what `under` was derived from. With `keep`, what
    /// the step before wrote anew counts as such still.
    pub(crate) fn over(self, under: &View<'_>, keep: bool) -> View<'static> {
        let mut pieces = Pieces::default();
        let through = |pieces: &mut Pieces, span: Range<usize>, anew: bool| {
            for piece in under.overlapping(&span) {
                let mut at = span.start.max(piece.view as usize);
                let to = span.end.min(piece.view_end());
                let derived = anew || keep && piece.derived;
                while at < to {
                    let (index, start) = piece.element_at(at);
                    let end = to.min(start + piece.view_unit as usize);
                    let mut source = piece.element_source(index);
                    if piece.exact {
                        source = source.start + (at - start)..source.start + (end - start);
                    }
                    pieces.add(end - at, source, piece.exact, derived);
                    at = end;
                }
            }
        };
        if under.pieces.is_empty() {
            pieces.list = self.pieces;
        } else if self.pieces.is_empty() {
            through(&mut pieces, 0..self.text.len(), false);
        } else {
            for piece in &self.pieces {
                for index in 0..piece.count as usize {
                    let source = piece.element_source(index);
                    if piece.exact {
                        through(&mut pieces, source, piece.derived);
                    } else {
                        pieces.add(
                            piece.view_unit as usize,
                            under.source_span(source),
                            false,
                            piece.derived,
                        );
                    }
                }
            }
        }
        View {
            text: Cow::Owned(self.text.into_owned()),
            pieces: pieces.list,
        }
    }

    fn overlapping(&self, span: &Range<usize>) -> impl Iterator<Item = &Piece> {
        let from = self
            .pieces
            .partition_point(|piece| piece.view_end() <= span.start);
        let end = span.end;
        self.pieces[from..]
            .iter()
            .take_while(move |piece| (piece.view as usize) < end)
    }
}

/// Pieces as they are written: neighbours of one kind are one piece.
#[derive(Default)]
struct Pieces {
    list: Vec<Piece>,
    view: usize,
    /// Something was dropped since the last piece.
    dropped: bool,
}

impl Pieces {
    fn add(&mut self, view_len: usize, source: Range<usize>, exact: bool, derived: bool) {
        if view_len == 0 {
            self.dropped = true;
            return;
        }
        if std::mem::take(&mut self.dropped) && exact && !derived {
            // The mark is for the first byte alone: what follows is as it was.
            self.add(1, source.start..source.start + 1, true, true);
            if view_len > 1 {
                self.add(view_len - 1, source.start + 1..source.end, true, false);
            }
            return;
        }
        let view = self.view;
        self.view += view_len;
        if let Some(last) = self.list.last_mut()
            && last.exact == exact
            && last.derived == derived
        {
            let source_end = last.element_source(last.count as usize - 1).end;
            if exact && last.count == 1 && source_end == source.start {
                last.view_unit += view_len as u32;
                last.source_unit += view_len as u32;
                return;
            }
            if last.view_unit as usize == view_len && last.source_unit as usize == source.len() {
                let stride = source.start as i64 - last.element_source(last.count as usize - 1).start as i64;
                if (last.count == 1 || i64::from(last.stride) == stride)
                    && stride != 0
                    && let Ok(stride) = i32::try_from(stride)
                {
                    last.stride = stride;
                    last.count += 1;
                    return;
                }
            }
        }
        self.list.push(Piece {
            view: view as u32,
            view_unit: view_len as u32,
            source: source.start as u32,
            source_unit: source.len() as u32,
            stride: 0,
            count: 1,
            exact,
            derived,
        });
    }
}

/// Writes a view from left to right.
pub(crate) struct ViewWriter {
    text: String,
    pieces: Pieces,
}

impl ViewWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            pieces: Pieces::default(),
        }
    }

    /// Text written so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Takes over a stretch of the source as it is; `source` is where it starts there.
    pub(crate) fn copy(&mut self, stretch: &str, source: usize) {
        if !stretch.is_empty() {
            self.text.push_str(stretch);
            self.pieces
                .add(stretch.len(), source..source + stretch.len(), true, false);
        }
    }

    /// Writes `derived` for a stretch of the source; an empty one says that the stretch was dropped.
    pub(crate) fn put(&mut self, derived: &str, source: Range<usize>) {
        self.text.push_str(derived);
        self.pieces.add(derived.len(), source, false, true);
    }

    pub(crate) fn finish(mut self) -> View<'static> {
        if self.pieces.list.is_empty() {
            // A view of which nothing is left still has to be told from an unchanged one.
            self.pieces.list.push(Piece {
                view: 0,
                view_unit: 0,
                source: 0,
                source_unit: 0,
                stride: 0,
                count: 1,
                exact: false,
                derived: true,
            });
        }
        View {
            text: Cow::Owned(self.text),
            pieces: self.pieces.list,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_of_changes_is_one_piece() {
        let mut writer = ViewWriter::with_capacity(0);
        for at in 0..1000 {
            writer.put("a", at * 3..at * 3 + 3);
        }
        let view = writer.finish();
        assert_eq!(view.pieces.len(), 1);
        assert_eq!(view.source_span(10..12), 30..36);
    }

    #[test]
    fn a_run_of_drops_is_few_pieces_and_seen_as_a_change() {
        let text = "4\u{200B}".repeat(1000);
        let view = crate::normalise(&text);
        assert!(view.pieces.len() <= 3);
        assert_eq!(view.source_span(10..12), 40..45);
        assert!(view.is_derived(10..11) && !view.is_derived(0..1));
    }

    #[test]
    fn text_written_backwards_leads_back() {
        let source = "x dcba y";
        let mut writer = ViewWriter::with_capacity(0);
        writer.copy("x ", 0);
        for at in (2..6).rev() {
            writer.put(&source[at..=at], at..at + 1);
        }
        writer.copy(" y", 6);
        let view = writer.finish();
        assert_eq!(view.text(), "x abcd y");
        assert_eq!(view.source_span(2..4), 4..6);
        assert_eq!(view.source_span(1..3), 1..6);
        assert!(!view.is_derived(0..2) && view.is_derived(1..3));
    }

    /// What happens to a character of the source.
    #[derive(Clone, Copy, Debug)]
    enum Change {
        Keep,
        Drop,
        Twice,
        Upper,
    }

    fn written(text: &str, changes: &[Change]) -> (View<'static>, Vec<Range<usize>>) {
        let mut writer = ViewWriter::with_capacity(0);
        let mut origins = Vec::new();
        for ((at, c), change) in text.char_indices().zip(changes) {
            let source = at..at + c.len_utf8();
            let before = writer.text().len();
            match change {
                Change::Keep => writer.copy(&text[source.clone()], at),
                Change::Drop => writer.put("", source.clone()),
                Change::Twice => writer.put(&format!("{c}{c}"), source.clone()),
                Change::Upper => writer.put(&c.to_uppercase().to_string(), source.clone()),
            }
            origins.extend((before..writer.text().len()).map(|_| source.clone()));
        }
        (writer.finish(), origins)
    }

    fn change() -> impl Strategy<Value = Change> {
        prop::sample::select(vec![
            Change::Keep,
            Change::Keep,
            Change::Drop,
            Change::Twice,
            Change::Upper,
        ])
    }

    proptest! {
        #[test]
        fn every_byte_leads_to_where_it_came_from(
            text in "[a-cé１ ]{0,30}",
            first in prop::collection::vec(change(), 30),
            second in prop::collection::vec(change(), 90),
        ) {
            let (under, origins) = written(&text, &first);
            let all = |view: &View<'_>, origins: &[Range<usize>]| {
                let ends: Vec<usize> = view.text().char_indices().map(|(at, _)| at).chain([view.text().len()]).collect();
                for (from, &start) in ends.iter().enumerate() {
                    for &end in &ends[from + 1..] {
                        let origins = &origins[start..end];
                        let first = origins.iter().map(|origin| origin.start).min().unwrap_or_default();
                        let last = origins.iter().map(|origin| origin.end).max().unwrap_or_default();
                        assert_eq!(view.source_span(start..end), first..last, "{start}..{end}");
                    }
                }
            };
            all(&under, &origins);
            let (upper, upper_origins) = written(under.text(), &second);
            let through: Vec<Range<usize>> = upper_origins.iter().map(|origin| under.source_span(origin.clone())).collect();
            let view = upper.over(&under, true);
            all(&view, &through);
        }
    }
}
