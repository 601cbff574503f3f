//! Unix times: numbers that their label says are moments, which one checksum or another of ten digits fits.
//!
//! One random number in ten passes a checksum of one digit, so among the times of a log or of a tool's JSON some always
//! look like somebody's number. What tells them apart is the label right before the number (`created: `, `"exp":`,
//! `?ts=`, `<updatedAt>`), or the key of a JSON number that is a segment by itself. A label that is about a moment outranks
//! words that stand further off; one that holds a word for the number, too, does not count.
//!
//! Limits: whole seconds or milliseconds of the years 2001 to 2039; labels of [`MAX_LABEL`] bytes.

use std::ops::Range;

/// The longest label.
const MAX_LABEL: usize = 48;

/// The last words of labels of moments. A table, since most are used by no detector and would cost the one pass.
const MOMENTS: [&str; 25] = [
    "accessed",
    "atime",
    "ctime",
    "created",
    "date",
    "datetime",
    "deleted",
    "epoch",
    "exp",
    "expiration",
    "expires",
    "expiry",
    "iat",
    "issued",
    "modified",
    "mtime",
    "nbf",
    "published",
    "started",
    "time",
    "timestamp",
    "timestamps",
    "ts",
    "unixtime",
    "updated",
];

/// Units that a label may end with.
const UNITS: [&str; 7] = ["ms", "s", "sec", "secs", "seconds", "millis", "milliseconds"];

/// Whether a number reads as a Unix time, in seconds or milliseconds.
pub(crate) fn is_unix_time(value: &str) -> bool {
    let seconds = 1_000_000_000..2_200_000_000_u64;
    value.bytes().all(|byte| byte.is_ascii_digit())
        && match value.len() {
            10 => value.parse().is_ok_and(|value| seconds.contains(&value)),
            13 => value[..10].parse().is_ok_and(|value| seconds.contains(&value)),
            _ => false,
        }
}

/// The label right before a place, if it is that of a moment.
pub(crate) fn label_before(text: &str, at: usize) -> Option<Range<usize>> {
    let low = text.floor_char_boundary(at.saturating_sub(MAX_LABEL));
    let before = &text[low..at];
    let closed = before.trim_end_matches([' ', '\t', '"', '\'', '`', '\\', ':', '=', '>', '|', '[', '(']);
    if closed.len() == before.len() {
        return None;
    }
    let in_label = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let label = closed.trim_end_matches(in_label).len();
    names_moment(&closed[label..]).then(|| low + label..low + closed.len())
}

/// Whether the key of a JSON value, by the pointer that is the place of its segment, names a moment.
pub(crate) fn is_key_of_moment(pointer: &str) -> bool {
    let mut steps = pointer.rsplit(['/', '#']);
    // The elements of a list are called what the list is called.
    let key = steps.find(|step| !step.bytes().all(|byte| byte.is_ascii_digit()));
    key.is_some_and(names_moment)
}

/// Whether the last word of a label is one of time: `exp`, `created_at`, `lastUpdatedAt`, `start time`, `ts_ms`.
fn names_moment(label: &str) -> bool {
    let mut words = words(label);
    let all = words.len();
    while words.len() > 1 && words.last().is_some_and(|word| UNITS.contains(&word.as_str())) {
        words.pop();
    }
    match words.split_last() {
        // `at` by itself is a word of sentences: "call me at ...".
        Some((last, others)) if last == "at" => !others.is_empty() && !label.contains(' '),
        // The epoch behind a unit or a word of its own label (`sent_unix_ms`, `created_unix`), and not the system that a sentence is about.
        Some((last, others)) if last == "unix" => {
            words.len() < all || (!others.is_empty() && !label.contains(' '))
        }
        Some((last, _)) => MOMENTS.contains(&last.as_str()),
        None => false,
    }
}

