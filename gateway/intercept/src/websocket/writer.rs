//! Messages to frames: each message is one frame, compressed where that was agreed and shortens it.
//!
//! On failure: nothing here fails but the system's source of randomness, and then nothing is sent.

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::{Agreed, Side, SocketFault, deflate::Deflater, reader::unmask};

/// Below this compression costs more than it saves.
const LEAST_COMPRESSED: usize = 256;

/// Writes one leg's frames.
pub(super) struct Writer {
    side: Side,
    deflater: Option<Deflater>,
}

impl Writer {
    pub(super) fn new(side: Side, agreed: Agreed) -> Self {
        Self {
            side,
            deflater: agreed.deflate.then(Deflater::new),
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) -> Result<Vec<u8>, SocketFault> {
        self.message(Data::Text, text)
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SocketFault> {
        self.message(Data::Binary, bytes)
    }

    pub(super) fn ping(&self) -> Result<Vec<u8>, SocketFault> {
        self.frame(OpCode::Control(Control::Ping), false, &[])
    }

    pub(super) fn pong(&self, payload: &[u8]) -> Result<Vec<u8>, SocketFault> {
        self.frame(OpCode::Control(Control::Pong), false, payload)
    }

    pub(super) fn close(&self, code: Option<u16>) -> Result<Vec<u8>, SocketFault> {
        let payload = code.map(u16::to_be_bytes);
        let payload = payload.as_ref().map_or(&[][..], |code| code);
        self.frame(OpCode::Control(Control::Close), false, payload)
    }

    fn message(&mut self, kind: Data, payload: &[u8]) -> Result<Vec<u8>, SocketFault> {
        let compressed = match &mut self.deflater {
            Some(deflater) if payload.len() >= LEAST_COMPRESSED => deflater.message(payload),
            _ => None,
        };
        let opcode = OpCode::Data(kind);
        match compressed {
            Some(compressed) => self.frame(opcode, true, &compressed),
            None => self.frame(opcode, false, payload),
        }
    }

    fn frame(&self, opcode: OpCode, compressed: bool, payload: &[u8]) -> Result<Vec<u8>, SocketFault> {
        let mut mask = None;
        if self.side == Side::Client {
            // Unlike any that others can guess, so that nobody chooses the bytes on the wire (RFC 6455, 10.3).
            let mut random = [0; 4];
            getrandom::fill(&mut random).map_err(|_| SocketFault::Broken)?;
            mask = Some(random);
        }
        let header = FrameHeader {
            rsv1: compressed,
            opcode,
            mask,
            ..FrameHeader::default()
        };
        let length = payload.len() as u64;
        let mut out = Vec::with_capacity(header.len(length) + payload.len());
        header.format(length, &mut out).map_err(|_| SocketFault::Broken)?;
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = mask {
            unmask(&mut out[start..], mask);
        }
        Ok(out)
    }
}
