//! Reads a request body whole, under limits of size and of time.
//!
//! The time limit is on rest and on rate ([`Pace`]): a frame must come within the idle time, and the
//! whole may lag behind a least rate by no more than its grace, so that a body sent byte by byte does
//! not hold a connection for a day. Trailers are dropped: nothing inspects them.
//!
//! On failure: [`ReadError`]; what was read is dropped.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

/// The slowest rate at which a body may come in, unless another is given.
const LEAST_BYTES_A_SECOND: u64 = 1024;

/// How fast a body must come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest time without a byte.
    pub idle: Duration,
    /// Time that it may lag behind the rate.
    pub grace: Duration,
    /// The slowest rate, once the grace is used up.
    pub bytes_a_second: u64,
}

impl From<Duration> for Pace {
    /// With this time without a byte, and as much of lag behind a kilobyte a second.
    fn from(idle: Duration) -> Self {
        Self {
            idle,
            grace: idle,
            bytes_a_second: LEAST_BYTES_A_SECOND,
        }
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is longer than the limit, or says that it will be.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It came too slowly.
    #[error("the body came too slowly")]
    TooSlow,
    /// The caller left, or its framing is broken.
    #[error("the body broke off")]
    BrokeOff,
}

impl ReadError {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BrokeOff => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads `body` whole.
///
/// # Errors
/// When it is longer than `limit`, comes too slowly, or breaks off.
pub async fn read_body<B>(body: B, limit: usize, pace: impl Into<Pace>) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let pace = pace.into();
    let mut body = body;
    let too_large = ReadError::TooLarge { limit };
    // A length that is announced too large is refused before a byte of it is awaited.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let begun = Instant::now();
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    loop {
        let length = first.len() + gathered.len();
        let allowed = pace.grace + Duration::from_secs(length as u64 / pace.bytes_a_second.max(1));
        let deadline = (Instant::now() + pace.idle).min(begun + allowed);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(ReadError::TooSlow),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(|_| ReadError::BrokeOff)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - length {
            return Err(too_large);
        }
        // Most bodies come as one frame, which then needs no copy.
        if length == 0 {
            first = data;
        } else {
            gathered.extend_from_slice(&std::mem::take(&mut first));
            gathered.extend_from_slice(&data);
        }
    }
    Ok(if gathered.is_empty() {
        first
    } else {
        gathered.freeze()
    })
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use proptest::prelude::*;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn pieces(pieces: Vec<Vec<u8>>) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(stream::iter(
            pieces
                .into_iter()
                .map(|piece| Ok(Frame::data(Bytes::from(piece)))),
        ))
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let read = |length: usize| read_body(Full::new(Bytes::from(vec![7; length])), 100, IDLE);
        assert_eq!(read(100).await.unwrap().len(), 100);
        assert_eq!(read(101).await.unwrap_err(), ReadError::TooLarge { limit: 100 });
        let split = read_body(pieces(vec![vec![1; 60], vec![2; 41]]), 100, IDLE).await;
        assert_eq!(split.unwrap_err(), ReadError::TooLarge { limit: 100 });
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let frames = vec![
            Ok(Frame::data(Bytes::from_static(b"half"))),
            Err(io::ErrorKind::UnexpectedEof),
        ];
        let body = StreamBody::new(stream::iter(frames));
        assert_eq!(read_body(body, 100, IDLE).await.unwrap_err(), ReadError::BrokeOff);
    }

    #[tokio::test]
    async fn a_body_byte_by_byte_is_cut_off() {
        // Each byte comes well within the idle time, and all of them would take hours.
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let body = StreamBody::new(Box::pin(drip));
        let error = read_body(body, 1 << 20, Duration::from_millis(200))
            .await
            .unwrap_err();
        assert_eq!(error, ReadError::TooSlow);
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_whole(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let whole = parts.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let read = runtime.block_on(read_body(pieces(parts), 1 << 20, IDLE)).unwrap();
            prop_assert_eq!(read.as_ref(), whole.as_slice());
        }
    }
}
