//! Any bytes as frames of a WebSocket: the same is received in whatever pieces they come; and what is sent in fragments
//! with pings in between is received as one message.

use std::time::Duration;

use cordon_intercept::{Agreed, FrameReader, Received, Side, SocketFault, SocketHandshake, SocketLimits};

const LIMITS: SocketLimits = SocketLimits {
    message: 4096,
    ratio: 20,
    idle: Duration::from_secs(1),
    stall: Duration::from_secs(1),
};

/// The first byte picks the end that we are, whether messages may be compressed, and the length of the pieces.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, bytes)) = input.split_first() else {
        return;
    };
    let side = if first & 1 == 0 {
        Side::Server
    } else {
        Side::Client
    };
    let agreed = if first & 2 == 0 {
        Agreed::default()
    } else {
        compressed()
    };
    let step = usize::from(first / 4) + 1;
    assert_eq!(
        received(side, agreed, bytes.chunks(step)),
        received(side, agreed, std::iter::once(bytes)),
        "pieces make a difference"
    );

    let sent = fragments(bytes, step, side == Side::Server);
    let (got, fault) = received(side, agreed, sent.chunks(step));
    let pings = bytes.chunks(step).count();
    if bytes.len() <= LIMITS.message {
        assert_eq!(fault, None);
        assert_eq!(
            got.iter().filter(|one| matches!(one, Received::Ping(_))).count(),
            pings
        );
        let message = |one: &&Received| matches!(one, Received::Binary(message) if message == bytes);
        assert_eq!(
            got.iter().filter(message).count(),
            1,
            "a message is not what was sent"
        );
    } else {
        assert_eq!(fault, Some(SocketFault::TooLarge));
    }
}

fn received<'b>(
    side: Side,
    agreed: Agreed,
    pieces: impl Iterator<Item = &'b [u8]>,
) -> (Vec<Received>, Option<SocketFault>) {
    let mut reader = FrameReader::new(side, agreed, LIMITS);
    let mut got = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.take() {
                Ok(Some(one)) => got.push(one),
                Ok(None) => break,
                Err(fault) => return (got, Some(fault)),
            }
        }
    }
    (got, None)
}

/// A leg on which compression was agreed on, by a handshake as it goes over the wire.
fn compressed() -> Agreed {
    let handshake = SocketHandshake::new();
    let key = handshake
        .headers()
        .into_iter()
        .find(|(name, _)| name == "sec-websocket-key");
    let key = key.expect("a handshake has a key").1;
    let answer = http::Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header(
            "sec-websocket-accept",
            tungstenite::handshake::derive_accept_key(key.as_bytes()),
        )
        .header("sec-websocket-extensions", "permessage-deflate")
        .body(())
        .expect("plain headers");
    handshake.agreed(&answer, &[]).expect("an answer that fits")
}

/// A message in frames of `step` bytes, a ping behind each.
fn fragments(message: &[u8], step: usize, masked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut frame = |head: u8, payload: &[u8]| {
        let mask = if masked { 0x80 } else { 0 };
        out.push(head);
        // Steps are of 64 bytes at most, so lengths take one byte.
        out.push(mask | payload.len() as u8);
        if masked {
            let key = [1, 2, 3, 4];
            out.extend(key);
            out.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        } else {
            out.extend(payload);
        }
    };
    let pieces: Vec<&[u8]> = message.chunks(step).collect();
    let last = pieces.len().saturating_sub(1);
    if pieces.is_empty() {
        frame(0x82, b"");
    }
    for (at, piece) in pieces.into_iter().enumerate() {
        let (kind, end) = (if at == 0 { 2 } else { 0 }, if at == last { 0x80 } else { 0 });
        frame(kind | end, piece);
        frame(0x89, b"ping");
    }
    out
}
