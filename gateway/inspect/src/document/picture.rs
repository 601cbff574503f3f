//! Pictures: what their files say in letters, and whether what they show can be looked at as one picture.
//!
//! The letters are those of comments, titles and cameras: text chunks of PNG, segments before the pixels of
//! JPEG, and runs of letters anywhere in the others. What a picture shows is for whoever can recognise text;
//! the files are handed out for that ([`Document::pictures`](super::Document::pictures)).
//!
//! On failure: a picture that moves, or has compressed words, is unsupported, since only its first frame
//! would be looked at.

use std::fmt::Write;

use super::Problem;

/// Letters in a row that are a word, where nothing but words is expected.
const WORD: usize = 4;
/// Letters in a row that are no chance among pixels.
const RUN: usize = 14;

/// What kind of picture these bytes are.
pub(super) fn format(bytes: &[u8]) -> Option<&'static str> {
    let riff = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    let bitmap = bytes.starts_with(b"BM")
        && bytes.get(6..10) == Some(&[0; 4])
        && bytes
            .get(14..18)
            .is_some_and(|size| size[0] >= 12 && size[1..] == [0; 3]);
    Some(match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => "PNG",
        [0xFF, 0xD8, 0xFF, ..] => "JPEG",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "GIF",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "TIFF",
        _ if riff => "WebP",
        _ if bitmap => "BMP",
        _ => return None,
    })
}

/// What stands in the file in letters, a line for each run of them.
pub(super) fn letters(bytes: &[u8]) -> Result<String, Problem> {
    let mut said = String::new();
    match format(bytes) {
        Some("PNG") => chunks(bytes, &mut said)?,
        Some("JPEG") => segments(bytes, &mut said),
        Some("GIF") if frames(bytes) != Some(1) => return Err(MOVES),
        Some("WebP") if memchr::memmem::find(bytes, b"ANIM").is_some() => return Err(MOVES),
        _ => runs(bytes, RUN, &mut said),
    }
    Ok(said)
}

const MOVES: Problem = Problem::Unsupported("a picture that moves");

/// What stands in letters in a file of which nothing else is known.
pub(super) fn words(bytes: &[u8]) -> String {
    let mut said = String::new();
    runs(bytes, WORD, &mut said);
    said
}

/// PNG: all chunks but those of pixels and colours.
fn chunks(bytes: &[u8], said: &mut String) -> Result<(), Problem> {
    let mut rest = &bytes[8..];
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let content = &behind[..behind.len().min(length)];
        match &head[4..] {
            b"acTL" => return Err(MOVES),
            b"zTXt" => return Err(Problem::Unsupported("a picture with compressed words")),
            // A flag behind the keyword says whether the text is compressed.
            b"iTXt" if memchr::memchr(0, content).is_some_and(|at| content.get(at + 1) == Some(&1)) => {
                return Err(Problem::Unsupported("a picture with compressed words"));
            }
            b"IHDR" | b"IDAT" | b"PLTE" | b"iCCP" | b"tRNS" | b"gAMA" | b"cHRM" => {}
            b"IEND" => {
                // What follows the picture's end is no picture.
                runs(behind.get(4..).unwrap_or_default(), WORD, said);
                return Ok(());
            }
            _ => runs(content, WORD, said),
        }
        rest = behind.get(length.saturating_add(4)..).unwrap_or_default();
    }
    Ok(())
}

/// JPEG: comments and what programs add before the pixels, and what follows the picture's end.
fn segments(bytes: &[u8], said: &mut String) {
    let mut rest = &bytes[2..];
    while let [0xFF, marker, high, low, ..] = rest {
        if *marker == 0xDA {
            break;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low])) + 2;
        let content = &rest[4..rest.len().min(length.max(4))];
        if matches!(marker, 0xE0..=0xEF | 0xFE) && !content.starts_with(b"ICC_PROFILE") {
            runs(content, WORD, said);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    if let Some(end) = memchr::memmem::rfind(bytes, b"\xFF\xD9") {
        runs(&bytes[end + 2..], WORD, said);
    }
}

