//! Names, addresses and places by a token classifier (named-entity recognition) in ONNX.
//!
//! The classifier reads windows of tokens that overlap, so that each token is judged with words on both
//! sides of it. Tokens of one kind that follow each other become one [`Mention`]. Its labels for numbers
//! and keys are left to the detectors, which know their checksums.
//!
//! ONNX Runtime is a library that is loaded when a [`Ner`] is: without it Cordon builds and runs, and knows
//! names by lists. Any BERT-like token classifier with a `tokenizer.json` and a `config.json` will do.
//!
//! Limits: [`WINDOW`] tokens at a time; a deadline, looked at between windows; [`Cache`] keeps the mentions
//! (places, no text) of texts of 512 bytes and more, since a chat sends its whole history at each turn.
//!
//! On failure: [`NerError`] at loading; [`Missed`] when the deadline passed or the runtime failed, and what
//! becomes of the exchange then is the policy's to say.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use ort::{
    environment::Environment,
    inputs,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::Tensor,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

/// Tokens that are judged together, the two that mark begin and end included. Longer windows are not
/// judged better, and cost more by the square.
const WINDOW: usize = 128;
/// Tokens that two windows share: half of them are judged with the words before, half with those behind.
const OVERLAP: usize = 32;
/// Tokens less sure than this are not taken.
const LEAST_SURE: f32 = 0.5;
/// Shorter texts are not kept: judging them again is cheap, and whether one is known would tell a little
/// about what others have asked.
const CACHED_BYTES: usize = 512;
/// Mentions that the cache holds in all.
const CACHED_MENTIONS: usize = 200_000;
/// Texts that the cache holds.
const CACHED_TEXTS: usize = 20_000;
/// A larger text is read in parts of so many bytes.
const PART_BYTES: usize = 64 << 10;

/// What a mention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Person,
    /// With a street, a house or a flat.
    Address,
    /// A city or a state by itself.
    Location,
    PostalCode,
    Organization,
}

impl Kind {
    /// The kind of a label, without its `B-` or `I-`; none for what detectors find better.
    fn of_label(label: &str) -> Option<Self> {
        Some(match label.to_ascii_uppercase().as_str() {
            "GIVEN_NAME" | "SURNAME" | "PER" | "PERSON" | "NAME" | "FIRSTNAME" | "LASTNAME"
            | "MIDDLENAME" | "FIRST_NAME" | "LAST_NAME" => Self::Person,
            "BUILDING_NUMBER" | "STREET_NAME" | "SECONDARY_ADDRESS" | "STREET" | "ADDRESS"
            | "STREET_ADDRESS" | "BUILDINGNUM" => Self::Address,
            "CITY" | "STATE" | "LOC" | "LOCATION" | "GPE" | "COUNTY" => Self::Location,
            "ZIP_CODE" | "ZIPCODE" | "POSTAL_CODE" | "POSTCODE" => Self::PostalCode,
            "ORG" | "ORGANIZATION" | "ORGANISATION" | "COMPANY" | "COMPANYNAME" => Self::Organization,
            _ => return None,
        })
    }

    /// Kinds that are parts of one thing when they follow each other.
    fn joins(self, other: Self) -> bool {
        let place = |kind| matches!(kind, Self::Address | Self::Location | Self::PostalCode);
        self == other || (place(self) && place(other))
    }

    /// What two parts are together.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Location, Self::PostalCode) | (Self::PostalCode, Self::Location) => Self::Location,
            _ => Self::Address,
        }
    }
}

/// Something that the classifier took for a name or a place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mention {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
    /// The mean of its tokens' probabilities.
    pub(crate) score: f32,
}

/// The files that make a classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NerFiles {
    /// The classifier: an ONNX graph with `input_ids`, `attention_mask` and perhaps `token_type_ids`,
    /// giving `[1, tokens, labels]`.
    pub classifier: PathBuf,
    /// Its tokenizer, in the form of the `tokenizers` library.
    pub tokenizer: PathBuf,
    /// Its labels: a JSON object with `id2label`.
    pub labels: PathBuf,
    /// ONNX Runtime's shared library, 1.24 or later.
    pub runtime: PathBuf,
}

