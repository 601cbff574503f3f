use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::websocket::writer::Writer;

const LIMITS: SocketLimits = SocketLimits {
    message: 1 << 16,
    ratio: 50,
    idle: Duration::from_secs(1),
    stall: Duration::from_secs(1),
};
const DEFLATE: Agreed = Agreed {
    deflate: true,
    keeps_window: false,
};

/// A frame as bytes, unmasked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        0..126 => out.push(payload.len() as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// All that a client's reader makes of frames, pushed in pieces of `size` bytes.
fn read_by(bytes: &[u8], size: usize, agreed: Agreed) -> Result<Vec<Received>, SocketFault> {
    let mut reader = Reader::new(Side::Client, agreed, LIMITS);
    let mut all = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        reader.push(piece);
        while let Some(one) = reader.take()? {
            all.push(one);
        }
    }
    Ok(all)
}

fn fault(bytes: &[u8]) -> SocketFault {
    let whole = read_by(bytes, bytes.len(), Agreed::default()).unwrap_err();
    assert_eq!(read_by(bytes, 1, Agreed::default()).unwrap_err(), whole);
    whole
}

#[test]
fn fragments_are_joined_and_control_frames_may_stand_between() {
    let bytes = [
        frame(0x01, b"one "),
        frame(0x89, b"still there?"),
        frame(0x00, b"two "),
        frame(0x8a, b""),
        frame(0x80, b"three"),
        frame(0x82, &[0xff, 0]),
        frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        // Nothing counts after a close.
        frame(0x81, b"late"),
    ]
    .concat();
    let expected = [
        Received::Ping(Bytes::from_static(b"still there?")),
        Received::Pong,
        Received::Text(Bytes::from_static(b"one two three")),
        Received::Binary(Bytes::from_static(&[0xff, 0])),
        Received::Close(Some(1000)),
    ];
    for size in 1..=bytes.len() {
        assert_eq!(
            read_by(&bytes, size, Agreed::default()).unwrap(),
            expected,
            "{size}"
        );
    }
}

#[test]
fn what_the_protocol_forbids_is_refused() {
    let protocol = |bytes: &[u8]| assert!(matches!(fault(bytes), SocketFault::Protocol(_)), "{bytes:?}");
    for first in [0xc1, 0xa1, 0x91, 0xb2, 0xc9] {
        // Reserved bits.
        protocol(&frame(first, b"x"));
    }
    for opcode in [3, 7, 0xb, 0xf] {
        protocol(&frame(0x80 | opcode, b""));
    }
    // Control frames: fragmented, too long.
    protocol(&frame(0x09, b""));
    protocol(&frame(0x89, &[b'x'; 126]));
    // Fragments out of order.
    protocol(&frame(0x80, b"x"));
    protocol(&[frame(0x01, b"a"), frame(0x81, b"b")].concat());
    // Masked by a server.
    protocol(&[0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1]);
    // Longer forms of a length than needed, and the top bit set.
    protocol(&[0x81, 126, 0, 1, b'x']);
    protocol(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 126]);
    // Close codes.
    protocol(&frame(0x88, &[3]));
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        protocol(&frame(0x88, &code.to_be_bytes()));
    }
    assert_eq!(fault(&frame(0x81, &[0xed, 0xa0, 0x80])), SocketFault::NotUtf8);
    assert_eq!(fault(&frame(0x88, &[3, 0xe8, 0xff])), SocketFault::NotUtf8);
}

#[test]
fn a_server_asks_for_masks() {
    let mut reader = Reader::new(Side::Server, Agreed::default(), LIMITS);
    reader.push(&frame(0x81, b"x"));
    assert!(matches!(reader.take(), Err(SocketFault::Protocol(_))));
    let mut reader = Reader::new(Side::Server, Agreed::default(), LIMITS);
    reader.push(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(
        reader.take(),
        Ok(Some(Received::Text(Bytes::from_static(b"Hello"))))
    );
}

#[test]
fn long_messages_are_refused_before_they_are_awaited() {
    // The header alone: no byte of the payload has come.
    assert_eq!(fault(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1]), SocketFault::TooLarge);
    assert_eq!(
        fault(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        SocketFault::TooLarge
    );
    let half = vec![b'x'; 40_000];
    assert_eq!(
        fault(&[frame(0x01, &half), frame(0x80, &half)].concat()),
        SocketFault::TooLarge
    );
    let mut many = frame(0x01, b"");
    many.extend(frame(0x00, b"").repeat(MOST_FRAMES));
    assert_eq!(
        read_by(&many, many.len(), Agreed::default()).unwrap_err(),
        SocketFault::TooLarge
    );
}

#[test]
fn compressed_fragments_are_joined_before_they_are_read() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let bytes = [frame(0x41, &hello[..3]), frame(0x80, &hello[3..])].concat();
    let expected = [Received::Text(Bytes::from_static(b"Hello"))];
    for size in 1..=bytes.len() {
        assert_eq!(read_by(&bytes, size, DEFLATE).unwrap(), expected);
    }
    // The bit stands on a message's first frame alone.
    let late = [frame(0x01, b"a"), frame(0xc0, &hello)].concat();
    assert!(matches!(
        read_by(&late, 1, DEFLATE),
        Err(SocketFault::Protocol(_))
    ));
}

proptest! {
    #[test]
    fn what_a_writer_writes_a_reader_reads_in_any_split(
        messages in proptest::collection::vec((any::<bool>(), "[a-z\u{e9} ]{0,800}"), 0..6),
        size in 1usize..3000,
        deflate in any::<bool>(),
        server in any::<bool>(),
    ) {
        let agreed = Agreed { deflate, keeps_window: false };
        let (from, to) = if server { (Side::Server, Side::Client) } else { (Side::Client, Side::Server) };
        let mut writer = Writer::new(from, agreed);
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (text, message) in messages {
            let payload = Bytes::from(message.into_bytes());
            if text {
                bytes.extend(writer.text(&payload).unwrap());
                expected.push(Received::Text(payload));
            } else {
                bytes.extend(writer.binary(&payload).unwrap());
                expected.push(Received::Binary(payload));
            }
            bytes.extend(writer.ping().unwrap());
            expected.push(Received::Ping(Bytes::new()));
        }
        bytes.extend(writer.close(Some(1001)).unwrap());
        expected.push(Received::Close(Some(1001)));
        let mut reader = Reader::new(to, agreed, LIMITS);
        let mut read = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece);
            while let Some(one) = reader.take().unwrap() {
                read.push(one);
            }
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_bytes_are_taken_under_the_limits(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        size in 1usize..64,
    ) {
        for agreed in [Agreed::default(), DEFLATE] {
            let whole = read_by(&bytes, bytes.len(), agreed);
            let split = read_by(&bytes, size, agreed);
            prop_assert_eq!(whole.is_ok(), split.is_ok());
            if let (Ok(whole), Ok(split)) = (whole, split) {
                prop_assert_eq!(whole, split);
            }
        }
    }
}
