//! Reads answers as a client program would: the text and the tool-call arguments, plain or streamed.

use serde_json::Value;

use crate::replies::Talk;

/// The data of each server-sent event, in order; `[DONE]` is left out.
#[must_use]
pub fn events(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    text.split("\n\n")
        .filter_map(|event| {
            let data: Vec<&str> = event
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .map(|data| data.strip_prefix(' ').unwrap_or(data))
                .collect();
            serde_json::from_str(&data.join("\n")).ok()
        })
        .collect()
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The text, from the deltas where it was streamed.
    pub text: String,
    /// The arguments of the first tool call, as JSON source.
    pub arguments: String,
    /// The texts that a stream repeats whole at its end (Responses), each once.
    pub repeated: Vec<String>,
    /// Whether the stream or body came to its dialect's proper end.
    pub complete: bool,
}

/// Reads an answer, streamed if it looks like it.
#[must_use]
pub fn read(talk: Talk, body: &[u8]) -> Said {
    match serde_json::from_slice::<Value>(body) {
        Ok(whole) => read_plain(talk, &whole),
        Err(_) => read_stream(talk, body),
    }
}

fn read_plain(talk: Talk, body: &Value) -> Said {
    let mut said = Said {
        complete: true,
        ..Said::default()
    };
    match talk {
        Talk::Chat => {
            let message = &body["choices"][0]["message"];
            said.text = text(&message["content"]);
            said.arguments = text(&message["tool_calls"][0]["function"]["arguments"]);
        }
        Talk::Responses => read_output(&body["output"], &mut said),
        Talk::Messages => {
            for block in items(&body["content"]) {
                said.text.push_str(&text(&block["text"]));
                if block["type"] == "tool_use" {
                    said.arguments = block["input"].to_string();
                }
            }
        }
    }
    said
}

fn read_output(output: &Value, said: &mut Said) {
    for item in items(output) {
        for part in items(&item["content"]) {
            said.text.push_str(&text(&part["text"]));
        }
        if item["type"] == "function_call" {
            said.arguments.push_str(&text(&item["arguments"]));
        }
    }
}

fn read_stream(talk: Talk, body: &[u8]) -> Said {
    let mut said = Said::default();
    match talk {
        Talk::Chat => {
            said.complete = body.windows(6).any(|window| window == b"[DONE]");
            for event in events(body) {
                let delta = &event["choices"][0]["delta"];
                said.text.push_str(&text(&delta["content"]));
                said.arguments
                    .push_str(&text(&delta["tool_calls"][0]["function"]["arguments"]));
            }
        }
        Talk::Responses => {
            let mut again = Said::default();
            for event in events(body) {
                match event["type"].as_str().unwrap_or_default() {
                    "response.output_text.delta" => said.text.push_str(&text(&event["delta"])),
                    "response.function_call_arguments.delta" => {
                        said.arguments.push_str(&text(&event["delta"]))
                    }
                    "response.output_text.done" => said.repeated.push(text(&event["text"])),
                    "response.content_part.done" => said.repeated.push(text(&event["part"]["text"])),
                    "response.function_call_arguments.done" => said.repeated.push(text(&event["arguments"])),
                    "response.completed" => {
                        said.complete = true;
                        read_output(&event["response"]["output"], &mut again);
                    }
                    _ => {}
                }
            }
            said.repeated.extend(
                [again.text, again.arguments]
                    .into_iter()
                    .filter(|text| !text.is_empty()),
            );
            said.repeated.dedup();
        }
        Talk::Messages => {
            for event in events(body) {
                said.text.push_str(&text(&event["delta"]["text"]));
                said.arguments.push_str(&text(&event["delta"]["partial_json"]));
                said.complete |= event["type"] == "message_stop";
            }
        }
    }
    said
}

/// The message of an error object in either provider's shape, or of a stream's error event.
#[must_use]
pub fn error_message(body: &[u8]) -> Option<String> {
    let whole = serde_json::from_slice::<Value>(body).ok();
    whole.into_iter().chain(events(body)).find_map(|value| {
        let error = if value["error"].is_object() {
            &value["error"]
        } else {
            &value["response"]["error"]
        };
        let error = if error.is_object() { error } else { &value };
        (value["error"].is_object() || value["type"] == "error" || value["type"] == "response.failed")
            .then(|| error["message"].as_str().map(str::to_owned))
            .flatten()
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        replies::{Deltas, call_tool, say},
        upstream::{Piece, Seen},
    };

    #[test]
    fn what_an_upstream_says_is_what_is_read() {
        let said = "About [EMAIL_K7QX] \u{1f512} and \"quotes\".";
        let arguments = r#"{"to":"[EMAIL_K7QX]"}"#;
        for talk in Talk::ALL {
            for stream in [false, true] {
                for deltas in [Deltas::Whole, Deltas::Of(1), Deltas::At(9)] {
                    let seen = Seen {
                        connection: 0,
                        version: http::Version::HTTP_11,
                        method: "POST".to_owned(),
                        target: talk.path().to_owned(),
                        headers: Vec::new(),
                        body: talk.request("x", stream).to_string().into(),
                    };
                    let whole = |answer: crate::upstream::Answer| {
                        let mut all = Vec::new();
                        for piece in answer.in_pieces_of(3).pieces {
                            if let Piece::Bytes(bytes) = piece {
                                all.extend_from_slice(&bytes);
                            }
                        }
                        all
                    };
                    let text = read(talk, &whole(say(&seen, said, deltas)));
                    assert!(text.complete, "{talk:?} {deltas:?}");
                    assert_eq!(text.text, said, "{talk:?} {deltas:?}");
                    assert!(text.repeated.iter().all(|again| again == said));
                    let call = read(talk, &whole(call_tool(&seen, arguments, deltas)));
                    assert_eq!(call.arguments, arguments, "{talk:?} {deltas:?}");
                }
            }
        }
    }
}
