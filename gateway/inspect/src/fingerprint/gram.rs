//! What of a text is compared: hashes of short sequences, a few of them chosen by winnowing.
//!
//! Winnowing (Schleimer, Wilkerson, Aiken: "Winnowing: Local Algorithms for Document Fingerprinting", SIGMOD
//! 2003) takes the least hash of each window of `w` sequences of length `k`. Two texts that share `w + k - 1`
//! units in a row share a chosen hash, wherever they stand in each.
//!
//! Two channels are read from every text. **Letters**: the bytes of all letters and digits, folded to
//! lower case without accents, and nothing between them, so that layout, punctuation, hyphens and the spaces that
//! PDF loses do not matter, and languages without spaces need no rule of their own: a Han character is three bytes.
//! **Code**: lexemes whose names are replaced by the distance to their last use within the sequence,
//! so that renaming changes nothing (Baker, "Parameterized pattern matching", 1996).

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use unicode_normalization::UnicodeNormalization;

use super::lexeme::{Lexeme, lexemes};

/// Bytes of folded letters in one sequence: about six English words, nine Han characters.
const LETTERS: usize = 28;
/// Sequences of which one is chosen, at least.
const LETTERS_WINDOW: usize = 28;
/// Different bytes that a sequence needs to tell anything.
const LETTERS_DISTINCT: u32 = 8;
/// Lexemes in one sequence: about two lines.
const LEXEMES: usize = 14;
const LEXEMES_WINDOW: usize = 6;
/// Different lexemes that a sequence needs.
const LEXEMES_DISTINCT: usize = 5;
/// Of them, those that are more than a shape: keywords, numbers, strings, names used again.
const LEXEMES_TELLING: usize = 2;
/// From so many on it counts whole, below it counts half.
const LEXEMES_WHOLE: (usize, usize) = (7, 4);
/// An odd number whose multiples are spread evenly: 2^64 by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
/// Code is read in pieces of this size, to bound the memory that it takes.
const PIECE: usize = 1 << 20;

/// Which reading of a text a print is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Channel {
    /// Letters and digits.
    Letters = 0,
    /// Lexemes.
    Code = 1,
}

impl Channel {
    /// Letters or lexemes of a sequence.
    fn units(self) -> usize {
        match self {
            Self::Letters => LETTERS,
            Self::Code => LEXEMES,
        }
    }
}

/// A chosen sequence of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Print {
    /// Its hash, without a key: what is written is derived from it by the index's key.
    pub(super) hash: u64,
    /// Where it stands.
    pub(super) span: Range<usize>,
    pub(super) channel: Channel,
    /// How much it tells, half or whole.
    pub(super) weight: f32,
    /// The letter or lexeme that it begins with, counted from the text's start, and the one after its last.
    pub(super) units: Range<usize>,
}

/// The prints of a text, those of each channel in order.
pub(super) fn prints(text: &str) -> Vec<Print> {
    let mut all = Vec::new();
    letters(text, &mut all);
    let mut rest = 0;
    while rest < text.len() {
        let mut end = text.floor_char_boundary(rest + PIECE);
        if end < text.len() {
            end = text[rest..end].rfind('\n').map_or(end, |line| rest + line + 1);
        }
        code(&text[rest..end], rest, &mut all);
        rest = end;
    }
    all
}

fn letters(text: &str, out: &mut Vec<Print>) {
    // SPREAD^LETTERS, by which the byte that leaves is taken out of the rolling hash.
    let leaves = (0..LETTERS).fold(1_u64, |power, _| power.wrapping_mul(SPREAD));
    let mut ring = [(0_u8, 0_usize); LETTERS];
    let mut count = 0_usize;
    let mut hash = 0_u64;
    let mut seen = [0_u32; 256];
    let mut distinct = 0_u32;
    let mut winnow = Winnow::new(LETTERS_WINDOW, Channel::Letters);
    folded(text, |byte, span| {
        let slot = count % LETTERS;
        hash = hash.wrapping_mul(SPREAD).wrapping_add(u64::from(byte) + 1);
        if count >= LETTERS {
            let old = ring[slot].0;
            hash = hash.wrapping_sub(leaves.wrapping_mul(u64::from(old) + 1));
            seen[usize::from(old)] -= 1;
            distinct -= u32::from(seen[usize::from(old)] == 0);
        }
        distinct += u32::from(seen[usize::from(byte)] == 0);
        seen[usize::from(byte)] += 1;
        ring[slot] = (byte, span.start);
        count += 1;
        if count >= LETTERS {
            let start = ring[count % LETTERS].1;
            let tells = distinct >= LETTERS_DISTINCT;
            winnow.push(tells.then(|| (mixed(hash), 1.0)), start..span.end, out);
        }
    });
    winnow.end(out);
}

