//! Calls: requests whose body is a stream of messages in envelopes, as gRPC, gRPC-Web and Connect's streams are.
//!
//! Such a body is read message by message, since either end may wait for the other before it says more.
//!
//! gRPC-Web's text form is the same in base64, for programs that cannot send bytes
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>): any number of pieces, each with its padding.
//!
//! On failure: a [`DecodeError`].

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Container, DecodeError, Endpoint, request::MediaType};

/// How a call's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallForm {
    /// Whether it is in base64.
    pub text: bool,
}

impl CallForm {
    /// By a content type, at an endpoint that is described or unknown; none for what is no call, and none where the
    /// endpoint says that its bodies are something else.
    #[must_use]
    pub fn of(endpoint: Option<Endpoint>, content_type: &str) -> Option<Self> {
        let container = MediaType::read(Some(content_type)).ok()?.container()?;
        let enveloped = matches!(container, Container::ProtobufEnvelopes | Container::JsonEnvelopes);
        let open = endpoint.is_none_or(|endpoint| match endpoint.shape {
            Some(shape) => shape.container.is_none_or(|expected| expected == container),
            None => endpoint.dialect == cordon_domain::Dialect::Unknown,
        });
        (enveloped && open).then(|| Self {
            text: is_text(content_type),
        })
    }
}

/// Whether a content type is that of gRPC-Web in base64.
#[must_use]
pub fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    ["application/grpc-web-text", "application/grpc-web-text+proto"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

/// Base64 undone piece by piece. A piece of its own may end in padding anywhere, as servers flush.
#[derive(Default)]
pub struct Base64Reader {
    /// Letters that make no whole group yet, three at most.
    left: Vec<u8>,
}

impl Base64Reader {
    /// The bytes that are whole by now.
    ///
    /// # Errors
    /// When it is no base64.
    pub fn push(&mut self, letters: &[u8]) -> Result<Vec<u8>, DecodeError> {
        self.left.extend_from_slice(letters);
        let whole = self.left.len() / 4 * 4;
        let mut out = Vec::with_capacity(whole / 4 * 3);
        let mut from = 0;
        for (group, letters) in self.left[..whole].chunks_exact(4).enumerate() {
            let end = group * 4 + 4;
            if letters.ends_with(b"=") || end == whole {
                STANDARD
                    .decode_vec(&self.left[from..end], &mut out)
                    .map_err(|_| DecodeError::Malformed { what: "base64" })?;
                from = end;
            }
        }
        self.left.drain(..whole);
        Ok(out)
    }

    /// Whether it ends within a group.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use cordon_domain::Dialect;
    use proptest::prelude::*;

    use super::*;
    use crate::Operation;

    #[test]
    fn calls_are_told_by_their_content_type_where_the_endpoint_is_open() {
        let unknown = Some(Endpoint::new(Dialect::Unknown, Operation::Manage));
        let known = Some(Endpoint::new(Dialect::OpenaiChat, Operation::Generate));
        for (kind, call) in [
            ("application/grpc", Some(false)),
            ("application/grpc+proto; x=y", Some(false)),
            ("application/grpc-web+proto", Some(false)),
            ("application/grpc-web-text", Some(true)),
            ("Application/GRPC-Web-Text+proto", Some(true)),
            ("application/connect+json", Some(false)),
            ("application/proto", None),
            ("application/json", None),
            ("application/octet-stream", None),
        ] {
            assert_eq!(CallForm::of(unknown, kind).map(|form| form.text), call, "{kind}");
            assert_eq!(CallForm::of(None, kind).map(|form| form.text), call, "{kind}");
            assert_eq!(CallForm::of(known, kind), None, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn base64_comes_out_the_same_in_any_pieces(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6),
            size in 1_usize..9,
        ) {
            let whole = pieces.concat();
            let flushed: String = pieces.iter().map(|piece| STANDARD.encode(piece)).collect();
            for written in [STANDARD.encode(&whole), flushed] {
                let mut reader = Base64Reader::default();
                let mut read = Vec::new();
                for piece in written.as_bytes().chunks(size) {
                    read.extend(reader.push(piece).unwrap());
                }
                prop_assert!(!reader.is_cut());
                prop_assert_eq!(&read, &whole);
            }
        }
    }
}
