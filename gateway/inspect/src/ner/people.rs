//! What the classifier takes for people and is none: it reads no capitals, so that `FHIR` is a word like any other
//! to it, and it knows languages by their endings only.

use super::{Kind, Mention};
use crate::names;

/// The longest abbreviation.
const LONGEST: usize = 5;

/// Leaves out mentions of people that are languages or abbreviations.
pub(super) fn only_people(text: &str, mentions: Vec<Mention>) -> Vec<Mention> {
    mentions
        .into_iter()
        .filter(|mention| {
            mention.kind != Kind::Person
                || !is_language(&text[mention.span.clone()]) && !is_abbreviation(text, mention)
        })
        .collect()
}

/// `translate to German`: languages and those who speak them.
fn is_language(mention: &str) -> bool {
    const LANGUAGES: &[&str] = &[
        "afrikaans",
        "albanian",
        "arabic",
        "armenian",
        "austrian",
        "basque",
        "belgian",
        "bengali",
        "brazilian",
        "british",
        "bulgarian",
        "catalan",
        "chinese",
        "croatian",
        "czech",
        "danish",
        "deutsch",
        "dutch",
        "english",
        "estonian",
        "farsi",
        "finnish",
        "french",
        "gaelic",
        "german",
        "greek",
        "gujarati",
        "hebrew",
        "hindi",
        "hungarian",
        "icelandic",
        "indonesian",
        "irish",
        "italian",
        "italiano",
        "japanese",
        "korean",
        "latin",
        "latvian",
        "lithuanian",
        "malay",
        "mandarin",
        "marathi",
        "mexican",
        "norwegian",
        "persian",
        "polish",
        "portuguese",
        "punjabi",
        "romanian",
        "russian",
        "serbian",
        "slovak",
        "slovenian",
        "spanish",
        "swahili",
        "swedish",
        "swiss",
        "tamil",
        "telugu",
        "thai",
        "turkish",
        "ukrainian",
        "urdu",
        "vietnamese",
        "welsh",
        "yiddish",
    ];
    LANGUAGES
        .iter()
        .any(|language| mention.eq_ignore_ascii_case(language))
}

/// Short words in capitals that no list knows as names, where not all is in capitals.
fn is_abbreviation(text: &str, mention: &Mention) -> bool {
    let words = || text[mention.span.clone()].split_whitespace();
    let short = |word: &str| {
        word.len() <= LONGEST
            && word.bytes().all(|byte| byte.is_ascii_uppercase())
            && !names::is_listed_name(word)
    };
    let before = text[..mention.span.start].chars().rev().take(24);
    let after = text[mention.span.end..].chars().take(24);
    words().all(short) && before.chain(after).any(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, part: &str) -> bool {
        let start = text.find(part).unwrap();
        let mention = Mention {
            span: start..start + part.len(),
            kind: Kind::Person,
            score: 0.9,
        };
        !only_people(text, vec![mention]).is_empty()
    }

    #[test]
    fn languages_and_abbreviations_are_no_people() {
        assert!(!kept("Translate it to German, please", "German"));
        assert!(!kept("Convert this to FHIR JSON.", "FHIR JSON"));
        assert!(kept("ask German Castellanos", "German Castellanos"));
        assert!(kept("asked by ANNA, who", "ANNA"));
        assert!(kept("asked by OKONKWO, who", "OKONKWO"));
        assert!(kept("CALL KEMI NOW", "KEMI"));
    }
}
