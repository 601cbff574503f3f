//! What speed is measured on.

pub(crate) const PROSE: &str = "The committee met for the third time this quarter and went through the open points. It was agreed that the \
    delivery of the second lot would be moved by one week, as the supplier had asked for more time. Nobody objected, \
    although some wondered whether the schedule for autumn could still be kept.\n";

pub(crate) const CODE: &str = "fn merge(left: &[u32], right: &[u32]) -> Vec<u32> {\n    let mut out = Vec::with_capacity(left.len() + right.len());\n    \
    let (mut i, mut j) = (0, 0);\n    while i < left.len() && j < right.len() {\n        if left[i] <= right[j] {\n            \
    out.push(left[i]);\n            i += 1;\n        } else {\n            out.push(right[j]);\n            j += 1;\n        }\n    }\n    out\n}\n";

const CHAT: &str = "Hi, could you write a reply to Martina Kowalska (martina.kowalska@example.org, +49 30 901820)? She asks why her card \
    4111 1111 1111 1111 was charged twice on 3 May. Please be brief and polite.\n\nDB_PASSWORD=hT7kq2ZpWm9\n";

/// Prompts of 4 KiB by their kind: prose, code, a chat with a finding every 140 bytes, prose with an umlaut every
/// few letters.
pub(crate) fn all() -> [(&'static str, String); 4] {
    let whole = |text: &str| text.repeat(4096 / text.len() + 1);
    [
        ("prose", whole(PROSE)),
        ("code", whole(CODE)),
        ("chat", whole(&format!("{CHAT}{PROSE}{CODE}"))),
        ("umlauts", whole(&PROSE.replace('a', "\u{e4}"))),
    ]
}
