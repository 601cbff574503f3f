//! Whether bytes are a file without anybody saying so: text, or a format with a mark at its beginning.

/// First bytes of formats. None of them is the beginning of a text in base64 by chance: they have three
/// bytes or more, or are followed by what [`is_file`] looks for.
const MARKS: &[&[u8]] = &[
    b"%PDF-",
    b"{\\rtf",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x07\x08",
    b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
    b"\x1F\x8B\x08",
    b"7z\xBC\xAF\x27\x1C",
    b"Rar!\x1A\x07",
    b"BZh",
    b"\xFD7zXZ\0",
    b"\x28\xB5\x2F\xFD",
    b"\x04\x22\x4D\x18",
    b"LZIP",
    b"MSCF",
    b"!BDN",
    b"SQLite format 3\0",
    b"\x89PNG\r\n\x1A\n",
    b"\xFF\xD8\xFF",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"\0\0\x01\0",
    b"\0\0\0\x0CjP  ",
    b"8BPS",
    b"RIFF",
    b"OggS",
    b"fLaC",
    b"ID3",
    b"\x1A\x45\xDF\xA3",
    b"FORM",
    b"\x7FELF",
    b"\0asm",
    b"\xCA\xFE\xBA\xBE",
    b"\xCF\xFA\xED\xFE",
    b"PAR1",
    b"\x93NUMPY",
    b"\x89HDF",
    b"GGUF",
    b"wOFF",
    b"wOF2",
    b"OTTO",
];

/// Control characters in this many bytes make something else of a text.
const CONTROLS_IN: usize = 32;

/// Whether these bytes are a file by themselves.
pub(crate) fn is_file(bytes: &[u8]) -> bool {
    let at = |offset: usize, mark: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(mark));
    MARKS.iter().any(|mark| bytes.starts_with(mark))
        || at(4, b"ftyp")
        || at(257, b"ustar")
        || is_bitmap(bytes)
        || is_program(bytes)
        || is_text(bytes)
}

/// A Windows bitmap says its own size.
fn is_bitmap(bytes: &[u8]) -> bool {
    let said = bytes.get(2..6).and_then(|size| <[u8; 4]>::try_from(size).ok());
    bytes.starts_with(b"BM") && said.is_some_and(|size| u32::from_le_bytes(size) as usize == bytes.len())
}

/// A Windows program says where its second header lies.
fn is_program(bytes: &[u8]) -> bool {
    let said = bytes.get(60..64).and_then(|at| <[u8; 4]>::try_from(at).ok());
    bytes.starts_with(b"MZ")
        && said.is_some_and(|at| {
            bytes
                .get(u32::from_le_bytes(at) as usize..)
                .is_some_and(|rest| rest.starts_with(b"PE\0\0"))
        })
}

/// UTF-8, or UTF-16 and UTF-32 with a mark, with next to no control characters.
fn is_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") || bytes.starts_with(b"\0\0\xFE\xFF")
    {
        return true;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let controls = text
        .bytes()
        .filter(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0C))
        .count();
    !text.is_empty() && controls * CONTROLS_IN <= text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_noise() {
        assert!(
            is_file("naïve text\n".as_bytes())
                && is_file(b"\xFF\xFEh\0i\0")
                && is_file(b"\0\0\0\x18ftypmp42")
        );
        let mut bitmap = b"BM\x08\0\0\0xx".to_vec();
        assert!(is_file(&bitmap));
        bitmap.push(0xFF);
        assert!(!is_file(&bitmap) && !is_file(b"") && !is_file(&[0; 40]) && !is_file(b"\xC3\x28\x91\x55"));
        let mut program = vec![0; 80];
        program[..2].copy_from_slice(b"MZ");
        program[60] = 64;
        assert!(!is_file(&program));
        program[64..68].copy_from_slice(b"PE\0\0");
        assert!(is_file(&program));
    }
}
