//! The properties of the fuzz targets (`fuzz/properties`), on bytes at random and on pieces that mean something.

use proptest::prelude::*;

#[path = "../fuzz/properties/frames.rs"]
mod frames;
#[path = "../fuzz/properties/head.rs"]
mod head;
#[path = "../fuzz/properties/hello.rs"]
mod hello;

/// Extensions of a ClientHello: names, an encrypted one, and beginnings of them.
const EXTENSIONS: &[&[u8]] = &[
    b"\0\0\0\x0e\0\x0c\0\0\x09localhost",
    b"\0\0\0\x08\0\x06\0\0\x03a.b",
    b"\xfe\x0d\0\x02ab",
    b"\0\x10\0\0",
    b"\0\0",
    b"\0\x01",
    b"a",
];

/// Frames: whole ones, masked and not, and beginnings of them.
const FRAMES: &[&[u8]] = &[
    b"\x81\x02hi",
    b"\x81\x82\x01\x02\x03\x04ik",
    b"\x01\x01a",
    b"\x80\x01b",
    b"\x89\0",
    b"\x88\x02\x03\xe8",
    b"\x82\x7e\x01\0",
    b"\x82\x7f\0\0\0\0\0\0\x10\x01",
    b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0",
    b"\x81",
    b"\0",
    b"\xff",
];

/// Lines of requests.
const LINES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST http://a.b:80/c HTTP/1.1\r\n",
    b"CONNECT A.B.:443 HTTP/1.1\r\n",
    b"Host: Api.Example.\r\n",
    b"Host: [::1]:8\r\n",
    b"Connection: x-a, close\r\n",
    b"Connection: keep-alive, X-B\r\n",
    b"X-A: 1\r\n",
    b"X-B: 2\r\n",
    b"Proxy-Authorization: Basic eA==\r\n",
    b"TE: trailers\r\n",
    b"Upgrade: h2c\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"hello",
    b"\n",
    b" folded\r\n",
    b"Expect: 100-continue\r\n",
];

/// Pieces in any order, among bytes of any kind.
fn of(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0..pieces.len()).prop_map(|at| pieces[at].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// With a byte before them that picks and chooses.
fn headed(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), of(pieces)).prop_map(|(head, bytes)| [&[head], &bytes[..]].concat())
}

/// A request line, headers and what may follow them.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let lines = |within: std::ops::Range<usize>, most| {
        prop::collection::vec(within.prop_map(|at| LINES[at]), 0..most).prop_map(|lines| lines.concat())
    };
    (0..3_usize, lines(3..15, 6), of(LINES))
        .prop_map(|(first, headers, rest)| [LINES[first], &headers, b"\r\n", &rest].concat())
}

proptest! {
    #[test]
    fn hello_holds(input in headed(EXTENSIONS)) {
        hello::run(&input);
    }

    #[test]
    fn frames_holds(input in headed(FRAMES)) {
        frames::run(&input);
    }

    #[test]
    fn head_holds(input in prop_oneof![request(), of(LINES)]) {
        head::run(&input);
    }
}
