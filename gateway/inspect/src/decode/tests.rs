use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;

use super::*;

/// All that the decoded views of a text say, one a line.
fn says(text: &str) -> String {
    let mut all = Vec::new();
    decoded(text, |view| all.push(view.text().to_owned()));
    all.join("\n")
}

fn coded(octets: &[u8], bits: usize, alphabet: &[u8]) -> String {
    let mut word = String::new();
    let (mut held, mut count) = (0u32, 0);
    for octet in octets {
        held = (held << 8 | u32::from(*octet)) & 0xFFFF;
        count += 8;
        while count >= bits {
            count -= bits;
            word.push(char::from(alphabet[(held >> count) as usize & ((1 << bits) - 1)]));
        }
    }
    if count > 0 {
        word.push(char::from(
            alphabet[(held << (bits - count)) as usize & ((1 << bits) - 1)],
        ));
    }
    word
}

fn base64(octets: &[u8]) -> String {
    coded(
        octets,
        6,
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    )
}

fn base32(octets: &[u8]) -> String {
    coded(octets, 5, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(octets).unwrap();
    writer.finish().unwrap()
}

#[test]
fn reads_encoded_text_in_its_surroundings() {
    assert_eq!(says("key aGVsbG8gd29ybGQh end"), "key hello world! end");
    assert_eq!(says("x 68656c6c6f20776f726c64 y"), "x hello world y");
    assert_eq!(says("a%40b.com"), "a@b.com");
    assert_eq!(says("a%u0040b.com"), "a@b.com");
    assert_eq!(says("&#49;&#x32;3&#52"), "1234");
    assert_eq!(says("&lpar;a&commat;b&rpar;"), "(a@b)");
    assert_eq!(says(r"\u0031\x32\u{33}\U00000034\065"), "12345");
    assert_eq!(says(r"\xc3\xbc"), "ü");
    assert_eq!(says(r"\ud83d\ude00"), "😀");
    assert_eq!(says("joe [at] example (dot) org"), "joe@example.org");
    assert_eq!(says("joe@example[.]org"), "joe@example.org");
    assert_eq!(says("no: 4 1 1 1   1 1 1 1 ok"), "no: 4111 1111 ok");
    assert_eq!(says("no: 4-1-1-1-1-1-1-1 ok"), "no: 41111111 ok");
}

#[test]
fn reads_mail_encodings() {
    assert_eq!(says("to joe=40example.com"), "to joe@example.com");
    assert_eq!(says("J=C3=BCrgen =3D 1"), "Jürgen = 1");
    assert_eq!(says("number 4111=\r\n1111"), "number 41111111");
    assert_eq!(says("=?utf-8?B?SsO8cmdlbg==?= x"), "Jürgen x");
    assert_eq!(says("=?iso-8859-1?Q?J=FCrgen_M?= x"), "Jürgen M x");
    assert_eq!(says("x <~87cURD]i,\"Ebo80~> y"), "x Hello World! y");
}

#[test]
fn reads_json_within_strings() {
    assert_eq!(says(r#"{\"a\":\"b\"}"#), "{\"a\":\"b\"}");
    assert_eq!(says(r"C:\news\old.txt"), "");
    assert_eq!(says(r"one line\n"), "");
}

#[test]
fn reads_bytes_in_lists() {
    assert_eq!(says("6a 6f 65 40 61 2e 62"), "joe@a.b");
    assert_eq!(says("6A:6F:65:40:61:2E:62"), "joe@a.b");
    assert_eq!(says("0x6a, 0x6f, 0x65, 0x40, 0x61, 0x2e"), "joe@a.");
    assert_eq!(says("[106,111,101,64,97,46,98,99]"), "[joe@a.bc]");
    assert_eq!(
        says("01101010 01101111 01100101 01000000 01100001 00101110"),
        "joe@a."
    );
    assert_eq!(says("U+006A U+006F U+0065 U+0040 U+0061 U+002E"), "joe@a.");
    assert_eq!(says("6a6f 6540 612e 6263"), "joe@a.bc");
    assert_eq!(says("00:1a:2b:3c:4d:5e"), "");
    assert_eq!(says("1 2 3, 250 251 252 253 254 255 256"), "");
}

#[test]
fn reads_spelled_numbers_and_addresses() {
    assert_eq!(
        says("it is four one one one, one one one one. Thanks"),
        "it is 41111111. Thanks"
    );
    assert_eq!(says("null eins sieben zwo drei double five"), "0172355");
    assert_eq!(
        says("mail john dot doe at example dot com please"),
        "mail john.doe@example.com please"
    );
    assert_eq!(
        says("mail john at mail dot example dot org."),
        "mail john@mail.example.org."
    );
    assert_eq!(says("공일공-일이삼사-오육칠팔 로"), "010-1234-5678 로");
    for prose in [
        "one of the two or three things that six or seven people want",
        "look at the dot com bubble",
        "he was at point two",
        "the dot product at index one dot three",
    ] {
        assert_eq!(says(prose), "", "{prose}");
    }
}

#[test]
fn reads_other_character_sets_and_packed_text() {
    let text = "the number is 4111 1111 1111 1111";
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(says(&base64(&wide)), text);
    assert_eq!(says(&base32(text.as_bytes())), text);
    assert_eq!(says(&base64(&gzip(text.as_bytes()))), text);
    assert_eq!(says(&hex(&gzip(text.as_bytes()))), text);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text.as_bytes()).unwrap();
    assert_eq!(says(&base64(&zlib.finish().unwrap())), text);
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(text.as_bytes()).unwrap();
    let request = format!("SAMLRequest={}", base64(&deflate.finish().unwrap()));
    assert_eq!(says(&request), format!("SAMLRequest={text}"));
    assert!(says(&format!("data:text/plain;base64,{}", base64(text.as_bytes()))).ends_with(text));
    let korean = "이름은 김민수이고 번호는 없습니다";
    assert_eq!(says(&base64(korean.as_bytes())), korean);
}

#[test]
fn a_word_over_several_lines_is_one() {
    let text = "a text that is long enough to need more than one line when it is written in base64, and ends";
    let word = base64(text.as_bytes());
    for line in [40, 64, 76] {
        for gap in ["\n", "\r\n", "\n  ", "\n> "] {
            let lines: Vec<&str> = (0..word.len())
                .step_by(line)
                .map(|at| &word[at..word.len().min(at + line)])
                .collect();
            assert_eq!(says(&lines.join(gap)), text, "{line} {gap:?}");
        }
    }
}

#[test]
fn is_read_three_levels_deep_and_no_deeper() {
    let text = "call 4111 1111 1111 1111 today";
    let mut nested = text.to_owned();
    for level in 0..4 {
        nested = base64(nested.as_bytes());
        assert_eq!(says(&nested).contains(text), level < 3, "{level}");
    }
    assert!(says("a%2540b.com").ends_with("a@b.com"));
    assert!(says("a&amp;#64;b.com").ends_with("a@b.com"));
}

#[test]
fn what_is_decoded_is_normalised_and_leads_back() {
    let text = "to j%E2%80%8Bo%EF%BD%85@example.com";
    let mut seen = Vec::new();
    decoded(text, |view| {
        assert_eq!(view.text(), "to joe@example.com");
        let at = view.text().find("joe@").unwrap();
        assert!(view.is_derived(at..at + 2));
        seen.push(view.source_span(at..at + 7));
    });
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0], 3..text.find("mple").unwrap());
}

