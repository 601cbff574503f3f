//! Frames to messages: bytes in any split go in, whole messages and control frames come out.
//!
//! It knows no connection, so a test reads as a script. All of RFC 6455's rules on what may come are kept
//! here: masks, reserved bits, lengths in their shortest form, control frames, the order of fragments, close
//! codes, UTF-8.
//!
//! Limits: bytes and frames of a message; a frame that says it is too long is refused before it is awaited.
//! On failure: [`SocketFault`]; the reader must not be used any further.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::{Agreed, Received, Side, SocketFault, SocketLimits, deflate::Inflater};

/// Frames of one message. Each costs a few steps, so what bounds them is patience rather than memory.
const MOST_FRAMES: usize = 1 << 16;
/// Longest payload of a control frame.
const CONTROL_BYTES: u64 = 125;

/// Reads one leg's frames.
pub struct Reader {
    side: Side,
    limits: SocketLimits,
    inflater: Option<Inflater>,
    buffer: BytesMut,
    /// A frame whose payload is not all there yet.
    frame: Option<(FrameHeader, usize)>,
    message: Option<Gathering>,
    closed: bool,
}

/// A message of which fragments are still to come.
struct Gathering {
    text: bool,
    compressed: bool,
    bytes: BytesMut,
    frames: usize,
}

impl Reader {
    /// A reader of a leg on which `agreed` holds.
    #[must_use]
    pub fn new(side: Side, agreed: Agreed, limits: SocketLimits) -> Self {
        Self {
            side,
            limits,
            inflater: agreed.deflate.then(|| Inflater::new(agreed.keeps_window)),
            buffer: BytesMut::new(),
            frame: None,
            message: None,
            closed: false,
        }
    }

    /// Where the next bytes from the connection go.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes bytes from the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next thing that is all there; `None` when more bytes are needed, and after a close.
    ///
    /// # Errors
    /// When what came is against the protocol or over a limit.
    pub fn take(&mut self) -> Result<Option<Received>, SocketFault> {
        while !self.closed {
            let Some((header, length)) = self
                .frame
                .take()
                .map_or_else(|| self.header(), |frame| Ok(Some(frame)))?
            else {
                return Ok(None);
            };
            if self.buffer.len() < length {
                self.frame = Some((header, length));
                return Ok(None);
            }
            let mut payload = self.buffer.split_to(length);
            if let Some(mask) = header.mask {
                unmask(&mut payload, mask);
            }
            let received = match header.opcode {
                OpCode::Control(control) => Some(self.control(control, payload.freeze())?),
                OpCode::Data(data) => self.data(&header, data, payload)?,
            };
            if received.is_some() {
                return Ok(received);
            }
        }
        Ok(None)
    }

    /// The header of the next frame, and its payload's length.
    fn header(&mut self) -> Result<Option<(FrameHeader, usize)>, SocketFault> {
        let protocol = |what| Err(SocketFault::Protocol(what));
        let mut cursor = Cursor::new(&self.buffer[..]);
        let Some((header, length)) =
            FrameHeader::parse(&mut cursor).map_err(|_| SocketFault::Protocol("a reserved opcode"))?
        else {
            return Ok(None);
        };
        let used = cursor.position();
        if used != header.len(length) as u64 {
            return protocol("a length that is not in its shortest form");
        }
        if header.mask.is_some() != (self.side == Side::Server) {
            return protocol("a frame masked by the wrong end, or not by the right one");
        }
        if header.rsv2 || header.rsv3 {
            return protocol("a reserved bit");
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final || length > CONTROL_BYTES || header.rsv1 => {
                return protocol("a control frame that is long, fragmented or compressed");
            }
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if self.message.is_none() || header.rsv1 => {
                return protocol("a fragment of no message");
            }
            OpCode::Data(Data::Continue) => {}
            OpCode::Data(_) if self.message.is_some() => {
                return protocol("a message within another");
            }
            OpCode::Data(_) if header.rsv1 && self.inflater.is_none() => {
                return protocol("compression that was not agreed on");
            }
            OpCode::Data(_) => {}
        }
        let gathered = self.message.as_ref().map_or(0, |message| message.bytes.len());
        let length = usize::try_from(length).map_err(|_| SocketFault::TooLarge)?;
        let control = matches!(header.opcode, OpCode::Control(_));
        if !control && length > self.limits.message.saturating_sub(gathered) {
            return Err(SocketFault::TooLarge);
        }
        // The position is at most the header's fourteen bytes.
        self.buffer
            .advance(usize::try_from(used).map_err(|_| SocketFault::TooLarge)?);
        Ok(Some((header, length)))
    }

    fn control(&mut self, control: Control, payload: Bytes) -> Result<Received, SocketFault> {
        match control {
            Control::Ping => Ok(Received::Ping(payload)),
            Control::Pong => Ok(Received::Pong),
            Control::Close => {
                self.closed = true;
                close_code(&payload).map(Received::Close)
            }
            Control::Reserved(_) => Err(SocketFault::Protocol("a reserved opcode")),
        }
    }

    fn data(
        &mut self,
        header: &FrameHeader,
        data: Data,
        payload: BytesMut,
    ) -> Result<Option<Received>, SocketFault> {
        let whole = match self.message.take() {
            None => Gathering {
                text: data == Data::Text,
                compressed: header.rsv1,
                bytes: payload,
                frames: 1,
            },
            Some(mut message) => {
                message.frames += 1;
                if message.frames > MOST_FRAMES {
                    return Err(SocketFault::TooLarge);
                }
                message.bytes.extend_from_slice(&payload);
                message
            }
        };
        if !header.is_final {
            self.message = Some(whole);
            return Ok(None);
        }
        let bytes = match (&mut self.inflater, whole.compressed) {
            (Some(inflater), true) => inflater.message(&whole.bytes, &self.limits)?.into(),
            _ => whole.bytes.freeze(),
        };
        if !whole.text {
            return Ok(Some(Received::Binary(bytes)));
        }
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Some(Received::Text(bytes))),
            Err(_) => Err(SocketFault::NotUtf8),
        }
    }
}

/// The code of a close frame, where it has one (RFC 6455, 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, SocketFault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(SocketFault::Protocol("half a close code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(SocketFault::Protocol("a close code that may not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(SocketFault::NotUtf8);
    }
    Ok(Some(code))
}

/// Takes a mask off, or puts it on.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, mask) in word.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