/// The words of a label, by signs and humps, in lower case.
fn words(label: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut small_before = false;
    for c in label.chars() {
        let splits = !c.is_alphanumeric() || (small_before && c.is_uppercase());
        if splits && !word.is_empty() {
            all.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        small_before = c.is_lowercase();
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inspector;
    use cordon_domain::{Place, Role, Segment, Text};

    /// Times that pass the checksums of an NHS number and of an NPI.
    const NHS: &str = "1732752001";
    const NPI: &str = "1732752005";

    fn found(text: &str) -> Vec<String> {
        let found = Inspector::embedded().ok().unwrap().inspect(text);
        found.iter().map(|finding| finding.entity.to_string()).collect()
    }

    #[test]
    fn a_number_behind_a_label_of_time_is_nobodys() {
        for text in [
            format!("patient record, created: {NHS}"),
            format!("{{\"provider\":\"google\",\"exp\":{NPI}}}"),
            format!("curl https://provider.example/x?ts={NPI}"),
            format!("| provider | created |\n|---|---|\n| x | {NPI} |\n"),
            format!("<patient><updatedAt>{NHS}</updatedAt></patient>"),
            format!("{{\"patient\":\"x\",\"last_seen_at\":\"{NHS}\"}}"),
            format!("{{\"patient\":\"x\",\"started_unix_s\":\"{NHS}\"}}"),
        ] {
            assert!(found(&text).is_empty(), "{text}: {:?}", found(&text));
        }
    }

    #[test]
    fn a_word_for_the_number_in_the_label_counts() {
        assert_eq!(found(&format!("NPI: {NPI}")), ["US_NPI"]);
        assert_eq!(found(&format!("NHS number to date: {NHS}")), ["UK_NHS"]);
        assert_eq!(found(&format!("created by provider {NPI}")), ["US_NPI"]);
        assert_eq!(found("exp 2031-01-01, patient 943 476 5919"), ["UK_NHS"]);
    }

    #[test]
    fn the_epoch_hides_no_number_of_another_kind() {
        // `unix` elsewhere in a label, or by itself, says nothing of the number.
        for label in ["patient_unix_user", "patient on unix"] {
            assert_eq!(found(&format!("{label}: {NHS}")), ["UK_NHS"], "{label}");
        }
        // No time of these years begins as a card does.
        for label in ["sent_unix_ms", "unix_card"] {
            assert_eq!(
                found(&format!("{label}: 4222222222222")),
                ["CREDIT_CARD"],
                "{label}"
            );
        }
    }

    #[test]
    fn the_key_of_a_json_number_tells_what_it_is() {
        let inspector = Inspector::embedded().ok().unwrap();
        let count = |place: &str| {
            let segment = Segment {
                place: Place::new(place),
                role: Role::ToolResult,
                text: Text::from(NHS.to_owned()),
            };
            let all = inspector.inspect_all(std::slice::from_ref(&segment));
            assert_eq!(all.len(), inspector.inspect_fully(&[segment], None).0.len());
            all.len()
        };
        assert_eq!(count("/messages/0/content#/created"), 0);
        assert_eq!(count("/messages/0/content#/times/createdAt"), 0);
        assert_eq!(count("/messages/0/content#/timestamps/3"), 0);
        assert_eq!(count("/client_metadata/turn_started_at_unix_s"), 0);
        assert_eq!(count("/client_metadata/unix_user"), 1);
        assert_eq!(count("/messages/0/content#/id"), 1);
        assert_eq!(count("/messages/0/content#/created/by"), 1);
    }

    #[test]
    fn labels_end_in_a_word_of_time() {
        for label in [
            "exp",
            "created_at",
            "lastUpdatedAt",
            "start time",
            "ts_ms",
            "x-timestamp",
            "turn_started_at_unix_ms",
            "sentUnixMs",
            "unix seconds",
            "created_unix",
        ] {
            assert!(names_moment(label), "{label}");
        }
        for label in [
            "at",
            "call me at",
            "export",
            "date_id",
            "s",
            "",
            "parts",
            "runtime",
            "unix",
            "runs on unix",
            "unix_card",
            "unix_ms_card",
            "unixms",
        ] {
            assert!(!names_moment(label), "{label}");
        }
        assert!(is_unix_time("1732752000") && is_unix_time("1732752000123"));
        assert!(!is_unix_time("4111111111") && !is_unix_time("17327520001"));
    }
}
