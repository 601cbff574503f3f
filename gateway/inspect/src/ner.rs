//! Names, addresses and places by a classifier (named-entity recognition) in ONNX.
//!
//! Read [`Ner::mentions`] first: what somebody would read aloud is told from code and numbers ([`spoken`]), cut
//! into windows that end with a sentence ([`windows`]), judged token by token ([`tagger`], [`gather`]) or span by
//! span ([`asker`]), and made into [`Mention`]s, of which those that look like parts of programs or of nothing are left out
//! ([`identifiers`], [`people`], [`places`]). Labels for numbers and keys are
//! left to the detectors, which know their checksums.
//!
//! ONNX Runtime is a library that is loaded when a [`Ner`] is: without it Cordon builds and runs, and knows
//! names by lists. Any BERT-like token classifier with a `tokenizer.json` and a `config.json` will do, and
//! any GLiNER that judges spans, with its `gliner_config.json`.
//!
//! Limits: windows of [`windows::LONGEST`] tokens; a deadline, looked at between windows; [`Cache`] keeps the
//! mentions (places, no text) of texts of [`CACHED_BYTES`] and more, since a chat sends its whole history at each turn.
//!
//! On failure: [`NerError`] at loading; [`Missed`] when the deadline passed or the runtime failed, and what
//! becomes of the exchange then is the policy's to say.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

mod files;
pub use files::{NerError, NerFiles};

mod kind;
pub(crate) use kind::Kind;

mod spoken;

mod windows;

mod tagger;

mod asker;

mod gather;

mod places;

mod identifiers;

mod people;

mod cache;

mod runtime;

use asker::Asker;
use cache::Cache;
use kind::{Labels, Meanings};
use runtime::Pool;
use tagger::Tagger;

/// Shorter texts are not kept: judging them again is cheap, and whether one is known would tell a little
/// about what others have asked.
const CACHED_BYTES: usize = 512;
/// A larger text is read in parts of so many bytes.
const PART_BYTES: usize = 64 << 10;

/// Something that the classifier took for a name or a place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mention {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
    /// The mean of its tokens' probabilities.
    pub(crate) score: f32,
}

/// What of a text is known to be no language.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unspoken<'a> {
    /// Binary data: not read. Sorted and disjoint.
    pub(crate) binary: &'a [Range<usize>],
    /// Source code: comments and strings in it are read. Sorted and disjoint.
    pub(crate) code: &'a [Range<usize>],
}

/// Why a text was not read for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missed {
    /// The deadline passed.
    #[error("names could not be looked for in time")]
    Late,
    /// The runtime failed.
    #[error("looking for names failed")]
    Failed,
}

/// A loaded classifier, shared by all threads.
pub struct Ner {
    tokenizer: Tokenizer,
    reader: Reader,
    sessions: Pool,
    cache: Mutex<Cache>,
}

/// The two families of classifiers.
enum Reader {
    Tagger(Tagger),
    Asker(Asker),
}

impl fmt::Debug for Ner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ner").finish_non_exhaustive()
    }
}

impl Ner {
    /// Loads the files. `threads` texts are read at the same time, each on one core.
    ///
    /// # Errors
    /// What is missing or does not fit, by file.
    pub fn load(files: &NerFiles, threads: usize) -> Result<Self, NerError> {
        if let Some(path) = files.missing() {
            return Err(NerError::Missing(path.to_owned()));
        }
        let meanings = Meanings::new(&files.meanings)?;
        let (tokenizer, marks) = tokenizer(files)?;
        let environment = runtime::environment(&files.runtime)?;
        let mut sessions = (0..threads.max(1))
            .map(|_| runtime::session(&environment, &files.classifier))
            .collect::<Result<Vec<_>, _>>()?;
        let first = &mut sessions[0];
        let (reader, fits) = if Asker::is_asked(first) {
            let asker = Asker::new(&files.labels, &meanings.said(), &tokenizer, marks)?;
            let fits = asker.fits(first);
            (Reader::Asker(asker), fits)
        } else {
            let tagger = Tagger::new(Labels::read(&files.labels, &meanings)?, marks, first);
            let fits = tagger.fits(first);
            (Reader::Tagger(tagger), fits)
        };
        // A graph that gives another number of labels is found now, not by the first employee.
        if !fits {
            let unusable = "it does not give its labels".to_owned();
            return Err(NerError::Classifier(files.classifier.clone(), unusable));
        }
        Ok(Self {
            tokenizer,
            reader,
            sessions: Pool::new(sessions),
            cache: Mutex::default(),
        })
    }

    /// What a text mentions, in order.
    ///
    /// # Errors
    /// When `until` passed before the whole was read, or the runtime failed.
    pub(crate) fn mentions(
        &self,
        text: &str,
        unspoken: Unspoken<'_>,
        until: Option<Instant>,
    ) -> Result<Arc<[Mention]>, Missed> {
        let key = (text.len() >= CACHED_BYTES).then(|| Sha256::digest(text).into());
        if let Some(key) = &key
            && let Some(known) = self.cache().get(key)
        {
            return Ok(known);
        }
        let stretches = spoken::stretches(text, unspoken);
        let mut mentions = Vec::new();
        let mut rest = stretches.as_slice();
        while !rest.is_empty() {
            // Stretches are bounded, and as many of them are read together as make a part.
            let mut bytes = 0;
            let more = rest.iter().take_while(|stretch| {
                bytes += stretch.len();
                bytes <= PART_BYTES
            });
            let (part, after) = rest.split_at(more.count().max(1));
            let (tokenizer, sessions) = (&self.tokenizer, &self.sessions);
            mentions.extend(match &self.reader {
                Reader::Tagger(tagger) => tagger.mentions(text, part, tokenizer, sessions, until)?,
                Reader::Asker(asker) => asker.mentions(text, part, tokenizer, sessions, until)?,
            });
            rest = after;
        }
        let mentions = identifiers::without_identifiers(text, unspoken.code, mentions);
        let mentions = people::only_people(text, mentions);
        let mentions: Arc<[Mention]> = places::with_places(text, mentions).into();
        if let Some(key) = key {
            self.cache().put(key, mentions.clone());
        }
        Ok(mentions)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Whatever a panicking holder left is a cache all the same.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokenizer, and the tokens that begin and end what is read.
fn tokenizer(files: &NerFiles) -> Result<(Tokenizer, [u32; 2]), NerError> {
    let unusable = |what: String| NerError::Tokenizer(files.tokenizer.clone(), what);
    let mut tokenizer =
        Tokenizer::from_file(&files.tokenizer).map_err(|error| unusable(error.to_string()))?;
    // Windows are cut here.
    tokenizer
        .with_truncation(None)
        .map_err(|error| unusable(error.to_string()))?;
    tokenizer.with_padding(None);
    let mark = |names: [&str; 2]| {
        let known = names.iter().find_map(|name| tokenizer.token_to_id(name));
        known.ok_or_else(|| unusable(format!("it has neither {} nor {}", names[0], names[1])))
    };
    let marks = [mark(["[CLS]", "<s>"])?, mark(["[SEP]", "</s>"])?];
    Ok((tokenizer, marks))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let files = NerFiles::in_folder(Path::new("/nowhere"));
        let error = Ner::load(&files, 1).unwrap_err();
        assert!(error.to_string().contains("/nowhere/model.onnx"), "{error}");
    }
}
