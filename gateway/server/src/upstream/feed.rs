//! A request's body as it goes up: whole, or its beginning and then what a call says further.
//!
//! What is fed is a [`Cleared`], as with requests; its head was sent already, so only the body counts. A feed that
//! is dropped before its end was said gives an error, and the stream is reset: no upstream takes what was cut off for
//! a whole request.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cordon_policy::Cleared;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Messages that may wait for a slow upstream before the caller is read no further.
const WAITING: usize = 4;

enum Said {
    Message(Cleared),
    End,
}

/// What a call says to its upstream behind the beginning.
pub struct Feed {
    said: mpsc::Receiver<Said>,
    /// Whether messages go up in base64.
    text: bool,
}

/// Says it.
pub struct FeedSender(mpsc::Sender<Said>);

impl Feed {
    /// A feed; `text` where messages go up in base64, each with its padding.
    pub fn new(text: bool) -> (Self, FeedSender) {
        let (sender, said) = mpsc::channel(WAITING);
        (Self { said, text }, FeedSender(sender))
    }

    fn written(&self, bytes: Bytes) -> Bytes {
        if self.text {
            BASE64_STANDARD.encode(bytes).into()
        } else {
            bytes
        }
    }
}

impl FeedSender {
    /// Hands on a message; whether anybody takes it still.
    pub async fn send(&self, cleared: Cleared) -> bool {
        self.0.send(Said::Message(cleared)).await.is_ok()
    }

    /// Says that nothing follows.
    pub async fn end(&self) {
        let _ = self.0.send(Said::End).await;
    }
}

/// The body of a request to an upstream.
pub enum Sent {
    /// All of it; none once it is sent.
    Whole(Option<Bytes>),
    /// Its beginning, and what follows.
    Fed(Bytes, Feed),
    /// It was said to be over.
    Over,
}

impl Sent {
    /// A body, and what is said behind it.
    pub fn new(body: Bytes, feed: Option<Feed>) -> Self {
        match feed {
            Some(feed) => {
                let body = feed.written(body);
                Self::Fed(body, feed)
            }
            None => Self::Whole(Some(body).filter(|body| !body.is_empty())),
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let (beginning, feed) = match this {
            Self::Whole(body) => return Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Over => return Poll::Ready(None),
            Self::Fed(beginning, feed) => (beginning, feed),
        };
        if !beginning.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(beginning)))));
        }
        loop {
            let bytes = match std::task::ready!(feed.said.poll_recv(cx)) {
                Some(Said::Message(cleared)) => {
                    let (bytes, _) = cleared.into_parts();
                    feed.written(bytes)
                }
                Some(Said::End) => {
                    *this = Self::Over;
                    return Poll::Ready(None);
                }
                None => {
                    *this = Self::Over;
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Fed(..) => SizeHint::new(),
            Self::Over => SizeHint::with_exact(0),
        }
    }
}
