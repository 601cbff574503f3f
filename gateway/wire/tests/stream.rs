//! Streamed replies of each dialect, under `tests/corpus/streams/<dialect>.<name>.<framing>`: each is edited
//! by a rewriter that puts a name where its placeholder stands, and `<dialect>.<name>.<framing>.edited` beside it is
//! what comes out. In every stream the placeholder is cut apart somewhere, and one is left unfinished. The framing is
//! `sse`, `ndjson`, `array`, or `frames`: a binary event stream, which `tests/stream/frames.rs` reads and writes.
//!
//! When an outcome differs, what was found is written to the test's temporary folder, whose path the
//! failure names.

#![expect(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use cordon_domain::{Action, Dialect, ExchangeId, Fault, Refusal};
use cordon_wire::{
    Channel, Endpoint, Framing, Limits, Operation, Rewrite, StreamEditor, StreamError, Usage, error_event,
};
use proptest::prelude::*;

#[path = "stream/frames.rs"]
mod frames;

const PLACEHOLDER: &str = "[NAME_K7QX]";
/// Needs escaping, once in text and twice in arguments.
const ORIGINAL: &str = "Zoë \"Z\" O\\Neil";
const ORIGINAL_IN_JSON: &str = "Zoë \\\"Z\\\" O\\\\Neil";

/// Replaces the placeholder; keeps back what may be the beginning of one.
#[derive(Default)]
struct Replace {
    held: HashMap<Channel, String>,
}

impl Rewrite for Replace {
    fn whole(&mut self, text: &str, arguments: bool) -> String {
        text.replace(PLACEHOLDER, if arguments { ORIGINAL_IN_JSON } else { ORIGINAL })
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        let mut text = self.held.remove(channel).unwrap_or_default() + piece;
        let replaced = |text: &str| Self::default().whole(text, arguments);
        let tail = (1..PLACEHOLDER.len())
            .rev()
            .find(|&length| text.ends_with(&PLACEHOLDER[..length]))
            .unwrap_or(0);
        let held = text.split_off(text.len() - tail);
        if !held.is_empty() {
            self.held.insert(channel.clone(), held);
        }
        replaced(&text)
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.held.contains_key(channel)
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.held.remove(channel).unwrap_or_default()
    }
}

/// Changes nothing, and notes what it saw.
#[derive(Default)]
struct Watch {
    channels: BTreeMap<Channel, (String, bool)>,
    whole: Vec<(String, bool)>,
}

impl Rewrite for Watch {
    fn whole(&mut self, text: &str, arguments: bool) -> String {
        self.whole.push((text.to_owned(), arguments));
        text.to_owned()
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        let seen = self
            .channels
            .entry(channel.clone())
            .or_insert_with(|| (String::new(), arguments));
        seen.0.push_str(piece);
        piece.to_owned()
    }

    fn holds(&self, _: &Channel) -> bool {
        false
    }

    fn finish(&mut self, _: &Channel) -> String {
        String::new()
    }
}

/// Keeps the last characters of every channel back until it ends.
#[derive(Default)]
struct Delay(HashMap<Channel, String>);

impl Rewrite for Delay {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.to_owned()
    }

    fn push(&mut self, channel: &Channel, piece: &str, _: bool) -> String {
        let mut text = self.0.remove(channel).unwrap_or_default() + piece;
        let keep = text.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
        let held = text.split_off(keep);
        self.0.insert(channel.clone(), held);
        text
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.0.contains_key(channel)
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.0.remove(channel).unwrap_or_default()
    }
}

