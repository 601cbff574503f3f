//! Letters of other scripts that look like an ASCII letter or digit.
//!
//! What Unicode's UTS 39 lists, where the skeleton of a character is one ASCII letter or digit, and before it
//! a list of our own: letters that ordinary fonts draw alike, in the case that is meant (UTS 39 has no
//! `к` for `k`, and takes `І` for a small `l`). It is applied only within words that hold an ASCII letter or digit
//! (see [`crate::normalise`]); full-width, mathematical and circled forms need no entry, as NFKC already
//! maps them.

use unicode_security::confusable_detection::skeleton;

/// The ASCII character that `c` looks like.
pub(crate) fn look_alike(c: char) -> Option<char> {
    if c.is_ascii() {
        return None;
    }
    own(c).or_else(|| {
        // The letters of European languages are themselves, whatever they look like.
        if c < '\u{0250}' {
            return None;
        }
        let mut bytes = [0; 4];
        let mut prototype = skeleton(c.encode_utf8(&mut bytes));
        let first = prototype.next()?;
        (first.is_ascii_alphanumeric() && prototype.next().is_none()).then_some(first)
    })
}

fn own(c: char) -> Option<char> {
    Some(match c {
        // The ideographic zero
        '〇' => '0',
        // Cyrillic
        'а' => 'a',
        'ԁ' => 'd',
        'е' | 'ҽ' => 'e',
        'ѕ' => 's',
        'і' | 'ї' => 'i',
        'ј' => 'j',
        'о' => 'o',
        'р' => 'p',
        'с' => 'c',
        'у' | 'ү' => 'y',
        'х' | 'ҳ' => 'x',
        'һ' => 'h',
        'ԛ' => 'q',
        'ԝ' => 'w',
        'ѵ' => 'v',
        'ӏ' => 'l',
        'к' => 'k',
        'г' => 'r',
        'п' => 'n',
        'т' => 't',
        'м' => 'm',
        'в' => 'b',
        'н' => 'h',
        'ь' => 'b',
        'А' => 'A',
        'В' => 'B',
        'С' => 'C',
        'Е' => 'E',
        'Н' => 'H',
        'І' | 'Ӏ' => 'I',
        'Ј' => 'J',
        'К' => 'K',
        'М' => 'M',
        'О' => 'O',
        'Р' => 'P',
        'Ѕ' => 'S',
        'Т' => 'T',
        'Х' => 'X',
        'У' | 'Ү' => 'Y',
        'Ԍ' => 'G',
        'Ԛ' => 'Q',
        'Ԝ' => 'W',
        'Ѵ' => 'V',
        'З' => '3',
        'б' => '6',
        // Greek
        'α' => 'a',
        'ε' => 'e',
        'ι' => 'i',
        'κ' => 'k',
        'ν' => 'v',
        'ο' => 'o',
        'ρ' => 'p',
        'τ' => 't',
        'υ' => 'u',
        'χ' => 'x',
        'γ' => 'y',
        'η' => 'n',
        'ω' => 'w',
        'σ' => 'o',
        'ϲ' => 'c',
        'ϳ' => 'j',
        'Α' => 'A',
        'Β' => 'B',
        'Ε' => 'E',
        'Ζ' => 'Z',
        'Η' => 'H',
        'Ι' => 'I',
        'Κ' => 'K',
        'Μ' => 'M',
        'Ν' => 'N',
        'Ο' => 'O',
        'Ρ' => 'P',
        'Τ' => 'T',
        'Υ' => 'Y',
        'Χ' => 'X',
        'Ϲ' => 'C',
        'Ϳ' => 'J',
        // Armenian
        'օ' => 'o',
        'ս' => 'u',
        'ո' => 'n',
        'հ' => 'h',
        'ց' => 'g',
        'զ' => 'q',
        'ք' => 'p',
        'Տ' => 'S',
        'Ս' => 'U',
        'Օ' => 'O',
        'Լ' => 'L',
        // Cherokee
        'Ꭺ' => 'A',
        'Ᏼ' => 'B',
        'Ꮯ' => 'C',
        'Ꭰ' => 'D',
        'Ꭼ' => 'E',
        'Ꮐ' => 'G',
        'Ꮋ' => 'H',
        'Ꭻ' => 'J',
        'Ꮶ' => 'K',
        'Ꮮ' => 'L',
        'Ꮇ' => 'M',
        'Ꮲ' => 'P',
        'Ꭱ' => 'R',
        'Ꮪ' => 'S',
        'Ꭲ' => 'T',
        'Ꮩ' => 'V',
        'Ꮃ' => 'W',
        'Ꮓ' => 'Z',
        // Latin beside ASCII: dotless, small capitals, IPA
        'ı' | 'ɩ' | 'ɪ' => 'i',
        'ɑ' => 'a',
        'ɡ' => 'g',
        'ʏ' | 'ỿ' => 'y',
        'ᴄ' => 'c',
        'ᴏ' => 'o',
        'ᴜ' => 'u',
        'ᴠ' => 'v',
        'ᴡ' => 'w',
        'ᴢ' => 'z',
        'ꜱ' => 's',
        'ᴋ' => 'k',
        'ᴍ' => 'm',
        'ɴ' => 'n',
        'ʀ' => 'r',
        'ᴛ' => 't',
        'ʙ' => 'b',
        'ᴀ' => 'a',
        'ᴅ' => 'd',
        'ᴇ' => 'e',
        'ʜ' => 'h',
        'ᴊ' => 'j',
        'ʟ' => 'l',
        'ᴘ' => 'p',
        'ɢ' => 'g',
        'ǀ' => 'l',
        'Ɩ' => 'I',
        'ƽ' => 's',
        // Coptic, Lisu, Deseret
        'ⲟ' => 'o',
        'Ⲟ' => 'O',
        'ⲣ' => 'p',
        'ⲥ' => 'c',
        'ꓐ' => 'B',
        'ꓑ' => 'P',
        'ꓓ' => 'D',
        'ꓔ' => 'T',
        'ꓗ' => 'K',
        'ꓚ' => 'C',
        'ꓝ' => 'F',
        'ꓠ' => 'N',
        'ꓡ' => 'L',
        'ꓢ' => 'S',
        'ꓣ' => 'R',
        'ꓦ' => 'V',
        'ꓧ' => 'H',
        'ꓪ' => 'W',
        'ꓮ' => 'A',
        'ꓰ' => 'E',
        'ꓲ' => 'I',
        'ꓳ' => 'O',
        'ꓴ' => 'U',
        '𐐬' => 'o',
        '𐐄' => 'O',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_ascii_for_others_only() {
        assert_eq!(look_alike('а'), Some('a'));
        assert_eq!(look_alike('a'), None);
        // Armenian, Cherokee, Lisu, Tifinagh and Canadian syllabics that only UTS 39 lists.
        for (c, like) in [('ց', 'g'), ('ꮯ', 'c'), ('ꓻ', '.'), ('ⵔ', 'O'), ('ᗪ', 'D')] {
            assert!(look_alike(c) == Some(like) || !like.is_alphanumeric(), "{c}");
        }
        for c in ('\u{80}'..='\u{10FFFF}').filter_map(look_alike) {
            assert!(c.is_ascii_alphanumeric());
        }
    }
}