impl NerFiles {
    /// The files of a folder, by their usual names.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            classifier: folder.join("model.onnx"),
            tokenizer: folder.join("tokenizer.json"),
            labels: folder.join("config.json"),
            runtime: folder.join("libonnxruntime.so"),
        }
    }

    /// The first of them that is not there.
    #[must_use]
    pub fn missing(&self) -> Option<&Path> {
        [&self.classifier, &self.tokenizer, &self.labels, &self.runtime]
            .into_iter()
            .map(PathBuf::as_path)
            .find(|path| !path.is_file())
    }
}

/// A classifier could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum NerError {
    /// A file is not there.
    #[error("there is no {0}")]
    Missing(PathBuf),
    /// The library does not load, or is too old.
    #[error("{0} is no ONNX Runtime that can be used: {1}")]
    Runtime(PathBuf, String),
    /// The graph does not load, or does not fit the labels.
    #[error("{0} is no token classifier that can be used: {1}")]
    Classifier(PathBuf, String),
    /// The tokenizer does not load.
    #[error("{0} is no tokenizer that can be used: {1}")]
    Tokenizer(PathBuf, String),
    /// The labels do not read, or none of them is of a name or a place.
    #[error("{0} names no labels that can be used: {1}")]
    Labels(PathBuf, String),
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
    begin: i64,
    end: i64,
    kinds: Vec<Option<Kind>>,
    /// For each label, whether it begins something new (`B-`).
    begins: Vec<bool>,
    token_types: bool,
    sessions: Pool,
    cache: Mutex<Cache>,
}

