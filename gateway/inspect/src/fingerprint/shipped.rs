//! The background that is part of the program: prints of licences, generated code and popular libraries, made by
//! `scripts/background.py`. They are public, so they are kept without a key: the upper 32 bits of each hash, sorted.

const PRINTS: &[u8] = include_bytes!("../../../../policies/fingerprints/background.bin");

/// Whether a print is of public text.
pub(super) fn holds(hash: u64) -> bool {
    let (prints, _) = PRINTS.as_chunks::<4>();
    let wanted = (hash >> 32) as u32;
    prints
        .binary_search_by_key(&wanted, |print| u32::from_le_bytes(*print))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::gram::prints;

    #[test]
    fn licences_are_public_and_speech_is_not() {
        let licence = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and \
            associated documentation files (the \"Software\"), to deal in the Software without restriction, including \
            without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense";
        let known = prints(licence);
        assert!(known.len() > 10);
        assert!(known.iter().filter(|print| holds(print.hash)).count() * 10 >= known.len() * 8);
        let own = prints(
            "Right, the yield of the second line is at 61 percent since Monday, four points under what we promised.",
        );
        assert!(own.iter().all(|print| !holds(print.hash)));
    }
}
