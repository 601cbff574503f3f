//! What of a text somebody would read aloud: the gate before the classifier.
//!
//! Names and addresses stand in sentences, in lists and in the fields of records. In hashes, versions, columns of
//! numbers, style sheets and program text there are none; the classifier, made for language, takes its time over
//! them and sees house numbers there. Each line, or piece of a long line, is judged by itself:
//!
//! - where signs abound, or code was found, only its quotations and comments count: they must hold a word with a
//!   capital, or words that follow each other as in a sentence;
//! - elsewhere such words must make a good part of it, a word with a capital among ids counts, too;
//! - a short line of few words counts where half of it is words (`norway 13453`), or beside a line that is read
//!   (`EH6 6NU` below a street).
//!
//! No word list says what a name is, and letters with no case (Arabic, Chinese, ...) are always read.
//!
//! Limits: pieces of [`LONGEST_PIECE`] bytes, stretches of [`PART_BYTES`]. Linear.

use std::ops::Range;

use super::{PART_BYTES, Unspoken};

mod look;

use look::{Look, quotations};

/// A longer line is judged in pieces of so many bytes.
const LONGEST_PIECE: usize = 240;
/// The longest line without words that is read beside one with words, in bytes that are no blanks.
const SHORT: usize = 40;
/// So many such lines in a row.
const MOST_SHORT: usize = 4;
/// From one sign in so many bytes on, signs abound.
const SIGNS: usize = 8;

/// The stretches of a text that are read, in order and disjoint.
pub(super) fn stretches(text: &str, unspoken: Unspoken<'_>) -> Vec<Range<usize>> {
    let mut stretches = Stretches::default();
    let mut code = unspoken.code.iter().peekable();
    let end = text.len()..text.len();
    let mut at = 0;
    for binary in unspoken.binary.iter().chain([&end]) {
        while at < binary.start {
            let line_end = memchr::memchr(b'\n', &text.as_bytes()[at..binary.start])
                .map_or(binary.start, |length| at + length);
            while at < line_end {
                let piece = at..piece_end(text, at, line_end);
                while code.next_if(|block| block.end <= piece.start).is_some() {}
                let in_code = code.peek().is_some_and(|block| block.start < piece.end);
                at = piece.end;
                stretches.add(piece.clone(), voice(&text[piece], in_code));
            }
            at = line_end + 1;
        }
        stretches.close();
        at = at.max(binary.end);
    }
    stretches.done
}

/// The end of a piece of a line: at a blank or a sign, where there is one.
fn piece_end(text: &str, start: usize, end: usize) -> usize {
    if end - start <= LONGEST_PIECE {
        return end;
    }
    let stop = text.floor_char_boundary(start + LONGEST_PIECE);
    let last = |wanted: &[u8]| {
        let back = text.as_bytes()[start..stop]
            .iter()
            .rposition(|byte| wanted.contains(byte));
        back.filter(|back| *back > LONGEST_PIECE / 2)
    };
    last(b" ")
        .or_else(|| last(b",;{}>"))
        .map_or(stop, |back| start + back + 1)
}

/// What a line is to the ear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Spoken,
    /// Short, and of no words.
    Short,
    Blank,
    /// What only machines read.
    Mute,
}

fn voice(line: &str, in_code: bool) -> Voice {
    let look = Look::at(line);
    if look.letters_and_digits == 0 {
        return Voice::Blank;
    }
    if look.uncased {
        return Voice::Spoken;
    }
    let abound = look.signs * SIGNS > look.solid || is_statement(line.trim_end());
    let spoken = if abound || in_code {
        let sentence = in_code && !abound && (look.longest_run >= 5 || look.capitals_in_row >= 2);
        sentence
            || quotations(line).any(|quotation| {
                let look = Look::at(quotation);
                look.uncased
                    || look.longest_run >= 3
                    || (look.capitals > 0 && look.in_words * 2 >= look.solid)
            })
    } else {
        look.longest_run >= 3
            || (look.words >= 2 && look.in_words * 5 >= look.solid * 3)
            || look.capitals_in_row >= 2
            || look.capitals > look.states
            || (look.words > 0
                && look.in_words * 2 >= look.solid
                && (look.capitals > 0 || look.solid <= SHORT))
    };
    if spoken {
        Voice::Spoken
    } else if look.solid <= SHORT && !abound && !in_code {
        Voice::Short
    } else {
        Voice::Mute
    }
}

/// Whether a line ends as statements do and sentences do not.
fn is_statement(line: &str) -> bool {
    line.ends_with(['{', '}']) || (line.ends_with(';') && line.contains(['=', '(']))
}

/// Joins lines that are read to stretches.
#[derive(Default)]
struct Stretches {
    done: Vec<Range<usize>>,
    open: Option<Range<usize>>,
    /// Where short lines begin that have nothing read before them.
    lead: Option<usize>,
    short: usize,
}

