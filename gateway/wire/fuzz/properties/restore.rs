//! A reply whose text holds placeholders, streamed in each dialect, the text cut into pieces and the stream into chunks
//! anywhere: what the caller reads has an original in the place of each whole placeholder, and loses and adds nothing else.

use std::collections::HashMap;

use cordon_domain::Dialect;
use cordon_wire::{Channel, Endpoint, Framing, Limits, Operation, Rewrite, StreamEditor};
use serde_json::{Value, json};

const PLACEHOLDER: &str = "[N_K7]";
/// Needs escaping.
const ORIGINAL: &str = "Zoë \"Z\"\n";

/// More of them show nothing that fewer do not.
const MOST_PIECES: usize = 200;

/// Replaces the placeholder; keeps back what may be the beginning of one.
#[derive(Default)]
struct Replace(HashMap<Channel, String>);

impl Rewrite for Replace {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.replace(PLACEHOLDER, ORIGINAL)
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        let mut text = self.0.remove(channel).unwrap_or_default() + piece;
        let begun = |length: &usize| text.ends_with(&PLACEHOLDER[..*length]);
        let held = (1..PLACEHOLDER.len()).rev().find(begun).unwrap_or(0);
        let held = text.split_off(text.len() - held);
        if !held.is_empty() {
            self.0.insert(channel.clone(), held);
        }
        self.whole(&text, arguments)
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.0.contains_key(channel)
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.0.remove(channel).unwrap_or_default()
    }
}

/// A dialect, what carries a piece, and where the piece lies in that.
struct Form {
    dialect: Dialect,
    framing: Framing,
    event: fn(&str) -> Value,
    at: &'static str,
}

const FORMS: &[Form] = &[
    Form {
        dialect: Dialect::OpenaiChat,
        framing: Framing::Events,
        event: |piece| json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]}),
        at: "/choices/0/delta/content",
    },
    Form {
        dialect: Dialect::OpenaiCompletions,
        framing: Framing::Events,
        event: |piece| json!({"choices": [{"text": piece}]}),
        at: "/choices/0/text",
    },
    Form {
        dialect: Dialect::OpenaiResponses,
        framing: Framing::Events,
        event: |piece| json!({"type": "response.output_text.delta", "output_index": 0, "delta": piece}),
        at: "/delta",
    },
    Form {
        dialect: Dialect::AnthropicMessages,
        framing: Framing::Events,
        event: |piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}),
        at: "/delta/text",
    },
    Form {
        dialect: Dialect::Gemini,
        framing: Framing::Events,
        event: |piece| json!({"candidates": [{"content": {"parts": [{"text": piece}]}}]}),
        at: "/candidates/0/content/parts/0/text",
    },
    Form {
        dialect: Dialect::Gemini,
        framing: Framing::Array,
        event: |piece| json!({"response": {"candidates": [{"content": {"parts": [{"text": piece}]}}]}}),
        at: "/response/candidates/0/content/parts/0/text",
    },
    Form {
        dialect: Dialect::Cohere,
        framing: Framing::Events,
        event: |piece| json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}),
        at: "/delta/message/content/text",
    },
    Form {
        dialect: Dialect::Ollama,
        framing: Framing::Lines,
        event: |piece| json!({"message": {"role": "assistant", "content": piece}, "done": false}),
        at: "/message/content",
    },
];

/// The first byte picks the dialect, the second how long the chunks are, each further one a piece of the text.
pub(crate) fn run(input: &[u8]) {
    let Some((&[first, second], letters)) = input.split_first_chunk() else {
        return;
    };
    let form = &FORMS[usize::from(first) % FORMS.len()];
    let pieces: Vec<&str> = letters
        .iter()
        .take(MOST_PIECES)
        .map(|letter| piece(*letter))
        .collect();
    let stream = written(
        form.framing,
        pieces.iter().map(|piece| (form.event)(piece).to_string()),
    );

    let endpoint = Endpoint::new(form.dialect, Operation::Generate);
    let mut editor = StreamEditor::framed(endpoint, form.framing, &Limits::default());
    let (mut rewrite, mut out) = (Replace::default(), Vec::new());
    for chunk in stream.as_bytes().chunks(usize::from(second) + 1) {
        out.extend(
            editor
                .push(chunk, &mut rewrite)
                .expect("a stream within its limits"),
        );
    }
    out.extend(editor.finish(&mut rewrite).expect("a stream within its limits"));

    let out = String::from_utf8(out).expect("a stream stays UTF-8");
    let events = events(form.framing, &out);
    assert_eq!(events.len(), pieces.len(), "an event is lost or made up");
    let text = events
        .iter()
        .map(|event| {
            event
                .pointer(form.at)
                .and_then(Value::as_str)
                .expect("a piece is still there")
        })
        .collect::<String>();
    assert_eq!(text, pieces.concat().replace(PLACEHOLDER, ORIGINAL));
    assert!(rewrite.0.is_empty(), "a text is held for ever");
}

/// A placeholder, part of one, or what may stand around it.
fn piece(letter: u8) -> &'static str {
    const OTHERS: &[&str] = &[
        "", " ", "[", "]", "é", "\"", "\\", "\n", "\u{2028}", "[N", "[N_K7",
    ];
    let (at, many) = (usize::from(letter), PLACEHOLDER.len());
    match at % 4 {
        0 => PLACEHOLDER,
        1 => &PLACEHOLDER[..at / 4 % many],
        2 => &PLACEHOLDER[at / 4 % many..],
        _ => OTHERS[at / 4 % OTHERS.len()],
    }
}

fn written(framing: Framing, events: impl Iterator<Item = String>) -> String {
    match framing {
        Framing::Lines => events.map(|event| event + "\n").collect(),
        Framing::Array => format!("[{}]", events.collect::<Vec<_>>().join(",\r\n")),
        _ => events
            .map(|event| format!(": still here\ndata: {event}\n\n"))
            .collect(),
    }
}

fn events(framing: Framing, stream: &str) -> Vec<Value> {
    let read = |text: &str| serde_json::from_str(text).expect("an event stays JSON");
    match framing {
        Framing::Lines => stream.lines().map(read).collect(),
        Framing::Array => serde_json::from_str(stream).expect("an array stays one"),
        _ => stream
            .split('\n')
            .filter_map(|line| line.strip_prefix("data: "))
            .map(read)
            .collect(),
    }
}