impl fmt::Debug for Ner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ner").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Labels {
    id2label: HashMap<String, String>,
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
        let (kinds, begins) = labels(&files.labels)?;
        let mut tokenizer = Tokenizer::from_file(&files.tokenizer)
            .map_err(|error| NerError::Tokenizer(files.tokenizer.clone(), error.to_string()))?;
        // Windows are cut here.
        let unusable = |what: &str| NerError::Tokenizer(files.tokenizer.clone(), what.to_owned());
        tokenizer
            .with_truncation(None)
            .map_err(|error| unusable(&error.to_string()))?;
        tokenizer.with_padding(None);
        let special = |names: [&str; 2]| names.iter().find_map(|name| tokenizer.token_to_id(name));
        let begin = special(["[CLS]", "<s>"]).ok_or_else(|| unusable("it has neither [CLS] nor <s>"))?;
        let end = special(["[SEP]", "</s>"]).ok_or_else(|| unusable("it has neither [SEP] nor </s>"))?;
        let environment = environment(&files.runtime)?;
        let sessions = (0..threads.max(1))
            .map(|_| session(&environment, &files.classifier))
            .collect::<Result<Vec<_>, _>>()?;
        let token_types = sessions[0]
            .inputs()
            .iter()
            .any(|input| input.name() == "token_type_ids");
        let ner = Self {
            tokenizer,
            begin: i64::from(begin),
            end: i64::from(end),
            kinds,
            begins,
            token_types,
            sessions: Pool::new(sessions),
            cache: Mutex::default(),
        };
        // A graph that gives another number of labels is found now, not by the first employee.
        ner.judge(&[ner.begin, ner.end], None).map_err(|_| {
            NerError::Classifier(files.classifier.clone(), "it does not give its labels".to_owned())
        })?;
        Ok(ner)
    }

    /// What a text mentions, in order. `skip` (sorted, disjoint) is not read.
    ///
    /// # Errors
    /// When `until` passed before the whole was read, or the runtime failed.
    pub(crate) fn mentions(
        &self,
        text: &str,
        skip: &[Range<usize>],
        until: Option<Instant>,
    ) -> Result<Arc<[Mention]>, Missed> {
        let key = (text.len() >= CACHED_BYTES).then(|| Sha256::digest(text).into());
        if let Some(key) = &key
            && let Some(known) = self.cache().get(key)
        {
            return Ok(known);
        }
        let mut mentions = Vec::new();
        for part in parts(text, skip) {
            let from = part.start;
            for mut mention in self.read(&text[part], until)? {
                mention.span = mention.span.start + from..mention.span.end + from;
                mentions.push(mention);
            }
        }
        let mentions: Arc<[Mention]> = with_places(text, mentions).into();
        if let Some(key) = key {
            self.cache().put(key, mentions.clone());
        }
        Ok(mentions)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Whatever a panicking holder left is a cache all the same.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, text: &str, until: Option<Instant>) -> Result<Vec<Mention>, Missed> {
        if !text.chars().any(char::is_alphabetic) {
            return Ok(Vec::new());
        }
        // `encode_fast` would know no places; these are in bytes.
        let encoding = self.tokenizer.encode(text, false).map_err(|_| Missed::Failed)?;
        let ids = encoding.get_ids();
        let mut labels: Vec<(usize, f32)> = Vec::with_capacity(ids.len());
        let mut from = 0;
        while from < ids.len() {
            let to = (from + WINDOW - 2).min(ids.len());
            let mut window = Vec::with_capacity(to - from + 2);
            window.push(self.begin);
            window.extend(ids[from..to].iter().map(|id| i64::from(*id)));
            window.push(self.end);
            let judged = self.judge(&window, until)?;
            // Of what was judged before, the last half of the overlap is judged better now.
            let keep = if from == 0 { 0 } else { from + OVERLAP / 2 };
            labels.truncate(keep);
            labels.extend_from_slice(&judged[1 + keep - from..=to - from]);
            if to == ids.len() {
                break;
            }
            from = to - OVERLAP;
        }
        Ok(self.gather(text, &labels, encoding.get_offsets()))
    }

    /// The likeliest label of each token of a window, and its probability.
    fn judge(&self, window: &[i64], until: Option<Instant>) -> Result<Vec<(usize, f32)>, Missed> {
        let mut session = self.sessions.take(until)?;
        let shape = [1, window.len()];
        let tensor = |values: Vec<i64>| -> Result<SessionInputValue<'_>, Missed> {
            Tensor::from_array((shape, values))
                .map(SessionInputValue::from)
                .map_err(|_| Missed::Failed)
        };
        let mut given = inputs! {
            "input_ids" => tensor(window.to_vec())?,
            "attention_mask" => tensor(vec![1; window.len()])?,
        };
        if self.token_types {
            given.push(("token_type_ids".into(), tensor(vec![0; window.len()])?));
        }
        let outputs = session.run(given).map_err(|_| Missed::Failed)?;
        let (_, logits) = outputs[0]
            .try_extract_tensor::<f32>()
            .map_err(|_| Missed::Failed)?;
        if logits.len() != window.len() * self.kinds.len() {
            return Err(Missed::Failed);
        }
        Ok(logits.chunks(self.kinds.len()).map(likeliest).collect())
    }

    /// Makes mentions of labelled tokens.
    fn gather(&self, text: &str, labels: &[(usize, f32)], offsets: &[(usize, usize)]) -> Vec<Mention> {
        let mut mentions: Vec<(Mention, u16)> = Vec::new();
        for ((label, sure), (start, end)) in labels.iter().zip(offsets) {
            let Some(kind) = self.kinds[*label].filter(|_| *sure >= LEAST_SURE && end > start) else {
                continue;
            };
            if let Some((last, tokens)) = mentions.last_mut()
                && last.kind.joins(kind)
                && is_joint(
                    &text[last.span.end.min(*start)..*start],
                    last.kind,
                    self.begins[*label],
                )
            {
                last.span.end = last.span.end.max(*end);
                last.score += sure;
                last.kind = last.kind.with(kind);
                *tokens = tokens.saturating_add(1);
                continue;
            }
            let mention = Mention {
                span: *start..*end,
                kind,
                score: *sure,
            };
            mentions.push((mention, 1));
        }
        mentions
            .into_iter()
            .map(|(mention, tokens)| Mention {
                span: whole_words(text, mention.span),
                score: mention.score / f32::from(tokens),
                ..mention
            })
            .filter(|mention| {
                mention.kind != Kind::Address || looks_like_address(&text[mention.span.clone()])
            })
            .collect()
    }
}

