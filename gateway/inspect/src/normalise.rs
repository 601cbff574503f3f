//! The normalised view of a text: what a reader sees, in the plainest characters that say it.
//!
//! NFKC; zero-width characters, bidirectional controls, variation selectors, soft hyphens and other
//! invisible characters dropped; tag characters (U+E0020..U+E007E) read as the ASCII they hide; every
//! decimal digit as an ASCII digit, circled ones and those of key caps too; letters in squares and flags as
//! letters; marks piled upon ASCII (`4̶1̶`) dropped; Unicode dashes and spaces as `-` and ` `; look-alike letters
//! of other scripts as Latin, but only in words that hold an ASCII letter or digit, so Russian stays Russian.
//! Text behind a right-to-left override is there twice, as it is written and as it is shown.
//!
//! Encodings (base64, percent, entities) are for [`crate::decode`]. Normalisation is done cluster by
//! cluster (a character and the marks upon it), so that the map back to the source stays fine; the
//! few compositions across clusters that NFKC also knows do not matter to any detector.
//!
//! ASCII text, and text with nothing to change, is borrowed, at about the cost of reading it once.

use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

use crate::{
    confusables::look_alike,
    view::{View, ViewWriter},
};

/// The normalised view of `text`.
#[must_use]
pub fn normalise(text: &str) -> View<'_> {
    if text.is_ascii() {
        return View::unchanged(text);
    }
    let mut writer: Option<ViewWriter> = None;
    let mut copied_to = 0;
    let mut word = Word { end: 0, latin: false };
    let mut at = 0;
    let mut plain = String::new();
    while at < text.len() {
        let rest = &text[at..];
        // Stretches of ASCII are copied as they are, up to a base that a combining mark may follow.
        let ascii = ascii_run(rest.as_bytes());
        if ascii > 1 {
            at += ascii - 1;
            continue;
        }
        let cluster_end = at + cluster(rest);
        let cluster = &text[at..cluster_end];
        if rest.starts_with(OVERRIDE) {
            let writer = writer.get_or_insert_with(|| ViewWriter::with_capacity(text.len()));
            writer.copy(&text[copied_to..at], copied_to);
            shown(text, at, writer);
            at += OVERRIDE.len_utf8();
            copied_to = at;
            continue;
        }
        if at >= word.end {
            word = Word::at(text, at);
        }
        plain.clear();
        plainly(cluster, word.latin, &text[cluster_end..], &mut plain);
        if plain != cluster {
            let writer = writer.get_or_insert_with(|| ViewWriter::with_capacity(text.len()));
            writer.copy(&text[copied_to..at], copied_to);
            writer.put(&plain, at..cluster_end);
            copied_to = cluster_end;
        }
        at = cluster_end;
    }
    match writer {
        None => View::unchanged(text),
        Some(mut writer) => {
            writer.copy(&text[copied_to..], copied_to);
            writer.finish()
        }
    }
}

/// How many bytes of ASCII come first.
fn ascii_run(bytes: &[u8]) -> usize {
    let whole = bytes.chunks_exact(8).take_while(|chunk| chunk.is_ascii()).count() * 8;
    whole + bytes[whole..].iter().take_while(|b| b.is_ascii()).count()
}

/// Shows what follows from right to left.
const OVERRIDE: char = '\u{202E}';
/// The longest text that is shown the other way round.
const MAX_SHOWN: usize = 4096;

/// Writes what the override at `at` shows: what follows up to its end, from there to the beginning. What
/// is written there follows as it is.
fn shown(text: &str, at: usize, writer: &mut ViewWriter) {
    let start = at + OVERRIDE.len_utf8();
    let limit = text.floor_char_boundary((start + MAX_SHOWN).min(text.len()));
    let covered = text[start..limit]
        .find(['\u{202A}', '\u{202B}', '\u{202C}', '\u{202D}', OVERRIDE, '\n'])
        .map_or(&text[start..limit], |end| &text[start..start + end]);
    // No value is that short.
    if covered.chars().nth(5).is_none() {
        return;
    }
    for (place, c) in covered.char_indices().rev() {
        let place = start + place;
        let width = c.len_utf8();
        let mut bytes = [0; 4];
        for c in std::iter::once(c).nfkc().filter(|c| !is_invisible(*c)) {
            writer.put(plain_char(c).encode_utf8(&mut bytes), place..place + width);
        }
    }
    writer.put("\n", at..start);
}

