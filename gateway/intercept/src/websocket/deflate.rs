//! Compression of messages (RFC 7692), by DEFLATE and one message at a time.
//!
//! What we send is compressed without what came before it, so that no window is kept for it. What comes in
//! may refer to earlier messages where that was agreed.
//!
//! Limits: bytes of a message once decompressed, checked while they come, and its ratio.
//! On failure: [`SocketFault::Deflate`] or [`SocketFault::TooLarge`]; the leg ends.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{SocketFault, SocketLimits};

/// The end of a flushed block, which both ends leave out (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Bytes put out before the ratio counts; short repetitive text compresses a hundredfold by right.
const RATIO_FLOOR: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;

/// Reads the other end's compressed messages.
pub(super) struct Inflater {
    inflate: Decompress,
    keeps_window: bool,
}

impl Inflater {
    pub(super) fn new(keeps_window: bool) -> Self {
        Self {
            inflate: Decompress::new(false),
            keeps_window,
        }
    }

    /// One message.
    pub(super) fn message(
        &mut self,
        compressed: &[u8],
        limits: &SocketLimits,
    ) -> Result<Vec<u8>, SocketFault> {
        let by_ratio = compressed.len().saturating_mul(limits.ratio).max(RATIO_FLOOR);
        let most = limits.message.min(by_ratio);
        let mut out = Vec::with_capacity(compressed.len().saturating_mul(3).clamp(64, CHUNK).min(most + 1));
        for input in [compressed, &TAIL] {
            self.take(input, most, &mut out)?;
        }
        if !self.keeps_window {
            self.inflate.reset(false);
        }
        Ok(out)
    }

    fn take(&mut self, mut input: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), SocketFault> {
        let mut chunk = [0; CHUNK];
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(input, &mut chunk, FlushDecompress::Sync)
                .map_err(|_| SocketFault::Deflate)?;
            // Both differences are bounded by the buffers just handed over.
            let read = usize::try_from(self.inflate.total_in() - read).map_err(|_| SocketFault::Deflate)?;
            let written =
                usize::try_from(self.inflate.total_out() - written).map_err(|_| SocketFault::Deflate)?;
            input = &input[read..];
            if written > most - out.len() {
                return Err(SocketFault::TooLarge);
            }
            out.extend_from_slice(&chunk[..written]);
            if status == Status::StreamEnd {
                // A sender may end its stream within a message; what follows begins a new one.
                self.inflate.reset(false);
                if input.is_empty() {
                    return Ok(());
                }
                continue;
            }
            // A chunk that was not filled holds all there is.
            if input.is_empty() && written < CHUNK {
                return Ok(());
            }
            if read == 0 && written == 0 {
                return Err(SocketFault::Deflate);
            }
        }
    }
}

/// Compresses our own messages.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::fast(), false))
    }

    /// One message, without the tail; `None` when that would be no shorter.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.0.reset();
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut input = bytes;
        loop {
            let before = self.0.total_in();
            self.0.compress_vec(input, &mut out, FlushCompress::Sync).ok()?;
            let read = usize::try_from(self.0.total_in() - before).ok()?;
            input = &input[read..];
            if input.is_empty() && out.ends_with(&TAIL) {
                break;
            }
            if out.len() >= bytes.len() + 64 {
                return None;
            }
            out.reserve(64);
        }
        out.truncate(out.len() - TAIL.len());
        (out.len() < bytes.len()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn limits(message: usize) -> SocketLimits {
        SocketLimits {
            message,
            ratio: 200,
            idle: Duration::from_secs(1),
            stall: Duration::from_secs(1),
        }
    }

    /// As a peer that keeps its window would send it.
    fn kept(compress: &mut Compress, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() * 2 + 1024);
        compress
            .compress_vec(bytes, &mut out, FlushCompress::Sync)
            .unwrap();
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - 4);
        out
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7692, 7.2.3: "Hello" compressed, the same with the window kept, stored, and with a final block.
        let mut inflater = Inflater::new(true);
        for message in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
        ] {
            assert_eq!(inflater.message(message, &limits(100)).unwrap(), b"Hello");
        }
        for message in [
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00][..],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            let mut inflater = Inflater::new(false);
            assert_eq!(inflater.message(message, &limits(100)).unwrap(), b"Hello");
        }
    }

    #[test]
    fn a_bomb_is_refused_while_it_unfolds() {
        let bomb = Deflater::new().message(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        let mut inflater = Inflater::new(false);
        assert_eq!(
            inflater.message(&bomb, &limits(1 << 20)),
            Err(SocketFault::TooLarge)
        );
        let by_ratio = SocketLimits {
            ratio: 10,
            ..limits(1 << 30)
        };
        let mut inflater = Inflater::new(false);
        assert_eq!(inflater.message(&bomb, &by_ratio), Err(SocketFault::TooLarge));
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        let mut inflater = Inflater::new(false);
        assert_eq!(
            inflater.message(&[0xff; 20], &limits(100)),
            Err(SocketFault::Deflate)
        );
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            messages in proptest::collection::vec(proptest::collection::vec(0u8..8, 0..40_000), 1..6),
        ) {
            let mut inflater = Inflater::new(false);
            let mut windowed = (Compress::new(Compression::default(), false), Inflater::new(true));
            let mut deflater = Deflater::new();
            for message in messages {
                if let Some(small) = deflater.message(&message) {
                    prop_assert!(small.len() < message.len());
                    prop_assert_eq!(&inflater.message(&small, &limits(1 << 20)).unwrap(), &message);
                }
                let small = kept(&mut windowed.0, &message);
                prop_assert_eq!(&windowed.1.message(&small, &limits(1 << 20)).unwrap(), &message);
            }
        }

        #[test]
        fn any_bytes_end_in_a_message_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = Inflater::new(true).message(&bytes, &limits(4096)) {
                prop_assert!(message.len() <= 4096);
            }
        }
    }
}
