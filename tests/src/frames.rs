//! HTTP/2 by the byte, for what no decent library would send.

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a connection begins with: the preface and an empty SETTINGS.
#[must_use]
pub fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        &frame(0x4, 0, 0, &[]),
    ]
    .concat()
}

/// One frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a frame is short")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HEADERS (0x1) with `END_HEADERS`, and with `END_STREAM` where no body follows.
#[must_use]
pub fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
    frame(0x1, 0x4 | u8::from(end), stream, &block(fields))
}

/// DATA (0x0) that ends its stream.
#[must_use]
pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(0x0, 0x1, stream, bytes)
}

/// `RST_STREAM` (0x3) with CANCEL.
#[must_use]
pub fn reset(stream: u32) -> Vec<u8> {
    frame(0x3, 0, stream, &8_u32.to_be_bytes())
}

/// Fields as literals that are never indexed and not compressed (RFC 7541, 6.2.3).
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        for text in [name, value] {
            integer(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn integer(bytes: &mut Vec<u8>, mut number: usize) {
    let low = |number: usize| u8::try_from(number & 0x7f).expect("seven bits");
    if number < 0x7f {
        bytes.push(low(number));
        return;
    }
    bytes.push(0x7f);
    number -= 0x7f;
    while number >= 0x80 {
        bytes.push(low(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low(number));
}

/// How a stream, or the connection with it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head of an answer came.
    Answered,
    /// The stream was reset.
    Reset,
    /// The connection was given up, by a GOAWAY or at once.
    Closed,
}

/// Reads until it is known how a stream ends.
pub async fn end_of<IO: AsyncRead + Unpin>(io: &mut IO, stream: u32) -> End {
    loop {
        let mut head = [0; 9];
        if io.read_exact(&mut head).await.is_err() {
            return End::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if io.read_exact(&mut payload).await.is_err() {
            return End::Closed;
        }
        let on = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        match head[3] {
            0x1 if on == stream => return End::Answered,
            0x3 if on == stream => return End::Reset,
            0x7 => return End::Closed,
            _ => {}
        }
    }
}