/// A run of letters and digits, with whatever invisible lies between them.
struct Word {
    end: usize,
    latin: bool,
}

impl Word {
    fn at(text: &str, start: usize) -> Self {
        // The look back is bounded by the ASCII stretch that the main loop stepped over.
        let before = &text.as_bytes()[..start];
        let mut latin = before.last().is_some_and(u8::is_ascii_alphanumeric);
        let mut end = start;
        for c in text[start..].chars() {
            if c.is_ascii_alphanumeric() || matches!(c, '\u{FF10}'..='\u{FF5A}') {
                latin = true;
            } else if !c.is_alphanumeric() && !is_invisible(c) && canonical_combining_class(c) == 0 {
                break;
            }
            end += c.len_utf8();
        }
        Self {
            end: end.max(start + 1),
            latin,
        }
    }
}

/// Length of the first character with the marks and jamo that join it.
fn cluster(rest: &str) -> usize {
    let mut chars = rest.chars();
    let mut len = chars.next().map_or(1, char::len_utf8);
    // Zalgo text piles marks up without end; thirty is more than any script does.
    for c in chars.take(30) {
        if c.is_ascii() || !(is_mark(c) || matches!(c, '\u{1160}'..='\u{11FF}')) {
            break;
        }
        len += c.len_utf8();
    }
    len
}

fn plainly(cluster: &str, latin: bool, following: &str, out: &mut String) {
    let first = cluster.chars().next().unwrap_or_default();
    if cluster.len() == first.len_utf8() {
        if first.is_ascii() || is_untouched(first) || (!latin && is_plain_letter(first)) {
            out.push(first);
            return;
        }
        if is_quote_or_dash(first) {
            out.push(plain_char(first));
            return;
        }
        if is_invisible(first) {
            return;
        }
        if let Some(hidden) = tagged(first) {
            out.push(hidden);
            return;
        }
    }
    let mut on_ascii = false;
    for c in cluster.nfkc() {
        // What did not join its letter to one of a language was drawn over it.
        if is_invisible(c) || (on_ascii && is_mark(c)) {
            continue;
        }
        on_ascii = c.is_ascii();
        let mut c = plain_char(c);
        if latin && let Some(similar) = look_alike(c) {
            c = similar;
        }
        // An ideographic full stop inside a host name is a dot to every resolver.
        if matches!(c, '\u{3002}') && following.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            c = '.';
        }
        out.push(c);
    }
}

/// Characters that neither NFKC nor any table here changes, which spares most text of European languages,
/// Korean, Chinese and Japanese the look-ups.
fn is_untouched(c: char) -> bool {
    matches!(c, '\u{C0}'..='\u{130}' | '\u{134}'..='\u{13E}' | '\u{141}'..='\u{148}' | '\u{14A}'..='\u{17E}' | '\u{AC00}'..='\u{D7A3}' | '\u{4E00}'..='\u{9FFF}' | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}')
}

/// Greek and Cyrillic letters that NFKC leaves, and that only look like Latin ones.
fn is_plain_letter(c: char) -> bool {
    matches!(c, '\u{391}'..='\u{3A9}' | '\u{3B1}'..='\u{3C9}' | '\u{400}'..='\u{45F}')
}

/// What prose has many of, and NFKC leaves.
fn is_quote_or_dash(c: char) -> bool {
    matches!(c, '\u{2010}' | '\u{2012}'..='\u{2015}' | '\u{2018}'..='\u{201F}')
}

/// Marks that are drawn upon the character before them.
fn is_mark(c: char) -> bool {
    canonical_combining_class(c) != 0
}

/// Characters that show nothing and join nothing that a detector reads.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{20DD}'..='\u{20E0}' | '\u{20E2}'..='\u{20E4}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E001F}' | '\u{E007F}'
        | '\u{E0100}'..='\u{E01EF}')
}

