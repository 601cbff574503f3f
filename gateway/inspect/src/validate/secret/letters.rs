//! How surprising the letters of a value are: words cost few bits a letter, random letters many.
//!
//! The cost of each letter after another was counted over the distinct words of the names and comments of
//! the Python standard library (PSF-2.0), which are English and the usual speech of programs. Uniformly
//! random letters cost about 6 bits; 99 of 100 identifiers of 20 letters and more cost less than 4.6.

/// What letters cost, in halves of a bit from `a` = 0: a row for the letter before, a column for the next.
const COSTS: [[u8; 26]; 26] = [
    *b"pjiiqokrkungihujugiflnonms",
    *b"glkmhmophkqfmnhmsiimhqqskr",
    *b"gpllhnqhjwiimofntjkhjqrunx",
    *b"hlljeknqfqpknnimrkjlkoprnu",
    *b"jnihlkmqnuqikgolnfghqmnjns",
    *b"imlkhhnqetrinngmtikjjqqrnv",
    *b"jomneolihvtjmijnxhhljpqtqq",
    *b"eonmeoqpgynlmnfouklilrrrmt",
    *b"klijkljtrtqijeilskhhrlvnyl",
    *b"gnlkfkppinjnmlglvnhogoltqv",
    *b"imlkdmkmgoojmkklrmhkkolunu",
    *b"gomkenprftphoogmvojjkorsju",
    *b"fkomeoprhvplknhgtpjmkqrsot",
    *b"hpihhkgpjsmmominsohglkrtpt",
    *b"mljipmlrmrmiifkiwgjjilkoss",
    *b"gpmmfnpkjwohoohjsgkikppuku",
    *b"nmmlolqrntwinmpnljikcmptsq",
    *b"gokkenmrgwmlklhmukiiloqvlw",
    *b"kpinfmoihunkmnjionifiporlv",
    *b"hokmfmqifvrlmoilrhiklposkr",
    *b"jikljlmujxshifmixghgsruqut",
    *b"fnlndnopgwtnmnjmwmklqpnrns",
    *b"fnllgmoiftnlnihmshimqqoosu",
    *b"jmhlgjomhurljnlgqmkenopklq",
    *b"kmjlillojsqiiikfskghpnmpnn",
    *b"gpmmcmpngwrmmpimqnnloqrtmm",
];

/// Words of fewer letters say nothing.
const SHORT: usize = 3;
/// What a stretch of letters that is a word costs at most, in bits a letter.
const WORD_BITS: f32 = 4.4;

/// The mean cost of the letters of a value in bits, and how many of them were judged: those that follow
/// another letter. Case does not matter; what is no ASCII letter begins anew.
pub(super) fn cost(value: &str) -> (f32, usize) {
    let mut sum = 0u32;
    let mut judged = 0usize;
    for pair in value.as_bytes().windows(2) {
        if pair[0].is_ascii_alphabetic() && pair[1].is_ascii_alphabetic() {
            let before = usize::from(pair[0].to_ascii_lowercase() - b'a');
            let next = usize::from(pair[1].to_ascii_lowercase() - b'a');
            sum += u32::from(COSTS[before][next] - b'a');
            judged += 1;
        }
    }
    let bits = if judged == 0 {
        0.0
    } else {
        sum as f32 / 2.0 / judged as f32
    };
    (bits, judged)
}

/// How many bytes of a value lie in words: stretches of letters of at least three, ended by a mark, a
/// digit or a capital, that cost little.
pub(super) fn in_words(value: &str) -> usize {
    let bytes = value.as_bytes();
    let mut sum = 0;
    let mut start = 0;
    while start < bytes.len() {
        if !bytes[start].is_ascii_alphabetic() {
            start += 1;
            continue;
        }
        let mut end = start + 1;
        while end < bytes.len()
            && bytes[end].is_ascii_alphabetic()
            && !(bytes[end].is_ascii_uppercase() && bytes[end - 1].is_ascii_lowercase())
        {
            end += 1;
        }
        if end - start >= SHORT && cost(&value[start..end]).0 < WORD_BITS {
            sum += end - start;
        }
        start = end;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cost_less_than_random_letters() {
        for words in [
            "introduction",
            "networkInterface",
            "authentication_handler",
            "PublicKeyToken",
        ] {
            assert!(cost(words).0 < WORD_BITS, "{words} {:?}", cost(words));
        }
        for random in ["pdtfjwvbsztlueuix", "XqWzKjPvBnRtGhYmLc", "zbqkvxwhtrjpdgnf"] {
            assert!(cost(random).0 > 4.9, "{random} {:?}", cost(random));
        }
    }

    #[test]
    fn words_are_counted_between_marks_and_capitals() {
        assert_eq!(in_words("getSecretValue"), 14);
        assert_eq!(in_words("x1-y2-z3"), 0);
        assert!(in_words("id-Gost28147-None-KeyMeshing") >= 14);
    }
}
