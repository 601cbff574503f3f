//! One JSON array that grows item by item, as Gemini streams to callers who did not ask for events.
//!
//! An object that stands alone, as an error does, is one item.

use std::ops::Range;

use super::frame::{Bare, Frame, Unframed};

pub(super) struct Parser {
    max_item: usize,
    /// From the end of the last frame on.
    buffer: Vec<u8>,
    /// What of the buffer was looked at.
    seen: usize,
    /// Where the present item begins.
    item: Option<usize>,
    /// Objects and arrays open within the item.
    depth: usize,
    in_string: bool,
    escaped: bool,
    opened: bool,
    closed: bool,
    items: bool,
}

impl Parser {
    pub(super) fn new(max_item: usize) -> Self {
        Self {
            max_item,
            buffer: Vec::new(),
            seen: 0,
            item: None,
            depth: 0,
            in_string: false,
            escaped: false,
            opened: false,
            closed: false,
            items: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened && !self.closed
    }

    pub(super) fn has_items(&self) -> bool {
        self.items
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Unframed> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(&byte) = self.buffer.get(self.seen) {
            let at = self.seen;
            self.seen += 1;
            if self.step(byte, at) {
                let data = self.item.take().map(|start| start..self.seen);
                self.items |= data.is_some();
                if self.seen > self.max_item {
                    return Err(Unframed::TooLarge);
                }
                frames.push(self.cut(data));
            }
        }
        if self.buffer.len() > self.max_item {
            return Err(Unframed::TooLarge);
        }
        Ok(frames)
    }

    pub(super) fn finish(&mut self) -> Option<Frame> {
        if self.buffer.is_empty() {
            return None;
        }
        self.seen = self.buffer.len();
        let data = self.item.take().map(|start| start..self.seen);
        let mut frame = self.cut(data);
        if let Frame::Bare(bare) = &mut frame {
            bare.ended = false;
            bare.closes = false;
        }
        Some(frame)
    }

    /// Everything that was looked at, as a frame.
    fn cut(&mut self, data: Option<Range<usize>>) -> Frame {
        let rest = self.buffer.split_off(self.seen);
        let raw = std::mem::replace(&mut self.buffer, rest);
        self.seen = 0;
        Frame::Bare(Bare {
            closes: data.is_none(),
            data,
            raw,
            ended: true,
        })
    }

    /// Looks at one byte; true when a frame ends with it.
    fn step(&mut self, byte: u8, at: usize) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    return self.depth == 0;
                }
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.item.get_or_insert(at);
                false
            }
            b'[' if !self.opened && self.item.is_none() => {
                self.opened = true;
                false
            }
            b'{' | b'[' => {
                self.item.get_or_insert(at);
                self.depth += 1;
                false
            }
            b']' if self.depth == 0 => {
                let closes = self.is_open();
                self.closed |= closes;
                closes
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.depth == 0 && self.item.is_some()
            }
            _ => false,
        }
    }
}