#[test]
fn golden_streams_are_edited_as_expected() {
    let mut wrong = Vec::new();
    for (form, path, stream) in corpus() {
        let mut out = run(form, &[&stream], &mut Replace::default());
        if form.1 == Framing::Messages {
            out = frames::written(&out);
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let golden = path.with_file_name(format!("{name}.edited"));
        if fs::read(&golden).ok().as_ref() != Some(&out) {
            let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(golden.file_name().unwrap());
            fs::write(&written, &out).unwrap();
            wrong.push(written);
        }
    }
    assert!(
        wrong.is_empty(),
        "edited streams differ from the golden ones; found: {wrong:#?}"
    );
}

#[test]
fn every_text_arrives_with_its_original() {
    for (form, path, stream) in corpus() {
        let (mut before, mut after) = (Watch::default(), Watch::default());
        run(form, &[&stream], &mut before);
        let out = run(form, &[&stream], &mut Replace::default());
        run(form, &[&out], &mut after);
        assert_eq!(pieces(form, &stream), pieces(form, &out), "{}", path.display());
        let put_in =
            |(text, arguments): (String, bool)| (Replace::default().whole(&text, arguments), arguments);
        let expected: Vec<_> = before
            .channels
            .into_iter()
            .map(|(channel, seen)| (channel, put_in(seen)))
            .collect();
        assert_eq!(
            after.channels.into_iter().collect::<Vec<_>>(),
            expected,
            "{}",
            path.display()
        );
        let expected: Vec<_> = before.whole.into_iter().map(put_in).collect();
        assert_eq!(after.whole, expected, "{}", path.display());
    }
}

#[test]
fn a_rewriter_that_changes_nothing_gives_the_very_bytes() {
    for (form, path, stream) in corpus() {
        assert_eq!(
            run(form, &[&stream], &mut Watch::default()),
            stream,
            "{}",
            path.display()
        );
    }
}

#[test]
fn text_that_is_only_delayed_stays_in_its_channel() {
    for (form, path, stream) in corpus() {
        let (mut before, mut after) = (Watch::default(), Watch::default());
        run(form, &[&stream], &mut before);
        let out = run(form, &[&stream], &mut Delay::default());
        run(form, &[&out], &mut after);
        assert_eq!(pieces(form, &stream), pieces(form, &out), "{}", path.display());
        assert_eq!(after.channels, before.channels, "{}", path.display());
        assert_eq!(after.whole, before.whole, "{}", path.display());
    }
}

#[test]
fn every_split_in_two_gives_the_same_bytes() {
    let check = |form, path: &Path, stream: &[u8]| {
        let whole = run(form, &[stream], &mut Replace::default());
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            let out = run(form, &[head, tail], &mut Replace::default());
            assert!(out == whole, "{} split at {at}", path.display());
        }
    };
    std::thread::scope(|scope| {
        for (form, path, stream) in corpus() {
            scope.spawn(move || check(form, &path, &stream));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_bytes(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let corpus = corpus();
        let (form, _, stream) = &corpus[which.index(corpus.len())];
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in at.into_iter().chain([stream.len()]) {
            chunks.push(&stream[from..cut]);
            from = cut;
        }
        let whole = run(*form, &[stream], &mut Replace::default());
        prop_assert_eq!(run(*form, &chunks, &mut Replace::default()), whole);
    }

    #[test]
    fn any_bytes_pass_unchanged_or_are_cut_off(
        stream in prop::collection::vec(prop::sample::select(vec![
            "data: ", "\n", "\n\n", "{", "}", "[", "]", "\"delta\"", "\"choices\"", ":", ",", "0", "\"",
            "event: content_block_delta", "\"candidates\"", "\"message\"", "\\u00e9", "\\ud800", "[NAME_K7QX]", "[DONE]", "\u{feff}", "\r",
        ]), 0..60),
        dialect in prop::sample::select(Dialect::BUILT_IN.to_vec()),
        framing in prop::sample::select(vec![Framing::Events, Framing::Lines, Framing::Array]),
    ) {
        let stream = stream.concat().into_bytes();
        let out = run((dialect, framing), &[&stream], &mut Watch::default());
        prop_assert!(stream.starts_with(&out));
    }
}

#[test]
fn held_text_goes_on_as_soon_as_it_is_settled() {
    let chunk = |text: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let mut editor = editor(Dialect::OpenaiChat);
    let mut rewrite = Replace::default();
    let mut push = |editor: &mut StreamEditor, text: &str| {
        String::from_utf8(
            editor
                .push(chunk(text).as_bytes(), &mut rewrite)
                .unwrap()
                .to_vec(),
        )
        .unwrap()
    };
    assert_eq!(push(&mut editor, "a"), chunk("a"));
    assert_eq!(push(&mut editor, "b [NA"), "");
    // The first event goes out without its tail, which the second took over and holds.
    assert_eq!(push(&mut editor, "ME_"), chunk("b "));
    assert_eq!(
        push(&mut editor, "K7QX]"),
        chunk("") + &chunk("Zoë \\\"Z\\\" O\\\\Neil")
    );
    assert_eq!(push(&mut editor, "[x"), chunk("[x"));
    assert!(!editor.complete());
}

#[test]
fn a_stream_cut_off_within_an_event_ends_before_it() {
    let head = "data: {\"choices\":[{\"delta\":{\"content\":\"hi [NAME\"}}]}\n\n";
    for rest in ["data: {\"choices\":[{\"de", "data: [DON"] {
        let mut editor = editor(Dialect::OpenaiChat);
        let mut rewrite = Replace::default();
        let mut out = editor.push(head.as_bytes(), &mut rewrite).unwrap().to_vec();
        out.extend(editor.push(rest.as_bytes(), &mut rewrite).unwrap());
        out.extend(editor.finish(&mut rewrite).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), head);
        assert!(!editor.complete());
    }
}

#[test]
fn a_stream_tells_its_model_its_usage_and_its_end() {
    for (form, path, stream) in corpus() {
        let mut editor = StreamEditor::framed(endpoint_of(form.0), form.1, &Limits::default());
        let mut rewrite = Watch::default();
        editor.push(&stream, &mut rewrite).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let by_closing = matches!(
            name,
            "openai-chat.undone"
                | "anthropic-messages.completion"
                | "gemini.cli"
                | "gemini.two"
                | "cohere.v1"
                | "mcp.call"
        ) || path.ends_with("gemini.turn.sse");
        assert_eq!(editor.complete(), !by_closing, "{name}");
        editor.finish(&mut rewrite).unwrap();
        let (model, usage, failed) = match name {
            "openai-completions.text" => (Some("m-instruct"), Some((5, 9)), false),
            "openai-chat.undone" => (Some("sonar"), Some((3, 4)), false),
            "anthropic-messages.completion" => (Some("claude-2"), None, false),
            "openai-audio.transcript" => (None, Some((14, 45)), false),
            "gemini.turn" | "gemini.cli" | "gemini.two" => (Some("gemini-x"), Some((7, 8)), false),
            "gemini.error" => (Some("gemini-x"), Some((7, 0)), true),
            "cohere.turn" => (None, Some((71, 9)), false),
            "cohere.v1" => (None, Some((2, 9)), false),
            "ollama.chat" => (Some("qwen3"), Some((26, 298)), false),
            "ollama.generate" => (Some("qwen3"), Some((4, 5)), false),
            "ollama.error" => (Some("qwen3"), None, true),
            "bedrock-converse.turn" => (None, Some((9, 4)), false),
            "bedrock-converse.fault" => (None, None, true),
            "bedrock-invoke.anthropic" => (Some("claude-x"), Some((3, 9)), false),
            "bedrock-invoke.llama" | "bedrock-invoke.nova" | "bedrock-invoke.mistral" => {
                (None, Some((5, 4)), false)
            }
            "mcp.call" => (None, None, false),
            "openai-chat.text" => (Some("gpt-5-2026"), Some((12, 34)), false),
            "openai-chat.tools" | "openai-chat.odd" => (Some("gpt-5-2026"), None, false),
            "openai-responses.turn" => (Some("gpt-5"), Some((7, 9)), false),
            "openai-responses.tools" => (Some("gpt-5"), None, false),
            "anthropic-messages.turn" => (Some("claude-x"), Some((130, 89)), false),
            "anthropic-messages.error" => (Some("claude-x"), Some((3, 1)), true),
            other => panic!("say what {other} tells"),
        };
        assert_eq!(editor.model(), model, "{name}");
        assert_eq!(
            editor.usage(),
            usage.map(|(input, output)| Usage { input, output }),
            "{name}"
        );
        assert!(editor.complete(), "{name}");
        assert_eq!(editor.failed(), failed, "{name}");
    }
}

#[test]
fn usage_that_nobody_asked_for_is_left_out() {
    let (_, _, stream) = corpus()
        .into_iter()
        .find(|(_, path, _)| path.ends_with("openai-chat.text.sse"))
        .unwrap();
    let mut editor = editor(Dialect::OpenaiChat).without_usage();
    let out = editor.push(&stream, &mut Watch::default()).unwrap();
    let stream = String::from_utf8(stream).unwrap();
    let kept: String = stream
        .split_inclusive("\n\n")
        .filter(|event| !event.contains("\"usage\""))
        .collect();
    assert_eq!(out, kept);
    assert!(kept.len() < stream.len());
    assert_eq!(
        editor.usage(),
        Some(Usage {
            input: 12,
            output: 34
        })
    );
}

#[test]
fn limits_end_a_stream() {
    let limits = Limits {
        max_body: 200,
        max_depth: 8,
        ..Limits::default()
    };
    let endpoint = endpoint_of(Dialect::OpenaiChat);
    let held = "data: {\"choices\":[{\"delta\":{\"content\":\"[N\"}}]}\n\n";
    let mut editor = StreamEditor::new(endpoint, &limits);
    let mut rewrite = Replace::default();
    editor.push(held.as_bytes(), &mut rewrite).unwrap();
    let filler = ": padding, padding, padding, padding\n\n".repeat(6);
    let error = editor.push(filler.as_bytes(), &mut rewrite).unwrap_err();
    assert_eq!(error, StreamError::HeldTooMuch { limit: 200 });

    let mut editor = StreamEditor::new(endpoint, &limits);
    let error = editor.push(&[b'x'; 201], &mut Replace::default()).unwrap_err();
    assert_eq!(error, StreamError::EventTooLarge { limit: 200 });

    let mut editor = StreamEditor::new(endpoint, &limits);
    let deep = format!("data: {}\n\n", "[".repeat(20));
    let error = editor.push(deep.as_bytes(), &mut Replace::default()).unwrap_err();
    assert!(matches!(error, StreamError::Json(_)), "{error}");

    let mut editor = StreamEditor::new(endpoint, &Limits::default());
    let many: String = (0..2000)
        .map(|i| format!("data: {{\"choices\":[{{\"index\":{i},\"delta\":{{\"content\":\"[N\"}}}}]}}\n\n"))
        .collect();
    let error = editor.push(many.as_bytes(), &mut Replace::default()).unwrap_err();
    assert!(matches!(error, StreamError::TooManyChannels { .. }), "{error}");
}

#[test]
fn an_error_event_ends_a_stream_in_its_dialect() {
    let exchange: ExchangeId = "0190d5b8-2f5a-7c3e-8a11-000000000001".parse().unwrap();
    let refusal = |fault| Refusal {
        status: 400,
        fault,
        code: "cordon_policy_block",
        message: "Stopped:\n1 \"SECRET\"".into(),
        action: Action::Block,
        exchange,
        retry_after: None,
    };
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let data = |event: &str| -> serde_json::Value {
        let line = event
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap();
        serde_json::from_str(line).unwrap()
    };

    let chat = text(error_event(Dialect::OpenaiChat, &refusal(Fault::Policy)));
    assert!(chat.starts_with("\n\ndata: {") && chat.ends_with("}\n\n") && !chat.contains("[DONE]"));
    assert_eq!(data(&chat)["error"]["code"], "cordon_policy_block");

    let anthropic = text(error_event(Dialect::AnthropicMessages, &refusal(Fault::Policy)));
    assert!(anthropic.starts_with("\n\nevent: error\ndata: "));
    assert_eq!(data(&anthropic)["error"]["type"], "invalid_request_error");

    let responses = text(error_event(Dialect::OpenaiResponses, &refusal(Fault::Policy)));
    assert!(responses.starts_with("\n\nevent: response.failed\ndata: "));
    assert_eq!(data(&responses)["response"]["error"]["code"], "invalid_prompt");
    assert_eq!(data(&responses)["sequence_number"], 0);

    // The editor's own event continues what the stream has begun.
    let (_, _, stream) = corpus()
        .into_iter()
        .find(|(_, path, _)| path.ends_with("openai-responses.turn.sse"))
        .unwrap();
    let begun = stream
        .split_inclusive(|b| *b == b'\n')
        .take(6)
        .collect::<Vec<_>>()
        .concat();
    let mut editor = editor(Dialect::OpenaiResponses);
    editor.push(&begun, &mut Watch::default()).unwrap();
    let failed = data(&text(editor.error_event(&refusal(Fault::Upstream))));
    assert_eq!(failed["sequence_number"], 2);
    assert_eq!(failed["response"]["id"], "resp_1");
    assert_eq!(failed["response"]["model"], "gpt-5");
    assert_eq!(failed["response"]["error"]["code"], "server_error");
}

#[test]
fn an_error_ends_a_stream_in_its_framing() {
    let refusal = Refusal {
        status: 502,
        fault: Fault::Upstream,
        code: "cordon_upstream_reply",
        message: "broke off".into(),
        action: Action::Block,
        exchange: "0190d5b8-2f5a-7c3e-8a11-000000000001".parse().unwrap(),
        retry_after: None,
    };
    let after = |dialect, framing, begun: &[u8]| {
        let mut editor = StreamEditor::framed(endpoint_of(dialect), framing, &Limits::default());
        let mut out = editor.push(begun, &mut Watch::default()).unwrap().to_vec();
        out.extend(editor.finish(&mut Watch::default()).unwrap());
        assert!(!editor.complete(), "{dialect}");
        out.extend(editor.error_event(&refusal));
        out
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();

    let lines = text(after(
        Dialect::Ollama,
        Framing::Lines,
        b"{\"response\":\"a\",\"done\":false}\n{\"resp",
    ));
    let lines: Vec<_> = lines.lines().map(json).collect();
    assert_eq!(lines[1], serde_json::json!({"error": "broke off"}));

    for (begun, items) in [
        ("", 1),
        ("[", 1),
        ("[{\"candidates\":[]}", 2),
        ("[{\"candidates\":[]},\n{\"cand", 2),
        ("[{\"candidates\":[]},\n", 2),
        ("[{\"cand", 1),
    ] {
        let array = text(after(Dialect::Gemini, Framing::Array, begun.as_bytes()));
        let array = json(&array);
        let array = array.as_array().unwrap();
        assert_eq!(array.len(), items, "{begun}");
        assert_eq!(array[items - 1]["error"]["status"], "INTERNAL", "{begun}");
    }

    let mut begun = frames::binary(b"contentBlockDelta {\"delta\":{\"text\":\"a\"}}");
    let whole = begun.len();
    begun.extend_from_within(..whole - 3);
    let messages = after(Dialect::BedrockConverse, Framing::Messages, &begun);
    assert_eq!(
        text(frames::written(&messages)),
        "contentBlockDelta {\"delta\":{\"text\":\"a\"}}\n!modelStreamErrorException {\"message\":\"broke off\"}\n"
    );

    let cohere = text(after(Dialect::Cohere, Framing::Events, b""));
    assert!(cohere.contains("\"finish_reason\":\"ERROR\""), "{cohere}");
}

#[test]
fn a_message_with_a_wrong_checksum_ends_the_stream() {
    let mut stream = frames::binary(b"contentBlockDelta {\"delta\":{\"text\":\"a\"}}");
    let at = stream.len() - 8;
    stream[at] ^= 1;
    let endpoint = endpoint_of(Dialect::BedrockConverse);
    let mut editor = StreamEditor::framed(endpoint, Framing::Messages, &Limits::default());
    let error = editor.push(&stream, &mut Watch::default()).unwrap_err();
    assert_eq!(error, StreamError::Malformed);
}

#[test]
fn a_reply_is_framed_by_its_type_and_dialect() {
    let gemini = cordon_wire::endpoint("POST", None, "/v1beta/models/g:streamGenerateContent").unwrap();
    for (endpoint, kind, expected) in [
        (
            endpoint_of(Dialect::OpenaiChat),
            "text/event-stream; charset=utf-8",
            Some(Framing::Events),
        ),
        (endpoint_of(Dialect::OpenaiChat), "application/json", None),
        (
            endpoint_of(Dialect::Ollama),
            "application/x-ndjson",
            Some(Framing::Lines),
        ),
        (
            endpoint_of(Dialect::BedrockConverse),
            "application/vnd.amazon.eventstream",
            Some(Framing::Messages),
        ),
        (gemini, "application/json; charset=UTF-8", Some(Framing::Array)),
        (endpoint_of(Dialect::Gemini), "application/json", None),
        (endpoint_of(Dialect::OpenaiAudio), "audio/mpeg", None),
        (endpoint_of(Dialect::OpenaiChat), "", None),
    ] {
        assert_eq!(Framing::of(endpoint, kind), expected, "{kind}");
    }
}

#[test]
fn the_last_piece_waits_until_nothing_follows() {
    let chunk = |text: &str, end: &str| {
        format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}{end}}}]}}\n\n")
    };
    let mut editor = editor(Dialect::Gemini);
    let mut rewrite = Watch::default();
    let mut push = |bytes: &str| editor.push(bytes.as_bytes(), &mut rewrite).unwrap();
    assert_eq!(push(&chunk("a", "")), chunk("a", ""));
    let last = chunk("b", ",\"finishReason\":\"STOP\"");
    assert_eq!(push(&last), "");
    assert!(!editor.complete());
    assert_eq!(editor.finish(&mut rewrite).unwrap(), last);
    assert!(editor.complete());
}

