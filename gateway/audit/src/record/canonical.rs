//! One byte form for one value: JSON with sorted keys and no white space, after RFC 8785 (JCS).
//!
//! Entries hold strings, booleans and integers below 2^53 only, and their keys are ASCII, so sorting by bytes
//! is JCS's sorting by UTF-16 units, and `serde_json` already escapes strings the way JCS asks for.
//! It leaves floating-point numbers to nobody: there are none in an entry.

use std::{
    borrow::Cow,
    cell::RefCell,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// The canonical bytes of an entry.
pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    let text = RefCell::new(Vec::with_capacity(1024));
    let formatter = Sorted {
        text: &text,
        open: Vec::new(),
    };
    value
        .serialize(&mut Serializer::with_formatter(Out(&text), formatter))
        .expect("entries have string keys and no fallible fields");
    text.into_inner()
}

/// Puts the members of each object in the order of their keys when it ends.
struct Sorted<'t> {
    /// What was written so far.
    text: &'t RefCell<Vec<u8>>,
    /// Objects that have not ended.
    open: Vec<Vec<Member>>,
}

/// Where a member begins, where its key ends, and where its value does.
struct Member([usize; 3]);

impl Member {
    /// Its key, as it is without escapes.
    fn key<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let quoted = &text[self.0[0]..self.0[1]];
        if !quoted.contains(&b'\\') {
            return Cow::Borrowed(&quoted[1..quoted.len() - 1]);
        }
        let key: String = serde_json::from_slice(quoted).expect("it was just written");
        Cow::Owned(key.into_bytes())
    }
}

impl Sorted<'_> {
    fn here(&self) -> usize {
        self.text.borrow().len()
    }

    fn member(&mut self) -> Option<&mut Member> {
        self.open.last_mut()?.last_mut()
    }
}

impl Formatter for Sorted<'_> {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.push(Vec::new());
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        let here = self.here();
        if let Some(members) = self.open.last_mut() {
            members.push(Member([here; 3]));
        }
        Ok(())
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let here = self.here();
        if let Some(member) = self.member() {
            member.0[1] = here;
        }
        Ok(())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let here = self.here();
        if let Some(member) = self.member() {
            member.0[2] = here;
        }
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let mut members = self.open.pop().unwrap_or_default();
        let mut text = self.text.borrow_mut();
        let in_order = |a: &Member, b: &Member| a.key(&text).cmp(&b.key(&text));
        if !members.is_sorted_by(|a, b| in_order(a, b).is_le()) {
            let from = members[0].0[0];
            members.sort_by(in_order);
            let values = members.iter().map(|member| &text[member.0[0]..member.0[2]]);
            let sorted = values.collect::<Vec<_>>().join(&b',');
            text.truncate(from);
            text.extend_from_slice(&sorted);
        }
        drop(text);
        writer.write_all(b"}")
    }
}

/// Writes to a text that others look at meanwhile.
struct Out<'t>(&'t RefCell<Vec<u8>>);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sorts_at_every_depth_and_adds_no_space() {
        let value = json!({"b": [ {"z": 1, "a": true} ], "a": "\u{7}\"é\u{2028}/"});
        assert_eq!(
            String::from_utf8(canonical(&value)).unwrap(),
            "{\"a\":\"\\u0007\\\"é\u{2028}/\",\"b\":[{\"a\":true,\"z\":1}]}"
        );
    }

    /// An object whose members are written in the order that they are held.
    struct Unsorted(Vec<(String, u32)>);

    impl Serialize for Unsorted {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }

    #[test]
    fn keys_are_sorted_by_what_they_say_and_not_by_how_they_are_escaped() {
        let keys = ["b", "a b", "a", "a\"", "a\\", "a\u{1}", "", "é", "z", "A"];
        let members = keys.iter().map(|key| ((*key).to_owned(), 1)).collect();
        let sorted: std::collections::BTreeMap<&str, u32> = keys.iter().map(|key| (*key, 1)).collect();
        assert_eq!(
            canonical(&[Unsorted(members)]),
            serde_json::to_vec(&[sorted]).unwrap()
        );
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_bytes(members in prop::collection::btree_map(".{0,8}", any::<u32>(), 0..8)) {
            let backwards = Unsorted(members.clone().into_iter().rev().collect());
            prop_assert_eq!(canonical(&backwards), serde_json::to_vec(&members).unwrap());
        }

        #[test]
        fn reads_back_to_the_same_value(keys in prop::collection::btree_map(".{0,8}", ".{0,20}", 0..8), n in any::<u32>()) {
            let value = json!({"n": n, "m": keys});
            let bytes = canonical(&value);
            let back: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(canonical(&back), bytes);
        }
    }
}
