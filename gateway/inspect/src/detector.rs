//! Detectors, compiled: patterns, words and gates of all files in the form the one pass reads.
//!
//! What runs them is [`crate::scan`]; what their files look like is for [`crate::load`].
//!
//! Limits: [`MAX_PATTERN_BYTES`] a compiled pattern, [`MAX_DETECTORS`], [`MAX_REACH`] bytes around a keyword.
//!
//! On failure: [`DetectorError`]s with file, line and column.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cordon_domain::EntityType;
use serde_saphyr::Spanned;

use crate::{
    load::{self, DetectorError, Spec, error_at},
    pattern::{MAX_PATTERN_BYTES, Pattern, PatternsOfGate},
    validate::{self, Validator},
    words::Words,
};

/// The most detectors of all files together.
pub(crate) const MAX_DETECTORS: usize = 4096;
/// The shortest keyword that tells a credential.
const LEAST_PREFIX: usize = 3;
/// The furthest that a detector may look from its keyword.
pub(crate) const MAX_REACH: usize = 8192;

/// What a detector is, for people and for checks of policies.
#[derive(Clone, Debug)]
pub struct DetectorInfo {
    /// Its id, unique over all files.
    pub id: Arc<str>,
    /// What it finds.
    pub entity: EntityType,
    /// The file it is in; empty for the ones that are code.
    pub file: String,
    /// Texts that it must find something in; the parts to be found are in `⟦⟧`.
    pub examples: Vec<String>,
    /// Texts that it must find nothing in.
    pub counter_examples: Vec<String>,
    /// How it works.
    pub details: Details,
}

impl DetectorInfo {
    /// One that is no part of a file.
    pub(crate) fn built_in(id: &str, entity: EntityType) -> Self {
        Self {
            id: id.into(),
            entity,
            file: String::new(),
            examples: Vec::new(),
            counter_examples: Vec::new(),
            details: Details::default(),
        }
    }
}

/// How a detector of a file works, in words for people.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The line of its id.
    pub line: u64,
    /// The lines of its examples, then of its counter-examples.
    pub example_lines: Vec<u64>,
    /// Where its pattern is run: `keyword`, `around keyword` or `gate NAME`.
    pub starts: String,
    /// Name of its validator.
    pub validator: Option<String>,
    /// Score of a match by itself.
    pub score: f32,
    /// What a context word adds.
    pub boost: f32,
    /// Least score when nothing else is in the text.
    pub alone: Option<f32>,
    /// Least entropy in bits a character; 0 when it is not asked for.
    pub entropy: f32,
}

/// A cheap look at the bytes that says where a pattern is worth running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Gate {
    /// Digits with at most two separators between them.
    Digits,
    /// Two letters and two digits at the start of a word.
    Iban,
    /// Hexadecimal groups joined by colons or dashes.
    Groups,
    /// A word of letters and digits.
    Code,
    /// A short number before a capitalised word.
    House,
}

impl Gate {
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("digits", Self::Digits),
        ("iban", Self::Iban),
        ("groups", Self::Groups),
        ("code", Self::Code),
        ("house", Self::House),
    ];
}

/// Where a detector's pattern is run.
pub(crate) enum Start {
    /// At each of its keywords, the pattern beginning there.
    AtKeyword,
    /// Anywhere in the window around its keywords.
    AroundKeyword,
    /// In the candidates of a gate with at least so many digits.
    Gate(Gate, usize),
}

pub(crate) struct Detector {
    pub(crate) info: DetectorInfo,
    pub(crate) pattern: Pattern,
    pub(crate) start: Start,
    /// Its keywords count only where they stand as whole words.
    pub(crate) whole_words: bool,
    pub(crate) before: usize,
    pub(crate) after: usize,
    pub(crate) score: f32,
    pub(crate) alone: Option<f32>,
    pub(crate) near: Option<Near>,
    pub(crate) unless_near: WordSet,
    pub(crate) validator: Option<Validator>,
    pub(crate) entropy: f32,
    pub(crate) real: bool,
    /// Its values are told by their form alone: a checksum, or the prefix of a provider with random text behind
    /// it. Only such are read in disguised texts, and where texts are joined.
    pub(crate) strong: bool,
}

pub(crate) struct Near {
    pub(crate) words: WordSet,
    pub(crate) boost: f32,
    pub(crate) before: usize,
    pub(crate) after: usize,
}

/// A set of word ids.
#[derive(Default)]
pub(crate) struct WordSet(Vec<u64>);

