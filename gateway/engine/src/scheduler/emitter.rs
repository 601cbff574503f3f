//! Token bytes to text that may be shown: whole characters, and nothing of a stop text.
//!
//! A token is bytes and may end inside a character; a stop text may span tokens. Both are held
//! back until it is clear what they are, and no longer.

/// Turns the bytes of one answer into text.
#[derive(Debug)]
pub(super) struct Emitter {
    stops: Vec<String>,
    /// Bytes of a character that is not whole yet: at most three.
    partial: Vec<u8>,
    /// Text that may be the beginning of a stop text: shorter than the longest of them.
    held: String,
}

impl Emitter {
    /// For an answer ended by any of `stops`, none of which is empty.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            partial: Vec::new(),
            held: String::new(),
        }
    }

    /// Takes the bytes of one token; gives what may be shown, and whether a stop text was met.
    /// After that nothing more is shown.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (String, bool) {
        self.partial.extend_from_slice(bytes);
        self.take_whole_characters();
        let met = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = met {
            let mut shown = std::mem::take(&mut self.held);
            shown.truncate(at);
            self.partial.clear();
            return (shown, true);
        }
        let hold_from = self.held.len() - self.longest_beginning();
        let kept = self.held.split_off(hold_from);
        (std::mem::replace(&mut self.held, kept), false)
    }

    /// The end of the answer: what was held is no stop text after all. A character that never
    /// became whole is left out.
    pub(super) fn finish(&mut self) -> String {
        self.partial.clear();
        std::mem::take(&mut self.held)
    }

    fn take_whole_characters(&mut self) {
        let mut rest = self.partial.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.held.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (whole, after) = rest.split_at(error.valid_up_to());
                    self.held.push_str(&String::from_utf8_lossy(whole));
                    match error.error_len() {
                        // Bytes that no text has: said visibly, once each.
                        Some(bad) => {
                            self.held.push(char::REPLACEMENT_CHARACTER);
                            rest = &after[bad..];
                        }
                        None => {
                            rest = after;
                            break;
                        }
                    }
                }
            }
        }
        self.partial = rest.to_vec();
    }

    /// Length of the longest end of `held` that a stop text begins with.
    fn longest_beginning(&self) -> usize {
        let longest = self
            .stops
            .iter()
            .map(|stop| stop.len() - 1)
            .max()
            .unwrap_or(0)
            .min(self.held.len());
        (1..=longest)
            .rev()
            .find(|&length| {
                let from = self.held.len() - length;
                self.held.is_char_boundary(from)
                    && self
                        .stops
                        .iter()
                        .any(|stop| stop.len() > length && stop.starts_with(&self.held[from..]))
            })
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emit(stops: &[&str], pieces: &[&[u8]]) -> (String, bool) {
        let mut emitter = Emitter::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut shown = String::new();
        for piece in pieces {
            let (text, met) = emitter.push(piece);
            shown += &text;
            if met {
                return (shown, true);
            }
        }
        shown += &emitter.finish();
        (shown, false)
    }

    #[test]
    fn a_stop_text_across_pieces_is_never_shown() {
        assert_eq!(
            emit(&["\n\nUser:"], &[b"Hi\n", b"\nUs", b"er: more"]),
            ("Hi".to_owned(), true)
        );
    }

    #[test]
    fn what_only_looked_like_a_stop_text_is_shown() {
        assert_eq!(emit(&["END"], &[b"EN", b"TER"]), ("ENTER".to_owned(), false));
        assert_eq!(emit(&["END"], &[b"the EN"]), ("the EN".to_owned(), false));
    }

    #[test]
    fn the_first_stop_text_counts() {
        assert_eq!(emit(&["b", "a"], &[b"xxaxb"]), ("xx".to_owned(), true));
    }

    #[test]
    fn a_character_cut_at_the_end_is_left_out_and_wrong_bytes_are_visible() {
        assert_eq!(
            emit(&[], &["한".as_bytes(), &[0xED, 0x95]]),
            ("한".to_owned(), false)
        );
        assert_eq!(
            emit(&[], &[&[b'a', 0xFF, b'b']]),
            ("a\u{FFFD}b".to_owned(), false)
        );
    }

    #[test]
    fn text_that_begins_no_stop_text_is_shown_at_once() {
        let mut emitter = Emitter::new(vec!["STOP".to_owned()]);
        assert_eq!(emitter.push(b"Hello"), ("Hello".to_owned(), false));
        assert_eq!(emitter.push(b"S"), (String::new(), false));
        assert_eq!(emitter.push(b"o"), ("So".to_owned(), false));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(text in "[ab한😀\n]{0,40}", stop in "[ab한]{1,4}", cuts in prop::collection::vec(0_usize..200, 0..12)) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let expected = text.find(&stop).map_or((text.clone(), false), |at| (text[..at].to_owned(), true));
            prop_assert_eq!(emit(&[&stop], &pieces), expected);
        }
    }
}
