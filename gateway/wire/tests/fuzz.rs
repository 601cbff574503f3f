//! The properties of the fuzz targets (`fuzz/properties`), on input as it is made up here: bytes at random, and golden
//! bodies and streams with a few bytes changed, taken out or put in.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use cordon_domain::Dialect;
use proptest::{prelude::*, sample::Index};

#[path = "../fuzz/properties/containers.rs"]
mod containers;
#[path = "../fuzz/properties/decode.rs"]
mod decode;
#[path = "../fuzz/properties/restore.rs"]
mod restore;
#[path = "../fuzz/properties/same.rs"]
mod same;
#[path = "../fuzz/properties/socket.rs"]
mod socket;
#[path = "../fuzz/properties/stream.rs"]
mod stream;
#[path = "../fuzz/properties/translate.rs"]
mod translate;

/// Golden bodies and streams, each with the first byte by which the properties take it for what it is.
static GOLDEN: LazyLock<Vec<(u8, Vec<u8>)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let (mut found, mut folders) = (Vec::new(), vec![root.join("corpus"), root.join("translate")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the corpus can be listed") {
            let path = entry.expect("the corpus can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().ends_with(".segments.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 150, "the corpus is not where it should be");
    let read = |path: PathBuf| (kind(&path), fs::read(path).expect("a listed file can be read"));
    found.into_iter().map(read).collect()
});

/// The byte that picks a file's dialect, and whether it is a request, a reply, events, lines or an array.
fn kind(path: &Path) -> u8 {
    let name = |path: Option<&OsStr>| path.and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let (folder, file) = (
        name(path.parent().and_then(Path::file_name)),
        name(path.file_name()),
    );
    let dialects = Dialect::BUILT_IN;
    let is =
        |dialect: &Dialect| folder == dialect.name() || file.starts_with(&format!("{}.", dialect.name()));
    let dialect = dialects.iter().position(is).unwrap_or_default();
    let kind = match path.extension().and_then(OsStr::to_str) {
        Some("json") if file.starts_with("reply") => 2,
        Some("ndjson") => 4,
        Some("array") => 6,
        _ => 0,
    };
    u8::try_from(dialect + dialects.len() * kind).expect("both fit a byte")
}

/// Bytes that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"--x",
    b"\\u0041",
    b"\\ud800",
    b"#",
    b"/",
    b"~",
    b"data:",
    b";base64,",
    b"0",
    b"1234567",
    b"\x1e",
    b"\0",
    b"\xc3\xa9",
    b"\xff",
    b"%41",
    b"=",
    b"&",
    b"[DONE]",
    b"\"a b\":",
];

#[derive(Clone, Debug)]
enum Change {
    Put(Index, usize),
    Cut(Index, usize),
    Flip(Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Put(at, piece)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
    ]
}

/// What a property runs on: two bytes that pick and choose, and what they are about.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let made_up = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..120),
        prop::collection::vec(0..PIECES.len(), 0..40).prop_map(|pieces| pieces
            .into_iter()
            .flat_map(|at| PIECES[at])
            .copied()
            .collect()),
    ]
    .prop_map(|bytes: Vec<u8>| (None, bytes));
    let golden = (any::<Index>(), prop::collection::vec(change(), 0..4)).prop_map(|(of, changes)| {
        let (kind, mut bytes) = of.get(&GOLDEN).clone();
        for change in changes {
            match change {
                Change::Put(at, piece) => {
                    let at = at.index(bytes.len() + 1);
                    bytes.splice(at..at, PIECES[piece].iter().copied());
                }
                Change::Cut(at, length) => {
                    let at = at.index(bytes.len() + 1);
                    bytes.drain(at..(at + length).min(bytes.len()));
                }
                Change::Flip(at, byte) if !bytes.is_empty() => {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                Change::Flip(..) => {}
            }
        }
        (Some(kind), bytes)
    });
    let inputs = (
        any::<[u8; 2]>(),
        any::<bool>(),
        prop_oneof![1 => made_up, 3 => golden],
    );
    inputs.prop_map(|([first, second], other, (kind, bytes))| {
        let first = kind.filter(|_| !other).unwrap_or(first);
        [&[first, second], &bytes[..]].concat()
    })
}

proptest! {
    #[test]
    fn decode_holds(input in input()) {
        decode::run(&input);
    }

    #[test]
    fn containers_holds(input in input()) {
        containers::run(&input);
    }

    #[test]
    fn stream_holds(input in input()) {
        stream::run(&input);
    }

    #[test]
    fn restore_holds(input in input()) {
        restore::run(&input);
    }

    #[test]
    fn socket_holds(input in input()) {
        socket::run(&input);
    }

    #[test]
    fn translate_holds(input in input()) {
        translate::run(&input);
    }
}
