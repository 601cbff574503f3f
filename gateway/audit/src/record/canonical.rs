//! One byte form for one value: JSON with sorted keys and no white space, after RFC 8785 (JCS).
//!
//! Entries hold strings, booleans and integers below 2^53 only, and their keys are ASCII, so sorting by bytes
//! is JCS's sorting by UTF-16 units, and `serde_json` already escapes strings the way JCS asks for.
//! It leaves floating-point numbers to nobody: there are none in an entry.

use serde::Serialize;
use serde_json::Value;

/// The canonical bytes of an entry.
pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("entries have string keys and no fallible fields");
    let mut out = Vec::with_capacity(1024);
    write(&value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                scalar(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => scalar(value, out),
    }
}

fn scalar(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing a scalar to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn sorts_at_every_depth_and_adds_no_space() {
        let value = json!({"b": [ {"z": 1, "a": true} ], "a": "\u{7}\"é\u{2028}/"});
        assert_eq!(
            String::from_utf8(canonical(&value)).unwrap(),
            "{\"a\":\"\\u0007\\\"é\u{2028}/\",\"b\":[{\"a\":true,\"z\":1}]}"
        );
    }

    proptest! {
        #[test]
        fn reads_back_to_the_same_value(keys in prop::collection::btree_map(".{0,8}", ".{0,20}", 0..8), n in any::<u32>()) {
            let value = json!({"n": n, "m": keys});
            let bytes = canonical(&value);
            let back: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(canonical(&back), bytes);
        }
    }
}
