//! One JSON array that grows item by item, as Gemini streams to callers who did not ask for events.
//!
//! An object that stands alone, as an error does, is one item.

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
    /// The bracket was in a frame that was not cut off.
    begun: bool,
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
            begun: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened && !self.closed
    }

    pub(super) fn has_items(&self) -> bool {
        self.items
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun && self.is_open()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Unframed> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut start = 0;
        while let Some(&byte) = self.buffer.get(self.seen) {
            let at = self.seen;
            self.seen += 1;
            if self.step(byte, at) {
                if self.seen - start > self.max_item {
                    return Err(Unframed::TooLarge);
                }
                let frame = self.frame(start);
                self.items |= frame.data().is_some();
                self.begun = true;
                frames.push(frame);
                start = self.seen;
            }
        }
        self.buffer.drain(..start);
        self.seen -= start;
        self.item = self.item.map(|item| item - start);
        if self.buffer.len() > self.max_item {
            return Err(Unframed::TooLarge);
        }
        Ok(frames)
    }

    pub(super) fn finish(&mut self) -> Option<Frame> {
        // A comma that nothing follows would stand before the error that is to follow.
        if self.buffer.is_empty() || (self.is_open() && self.items && self.item.is_none()) {
            return None;
        }
        self.begun |= self.item.is_none();
        let mut frame = self.frame(0);
        self.buffer.clear();
        self.seen = 0;
        if let Frame::Bare(bare) = &mut frame {
            bare.ended = false;
            bare.closes = false;
        }
        Some(frame)
    }

    /// What was looked at from `start` on, as a frame.
    fn frame(&mut self, start: usize) -> Frame {
        let data = self.item.take().map(|item| item - start..self.seen - start);
        Frame::Bare(Bare {
            closes: data.is_none(),
            data,
            raw: self.buffer[start..self.seen].to_vec(),
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

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    /// What takes minutes where the rest of the bytes is copied for each item.
    #[test]
    fn many_items_at_once_are_cut_apart_in_time() {
        let (done, cut) = mpsc::channel();
        thread::spawn(move || {
            let stream = format!("[{}", "\"\",".repeat(1_000_000));
            let frames = Parser::new(100).push(stream.as_bytes()).ok();
            // Nobody waits any more where this took too long.
            let _ = done.send(frames.map(|frames| frames.len()));
        });
        assert_eq!(cut.recv_timeout(Duration::from_secs(60)), Ok(Some(1_000_000)));
    }
}