/// Each byte of the letters and digits of a text, folded, and the character that it is of.
pub(super) fn folded(text: &str, mut each: impl FnMut(u8, Range<usize>)) {
    for (at, letter) in text.char_indices() {
        if letter.is_ascii() {
            if letter.is_ascii_alphanumeric() {
                each(letter.to_ascii_lowercase() as u8, at..at + 1);
            }
        } else if letter.is_alphanumeric() {
            let span = at..at + letter.len_utf8();
            for lower in letter.to_lowercase() {
                // Only Latin letters lose their accents: elsewhere a mark makes another letter.
                let is_latin = matches!(lower, '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}');
                let plain = if is_latin {
                    lower.nfd().next().unwrap_or(lower)
                } else {
                    lower
                };
                let mut bytes = [0; 4];
                for byte in plain.encode_utf8(&mut bytes).bytes() {
                    each(byte, span.clone());
                }
            }
        }
    }
}

fn code(text: &str, offset: usize, out: &mut Vec<Print>) {
    let lexemes = lexemes(text);
    // For each name, where it was used before.
    let mut last: HashMap<u32, usize> = HashMap::new();
    let before: Vec<Option<usize>> = lexemes
        .iter()
        .enumerate()
        .map(|(at, (lexeme, _))| match lexeme {
            Lexeme::Name(name) => last.insert(*name, at),
            _ => None,
        })
        .collect();
    let mut winnow = Winnow::new(LEXEMES_WINDOW, Channel::Code);
    for start in 0..(lexemes.len() + 1).saturating_sub(LEXEMES) {
        let mut hash = 0_u64;
        let mut codes = [0_u64; LEXEMES];
        let mut telling = 0;
        for (index, at) in (start..start + LEXEMES).enumerate() {
            let (code, tells) = match lexemes[at].0 {
                Lexeme::Name(_) => match before[at].filter(|before| *before >= start) {
                    Some(before) => (0x100 + (at - before) as u64, true),
                    None => (0x100, false),
                },
                Lexeme::Fixed(digest) => (0x1_0000_0000 | u64::from(digest), true),
                Lexeme::Sign(byte) => (u64::from(byte), false),
            };
            let spread = (code + 1).wrapping_mul(SPREAD);
            codes[index] = spread;
            telling += usize::from(tells);
            hash = (hash.rotate_left(7) ^ spread).wrapping_mul(SPREAD);
        }
        let distinct = (0..LEXEMES)
            .filter(|at| !codes[..*at].contains(&codes[*at]))
            .count();
        let tells = distinct >= LEXEMES_DISTINCT && telling >= LEXEMES_TELLING;
        let span = offset + lexemes[start].1.start..offset + lexemes[start + LEXEMES - 1].1.end;
        let whole = distinct >= LEXEMES_WHOLE.0 && telling >= LEXEMES_WHOLE.1;
        let weight = if whole { 1.0 } else { 0.5 };
        winnow.push(tells.then(|| (mixed(hash), weight)), span, out);
    }
    winnow.end(out);
}

/// The finaliser of MurmurHash3: every bit of the input moves every bit of the output.
pub(super) fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

/// A hash, its number, where its sequence stands, and how much it tells.
type Waiting = (u64, usize, Range<usize>, f32);

/// Chooses the least of each window; of equals the last, so that a run of the same is told once.
struct Winnow {
    window: usize,
    channel: Channel,
    /// Hashes that may still be the least of a window, with their numbers, the least first.
    waiting: VecDeque<Waiting>,
    next: usize,
    /// The number of the last that was chosen.
    chosen: Option<usize>,
}

impl Winnow {
    fn new(window: usize, channel: Channel) -> Self {
        Self {
            window,
            channel,
            waiting: VecDeque::new(),
            next: 0,
            chosen: None,
        }
    }

    /// A sequence without a hash tells nothing and is never chosen.
    fn push(&mut self, hash: Option<(u64, f32)>, span: Range<usize>, out: &mut Vec<Print>) {
        let number = self.next;
        self.next += 1;
        if let Some((hash, weight)) = hash {
            while self.waiting.back().is_some_and(|(waiting, ..)| *waiting >= hash) {
                self.waiting.pop_back();
            }
            self.waiting.push_back((hash, number, span, weight));
        }
        if self.next >= self.window {
            while self
                .waiting
                .front()
                .is_some_and(|(_, old, ..)| *old + self.window <= number)
            {
                self.waiting.pop_front();
            }
            self.choose(out);
        }
    }

