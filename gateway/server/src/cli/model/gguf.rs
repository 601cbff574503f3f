//! The metadata head of a GGUF file (llama.cpp's `docs/gguf.md`, versions 2 and 3, little-endian).
//!
//! Limits: 10,000 keys, 1 MiB a string; arrays are skipped. On failure: one line, no panic, since a
//! file may come from anywhere.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use anyhow::{Result, bail, ensure};

const MOST_KEYS: u64 = 10_000;
const LONGEST_STRING: u64 = 1 << 20;
/// A vocabulary has a few hundred thousand entries.
const LONGEST_ARRAY: u64 = 10_000_000;

/// Key-value metadata of a GGUF file; arrays are left out.
pub struct Gguf(BTreeMap<String, Value>);

enum Value {
    Text(String),
    Number(String),
}

impl Gguf {
    /// Reads the head of a file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&mut BufReader::new(File::open(path)?))
    }

    fn parse(input: &mut impl Read) -> Result<Self> {
        ensure!(
            &bytes::<4>(input)? == b"GGUF",
            "it does not begin with the letters GGUF"
        );
        let version = u32::from_le_bytes(bytes(input)?);
        ensure!((2..=3).contains(&version), "GGUF version {version} is not known");
        let _tensors = u64::from_le_bytes(bytes(input)?);
        let keys = u64::from_le_bytes(bytes(input)?);
        ensure!(keys <= MOST_KEYS, "it claims {keys} keys");
        let mut values = BTreeMap::new();
        for _ in 0..keys {
            let key = string(input)?;
            let kind = u32::from_le_bytes(bytes(input)?);
            if let Some(value) = value(input, kind)? {
                values.insert(key, value);
            }
        }
        Ok(Self(values))
    }

    /// A value that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        }
    }

    /// A value as it is shown.
    pub fn shown(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| match value {
            Value::Text(text) | Value::Number(text) => text.as_str(),
        })
    }
}

fn value(input: &mut impl Read, kind: u32) -> Result<Option<Value>> {
    let number = |text: String| Ok(Some(Value::Number(text)));
    match kind {
        0 => number(u8::from_le_bytes(bytes(input)?).to_string()),
        1 => number(i8::from_le_bytes(bytes(input)?).to_string()),
        2 => number(u16::from_le_bytes(bytes(input)?).to_string()),
        3 => number(i16::from_le_bytes(bytes(input)?).to_string()),
        4 => number(u32::from_le_bytes(bytes(input)?).to_string()),
        5 => number(i32::from_le_bytes(bytes(input)?).to_string()),
        6 => number(f32::from_le_bytes(bytes(input)?).to_string()),
        7 => number((bytes::<1>(input)?[0] != 0).to_string()),
        8 => Ok(Some(Value::Text(string(input)?))),
        9 => {
            let kind = u32::from_le_bytes(bytes(input)?);
            let length = u64::from_le_bytes(bytes(input)?);
            ensure!(kind != 9, "arrays of arrays are not known");
            ensure!(length <= LONGEST_ARRAY, "it claims an array of {length}");
            for _ in 0..length {
                value(input, kind)?;
            }
            Ok(None)
        }
        10 => number(u64::from_le_bytes(bytes(input)?).to_string()),
        11 => number(i64::from_le_bytes(bytes(input)?).to_string()),
        12 => number(f64::from_le_bytes(bytes(input)?).to_string()),
        _ => bail!("value type {kind} is not known"),
    }
}

fn string(input: &mut impl Read) -> Result<String> {
    let length = u64::from_le_bytes(bytes(input)?);
    ensure!(length <= LONGEST_STRING, "it claims a string of {length} bytes");
    let mut text = Vec::new();
    let read = input.by_ref().take(length).read_to_end(&mut text)?;
    ensure!(read as u64 == length, "it ends inside a string");
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn bytes<const N: usize>(input: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(0_u64.to_le_bytes());
        file.extend(3_u64.to_le_bytes());
        let text = |file: &mut Vec<u8>, text: &str| {
            file.extend((text.len() as u64).to_le_bytes());
            file.extend(text.as_bytes());
        };
        text(&mut file, "general.architecture");
        file.extend(8_u32.to_le_bytes());
        text(&mut file, "llama");
        text(&mut file, "tokenizer.ggml.tokens");
        file.extend(9_u32.to_le_bytes());
        file.extend(8_u32.to_le_bytes());
        file.extend(2_u64.to_le_bytes());
        text(&mut file, "a");
        text(&mut file, "b");
        text(&mut file, "llama.context_length");
        file.extend(4_u32.to_le_bytes());
        file.extend(8192_u32.to_le_bytes());
        file
    }

    #[test]
    fn reads_text_and_numbers_and_skips_arrays() {
        let gguf = Gguf::parse(&mut sample().as_slice()).unwrap();
        assert_eq!(gguf.text("general.architecture"), Some("llama"));
        assert_eq!(gguf.shown("llama.context_length"), Some("8192"));
        assert_eq!(gguf.shown("tokenizer.ggml.tokens"), None);
    }

    #[test]
    fn every_truncation_and_flip_is_an_error_or_a_value() {
        let file = sample();
        for end in 0..file.len() {
            assert!(Gguf::parse(&mut &file[..end]).is_err(), "cut at {end}");
            let mut flipped = file.clone();
            flipped[end] ^= 0xff;
            let _ = Gguf::parse(&mut flipped.as_slice());
        }
    }
}