/// GIF: how many pictures there are; none where that cannot be told.
fn frames(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(10)?;
    let table = |flags: u8| {
        if flags & 0x80 == 0 {
            0
        } else {
            3 << ((flags & 7) + 1)
        }
    };
    let mut at = 13 + table(flags);
    let skip_blocks = |mut at: usize| loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length => at += usize::from(length) + 1,
        }
    };
    let mut count = 0;
    loop {
        match *bytes.get(at)? {
            0x2C => {
                count += 1;
                let flags = *bytes.get(at + 9)?;
                at = skip_blocks(at + 11 + table(flags))?;
            }
            0x21 => at = skip_blocks(at + 2)?,
            0x3B => return Some(count),
            _ => return None,
        }
    }
}

/// Runs of letters, in bytes or in pairs of bytes of which one is zero.
fn runs(bytes: &[u8], least: usize, said: &mut String) {
    let is_letter = |byte: u8| byte >= 0x80 || matches!(byte, b' '..=b'~' | b'\t');
    let plain = bytes
        .split(|byte| !is_letter(*byte))
        .filter(|run| run.len() >= least);
    for run in plain {
        if let Ok(run) = std::str::from_utf8(run) {
            // Writing to a string cannot fail.
            let _ = writeln!(said, "{run}");
        } else {
            for part in run.split(|byte| *byte >= 0x80).filter(|part| part.len() >= least) {
                let _ = writeln!(said, "{}", String::from_utf8_lossy(part));
            }
        }
    }
    // Cameras and Windows write UTF-16.
    let mut wide = String::new();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (letter @ b' '..=b'~', 0) => {
                wide.push(char::from(letter));
                at += 2;
            }
            _ => {
                if wide.len() >= least {
                    let _ = writeln!(said, "{wide}");
                }
                wide.clear();
                at += 1;
            }
        }
    }
    if wide.len() >= least {
        let _ = writeln!(said, "{wide}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1A\n".to_vec();
        for (name, content) in chunks {
            file.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
            file.extend(*name);
            file.extend(*content);
            file.extend([0; 4]);
        }
        file
    }

    #[test]
    fn what_pictures_say_in_letters_is_read() {
        let file = png(&[
            (b"IHDR", &[b'x'; 13]),
            (b"tEXt", b"Comment\0project Heron"),
            (b"IDAT", b"letters of pixels"),
            (b"IEND", b""),
        ]);
        let appended = [file.as_slice(), b"behind the end"].concat();
        assert_eq!(letters(&file).unwrap(), "Comment\nproject Heron\n");
        assert!(letters(&appended).unwrap().contains("behind the end"));
        let jpeg =
            b"\xFF\xD8\xFF\xE1\0\x14Exif\0\0J\0.\0 \0D\0o\0e\0\xFF\xFE\0\x06note\xFF\xDA\0\x02pixels\xFF\xD9";
        let said = letters(jpeg).unwrap();
        assert!(
            said.contains("Exif") && said.contains("J. Doe") && said.contains("note"),
            "{said}"
        );
        assert!(!said.contains("pixels"));
    }

    #[test]
    fn pictures_that_move_are_not_taken_for_one() {
        let frame = b"\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
        let gif = |frames: usize| {
            let head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF";
            let frames: Vec<u8> = frame.iter().copied().cycle().take(frame.len() * frames).collect();
            [head.as_slice(), &frames, b"\x3B"].concat()
        };
        assert!(letters(&gif(1)).is_ok());
        assert_eq!(letters(&gif(2)), Err(MOVES));
        assert_eq!(letters(&gif(1)[..20]), Err(MOVES), "cut");
        assert_eq!(letters(&png(&[(b"acTL", &[0; 8])])), Err(MOVES));
        assert!(letters(&png(&[(b"zTXt", b"k\0\0x")])).is_err());
        assert!(letters(&png(&[(b"iTXt", b"k\0\x01\0x")])).is_err());
    }

    #[test]
    fn any_bytes_are_looked_at_without_a_panic() {
        for head in [
            b"\x89PNG\r\n\x1A\n".as_slice(),
            b"\xFF\xD8\xFF",
            b"GIF89a",
            b"II*\0",
            b"RIFFxxxxWEBP",
        ] {
            for length in 0..40_u8 {
                let mut bytes = head.to_vec();
                bytes.extend((0..length).map(|i| i.wrapping_mul(91) ^ 0xF7));
                assert!(format(&bytes).is_some());
                let _ = letters(&bytes);
            }
        }
    }
}
