//! Text in pictures, by Tesseract.
//!
//! The picture's size is read from its header first: one that would unpack to more pixels than configured is
//! refused before anything unpacks it. Tesseract is a child with bounds on memory, processor time and output,
//! without our environment, without network where the platform lets it give that up; it gets the picture on
//! its standard input and writes no files.
//!
//! Text that is not recognised (handwriting, noise, unknown scripts) is not found. On failure: unread.

use std::{ffi::OsStr, path::Path};

use super::{Fault, child};
use crate::config;

/// A picture of fewer pixels across shows no letter.
const LEAST_ACROSS: usize = 6;

/// Bytes of text that one picture can show.
const MOST_TEXT: u64 = 4 << 20;

/// Whether a picture can show text. One with more pixels than the limit is refused.
pub(super) fn is_worth_it(bytes: &[u8], pixels: u64) -> Result<bool, Fault> {
    let size = imagesize::blob_size(bytes).map_err(|_| Fault::Unread("a picture is damaged".to_owned()))?;
    if (size.width as u64).saturating_mul(size.height as u64) > pixels {
        return Err(Fault::Limit("pixels in a picture".to_owned()));
    }
    Ok(size.width >= LEAST_ACROSS && size.height >= LEAST_ACROSS)
}

/// The text that a picture shows.
pub(super) async fn look(config: &config::Files, tesseract: &Path, bytes: &[u8]) -> Result<String, Fault> {
    let languages = config.languages.join("+");
    let command: [&OsStr; 5] = [
        tesseract.as_os_str(),
        OsStr::new("stdin"),
        OsStr::new("stdout"),
        OsStr::new("-l"),
        OsStr::new(&languages),
    ];
    let told = child::run(
        config.memory_bytes,
        config.ocr_seconds,
        &command,
        &[bytes],
        MOST_TEXT,
    )
    .await;
    match told {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(Fault::Unread(_)) => Err(Fault::Unread(
            "the text in a picture could not be recognised".to_owned(),
        )),
        Err(Fault::Limit(_)) => Err(Fault::Unread(
            "recognising the text in a picture took too long".to_owned(),
        )),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_its_size_before_it_is_unpacked() {
        let png = |width: u32, height: u32| {
            let mut file = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR".to_vec();
            file.extend(width.to_be_bytes());
            file.extend(height.to_be_bytes());
            file.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
            file
        };
        assert_eq!(is_worth_it(&png(800, 600), 1_000_000), Ok(true));
        assert_eq!(is_worth_it(&png(1, 1), 1_000_000), Ok(false));
        assert!(matches!(
            is_worth_it(&png(100_000, 100_000), 1_000_000),
            Err(Fault::Limit(_))
        ));
        assert!(matches!(
            is_worth_it(&png(u32::MAX, u32::MAX), 1_000_000),
            Err(Fault::Limit(_))
        ));
        assert!(matches!(
            is_worth_it(b"\x89PNG\r\n\x1A\n", 1_000_000),
            Err(Fault::Unread(_))
        ));
    }
}