/// The ASCII character that a tag character hides.
fn tagged(c: char) -> Option<char> {
    matches!(c, '\u{E0020}'..='\u{E007E}').then(|| char::from((u32::from(c) & 0x7F) as u8))
}

fn plain_char(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{207B}'
        | '\u{2212}'
        | '\u{FE58}'
        | '\u{FE63}'
        | '\u{2E3A}'
        | '\u{2E3B}'
        | '\u{30A0}' => '-',
        '\u{00A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => ' ',
        '\u{0085}' | '\u{2028}' | '\u{2029}' => '\n',
        '\u{2018}' | '\u{2019}' | '\u{201B}' | '\u{02BC}' => '\'',
        '\u{201C}' | '\u{201D}' | '\u{201F}' => '"',
        '\u{2044}' | '\u{2215}' => '/',
        '\u{2024}' | '\u{FE52}' => '.',
        '\u{A789}' | '\u{2236}' | '\u{0589}' => ':',
        _ => digit(c).or_else(|| enclosed(c)).unwrap_or(c),
    }
}

/// The letter or digit in a circle, a square or a flag, where NFKC leaves it.
fn enclosed(c: char) -> Option<char> {
    const DIGITS: [(u32, u32); 5] = [(0x2776, 1), (0x2780, 1), (0x278A, 1), (0x24F5, 1), (0x24FF, 0)];
    let code = u32::from(c);
    let letter = |first: u32, base: u8| {
        let place = u8::try_from(code.checked_sub(first)?)
            .ok()
            .filter(|place| *place < 26)?;
        Some(char::from(base + place))
    };
    match code {
        0x24F5..=0x24FF | 0x2776..=0x2792 => DIGITS
            .iter()
            .find(|(first, value)| (*first..*first + 10 - *value).contains(&code))
            .and_then(|(first, value)| char::from_digit(code - first + value, 10)),
        0x1F150..=0x1F169 => letter(0x1F150, b'A'),
        0x1F170..=0x1F189 => letter(0x1F170, b'A'),
        0x1F1E6..=0x1F1FF => letter(0x1F1E6, b'A'),
        _ => None,
    }
}