impl WordSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, word: u16) -> bool {
        self.0
            .get(usize::from(word) / 64)
            .is_some_and(|bits| bits >> (word % 64) & 1 == 1)
    }

    fn insert(&mut self, word: u16) {
        let slot = usize::from(word) / 64;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, 0);
        }
        self.0[slot] |= 1 << (word % 64);
    }
}

/// All detectors, and the one dictionary of all their words.
pub(crate) struct Detectors {
    pub(crate) all: Vec<Detector>,
    pub(crate) words: Words,
    /// For each word, what it is for.
    pub(crate) uses: Vec<Use>,
    /// The detectors of each gate, in the order of [`Gate::NAMES`].
    pub(crate) gates: [Gated; Gate::NAMES.len()],
    /// What values of strong detectors begin with.
    pub(crate) prefixes: Vec<String>,
}

/// What a word is for.
#[derive(Default)]
pub(crate) struct Use {
    /// The detectors whose keyword it is.
    pub(crate) starts: Vec<u16>,
    /// The same, but where it stands as a whole word.
    pub(crate) starts_whole: Vec<u16>,
    /// It is a context word of some detector, or starts one as a whole word.
    pub(crate) as_word: bool,
}

/// The detectors that a gate leads to.
pub(crate) struct Gated {
    pub(crate) detectors: Vec<u16>,
    pub(crate) patterns: PatternsOfGate,
}

/// Words of all detectors, each once.
#[derive(Default)]
struct Lexicon {
    ids: HashMap<String, u16>,
    words: Vec<String>,
}

impl Lexicon {
    fn id(&mut self, word: &str) -> Result<u16, &'static str> {
        let word = word.to_ascii_lowercase();
        if word.is_empty() {
            return Err("a word may not be empty");
        }
        if let Some(id) = self.ids.get(&word) {
            return Ok(*id);
        }
        let id = u16::try_from(self.words.len()).map_err(|_| "more than 65535 words in all files")?;
        self.ids.insert(word.clone(), id);
        self.words.push(word);
        Ok(id)
    }
}

