use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConnection, RootCertStore, pki_types::ServerName, server::Acceptor};

use super::*;

/// What a real program says first.
fn real(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length, bytes].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(body)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vector(&[&[0][..], &vector(name)].concat()))
}

/// A handshake message with these extensions, in one record.
pub(crate) fn with(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![3, 3];
    message.extend([7; 32]);
    message.push(0);
    message.extend(vector(&[0x13, 0x01]));
    message.extend([1, 0]);
    message.extend(vector(&extensions.concat()));
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]][..], &message].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

/// The same handshake message cut into records of `size` bytes.
fn fragmented(record: &[u8], size: usize) -> Vec<u8> {
    let (header, message) = record.split_at(5);
    message
        .chunks(size)
        .flat_map(|piece| [&header[..3], &vector(piece)].concat())
        .collect()
}

fn read_in(bytes: &[u8], step: usize) -> Seen {
    let mut hello = Hello::default();
    bytes
        .chunks(step)
        .map(|piece| hello.read(piece))
        .find(|seen| *seen != Seen::Unfinished)
        .unwrap_or(Seen::Unfinished)
}

fn named(name: &str, encrypted: bool) -> Seen {
    Seen::Read(Greeting {
        name: Some(name.to_owned()),
        encrypted,
    })
}

#[test]
fn the_name_is_seen_in_any_split() {
    let hello = real("api.openai.com");
    for (size, step) in [(16_384, 1), (16_384, 700), (50, 7), (11, 300), (1, 1)] {
        let seen = read_in(&fragmented(&hello, size), step);
        assert_eq!(
            seen,
            named("api.openai.com", false),
            "records of {size}, reads of {step}"
        );
    }
}

#[test]
fn one_that_is_larger_than_a_packet_or_a_record_is_read() {
    for padding in [1500, 20_000, 60_000] {
        let extensions = [extension(21, &vec![0; padding.min(65_000)]), sni(b"a.example")];
        let mut whole = with_long(&extensions);
        assert_eq!(read_in(&whole, 1400), named("a.example", false), "{padding}");
        whole.truncate(whole.len() - 1);
        assert_eq!(read_in(&whole, 1400), Seen::Unfinished);
    }
}

/// [`with`], over as many records as it takes.
fn with_long(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![3, 3];
    message.extend([7; 32]);
    message.push(0);
    message.extend(vector(&[0x13, 0x01]));
    message.extend([1, 0]);
    message.extend(vector(&extensions.concat()));
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]][..], &message].concat();
    message
        .chunks(16_000)
        .flat_map(|piece| [&[22, 3, 1][..], &vector(piece)].concat())
        .collect()
}

#[test]
fn an_encrypted_one_is_told_and_noise_looks_the_same() {
    let outer = extension(0xfe0d, &[0, 0, 1, 0, 1, 9, 0, 1, 7, 0, 1, 7]);
    let seen = read_in(&with(&[sni(b"cloudflare-ech.com"), outer]), 9);
    assert_eq!(seen, named("cloudflare-ech.com", true));
}

#[test]
fn what_two_readers_could_read_differently_is_unreadable() {
    let two = [&[0][..], &vector(b"a.example"), &[0], &vector(b"b.example")].concat();
    let left_over = [vector(&[&[0][..], &vector(b"a.example")].concat()), vec![0]].concat();
    for extensions in [
        vec![sni(b"a.example"), sni(b"b.example")],
        vec![extension(0, &vector(&two))],
        vec![extension(0, &left_over)],
        vec![extension(0, &[])],
        vec![sni(b"")],
        vec![sni(b"\xffx")],
        vec![extension(0, &vector(&[&[1][..], &vector(b"a.example")].concat()))],
        vec![extension(5, b""), extension(5, b"")],
    ] {
        assert_eq!(read_in(&with(&extensions), 1), Seen::Unreadable, "{extensions:?}");
    }
    // A second message behind the first, and a record of another kind within it.
    let mut second = real("a.example");
    second[4] += 1;
    second.push(0);
    assert_eq!(read_in(&second, 4000), Seen::Unreadable);
    let mut mixed = fragmented(&real("a.example"), 100);
    mixed[105] = 23;
    assert_eq!(read_in(&mixed, 1), Seen::Unreadable);
}

#[test]
fn a_hello_of_ssl_2_is_one_that_cannot_be_relied_on() {
    // As OpenSSL wrote it when it offered SSL 2.0 and TLS 1.2 at once (RFC 5246, E.2).
    let hello = [&[0x80, 0x2e, 1, 3, 3, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    for step in [1, 2, 3, hello.len()] {
        assert_eq!(read_in(&hello, step), Seen::Unreadable, "{step}");
    }
}

#[test]
fn what_is_no_tls_is_told_at_once() {
    assert_eq!(Hello::default().read(b"SSH-2.0-OpenSSH"), Seen::NotTls);
    assert_eq!(Hello::default().read(b"G"), Seen::NotTls);
    assert_eq!(
        Hello::default().read(b"\x16garbage that is no record"),
        Seen::Unreadable
    );
    assert_eq!(Hello::default().read(b"\x16\x03\x01\xff\xff"), Seen::Unreadable);
    assert_eq!(Hello::default().read(b""), Seen::Unfinished);
    // Nobody's protocol, though its first bit is that of a record of SSL 2.0.
    assert_eq!(Hello::default().read(b"\x80\x2e\x01\x00"), Seen::NotTls);
    assert_eq!(Hello::default().read(b"\xff\xfe\x00"), Seen::NotTls);
    let no_extensions = {
        let mut bytes = with(&[]);
        bytes.truncate(bytes.len() - 2);
        bytes[4] -= 2;
        bytes[8] -= 2;
        bytes
    };
    let nameless = Seen::Read(Greeting {
        name: None,
        encrypted: false,
    });
    assert_eq!(read_in(&no_extensions, 3), nameless);
}

/// What rustls, which speaks to the caller where we intercept, makes of the same bytes.
fn by_rustls(bytes: &[u8]) -> Option<Option<String>> {
    let (mut acceptor, mut rest) = (Acceptor::default(), bytes);
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted.client_hello().server_name().map(str::to_owned));
        }
    }
    None
}

proptest! {
    #[test]
    fn hostile_handshakes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
        if let Some(first) = bytes.first_mut() {
            *first = TLS_HANDSHAKE;
        }
        read_in(&bytes, step);
    }

    #[test]
    fn no_split_changes_what_is_seen(at in 0usize..2000, flip in any::<u8>(), size in 1usize..400, step in 1usize..700) {
        let mut hello = real("api.openai.com");
        let at = 5 + at % (hello.len() - 5);
        hello[at] ^= flip;
        let whole = read_in(&hello, hello.len());
        // Of a message whose length was changed a further record may come or not.
        if whole != Seen::Unfinished {
            prop_assert_eq!(read_in(&fragmented(&hello, size), step), whole);
        }
    }

    #[test]
    fn a_name_that_we_see_is_the_one_that_rustls_sees(at in 0usize..2000, flip in any::<u8>()) {
        let mut hello = real("api.openai.com");
        let at = 5 + at % (hello.len() - 5);
        hello[at] ^= flip;
        // rustls takes no name that is none by DNS; such a one we keep as it was spelled.
        if let (Seen::Read(ours), Some(Some(theirs))) = (read_in(&hello, 500), by_rustls(&hello)) {
            prop_assert_eq!(ours.name.map(|name| name.to_ascii_lowercase()), Some(theirs.to_ascii_lowercase()));
        }
    }
}