#[test]
fn leaves_other_text_alone() {
    for text in [
        "plain words",
        "administration",
        "d41d8cd98f00b204e9800998ecf8427e",
        "a & b; 50% off",
        "I a m",
        "x = 40; y=41",
        "a[0] = b(a) (at home)",
        "        deep indentation",
        "-----------------",
    ] {
        assert_eq!(says(text), "", "{text}");
    }
}

#[test]
fn unpacking_is_bounded() {
    let bomb = base64(&gzip(&vec![b'a'; 64 << 20]));
    let mut bytes = 0;
    decoded(&bomb, |view| bytes += view.text().len());
    assert!(bytes <= 2 * MAX_UNPACKED, "{bytes}");
}

#[test]
fn a_long_encoded_text_is_read_to_its_end() {
    let digits = "%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31 ";
    let text = digits.repeat(3 * BLOCK / digits.len());
    let mut ends = Vec::new();
    decoded(&text, |view| {
        for (at, _) in view.text().match_indices("4111111111111111") {
            ends.push(view.source_span(at..at + 16).start);
        }
    });
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), 3 * BLOCK / digits.len());
}

proptest! {
    #[test]
    fn base64_comes_back(octets in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assert_eq!(base64_bytes(&base64(&octets), 1000), Some(octets));
    }

    #[test]
    fn base32_comes_back(octets in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assert_eq!(word::base32_bytes(&base32(&octets)), Some(octets));
    }

    #[test]
    fn every_encoding_of_text_is_read(text in "[A-Za-z@.]{1,6}[ -~é]{10,40}[A-Za-z.]", kind in 0..7) {
        let octets = text.as_bytes();
        let hidden = match kind {
            0 => base64(octets),
            1 => hex(octets),
            2 => octets.iter().map(|octet| format!("%{octet:02X}")).collect(),
            3 => text.chars().map(|c| format!("&#{};", u32::from(c))).collect(),
            4 => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
            5 => octets.iter().map(|octet| format!("\\x{octet:02x}")).collect(),
            _ => octets.iter().map(|octet| format!("={octet:02X}")).collect(),
        };
        prop_assert!(says(&format!("before {hidden} after")).contains(&text), "{hidden}");
    }

    #[test]
    fn spans_lie_on_boundaries(
        text in "(\\PC{0,3}|[%&\\\\ux#;\\[\\]a-f0-9 ]{0,9}|(?:[0-9a-f] ){0,10}|é|=[0-9A-F]{2}|=\\?utf-8\\?[BQ]\\?|<~| (one|two|dot|at) |[일이삼〇 ]{1,8}){0,12}",
    ) {
        decoded(&text, |view| {
            for (at, c) in view.text().char_indices() {
                let span = view.source_span(at..at + c.len_utf8());
                assert!(text.get(span).is_some());
            }
        });
    }
}