/// Compiles the detectors of all files.
///
/// # Errors
/// Every mistake found.
pub(crate) fn compile(
    embedded: &[(&str, &str)],
    extra: &[(&str, &str)],
) -> Result<Detectors, Vec<DetectorError>> {
    let mut errors = Vec::new();
    let mut all: Vec<Detector> = Vec::new();
    let mut lexicon = Lexicon::default();
    let mut keywords: Vec<Vec<u16>> = Vec::new();
    let trusted = embedded.iter().map(|file| (file, true));
    for ((file, yaml), trusted) in trusted.chain(extra.iter().map(|file| (file, false))) {
        let parsed = match load::read(file, yaml) {
            Ok(parsed) => parsed,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for spec in &parsed.detectors {
            if all.iter().any(|other| *other.info.id == *spec.id.value) {
                errors.push(at(file, &spec.id, "another detector has this id"));
            } else if all.len() == MAX_DETECTORS {
                errors.push(at(file, &spec.id, format!("more than {MAX_DETECTORS} detectors")));
            } else {
                match detector(file, spec, &parsed.define, trusted, &mut lexicon) {
                    Ok((detector, words)) => {
                        all.push(detector);
                        keywords.push(words);
                    }
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let words = Words::new(&lexicon.words)
        .map_err(|error| vec![error_at("", serde_saphyr::Location::UNKNOWN, error.to_string())])?;
    let mut uses: Vec<Use> = (0u16..)
        .take(lexicon.words.len())
        .map(|id| Use {
            as_word: all.iter().any(|d| {
                d.near.as_ref().is_some_and(|near| near.words.contains(id)) || d.unless_near.contains(id)
            }),
            ..Use::default()
        })
        .collect();
    for ((index, detector), words) in (0u16..).zip(&all).zip(&keywords) {
        for word in words {
            let word = &mut uses[usize::from(*word)];
            if detector.whole_words {
                word.starts_whole.push(index);
                word.as_word = true;
            } else {
                word.starts.push(index);
            }
        }
    }
    let gates = Gate::NAMES.map(|(_, gate)| Gated {
        detectors: (0u16..)
            .zip(&all)
            .filter(|(_, detector)| matches!(detector.start, Start::Gate(own, _) if own == gate))
            .map(|(index, _)| index)
            .collect(),
        patterns: PatternsOfGate::default(),
    });
    let mut prefixes: Vec<String> = all
        .iter()
        .zip(&keywords)
        .filter(|(detector, _)| detector.strong && detector.info.entity.family() == "SECRET")
        .flat_map(|(_, words)| words)
        .map(|word| lexicon.words[usize::from(*word)].clone())
        .filter(|word| word.is_ascii() && word.len() >= LEAST_PREFIX && !word.contains(' '))
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    Ok(Detectors {
        all,
        words,
        uses,
        gates,
        prefixes,
    })
}

fn at<T>(file: &str, place: &Spanned<T>, message: impl Into<String>) -> DetectorError {
    error_at(file, place.referenced, message)
}

fn detector(
    file: &str,
    spec: &Spec,
    define: &BTreeMap<String, Spanned<String>>,
    trusted: bool,
    lexicon: &mut Lexicon,
) -> Result<(Detector, Vec<u16>), DetectorError> {
    let entity = spec
        .entity
        .value
        .parse()
        .map_err(|e| at(file, &spec.entity, format!("{e}")))?;
    let pattern = expand(&spec.pattern.value, define).map_err(|m| at(file, &spec.pattern, m))?;
    let pattern = Pattern::new(pattern, trusted).map_err(|reason| {
        at(
            file,
            &spec.pattern,
            format!("the pattern does not compile: {reason}"),
        )
    })?;

    let mut ids = |words: &[Spanned<String>]| -> Result<Vec<u16>, DetectorError> {
        words
            .iter()
            .map(|word| lexicon.id(&word.value).map_err(|m| at(file, word, m)))
            .collect()
    };
    let keywords = ids(&spec.keywords)?;
    let start = match (&spec.gate, keywords.is_empty()) {
        (None, true) => {
            return Err(at(
                file,
                &spec.id,
                "a detector needs `keywords` or a `gate`: no pattern runs over whole texts",
            ));
        }
        (Some(gate), false) => {
            return Err(at(file, gate, "a detector has `keywords` or a `gate`, not both"));
        }
        (None, false) if spec.before == 0 => Start::AtKeyword,
        (None, false) => Start::AroundKeyword,
        (Some(gate), true) => {
            let known = Gate::NAMES.iter().find(|(name, _)| *name == gate.value);
            let known = known.map(|(_, gate)| *gate).ok_or_else(|| {
                at(
                    file,
                    gate,
                    "no such gate: there are `digits`, `iban`, `groups`, `code` and `house`",
                )
            })?;
            Start::Gate(known, spec.digits.as_ref().map_or(0, |least| least.value))
        }
    };
    if spec.before > MAX_REACH || spec.after > MAX_REACH {
        return Err(at(
            file,
            &spec.id,
            format!("`before` and `after` are at most {MAX_REACH} bytes"),
        ));
    }
    for score in [Some(&spec.score), spec.alone.as_ref()].into_iter().flatten() {
        if !(0.0..=1.0).contains(&score.value) {
            return Err(at(file, score, "a score is a number from 0.0 to 1.0"));
        }
    }
    let set = |ids: Vec<u16>| {
        let mut set = WordSet::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    };
    let near = match &spec.near {
        None => None,
        Some(near) => Some(Near {
            words: set(ids(&near.words)?),
            boost: near.boost,
            before: near.before.min(MAX_REACH),
            after: near.after.min(MAX_REACH),
        }),
    };
    let unless_near = set(ids(&spec.unless_near)?);
    let validator = match &spec.validator {
        None => None,
        Some(name) => Some(validate::by_name(&name.value).ok_or_else(|| {
            at(
                file,
                name,
                format!("no such validator: there are {}", validate::names()),
            )
        })?),
    };
    if spec.examples.is_empty() || spec.counter_examples.is_empty() {
        return Err(at(
            file,
            &spec.id,
            "a detector needs `examples` and `counter_examples`",
        ));
    }
    if let Some(bare) = spec
        .examples
        .iter()
        .find(|example| load::unmark(&example.value).1.is_empty())
    {
        return Err(at(file, bare, "mark the part that must be found: ⟦like this⟧"));
    }
    let checksum = spec
        .validator
        .as_ref()
        .is_some_and(|name| validate::is_checksum(&name.value));
    let credential = spec.entity.value.starts_with("SECRET.")
        && !spec.entity.value.ends_with("GENERIC")
        && matches!(start, Start::AtKeyword)
        && spec.entropy > 0.0;
    let strong = checksum || credential || spec.entity.value == "EMAIL";
    let texts = |list: &[Spanned<String>]| list.iter().map(|text| text.value.clone()).collect();
    let detector = Detector {
        info: DetectorInfo {
            id: spec.id.value.as_str().into(),
            entity,
            file: file.to_owned(),
            examples: texts(&spec.examples),
            counter_examples: texts(&spec.counter_examples),
            details: details(spec, &start),
        },
        pattern,
        start,
        whole_words: spec.whole_words,
        before: spec.before,
        after: spec.after,
        score: spec.score.value,
        alone: spec.alone.as_ref().map(|score| score.value),
        near,
        unless_near,
        validator,
        entropy: spec.entropy,
        real: spec.real,
        strong,
    };
    Ok((detector, keywords))
}

fn details(spec: &Spec, start: &Start) -> Details {
    let examples = spec.examples.iter().chain(&spec.counter_examples);
    Details {
        line: spec.id.referenced.line(),
        example_lines: examples.map(|example| example.referenced.line()).collect(),
        starts: match (start, &spec.gate) {
            (Start::AtKeyword, _) => "keyword".to_owned(),
            (Start::AroundKeyword, _) => "around keyword".to_owned(),
            (Start::Gate(..), gate) => {
                format!("gate {}", gate.as_ref().map_or("", |gate| gate.value.as_str()))
            }
        },
        validator: spec.validator.as_ref().map(|name| name.value.clone()),
        score: spec.score.value,
        boost: spec.near.as_ref().map_or(0.0, |near| near.boost),
        alone: spec.alone.as_ref().map(|score| score.value),
        entropy: spec.entropy,
    }
}

/// Puts the named parts into a pattern. Definitions may use earlier ones; eight rounds end any circle.
fn expand(pattern: &str, define: &BTreeMap<String, Spanned<String>>) -> Result<String, String> {
    let mut pattern = pattern.to_owned();
    for _ in 0..8 {
        if !pattern.contains("{{") {
            // Views hold every digit as an ASCII digit, so the classes for all scripts would be a waste. Borders
            // of words in all scripts are left to the patterns that speak of letters of all scripts: the fast
            // automata do not know them.
            let pattern = pattern.replace("\\d", "[0-9]").replace("\\w", "[0-9A-Za-z_]");
            let every_script = !pattern.is_ascii() || pattern.contains("\\p");
            return Ok(if every_script {
                pattern
            } else {
                pattern.replace("\\b", "(?-u:\\b)")
            });
        }
        for (name, part) in define {
            pattern = pattern.replace(&format!("{{{{{name}}}}}"), &format!("(?:{})", part.value));
        }
        if pattern.len() > MAX_PATTERN_BYTES {
            break;
        }
    }
    Err("the pattern uses a `{{NAME}}` that `define` does not have, or that is defined by itself".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Compiled;

    fn mistakes(yaml: &str) -> Vec<String> {
        compile(&[], &[("own.yaml", yaml)])
            .err()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const TAIL: &str = "    score: 0.9\n    examples: ['⟦a⟧']\n    counter_examples: ['b']\n";

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let yaml = format!(
            "detectors:\n  - id: a\n    entity: lower\n    pattern: 'a'\n    keywords: [a]\n{TAIL}\
             \x20 - id: b\n    entity: B\n    pattern: '(a'\n    keywords: [a]\n{TAIL}\
             \x20 - id: c\n    entity: C\n    pattern: 'a'\n{TAIL}"
        );
        let found = mistakes(&yaml);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("own.yaml:3:13: "), "{}", found[0]);
        assert!(
            found[1].starts_with("own.yaml:11:14: the pattern does not compile"),
            "{}",
            found[1]
        );
        assert!(
            found[2].starts_with("own.yaml:16:9: a detector needs `keywords`"),
            "{}",
            found[2]
        );
    }

    #[test]
    fn unknown_validators_and_gates_are_named() {
        let head = "detectors:\n  - id: a\n    entity: A\n    pattern: 'a'\n";
        assert!(mistakes(&format!("{head}    gate: dots\n{TAIL}"))[0].contains("no such gate"));
        assert!(mistakes(&format!("{head}    keywords: [a]\n    validator: x\n{TAIL}"))[0].contains("luhn"));
    }

    #[test]
    fn every_embedded_pattern_compiles() {
        let all = compile(crate::inspector::EMBEDDED, &[]).ok().unwrap().all;
        let wrong: Vec<String> = all
            .iter()
            .filter_map(|d| {
                Compiled::new(d.pattern.source())
                    .err()
                    .map(|reason| format!("{}: {reason}", d.info.id))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn sizes_are_limited() {
        let yaml = format!(
            "detectors:\n  - id: a\n    entity: A\n    pattern: '(?:\\pL{{1000}}){{1000}}'\n    keywords: [a]\n{TAIL}"
        );
        assert!(mistakes(&yaml)[0].contains("does not compile"));
    }
}