/// The label with the greatest logit, and its probability (softmax).
fn likeliest(logits: &[f32]) -> (usize, f32) {
    let (best, most) =
        logits
            .iter()
            .copied()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (label, logit)| {
                if logit > best.1 { (label, logit) } else { best }
            });
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    (best, 1.0 / sum)
}

/// Whether what stands between two tokens of a kind leaves them one thing.
fn is_joint(between: &str, kind: Kind, begins: bool) -> bool {
    let short = between.chars().count() <= 3;
    let joint = |c: char| match kind {
        // `Ann, Bob` are two people unless the classifier goes on; `12 High Street, Oxford` is one place.
        Kind::Person | Kind::Organization => {
            c == ' ' || matches!(c, '\'' | '’' | '-' | '.') || (!begins && c == ',')
        }
        _ => c.is_whitespace() || matches!(c, ',' | '.' | '\'' | '’' | '-' | '/' | '#'),
    };
    short && between.chars().all(joint)
}

/// Whether words could be of a street or a house: `first line` is in lower case and has no number.
fn looks_like_address(text: &str) -> bool {
    text.chars()
        .any(|c| c.is_numeric() || c.is_uppercase() || !c.is_ascii())
}

/// The span without a cut through a word: tokens are pieces of words.
fn whole_words(text: &str, span: Range<usize>) -> Range<usize> {
    let back = text[..span.start]
        .chars()
        .rev()
        .take_while(|c| c.is_alphanumeric())
        .take(32)
        .map(char::len_utf8)
        .sum::<usize>();
    let on = text[span.end..]
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .take(32)
        .map(char::len_utf8)
        .sum::<usize>();
    span.start - back..span.end + on
}

/// The parts of a text that are read, each of a bounded size and cut at a line's end where there is one.
fn parts(text: &str, skip: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut from = 0;
    let stretches = skip
        .iter()
        .cloned()
        .chain(std::iter::once(text.len()..text.len()));
    for skipped in stretches {
        let mut at = from;
        while at < skipped.start {
            let mut to = text.floor_char_boundary((at + PART_BYTES).min(skipped.start));
            if to < skipped.start
                && let Some(line) = text[at..to].rfind('\n')
                && line > 0
            {
                to = at + line;
            }
            parts.push(at..to);
            at = to;
        }
        from = from.max(skipped.end);
    }
    parts
}

fn labels(path: &Path) -> Result<(Vec<Option<Kind>>, Vec<bool>), NerError> {
    let unusable = |what: String| NerError::Labels(path.to_owned(), what);
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.kind().to_string()))?;
    // JSON is YAML, which this room reads already.
    let read: Labels = serde_saphyr::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let mut labels = vec![String::new(); read.id2label.len()];
    for (id, label) in read.id2label {
        let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id));
        *slot.ok_or_else(|| unusable(format!("`{id}` is no number of a label")))? = label;
    }
    let bare = |label: &str| {
        let bare = label.strip_prefix("B-").or_else(|| label.strip_prefix("I-"));
        Kind::of_label(bare.unwrap_or(label))
    };
    let kinds: Vec<Option<Kind>> = labels.iter().map(|label| bare(label)).collect();
    if kinds.iter().all(Option::is_none) {
        return Err(unusable("no label is of a name or a place".to_owned()));
    }
    let begins = labels.iter().map(|label| label.starts_with("B-")).collect();
    Ok((kinds, begins))
}