/// The ASCII digit for a decimal digit of another script.
fn digit(c: char) -> Option<char> {
    // Each block of decimal digits starts at its zero and has ten in a row.
    const ZEROES: [u32; 22] = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
        0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810, 0x19D0, 0xA8D0, 0xAA50,
    ];
    let code = u32::from(c);
    if code < ZEROES[0] {
        return None;
    }
    let block = ZEROES[ZEROES.partition_point(|zero| *zero <= code).checked_sub(1)?];
    char::from_digit(code - block, 10).filter(|_| code - block < 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(text: &str) -> String {
        normalise(text).text().to_owned()
    }

    #[test]
    fn plain_text_is_borrowed() {
        for text in [
            "",
            "plain ASCII, 4111-1111",
            "Жизнь прекрасна",
            "주민등록번호 확인",
            "Zürich, façade",
            "漢字かな",
        ] {
            assert!(normalise(text).is_unchanged(), "{text}");
        }
    }

    #[test]
    fn says_what_a_reader_sees() {
        assert_eq!(seen("４１１１－１１１１"), "4111-1111");
        assert_eq!(seen("4\u{200B}1\u{200D}1\u{FE0F}1"), "4111");
        assert_eq!(seen("a\u{AD}b\u{202E}c"), "abc");
        assert_eq!(seen("555\u{A0}12\u{2011}34"), "555 12-34");
        assert_eq!(seen("٤١١١ ४१११"), "4111 4111");
        assert_eq!(seen("\u{E0061}\u{E0062}"), "ab");
        assert_eq!(seen("jоhn@еxample.com"), "john@example.com");
        assert_eq!(seen("john＠example．com"), "john@example.com");
        assert_eq!(seen("mail。example。com 了。"), "mail.example.com 了。");
        assert_eq!(seen("ﬁle"), "file");
        assert_eq!(seen("cafe\u{301}"), "café");
    }

    #[test]
    fn reads_what_is_drawn_over_and_around() {
        assert_eq!(seen("4\u{336}1\u{336}1\u{338}"), "411");
        assert_eq!(seen("4\u{FE0F}\u{20E3}1\u{20E3}"), "41");
        assert_eq!(seen("➃❶①⓵⓪⓿"), "411100");
        assert_eq!(seen("🅰🄺🇮🅐"), "AKIA");
        assert_eq!(seen("Nguyễn, naïve"), "Nguyễn, naïve");
        assert_eq!(seen("ᗪE89"), "DE89");
    }

    #[test]
    fn text_that_is_shown_backwards_is_read_both_ways() {
        let text = "to \u{202E}moc.elpmaxe@eoj\u{202C} now";
        let view = normalise(text);
        assert_eq!(view.text(), "to joe@example.com\nmoc.elpmaxe@eoj now");
        let at = view.text().find("joe@example.com").unwrap();
        assert_eq!(&text[view.source_span(at..at + 15)], "moc.elpmaxe@eoj");
    }

    #[test]
    fn shortcuts_change_nothing() {
        for c in ('\u{80}'..='\u{FFFF}')
            .filter(|c| is_untouched(*c) || is_plain_letter(*c) || is_quote_or_dash(*c))
        {
            let text = c.to_string();
            assert_eq!(text.nfkc().collect::<String>(), text);
            assert!(!is_invisible(c));
            if is_untouched(c) {
                assert_eq!(plain_char(c), c);
                // A few ideographs have the shape of a letter, and mean themselves nevertheless.
                assert!(c > '\u{3000}' || look_alike(c).is_none(), "{c}");
            } else if is_plain_letter(c) {
                assert_eq!(plain_char(c), c);
            }
        }
    }

    #[test]
    fn words_of_other_scripts_stay() {
        assert_eq!(seen("сор и рот"), "сор и рот");
        assert_eq!(seen("АКIА0000"), "AKIA0000");
    }

    #[test]
    fn spans_lead_back() {
        let text = "x 4\u{200B}1\u{200B}1１ y";
        let view = normalise(text);
        assert_eq!(view.text(), "x 4111 y");
        let start = view.text().find("4111").unwrap();
        assert_eq!(&text[view.source_span(start..start + 4)], "4\u{200B}1\u{200B}1１");
    }

    fn hostile_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "\\PC{0,4}",
            "[ -~]{0,6}",
            Just("\u{200B}".to_owned()),
            Just("\u{301}\u{302}".to_owned()),
            Just("\u{1100}\u{1161}\u{11A8}".to_owned()),
            Just("е１\u{FE0F}".to_owned()),
            Just("\u{E0041}".to_owned()),
            Just("\u{FDFA}".to_owned()),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_view_span_has_its_source(text in hostile_text()) {
            let view = normalise(&text);
            let ends: Vec<usize> =
                view.text().char_indices().map(|(at, _)| at).chain([view.text().len()]).collect();
            for (from, &start) in ends.iter().enumerate() {
                for &end in &ends[from + 1..] {
                    let source = view.source_span(start..end);
                    prop_assert!(source.start < source.end && source.end <= text.len());
                    prop_assert!(text.is_char_boundary(source.start) && text.is_char_boundary(source.end));
                    // What produced the span alone produces at least the span again; the words around it
                    // decide about look-alikes, which is why only the length of the text is compared.
                    if !view.is_derived(start..end) {
                        let kept: String = text[source.clone()].chars().filter(|c| !is_invisible(*c)).collect();
                        prop_assert_eq!(&view.text()[start..end], kept);
                    }
                }
            }
        }

        #[test]
        fn neighbouring_spans_do_not_overlap(text in hostile_text()) {
            let view = normalise(&text);
            let mut last = 0;
            for (at, c) in view.text().char_indices() {
                let source = view.source_span(at..at + c.len_utf8());
                prop_assert!(source.end >= last);
                last = source.start;
            }
        }

        #[test]
        fn comes_to_rest(text in hostile_text()) {
            // A pass may see a word as Latin that the one before it made so, and so on, but not without end.
            let mut last = text;
            for _ in 0..8 {
                let next = seen(&last);
                if next == last {
                    return Ok(());
                }
                last = next;
            }
            prop_assert!(false, "{last:?} goes on changing");
        }
    }
}
