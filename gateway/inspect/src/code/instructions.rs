//! Lines of a name and its operands: elements of a netlist, instructions of a processor.

use super::{
    shapes::{ASSEMBLY, head, is_any},
    unit::word_end,
    words,
};

/// `R1 in out 10k`, `M3 d g s b nmos W=1u L=180n`: an element, its nodes, its value or model.
pub(super) fn element(bytes: &[u8]) -> bool {
    if !b"RCLVIDQMJEGXBKrclvidqmx".contains(&bytes[0]) {
        return false;
    }
    let mut fields = bytes
        .split(|b| matches!(b, b' ' | b'\t'))
        .filter(|field| !field.is_empty());
    let Some(name) = fields.next() else { return false };
    let numbered = name.len() <= 10
        && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && (name.iter().any(u8::is_ascii_digit)
            || (name.len() > 1 && name.iter().all(|b| b.is_ascii_uppercase()) && name.len() <= 4));
    if !numbered {
        return false;
    }
    let rest: Vec<&[u8]> = fields.take(10).collect();
    let node = |field: &[u8]| {
        field.len() <= 16
            && field.iter().all(|b| {
                b.is_ascii_alphanumeric()
                    || matches!(b, b'_' | b'+' | b'-' | b'!' | b'.' | b'<' | b'>' | b'[' | b']')
            })
    };
    let given = |field: &[u8]| {
        field
            .windows(2)
            .any(|pair| pair[0].is_ascii_alphanumeric() && pair[1] == b'=')
    };
    if rest.len() < 3 || !rest[..2].iter().all(|field| node(field)) {
        return false;
    }
    match name[0].to_ascii_uppercase() {
        b'R' | b'C' | b'L' => is_value(rest[2]) && rest.len() <= 6,
        b'V' | b'I' => {
            is_value(rest[2]) && rest.len() <= 4
                || is_any(rest[2], &["dc", "ac"])
                || head(rest[2]).1.starts_with(b"(")
                    && is_any(head(rest[2]).0, &["pulse", "sin", "pwl", "exp"])
        }
        b'M' | b'X' => rest.iter().any(|field| given(field)),
        b'Q' | b'D' | b'J' => {
            rest.len() <= 6
                && rest[..3].iter().all(|field| node(field))
                && rest
                    .iter()
                    .all(|field| !matches!(*field, b"the" | b"a" | b"to" | b"is" | b"of" | b"and"))
                && (rest[0].len() <= 4 && rest[1].len() <= 4)
                && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

/// `10k`, `1.5meg`, `100nF`, `{RL}`.
fn is_value(field: &[u8]) -> bool {
    if field.starts_with(b"{") {
        return field.ends_with(b"}");
    }
    let digits = field
        .iter()
        .take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
        .count();
    digits > 0
        && field[0] != b'.'
        && field.len() - digits <= 6
        && field[digits..]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+'))
}

/// A word and what only instructions have behind it: two operands or more, and among them registers with
/// numbers, parts of vectors, or addresses in brackets. Sets of instructions are larger than any list of them.
pub(super) fn operands(bytes: &[u8], word: &[u8]) -> bool {
    if !(word[0].is_ascii_lowercase() && word.len() <= 12) || memchr::memchr(b',', bytes).is_none() {
        return false;
    }
    let rest = &bytes[word.len()..];
    // `b.eq`, `vld1.8`
    let rest = match rest.strip_prefix(b".") {
        Some(after) => &after[word_end(after, 0)..],
        None => rest,
    };
    if !rest.starts_with(b" ") && !rest.starts_with(b"\t") {
        return false;
    }
    let end = rest
        .windows(2)
        .position(|pair| pair == b"//" || pair == b"; " || pair == b"# " || pair == b"/*")
        .unwrap_or(rest.len());
    let (mut all, mut sure) = (0, 0);
    for operand in rest[..end].split(|b| matches!(b, b',' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'!')) {
        let operand = operand.trim_ascii();
        if operand.is_empty() {
            continue;
        }
        all += 1;
        let first = operand[0];
        let name = &operand[..word_end(operand, 0)];
        let numbered = |letters: usize| {
            name.len() > letters
                && name.len() <= letters + 2
                && name[..letters].iter().all(u8::is_ascii_lowercase)
                && name[letters..].iter().all(u8::is_ascii_digit)
        };
        let register = numbered(1) && b"rxwvqdsbhtafzypm".contains(&first)
            || numbered(3) && matches!(&name[..3], b"xmm" | b"ymm" | b"zmm")
            || matches!(
                name,
                b"sp"
                    | b"lr"
                    | b"pc"
                    | b"rax"
                    | b"rbx"
                    | b"rcx"
                    | b"rdx"
                    | b"rsi"
                    | b"rdi"
                    | b"rsp"
                    | b"rbp"
                    | b"eax"
                    | b"ebx"
                    | b"ecx"
                    | b"edx"
                    | b"esi"
                    | b"edi"
                    | b"esp"
                    | b"ebp"
                    | b"xzr"
                    | b"wzr"
                    | b"zero"
            );
        let whole = name.len() == operand.len() || operand[name.len()] == b'.';
        let immediate = matches!(first, b'#' | b'$' | b'%')
            && operand.len() > 1
            && operand[1..]
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'.'));
        sure += usize::from(register && whole || immediate);
    }
    all >= 2 && sure >= 2 && sure * 2 >= all
}

/// A mnemonic with operands: a register, an immediate, an address.
pub(super) fn instruction(bytes: &[u8], word: &[u8]) -> bool {
    let assembly = |word: &[u8]| words::look(word).filter(|found| found.languages >> ASSEMBLY & 1 == 1);
    if word.len() > 8 || assembly(word).is_none() {
        return false;
    }
    let rest = bytes[word.len()..]
        .split(|b| matches!(b, b';' | b'#'))
        .next()
        .unwrap_or_default();
    let operands = if rest.is_empty() {
        bytes[word.len()..].trim_ascii()
    } else {
        rest.trim_ascii()
    };
    if operands.is_empty() || operands.len() > 60 {
        return false;
    }
    let mut parts = 0;
    for operand in operands.split(|b| *b == b',') {
        let operand = operand.trim_ascii();
        if operand.is_empty() || operand.iter().filter(|b| **b == b' ').count() > 3 {
            return false;
        }
        let bare = operand
            .strip_prefix(b"%")
            .or_else(|| operand.strip_prefix(b"["))
            .unwrap_or(operand);
        let name = &bare[..word_end(bare, 0)];
        let register = assembly(name).is_some_and(|found| found.languages.count_ones() == 1)
            || (name.len() >= 2
                && name.len() <= 4
                && b"rxwtsavRXWTSAV".contains(&name[0])
                && name[1..].iter().all(u8::is_ascii_digit));
        let immediate = operand.starts_with(b"#") || operand.starts_with(b"$") || operand.starts_with(b"0x");
        parts += usize::from(register || immediate);
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_instruction(line: &str) -> bool {
        operands(line.as_bytes(), &line.as_bytes()[..word_end(line.as_bytes(), 0)])
    }

    #[test]
    fn instructions_are_told_by_their_operands() {
        for line in [
            "umulh x17,x9,x8",
            "pmull v1.8h, v7.8b, v3.8b",
            "ldp x3, x4, [sp, #16]",
            "vpxor %xmm1, %xmm2, %xmm3",
            "add\tr2, sp, #144 // next",
        ] {
            assert!(is_instruction(line), "{line}");
        }
        for line in [
            "see a1, and then the others",
            "rooms b2 are taken",
            "paid $5, $6 and nothing else this week",
            "meet at the gate, bring water, hats",
            "x = 1",
        ] {
            assert!(!is_instruction(line), "{line}");
        }
    }
}