fn endpoint_of(dialect: Dialect) -> Endpoint {
    Endpoint::new(dialect, Operation::Generate)
}

fn editor(dialect: Dialect) -> StreamEditor {
    StreamEditor::new(endpoint_of(dialect), &Limits::default())
}

/// How a stream is to be read.
type Form = (Dialect, Framing);

fn run((dialect, framing): Form, chunks: &[&[u8]], rewrite: &mut dyn Rewrite) -> Vec<u8> {
    let mut editor = StreamEditor::framed(endpoint_of(dialect), framing, &Limits::default());
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&editor.push(chunk, rewrite).unwrap());
    }
    out.extend_from_slice(&editor.finish(rewrite).unwrap());
    out
}

/// What an edit must not change: how many pieces there are, and all of them but their data.
fn pieces((_, framing): Form, stream: &[u8]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match framing {
        Framing::Messages => text(&frames::written(stream))
            .lines()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect(),
        Framing::Lines => vec![stream.split(|byte| *byte == b'\n').count().to_string()],
        Framing::Array => {
            let items: Vec<serde_json::Value> = serde_json::from_slice(stream).unwrap();
            vec![items.len().to_string(), text(stream).lines().count().to_string()]
        }
        _ => text(stream)
            .split(['\r', '\n'])
            .map(|line| if line.starts_with("data:") { "data" } else { line })
            .map(str::to_owned)
            .collect(),
    }
}

fn corpus() -> Vec<(Form, PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/streams");
    let mut streams: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let framing = match path.extension()?.to_str()? {
                "sse" => Framing::Events,
                "ndjson" => Framing::Lines,
                "array" => Framing::Array,
                "frames" => Framing::Messages,
                _ => return None,
            };
            let name = path.file_name()?.to_str()?.split('.').next()?;
            let dialect = Dialect::from_name(name).unwrap();
            let mut stream = fs::read(&path).unwrap();
            if framing == Framing::Messages {
                stream = frames::binary(&stream);
            }
            Some(((dialect, framing), path, stream))
        })
        .collect();
    streams.sort_by(|a, b| a.1.cmp(&b.1));
    assert!(streams.len() >= 20, "the corpus is not where it should be");
    streams
}
