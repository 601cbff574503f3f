//! Asks one witness to cosign what is newest, by <https://c2sp.org/tlog-witness>.
//!
//! The witness says which checkpoint it knows; the proof from there to the newest is made from the store. A cosignature counts once
//! it verifies by the configured key, and is kept beside the checkpoint.
//!
//! On failure: [`WitnessFault`]. A witness that knows a larger tree than ours, or says that ours does not continue what it knows, means
//! that the store was set back or another tree was signed, and is told in those words.

use std::collections::HashMap;

use bytes::Bytes;
use cordon_audit::{
    Published, StoreUrl, Testimonies, Testimony, TestimonyError, TreeName,
    note::{NoteError, Signature, VerifyingKey},
    witness::AddCheckpoint,
};
use http::{Method, Request, StatusCode};

use super::{Desk, Line, LineError, Vouches};

/// How often the witness may correct us about what it knows, for one checkpoint.
const TRIES: usize = 3;

pub(super) struct Witness {
    desk: Desk,
    line: Line,
    url: String,
    key: VerifyingKey,
    testimonies: Testimonies,
    /// The size of the tree that the witness knows, as far as it has told.
    knows: HashMap<TreeName, u64>,
}

impl Witness {
    pub(super) fn new(desk: Desk, line: Line, url: &str, key: VerifyingKey, store: StoreUrl) -> Self {
        Self {
            desk,
            line,
            url: format!("{}/add-checkpoint", url.trim_end_matches('/')),
            key,
            testimonies: Testimonies::new(store),
            knows: HashMap::new(),
        }
    }

    /// Asks once. What it answers instead of a cosignature may be the size that it knows.
    async fn ask(&mut self, published: &Published, old: u64) -> Result<Answer, WitnessFault> {
        let size = published.checkpoint.size;
        let path = self.testimonies.consistency(&published.tree, old, size).await?;
        let mut note = published.note.clone();
        let body = AddCheckpoint {
            old,
            path,
            note: note.clone(),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .body(Bytes::from(body.to_string()))
            .map_err(|_| WitnessFault::Url)?;
        let (status, answer) = self.line.send(request).await?;
        let text = std::str::from_utf8(&answer).map_err(|_| WitnessFault::Garbled)?;
        match status {
            StatusCode::OK => {
                let mut lines = Signature::parse_lines(text)?.into_iter();
                let signature = lines
                    .find(|line| self.key.names(line))
                    .ok_or_else(|| NoteError::NotSigned(self.key.name().to_owned()))?;
                note.push(signature.clone())?;
                note.vouched_by(&self.key)?;
                Ok(Answer::Cosigned(signature))
            }
            StatusCode::CONFLICT => {
                let knows = text.trim_end().parse().map_err(|_| WitnessFault::Garbled)?;
                Ok(Answer::Knows(knows))
            }
            StatusCode::UNPROCESSABLE_ENTITY => Err(WitnessFault::NotContinued),
            other => Err(WitnessFault::Refused(other)),
        }
    }
}

enum Answer {
    Cosigned(Signature),
    Knows(u64),
}

impl Vouches for Witness {
    type Mark = u64;
    type Fault = WitnessFault;

    const KIND: &'static str = "witness";

    fn name(&self) -> &str {
        self.key.name()
    }

    fn mark(&self, published: &Published) -> u64 {
        published.checkpoint.size
    }

    async fn take(&mut self, published: &Published) -> Result<(), WitnessFault> {
        let size = published.checkpoint.size;
        for _ in 0..TRIES {
            let old = self.knows.get(&published.tree).copied().unwrap_or(0);
            match self.ask(published, old).await? {
                Answer::Cosigned(signature) => {
                    let said = Testimony::Cosignature(&signature, &self.key);
                    self.testimonies.keep(published, said, self.desk.now()).await?;
                    self.knows.insert(published.tree.clone(), size);
                    self.desk.cosigned(published, &signature);
                    return Ok(());
                }
                Answer::Knows(larger) if larger > size => return Err(WitnessFault::KnowsMore(larger)),
                // It knows a tree of just this size that has another root.
                Answer::Knows(same) if same == size && old == size => return Err(WitnessFault::NotContinued),
                Answer::Knows(knows) => {
                    self.knows.insert(published.tree.clone(), knows);
                }
            }
        }
        Err(WitnessFault::Garbled)
    }
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum WitnessFault {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("its URL does not read")]
    Url,
    #[error("it answers something else than a witness does")]
    Garbled,
    #[error("it answers with status {0}; does it know this log's key?")]
    Refused(StatusCode),
    #[error("it has cosigned a tree of {0} leaves, which is more than there are: was the store set back?")]
    KnowsMore(u64),
    #[error("the tree does not continue the one that it has cosigned: was the store altered or set back?")]
    NotContinued,
    #[error("its cosignature: {0}")]
    Note(#[from] NoteError),
    #[error(transparent)]
    Store(#[from] TestimonyError),
}
