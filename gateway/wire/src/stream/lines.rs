//! Lines of JSON, as Ollama streams.

use super::frame::{Bare, Frame, Unframed};

pub(super) struct Parser {
    max_line: usize,
    buffer: Vec<u8>,
    searched: usize,
}

impl Parser {
    pub(super) fn new(max_line: usize) -> Self {
        Self {
            max_line,
            buffer: Vec::new(),
            searched: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Unframed> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut start = 0;
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + found + 1;
            if end - start > self.max_line {
                return Err(Unframed::TooLarge);
            }
            frames.push(line(self.buffer[start..end].to_vec(), true));
            start = end;
            self.searched = end;
        }
        self.buffer.drain(..start);
        self.searched = self.buffer.len();
        if self.buffer.len() > self.max_line {
            return Err(Unframed::TooLarge);
        }
        Ok(frames)
    }

    pub(super) fn finish(&mut self) -> Option<Frame> {
        let rest = std::mem::take(&mut self.buffer);
        self.searched = 0;
        (!rest.is_empty()).then(|| line(rest, false))
    }
}

fn line(raw: Vec<u8>, ended: bool) -> Frame {
    let blank = raw.len() - raw.trim_ascii_start().len();
    let text = raw.trim_ascii().len();
    Frame::Bare(Bare {
        data: (text > 0).then_some(blank..blank + text),
        raw,
        ended,
        closes: false,
    })
}