/// The runtime, loaded at the first call: it takes one environment a process.
fn environment(runtime: &Path) -> Result<Environment, NerError> {
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let unusable = |error: String| NerError::Runtime(runtime.to_owned(), error);
    let environment = ort::init_from(runtime)
        .map_err(|error| unusable(error.to_string()))?
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(loaded.insert(environment).clone())
}

fn session(environment: &Environment, classifier: &Path) -> Result<Session, NerError> {
    let unusable = |error: String| NerError::Classifier(classifier.to_owned(), error);
    let builder = Session::builder(environment).map_err(|error| unusable(error.to_string()))?;
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| unusable(error.to_string()))?;
    builder
        .with_intra_threads(1)
        .map_err(|error| unusable(error.to_string()))?
        .commit_from_file(classifier)
        .map_err(|error| unusable(error.to_string()))
}

/// Sessions, each used by one thread at a time.
struct Pool {
    free: Mutex<Vec<Session>>,
    freed: Condvar,
}

impl Pool {
    fn new(sessions: Vec<Session>) -> Self {
        Self {
            free: Mutex::new(sessions),
            freed: Condvar::new(),
        }
    }

    fn take(&self, until: Option<Instant>) -> Result<Taken<'_>, Missed> {
        // The list is whole whenever a holder of the lock panics.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Missed::Late);
            }
            if let Some(session) = free.pop() {
                return Ok(Taken {
                    pool: self,
                    session: Some(session),
                });
            }
            free = match left {
                None => self.freed.wait(free).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.freed
                        .wait_timeout(free, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// A session on loan.
struct Taken<'p> {
    pool: &'p Pool,
    session: Option<Session>,
}

impl std::ops::Deref for Taken<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("it is given back at the drop only")
    }
}

impl std::ops::DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is given back at the drop only")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.push(session);
            self.pool.freed.notify_one();
        }
    }
}

/// The mentions of texts that were read before, oldest out first. It holds digests and places, no text.
#[derive(Default)]
struct Cache {
    known: HashMap<[u8; 32], Arc<[Mention]>>,
    order: VecDeque<[u8; 32]>,
    mentions: usize,
}

impl Cache {
    fn get(&self, key: &[u8; 32]) -> Option<Arc<[Mention]>> {
        self.known.get(key).cloned()
    }

    fn put(&mut self, key: [u8; 32], mentions: Arc<[Mention]>) {
        self.mentions += mentions.len();
        if let Some(old) = self.known.insert(key, mentions) {
            self.mentions -= old.len();
        } else {
            self.order.push_back(key);
        }
        while self.mentions > CACHED_MENTIONS || self.order.len() > CACHED_TEXTS {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(old) = self.known.remove(&oldest) {
                self.mentions -= old.len();
            }
        }
    }
}

/// How near another place a mere number has to be to count as a part of an address.
const BESIDE: usize = 64;

/// Leaves out what the classifier takes for a part of an address and nothing supports: in code, tables and version
/// numbers it sees house numbers. A street has a word beside its number; a number or a single word counts
/// near another place only.
fn with_places(text: &str, mentions: Vec<Mention>) -> Vec<Mention> {
    let is_place = |mention: &Mention| match mention.kind {
        Kind::Location | Kind::PostalCode => true,
        Kind::Address => is_street(&text[mention.span.clone()]),
        _ => false,
    };
    let places: Vec<Range<usize>> = mentions
        .iter()
        .filter(|mention| is_place(mention))
        .map(|mention| mention.span.clone())
        .collect();
    // Places are in order and disjoint, so the nearest are on either side of where this one would stand.
    let supported = |span: &Range<usize>| {
        let next = places.partition_point(|place| place.start < span.start);
        let near = |place: &Range<usize>| {
            place.start < span.end + BESIDE && span.start < place.end.saturating_add(BESIDE)
        };
        places[next.saturating_sub(1)..].iter().take(2).any(near)
    };
    mentions
        .into_iter()
        .filter(|mention| mention.kind != Kind::Address || supported(&mention.span))
        .collect()
}