    fn choose(&mut self, out: &mut Vec<Print>) {
        if let Some((hash, number, span, weight)) = self.waiting.front()
            && self.chosen != Some(*number)
        {
            self.chosen = Some(*number);
            out.push(Print {
                hash: *hash,
                span: span.clone(),
                channel: self.channel,
                weight: *weight,
                units: *number..*number + self.channel.units(),
            });
        }
    }

    /// A text that is shorter than a window has a least hash, too.
    fn end(mut self, out: &mut Vec<Print>) {
        if self.next < self.window {
            self.choose(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SPEECH: &str = "The yield of the second line fell by four points since Monday, and nobody in the room could say why; \
        the etch step was measured twice, with the same wafers, and it came out below what was promised to the board.";

    fn hashes(text: &str, channel: Channel) -> HashSet<u64> {
        prints(text)
            .into_iter()
            .filter(|print| print.channel == channel)
            .map(|print| print.hash)
            .collect()
    }

    #[test]
    fn layout_does_not_matter_and_words_do() {
        let whole = hashes(SPEECH, Channel::Letters);
        assert!(whole.len() >= 7, "{}", whole.len());
        let wrapped = SPEECH
            .to_uppercase()
            .replace(' ', "\n  ")
            .replace("etch", "et-\nch");
        assert_eq!(whole, hashes(&wrapped, Channel::Letters));
        let part = hashes(&SPEECH[60..], Channel::Letters);
        assert!(part.intersection(&whole).count() + 2 >= part.len());
        let other = hashes(&SPEECH.replace(' ', "x"), Channel::Letters);
        assert!(other.is_disjoint(&whole));
    }

    #[test]
    fn what_tells_nothing_gives_no_print() {
        for text in [
            "ab".repeat(400),
            "0".repeat(500),
            "x, ".repeat(300),
            "f(a); ".repeat(200),
        ] {
            assert_eq!(prints(&text), [], "{text:.20}");
        }
    }

    #[test]
    fn spans_lie_on_characters() {
        for text in [
            "Größe und Maß der Öffnung, übermäßig geprüft; 晶圆产率下降了四个百分点没有人知道原因为何如此下降",
            SPEECH,
        ] {
            for print in prints(text) {
                assert!(!text[print.span].is_empty());
            }
        }
    }

    #[test]
    fn accents_fold_and_every_window_has_a_print() {
        let accents = "L'équipe a mesuré la dégradation après décapage, puis réglé l'étuve à côté du four";
        assert_eq!(
            hashes(accents, Channel::Letters),
            hashes(
                "LEQUIPE A MESURE LA DEGRADATION APRES DECAPAGE PUIS REGLE LETUVE A COTE DU FOUR",
                Channel::Letters
            )
        );
        let all = prints(SPEECH);
        let letters: Vec<usize> = SPEECH
            .char_indices()
            .filter(|(_, c)| c.is_alphanumeric())
            .map(|(at, _)| at)
            .collect();
        for window in letters.windows(LETTERS + LETTERS_WINDOW - 1) {
            let (first, last) = (window[0], window[window.len() - 1]);
            assert!(
                all.iter()
                    .any(|print| print.span.start >= first && print.span.end <= last + 1)
            );
        }
    }

    #[test]
    fn renamed_code_has_the_same_prints() {
        let code = "static int f1(struct t1 *a, const float *b, int n) {\n float s = 0.0f;\n for (int i = 0; i < n; i++) {\n if (b[i] < a->lo || b[i] > a->hi) continue;\n s += b[i] * a->k[i % 8];\n }\n a->off = s / (float)n - a->ref;\n return a->off > a->max ? -1 : 0;\n}\n";
        let mut renamed = code.to_owned();
        for (from, to) in [
            ("f1", "measure"),
            ("t1", "gauge"),
            ("off", "offset"),
            ("->lo", "->floor_"),
            ("[i", "[idx"),
            ("int i", "int idx"),
            ("i++", "idx++"),
            ("; i <", ";idx <"),
        ] {
            renamed = renamed.replace(from, to);
        }
        let (one, other) = (hashes(code, Channel::Code), hashes(&renamed, Channel::Code));
        assert!(one.len() >= 8, "{}", one.len());
        assert!(
            one.intersection(&other).count() * 10 >= one.len() * 8,
            "{} {}",
            one.len(),
            other.len()
        );
    }
}
