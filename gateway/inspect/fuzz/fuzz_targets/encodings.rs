//! Any text in any encoding that is read: a decoded view says it, and leads back to what was encoded.

#![no_main]

use std::io::Write;

use cordon_inspect::decoded;
use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use libfuzzer_sys::fuzz_target;

/// Shorter than data of a binary format is, which is not read.
const MOST: usize = 300;

fuzz_target!(|input: &[u8]| {
    let Some((kind, octets)) = input.split_first() else {
        return;
    };
    let text: String = octets
        .iter()
        .take(MOST)
        .map(|octet| char::from(0x20 + octet % 95))
        .collect();
    let text = text.trim();
    if text.len() < 16 {
        return;
    }
    let octets = text.as_bytes();
    let each = |write: &dyn Fn(u8) -> String| octets.iter().map(|octet| write(*octet)).collect::<String>();
    let hidden = match kind % 15 {
        0 => base(octets, 6),
        1 => base(octets, 5),
        2 => each(&|octet| format!("{octet:02x}")),
        3 => each(&|octet| format!("%{octet:02X}")),
        4 => each(&|octet| format!("&#{octet};")),
        5 => each(&|octet| format!("&#x{octet:x};")),
        6 => each(&|octet| format!("\\u{octet:04x}")),
        7 => each(&|octet| format!("\\x{octet:02x}")),
        8 => each(&|octet| format!("\\{octet:03o}")),
        9 => each(&|octet| format!("={octet:02X}")),
        10 => base(&text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), 6),
        11 => {
            let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(octets).expect("memory takes all");
            base(&writer.finish().expect("memory takes all"), 6)
        }
        12 => {
            let mut writer = ZlibEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(octets).expect("memory takes all");
            base(&writer.finish().expect("memory takes all"), 6)
        }
        13 => each(&|octet| format!("{octet:02x} ")).trim_end().to_owned(),
        _ => base(octets, 6)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let body = format!("« {hidden} »");
    let place = body.find(&hidden).expect("it was put there");
    let mut said = false;
    decoded(&body, |view| {
        if let Some(at) = view.text().find(text) {
            let source = view.source_span(at..at + text.len());
            said |= source.start >= place && source.end <= place + hidden.len();
        }
    });
    assert!(said, "{body}");
});

/// The octets in base64 or base32, without padding.
fn base(octets: &[u8], bits: usize) -> String {
    const CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const CHARS32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let chars = if bits == 6 { CHARS } else { CHARS32 };
    let mut word = String::new();
    let (mut held, mut count) = (0u32, 0);
    for octet in octets {
        held = (held << 8 | u32::from(*octet)) & 0xFFFF;
        count += 8;
        while count >= bits {
            count -= bits;
            word.push(char::from(chars[(held >> count) as usize & ((1 << bits) - 1)]));
        }
    }
    if count > 0 {
        word.push(char::from(chars[(held << (bits - count)) as usize & ((1 << bits) - 1)]));
    }
    word
}