/// A word of letters alone and a number, or a capital.
fn is_street(mention: &str) -> bool {
    let words = || {
        mention
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
    };
    let written = words().any(|word| word.chars().count() >= 3 && word.chars().all(char::is_alphabetic));
    let number = words().any(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let capital = words()
        .any(|word| word.starts_with(char::is_uppercase) && word.chars().skip(1).any(char::is_lowercase));
    written && (number || capital)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_beside_a_place_only() {
        let kept = |text: &str, found: &[(Kind, &str)]| {
            let mentions = found
                .iter()
                .map(|(kind, part)| {
                    let start = text.find(part).unwrap();
                    Mention {
                        kind: *kind,
                        span: start..start + part.len(),
                        score: 0.9,
                    }
                })
                .collect();
            let kept = with_places(text, mentions);
            kept.into_iter()
                .map(|mention| text[mention.span].to_owned())
                .collect::<Vec<_>>()
        };
        assert!(
            kept(
                "end: *const u8, RFC 2047",
                &[(Kind::Address, "const u8"), (Kind::Address, "2047")]
            )
            .is_empty()
        );
        assert_eq!(
            kept(
                "at 12 Harbour Street, flat 7",
                &[(Kind::Address, "12 Harbour Street"), (Kind::Address, "7")]
            ),
            ["12 Harbour Street", "7"]
        );
        assert_eq!(
            kept("in Leith 48", &[(Kind::Location, "Leith"), (Kind::Address, "48")]),
            ["Leith", "48"]
        );
        assert_eq!(
            kept("ada of 48", &[(Kind::Person, "ada"), (Kind::Address, "48")]),
            ["ada"]
        );
    }

    #[test]
    fn parts_cover_all_but_what_is_skipped() {
        let text = format!("{}\n{}", "a".repeat(PART_BYTES - 10), "ü".repeat(PART_BYTES));
        let parts = parts(&text, &[5..20, 30..31]);
        assert_eq!(parts[0], 0..5);
        assert_eq!(parts[1], 20..30);
        assert_eq!(parts[2].start, 31);
        assert_eq!(&text[parts[2].end..=parts[2].end], "\n");
        assert!(parts.windows(2).skip(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(parts.last().unwrap().end, text.len());
    }

    #[test]
    fn places_join_and_people_stay_apart() {
        assert!(is_joint(", ", Kind::Address, true));
        assert!(is_joint(" ", Kind::Person, true));
        assert!(!is_joint(", ", Kind::Person, true));
        assert!(!is_joint(" and ", Kind::Person, false));
        assert_eq!(Kind::Location.with(Kind::Address), Kind::Address);
        assert_eq!(Kind::Location.with(Kind::PostalCode), Kind::Location);
        assert!(!Kind::Person.joins(Kind::Location));
    }

    #[test]
    fn a_mention_does_not_cut_words() {
        let text = "frag Müllerová, bitte";
        let at = text.find("ller").unwrap();
        assert_eq!(&text[whole_words(text, at..at + 4)], "Müllerová");
    }

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let (label, sure) = likeliest(&[0.0, 2.0, 0.0]);
        assert_eq!(label, 1);
        assert!((sure - 0.787).abs() < 0.001, "{sure}");
    }

    #[test]
    fn the_cache_forgets_the_oldest() {
        let mut cache = Cache::default();
        let key = |n: usize| <[u8; 32]>::from(Sha256::digest(n.to_string()));
        for n in 0..=CACHED_TEXTS {
            cache.put(key(n), Arc::new([]));
        }
        assert!(cache.get(&key(0)).is_none());
        assert!(cache.get(&key(CACHED_TEXTS)).is_some());
    }

    #[test]
    fn what_is_missing_is_named() {
        let files = NerFiles::in_folder(Path::new("/nowhere"));
        let error = Ner::load(&files, 1).unwrap_err();
        assert!(error.to_string().contains("/nowhere/model.onnx"), "{error}");
    }
}