impl Stretches {
    fn add(&mut self, piece: Range<usize>, voice: Voice) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| piece.end - open.start > PART_BYTES)
        {
            self.close();
        }
        match voice {
            Voice::Spoken => {
                self.short = 0;
                let start = self.lead.take().unwrap_or(piece.start);
                self.open.get_or_insert(start..piece.end).end = piece.end;
            }
            Voice::Short => {
                self.short += 1;
                match &mut self.open {
                    Some(open) if self.short <= MOST_SHORT => open.end = piece.end,
                    _ => {
                        if let Some(open) = self.open.take() {
                            self.done.push(open);
                        }
                        // The line right before is what may lead; those further up are left.
                        self.lead = Some(piece.start);
                    }
                }
            }
            Voice::Blank => self.lead = None,
            Voice::Mute => self.close(),
        }
    }

    fn close(&mut self) {
        self.done.extend(self.open.take());
        self.lead = None;
        self.short = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<&str> {
        let all = stretches(text, Unspoken::default());
        all.into_iter().map(|stretch| &text[stretch]).collect()
    }

    #[test]
    fn what_people_write_is_read() {
        for text in [
            "Yesterday I spoke with Thandiwe Okonkwo-Reyes about the lot.",
            "thandiwe okonkwo",
            "THANDIWE OKONKWO",
            "call thandiwe okonkwo on 12 may, she has the 3 lots",
            "17,Thandiwe Okonkwo,zbooth@armstrong.example,+44131 496 0002,South Marianberg",
            "a81f22c9-1b,Okonkwo,7",
            "{\"name\":\"Okonkwo\",\"id\":17,\"tags\":[1,2,3]}",
            "<person><name>Okonkwo</name></person>",
            "    card = Card(number=\"4390 6239\", holder=\"Alexis Olsen\", cvc=\"123\")",
            "INSERT INTO patients VALUES (17, 'Okonkwo', '1970-01-01');",
            "let x = y[0] + z[1]; // asked by Okonkwo",
            "# reviewed by thandiwe okonkwo\nx = [1, 2, 3]\n",
            "2026-03-11T09:14:22Z INFO login ok name=Okonkwo req=7f3a9b21 ip=10.2.3.4",
            "48 Harbour Street\nEH6 6NU",
            "奥孔科昨天打来电话",
            "Ms. O'Brien-McDonald",
            " rocha\n norway 13453",
        ] {
            assert!(!read(text).is_empty(), "{text}");
        }
        assert_eq!(
            read("48 Harbour Street\nEH6 6NU\n+49 30 901820"),
            ["48 Harbour Street\nEH6 6NU\n+49 30 901820"]
        );
        assert_eq!(read("no,surname\n17,Okonkwo\n"), ["no,surname\n17,Okonkwo"]);
    }

    #[test]
    fn what_machines_write_is_not() {
        for text in [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  ./dist/app.tar.gz",
            "00000000  e3 b2 f7 51 64 52 b6 e6  07 aa 8e 82 6e 17 b5 93  |aZcb.bca..XZbZ.c|",
            "1700000000,7.43,67.42,8099,4\n1700000060,6.84,75.31,1795,7",
            "libfoo 15.21.38-alpha.3 -> 9.56.3985\nquxd 8.36.87-alpha.3 -> 1.94.5847",
            ".row{display:flex;margin:-0.5rem 1.25rem 0 .5rem}.col-3{width:25%;flex:0 0 auto}",
            "!function(e,t){\"object\"==typeof exports?t(exports):t(e.d3=e.d3||{})}(this,function(e){var t=Math.PI;return t*2})",
            "    let (mut i, mut j) = (0, 0);",
            "worker-33e933427-k4bh7   2/1   CrashLoopBackOff   3   76d",
            "web-3af77b14f-t7vqr      0/2   Running            14  19d",
            "c7f4c0:\t12 73 3d \txor    0xf2(%rcx),%rsi",
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
            "550e8400-e29b-41d4-a716-446655440000",
            "------------------------\n\n",
        ] {
            assert_eq!(read(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn of_code_the_comments_and_strings_are_read() {
        let text = "use std::fmt;\n// Asked for by Thandiwe Okonkwo.\nimport os\nreturn left\n";
        let whole = 0..text.len();
        let unspoken = Unspoken {
            binary: &[],
            code: std::slice::from_ref(&whole),
        };
        let all = stretches(text, unspoken);
        let all: Vec<&str> = all.into_iter().map(|stretch| &text[stretch]).collect();
        assert_eq!(all, ["// Asked for by Thandiwe Okonkwo."]);
    }

    #[test]
    fn binary_data_is_left_out() {
        let text = "See this picture of Ann: iVBORw0KGgoAAAANSU\nand tell Bob about it";
        let at = text.find("iVB").unwrap();
        let end = text.find('\n').unwrap();
        let picture = at..end;
        let unspoken = Unspoken {
            binary: std::slice::from_ref(&picture),
            code: &[],
        };
        let all = stretches(text, unspoken);
        let all: Vec<&str> = all.into_iter().map(|stretch| &text[stretch]).collect();
        assert_eq!(all, ["See this picture of Ann: ", "and tell Bob about it"]);
    }

    proptest! {
        #[test]
        fn stretches_are_in_order_and_bounded(
            text in "([A-Za-z]{1,9}|[0-9a-f]{8}|[;={}]|ü|\n| ){0,120}",
            times in 1usize..400,
            binary in prop::collection::vec((0usize..2000, 1usize..300), 0..4),
        ) {
            let text = text.repeat(times);
            let mut at = 0;
            let mut skipped = Vec::new();
            for (gap, length) in binary {
                let start = text.floor_char_boundary(at + gap);
                let end = text.floor_char_boundary(start + length);
                if start >= at && start < end {
                    skipped.push(start..end);
                }
                at = at.max(end);
            }
            let unspoken = Unspoken { binary: &skipped, code: &[] };
            let mut at = 0;
            for stretch in stretches(&text, unspoken) {
                prop_assert!(stretch.start >= at && stretch.end > stretch.start);
                prop_assert!(stretch.len() <= PART_BYTES + LONGEST_PIECE);
                prop_assert!(text.get(stretch.clone()).is_some());
                prop_assert!(skipped.iter().all(|binary| binary.end <= stretch.start || stretch.end <= binary.start));
                at = stretch.end;
            }
        }
    }
}
