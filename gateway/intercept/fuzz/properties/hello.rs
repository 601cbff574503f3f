//! Any bytes as the beginning of a connection: the same is seen of them in whatever pieces they come, and what is read
//! of a whole ClientHello stays when it is cut into other records.

use cordon_intercept::{Hello, Seen};

/// The first byte picks the length of the pieces and whether the rest is put into a record, with the lengths that fit.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let message = handshake(rest);
    let bytes = if first % 2 == 0 {
        rest.to_vec()
    } else {
        records(&message, message.len())
    };
    let whole = read(&bytes, bytes.len());
    assert_eq!(
        read(&bytes, usize::from(first / 2) + 1),
        whole,
        "pieces make a difference"
    );
    if first % 2 == 1 && !matches!(whole, Seen::NotTls) {
        assert_eq!(
            read(&records(&message, usize::from(first)), 7),
            whole,
            "records make a difference"
        );
    }
    if let Seen::Read(greeting) = &whole
        && let Some(name) = &greeting.name
    {
        assert!(name.is_ascii() && !name.is_empty(), "a name that no server knows");
    }
}

/// Reads until something is seen.
fn read(bytes: &[u8], step: usize) -> Seen {
    let mut hello = Hello::default();
    bytes
        .chunks(step.max(1))
        .map(|piece| hello.read(piece))
        .find(|seen| *seen != Seen::Unfinished)
        .unwrap_or(Seen::Unfinished)
}

/// A ClientHello whose extensions are made of the bytes.
fn handshake(extensions: &[u8]) -> Vec<u8> {
    let extensions = &extensions[..extensions.len().min(40_000)];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[1, a, b, c], &body[..]].concat()
}

/// The message in records of that size.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[22, 3, 1], &(piece.len() as u16).to_be_bytes()[..], piece].concat();
    message.chunks(size.clamp(1, 1 << 14)).flat_map(record).collect()
}
