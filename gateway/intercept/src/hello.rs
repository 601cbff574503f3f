//! The ClientHello that a TLS connection begins with: which server it names, and whether it hides another.
//!
//! It is read out of any split into records and reads, and more strictly than servers read it: what one
//! server could read in one way and another in another (two names, an extension twice, bytes left over) is
//! unreadable here. A name that we saw and the server did not would let a connection pass as what it is not.
//!
//! An encrypted ClientHello (RFC 9849) shows a public name and hides the true one. Browsers send the same
//! extension filled with noise to everybody (GREASE), with the true name in the clear, so that the extension
//! alone says nothing; whoever asks has to look at the name beside it.
//!
//! Limits: [`MOST`] bytes.
//!
//! On failure: [`Seen::Unreadable`].

/// A ClientHello with post-quantum key shares has some two kilobytes.
pub(crate) const MOST: usize = 64 * 1024;

/// The first byte of a TLS handshake record.
pub(crate) const TLS_HANDSHAKE: u8 = 22;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// RFC 8446, 5.1.
const MOST_IN_RECORD: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// What the first bytes of a connection turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// More of it must come.
    Unfinished,
    /// Something other than TLS.
    NotTls,
    /// TLS, but no ClientHello that can be relied on.
    Unreadable,
    /// A whole ClientHello.
    Read(Greeting),
}

/// What a ClientHello tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The server that it names (SNI), as spelled.
    pub name: Option<String>,
    /// Whether it brings an encrypted ClientHello, true or noise.
    pub encrypted: bool,
}

/// Reads a ClientHello as its bytes come in.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// Bytes of a record that is not whole.
    record: Vec<u8>,
    /// The handshake message as far as it came.
    message: Vec<u8>,
}

impl Hello {
    /// Reads on. Once it says anything but [`Seen::Unfinished`], nothing more is to be given to it.
    pub fn read(&mut self, fresh: &[u8]) -> Seen {
        self.record.extend_from_slice(fresh);
        match self.record.first() {
            None => return Seen::Unfinished,
            Some(&kind) if kind != TLS_HANDSHAKE && self.message.is_empty() => return of_old(&self.record),
            // Within the handshake every record must be of it.
            Some(&kind) if kind != TLS_HANDSHAKE => return Seen::Unreadable,
            Some(_) => {}
        }
        loop {
            match self.record.as_slice() {
                []
                | [TLS_HANDSHAKE]
                | [TLS_HANDSHAKE, 3]
                | [TLS_HANDSHAKE, 3, _]
                | [TLS_HANDSHAKE, 3, _, _] => {
                    return Seen::Unfinished;
                }
                [TLS_HANDSHAKE, 3, _, high, low, rest @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if length == 0 || length > MOST_IN_RECORD {
                        return Seen::Unreadable;
                    }
                    let Some(piece) = rest.get(..length) else {
                        return Seen::Unfinished;
                    };
                    self.message.extend_from_slice(piece);
                    self.record.drain(..RECORD_HEADER + length);
                }
                _ => return Seen::Unreadable,
            }
            match self.message.as_slice() {
                [CLIENT_HELLO, a, b, c, rest @ ..] => {
                    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                    if length > MOST - MESSAGE_HEADER || rest.len() > length {
                        return Seen::Unreadable;
                    }
                    if rest.len() == length {
                        return greeting(rest).map_or(Seen::Unreadable, Seen::Read);
                    }
                }
                [first, ..] if *first != CLIENT_HELLO => return Seen::Unreadable,
                _ => {}
            }
        }
    }
}

/// What does not begin as TLS does: a ClientHello in the form of SSL 2.0, which some servers take up TLS from (RFC
/// 5246, E.2) and which can name nobody, or something else.
fn of_old(bytes: &[u8]) -> Seen {
    match bytes {
        [length, ..] if length & 0x80 == 0 => Seen::NotTls,
        [_] | [_, _] | [_, _, CLIENT_HELLO] => Seen::Unfinished,
        [_, _, CLIENT_HELLO, 3, ..] => Seen::Unreadable,
        _ => Seen::NotTls,
    }
}

/// The message's inside (RFC 8446, 4.1.2).
fn greeting(message: &[u8]) -> Option<Greeting> {
    let mut rest = Rest(message);
    rest.take(2 + 32)?;
    let session = rest.short()?;
    let suites = rest.long()?;
    let compressions = rest.short()?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
        return None;
    }
    let mut read = Greeting {
        name: None,
        encrypted: false,
    };
    // TLS 1.2 permits to leave extensions out altogether.
    if rest.0.is_empty() {
        return Some(read);
    }
    let mut extensions = Rest(rest.long()?);
    if !rest.0.is_empty() {
        return None;
    }
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let body = extensions.long()?;
        if seen.contains(&kind) {
            return None;
        }
        seen.push(kind);
        match kind {
            SERVER_NAME => read.name = Some(only_name(body)?),
            ENCRYPTED_CLIENT_HELLO => read.encrypted = true,
            _ => {}
        }
    }
    Some(read)
}

/// The one host name of a list that must hold nothing else (RFC 6066, 3).
fn only_name(body: &[u8]) -> Option<String> {
    let mut body = Rest(body);
    let mut list = Rest(body.long()?);
    let kind = list.take(1)?;
    let name = list.long()?;
    if !body.0.is_empty() || !list.0.is_empty() || kind != [HOST_NAME] || name.is_empty() || !name.is_ascii()
    {
        return None;
    }
    String::from_utf8(name.to_vec()).ok()
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A vector with a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(usize::from(length))
    }

    /// A vector with a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;
