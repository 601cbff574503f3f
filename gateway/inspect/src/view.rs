//! A [`View`]: one text derived from another, with the way back to the bytes it came from.
//!
//! Detectors read views; findings speak of the caller's own bytes. Whatever a view changed, its map
//! answers, for every span of the view, with the span of the source that produced it, on character
//! boundaries. What is derived, and why, is for [`crate::normalise`] and [`crate::decode`] to say.
//!
//! Limits: a view costs one [`Piece`] per change, and nothing at all where nothing changed.

use std::{borrow::Cow, ops::Range};

/// A text derived from a source text, and the map back.
pub struct View<'t> {
    text: Cow<'t, str>,
    /// In the order of the view; empty when the view is the source itself.
    pieces: Vec<Piece>,
}

/// A stretch of the view and the stretch of the source that produced it.
#[derive(Clone, Copy)]
struct Piece {
    view: usize,
    view_len: usize,
    source: usize,
    source_len: usize,
    /// The bytes are the same, so offsets within the piece carry over one to one.
    copied: bool,
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
        let first = self.piece_at(span.start);
        let last = self.piece_at(span.end - 1);
        let start = if first.copied {
            first.source + (span.start - first.view)
        } else {
            first.source
        };
        let end = if last.copied {
            last.source + (span.end - last.view)
        } else {
            last.source + last.source_len
        };
        start..end.max(start)
    }

    /// Whether any byte of the span is not the source's own byte.
    #[must_use]
    pub fn is_derived(&self, span: Range<usize>) -> bool {
        let from = self
            .pieces
            .partition_point(|piece| piece.view + piece.view_len <= span.start);
        self.pieces[from..]
            .iter()
            .take_while(|piece| piece.view < span.end)
            .any(|piece| !piece.copied)
    }

    fn piece_at(&self, offset: usize) -> Piece {
        let after = self.pieces.partition_point(|piece| piece.view <= offset);
        self.pieces[after - 1]
    }
}

/// Writes a view from left to right.
pub(crate) struct ViewWriter {
    text: String,
    pieces: Vec<Piece>,
}

impl ViewWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            pieces: Vec::new(),
        }
    }

    /// Text written so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Takes over a stretch of the source as it is; `source` is where it starts there.
    pub(crate) fn copy(&mut self, stretch: &str, source: usize) {
        if stretch.is_empty() {
            return;
        }
        let view = self.text.len();
        self.text.push_str(stretch);
        if let Some(last) = self.pieces.last_mut()
            && last.copied
            && last.source + last.source_len == source
        {
            last.view_len += stretch.len();
            last.source_len += stretch.len();
            return;
        }
        self.pieces.push(Piece {
            view,
            view_len: stretch.len(),
            source,
            source_len: stretch.len(),
            copied: true,
        });
    }

    /// Writes `derived` for a stretch of the source; nothing is recorded for an empty one.
    pub(crate) fn put(&mut self, derived: &str, source: Range<usize>) {
        if derived.is_empty() {
            return;
        }
        let view = self.text.len();
        self.text.push_str(derived);
        self.pieces.push(Piece {
            view,
            view_len: derived.len(),
            source: source.start,
            source_len: source.len(),
            copied: false,
        });
    }

    pub(crate) fn finish(mut self) -> View<'static> {
        if self.pieces.is_empty() {
            // A view of which nothing is left still has to be told from an unchanged one.
            self.pieces.push(Piece {
                view: 0,
                view_len: 0,
                source: 0,
                source_len: 0,
                copied: false,
            });
        }
        View {
            text: Cow::Owned(self.text),
            pieces: self.pieces,
        }
    }
}
