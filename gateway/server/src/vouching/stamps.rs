//! Has checkpoints stamped with the time by an authority of RFC 3161.
//!
//! What is stamped is the SHA-256 of the checkpoint's text without its signatures. The answer is kept beside the checkpoint, and
//! as `SIZE.tsr` in the folders that checkpoints are published to, for `openssl ts -verify`. Here is only checked that it is an answer to
//! what was asked: which authorities to trust is for whoever relies on the stamp.
//!
//! On failure: [`StampFault`].

use std::{collections::HashMap, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cordon_audit::{Published, StoreUrl, Testimonies, Testimony, TestimonyError, TreeName};
use http::{Method, Request, StatusCode, header};
use sha2::{Digest, Sha256};

use super::{
    Desk, Line, LineError, Vouches,
    publishing::{PublishFault, put},
};
use crate::config;

pub(super) struct Stamps {
    desk: Desk,
    line: Line,
    url: String,
    every: u64,
    folders: Vec<PathBuf>,
    testimonies: Testimonies,
    /// When a tree's last stamp came, in milliseconds since 1970, and the size that was stamped.
    last: HashMap<TreeName, (u64, u64)>,
}

impl Stamps {
    pub(super) fn new(
        desk: Desk,
        line: Line,
        configured: &config::Timestamps,
        folders: Vec<PathBuf>,
        store: StoreUrl,
    ) -> Self {
        Self {
            desk,
            line,
            url: configured.url.clone(),
            every: configured.every_seconds.saturating_mul(1000),
            folders,
            testimonies: Testimonies::new(store),
            last: HashMap::new(),
        }
    }
}

impl Vouches for Stamps {
    type Mark = u64;
    type Fault = StampFault;

    const KIND: &'static str = "timestamps";

    fn name(&self) -> &str {
        &self.url
    }

    fn mark(&self, published: &Published) -> u64 {
        // Until it is time again, what was stamped last is all that there is to stamp.
        match self.last.get(&published.tree) {
            Some((at, stamped)) if self.desk.now().saturating_sub(*at) < self.every => *stamped,
            _ => published.checkpoint.size,
        }
    }

    async fn take(&mut self, published: &Published) -> Result<(), StampFault> {
        let now = self.desk.now();
        let hash: [u8; 32] = Sha256::digest(published.note.text()).into();
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|_| StampFault::Randomness)?;
        // Neither negative nor with a zero in front: one form of the number.
        nonce[0] = nonce[0] & 0x3f | 0x40;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/timestamp-query")
            .body(Bytes::from(query(&hash, &nonce)))
            .map_err(|_| StampFault::Url)?;
        let (status, answer) = self.line.send(request).await?;
        if status != StatusCode::OK {
            return Err(StampFault::Refused(status));
        }
        if !answers(&answer, &hash, &nonce) {
            return Err(StampFault::NotGranted);
        }
        let said = STANDARD.encode(&answer);
        let said = Testimony::Stamp(&self.url, &said);
        self.testimonies.keep(published, said, now).await?;
        for folder in &self.folders {
            let name = format!("{}.tsr", published.checkpoint.size);
            put(folder, &published.checkpoint.origin, &name, answer.to_vec()).await?;
        }
        self.last
            .insert(published.tree.clone(), (now, published.checkpoint.size));
        Ok(())
    }
}

/// `TimeStampReq` of RFC 3161 in DER: version 1, the hash, a nonce, and that certificates are asked for.
fn query(hash: &[u8; 32], nonce: &[u8; 8]) -> Vec<u8> {
    // SEQUENCE { INTEGER 1, SEQUENCE { SEQUENCE { OID sha256, NULL }, OCTET STRING }, INTEGER, BOOLEAN TRUE }
    let mut out = vec![0x30, 67, 0x02, 1, 1, 0x30, 49, 0x30, 13, 0x06, 9];
    out.extend([
        0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04, 32,
    ]);
    out.extend(hash);
    out.extend([0x02, 8]);
    out.extend(nonce);
    out.extend([0x01, 1, 0xff]);
    out
}

/// Whether an answer grants what was asked: its status is 0 or 1, and a token with our hash and nonce follows.
fn answers(answer: &[u8], hash: &[u8; 32], nonce: &[u8; 8]) -> bool {
    // TimeStampResp ::= SEQUENCE { SEQUENCE { INTEGER status, ... }, token }
    let granted = || {
        let (0x30, inside, []) = element(answer)? else {
            return None;
        };
        let (0x30, info, token) = element(inside)? else {
            return None;
        };
        let (0x02, [0 | 1], _) = element(info)? else {
            return None;
        };
        Some(token)
    };
    let contains = |token: &[u8], part: &[u8]| token.windows(part.len()).any(|window| window == part);
    granted().is_some_and(|token| contains(token, hash) && contains(token, nonce))
}

/// The first element of DER: its tag, what is in it, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if length.is_empty() || length.len() > 4 {
                return None;
            }
            let number = length
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte));
            (number, rest)
        }
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    Some((*tag, inside, rest))
}

/// Why there is no stamp.
#[derive(Debug, thiserror::Error)]
pub(super) enum StampFault {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("its URL does not read")]
    Url,
    #[error("it answers with status {0}")]
    Refused(StatusCode),
    #[error("it does not grant what was asked")]
    NotGranted,
    #[error("the operating system gives no random bytes")]
    Randomness,
    #[error(transparent)]
    Store(#[from] TestimonyError),
    #[error(transparent)]
    File(#[from] PublishFault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_a_query_are_what_they_say() {
        let query = query(&[7; 32], &[0x41; 8]);
        let (tag, inside, rest) = element(&query).unwrap();
        assert_eq!((tag, rest), (0x30, [].as_slice()));
        let (_, version, inside) = element(inside).unwrap();
        assert_eq!(version, [1]);
        let (_, imprint, inside) = element(inside).unwrap();
        let (_, _, hash) = element(imprint).unwrap();
        assert_eq!(element(hash).unwrap().1, [7; 32]);
        let (_, nonce, inside) = element(inside).unwrap();
        assert_eq!(nonce, [0x41; 8]);
        assert_eq!(element(inside).unwrap(), (0x01, [0xff].as_slice(), [].as_slice()));
    }

    #[test]
    fn what_is_no_grant_of_ours_is_none() {
        let (hash, nonce) = ([7; 32], [0x41; 8]);
        let answer = |status: u8, token: &[u8]| {
            let mut out = vec![0x30, 5 + token.len() as u8, 0x30, 3, 0x02, 1, status];
            out.extend(token);
            out
        };
        let token = [hash.as_slice(), &nonce].concat();
        assert!(answers(&answer(0, &token), &hash, &nonce));
        assert!(answers(&answer(1, &token), &hash, &nonce));
        assert!(!answers(&answer(2, &token), &hash, &nonce));
        assert!(!answers(&answer(0, &hash), &hash, &nonce));
        assert!(!answers(&answer(0, &token)[..20], &hash, &nonce));
        for wrong in [
            &[][..],
            &[0x30],
            &[0x30, 0x84],
            &[0x30, 0xff, 1],
            &[0x30, 0x80, 0],
        ] {
            assert!(!answers(wrong, &hash, &nonce));
        }
    }
}
