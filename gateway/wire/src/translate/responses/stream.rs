//! The events of a streamed response, in their order: `response.created`, `response.in_progress`, for
//! each item `output_item.added`, its parts with their deltas, `output_item.done`, and at last
//! `response.completed` with everything once more.

use serde_json::{Value, json};

use super::{
    FREE_TEXT,
    reply::{
        Run, Status, call, call_item_id, free_text, message, message_id, part, reasoning, reasoning_id,
        response, summary,
    },
};
use crate::translate::{
    TranslateError,
    reasoning::{Name, Reasoning},
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{self, Piece, Runs, emit},
};

pub(crate) struct Writer {
    model: String,
    head: Option<Head>,
    sequence: u64,
    /// The items that are done.
    output: Vec<Value>,
    open: Option<Item>,
    runs: Runs,
}

enum Item {
    Reasoning {
        id: String,
        name: Name,
        text: String,
    },
    Words {
        id: String,
        run: Run,
        text: String,
    },
    Call {
        id: String,
        call: String,
        name: String,
        arguments: String,
    },
}

impl Writer {
    pub(crate) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            head: None,
            sequence: 0,
            output: Vec::new(),
            open: None,
            runs: Runs::default(),
        }
    }

    fn failed(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        let status = Status::Failed {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let output = std::mem::take(&mut self.output);
        let response = self.response(&status, output, None);
        self.event("response.failed", json!({"response": response}), out);
    }

    fn reasoning(&mut self, piece: &Reasoning, out: &mut Vec<u8>) {
        if !matches!(&self.open, Some(Item::Reasoning { name, .. }) if *name == piece.name) {
            self.close("completed", out);
            let at = self.output.len();
            let id = reasoning_id(self.reply_id(), at);
            let item = reasoning(&id, &[], None);
            let fields = json!({"output_index": at, "item": item});
            self.event("response.output_item.added", fields, out);
            let fields = json!({
                "item_id": id, "output_index": at, "summary_index": 0, "part": summary(""),
            });
            self.event("response.reasoning_summary_part.added", fields, out);
            self.open = Some(Item::Reasoning {
                id,
                name: piece.name,
                text: String::new(),
            });
        }
        let Some(Item::Reasoning { id, text, .. }) = &mut self.open else {
            return;
        };
        text.push_str(&piece.text);
        let fields = json!({
            "item_id": id, "output_index": self.output.len(), "summary_index": 0, "delta": piece.text,
        });
        self.event("response.reasoning_summary_text.delta", fields, out);
    }

    fn words(&mut self, run: Run, piece: &str, out: &mut Vec<u8>) {
        if !matches!(&self.open, Some(Item::Words { run: open, .. }) if *open == run) {
            self.close("completed", out);
            let id = message_id(self.reply_id(), self.output.len());
            let item = message(&id, &[], "in_progress");
            let at = self.output.len();
            self.event(
                "response.output_item.added",
                json!({"output_index": at, "item": item}),
                out,
            );
            let fields = json!({
                "item_id": id, "output_index": at, "content_index": 0, "part": part(run, ""),
            });
            self.event("response.content_part.added", fields, out);
            self.open = Some(Item::Words {
                id,
                run,
                text: String::new(),
            });
        }
        let Some(Item::Words { id, text, .. }) = &mut self.open else {
            return;
        };
        text.push_str(piece);
        let mut fields = json!({
            "item_id": id, "output_index": self.output.len(), "content_index": 0, "delta": piece,
        });
        if run == Run::Text {
            fields["logprobs"] = json!([]);
        }
        self.event(&format!("{}.delta", event_of(run)), fields, out);
    }

    fn call(
        &mut self,
        index: u64,
        call_id: String,
        name: String,
        piece: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), TranslateError> {
        let Some(begins) = self.runs.begins(index, &name, piece)? else {
            return Ok(());
        };
        if begins {
            self.close("completed", out);
            self.runs.begin(stream::Run::Call(index));
            let given = self.head.as_ref().filter(|_| call_id.is_empty());
            let call_id = given.map_or(call_id, |head| head.call_id(index));
            let id = call_item_id(&name, self.reply_id(), self.output.len());
            let mut item = call(&id, &call_id, &name, "", "in_progress");
            if let Some(arguments) = item.get_mut("arguments") {
                *arguments = "".into();
            }
            let fields = json!({"output_index": self.output.len(), "item": item});
            self.event("response.output_item.added", fields, out);
            self.open = Some(Item::Call {
                id,
                call: call_id,
                name,
                arguments: String::new(),
            });
        }
        let Some(Item::Call {
            id, name, arguments, ..
        }) = &mut self.open
        else {
            return Ok(());
        };
        arguments.push_str(piece);
        // A free-text tool's input lies within the arguments; it goes out once they are whole.
        if !piece.is_empty() && !name.starts_with(FREE_TEXT) {
            let fields = json!({"item_id": id, "output_index": self.output.len(), "delta": piece});
            self.event("response.function_call_arguments.delta", fields, out);
        }
        Ok(())
    }

    fn close(&mut self, status: &str, out: &mut Vec<u8>) {
        self.runs.close();
        let Some(open) = self.open.take() else { return };
        let at = self.output.len();
        let item = match open {
            Item::Reasoning { id, name, text } => {
                let place = || json!({"item_id": id, "output_index": at, "summary_index": 0});
                let part = summary(&text);
                let mut fields = place();
                fields["text"] = text.into();
                self.event("response.reasoning_summary_text.done", fields, out);
                let mut fields = place();
                fields["part"] = part.clone();
                self.event("response.reasoning_summary_part.done", fields, out);
                reasoning(&id, &[part], Some(name))
            }
            Item::Words { id, run, text } => {
                let part = part(run, &text);
                let mut fields = json!({"item_id": id, "output_index": at, "content_index": 0});
                match run {
                    Run::Refusal => fields["refusal"] = text.into(),
                    _ => fields["text"] = text.into(),
                }
                if run == Run::Text {
                    fields["logprobs"] = json!([]);
                }
                self.event(&format!("{}.done", event_of(run)), fields, out);
                let fields = json!({"item_id": id, "output_index": at, "content_index": 0, "part": part});
                self.event("response.content_part.done", fields, out);
                message(&id, &[part], status)
            }
            Item::Call {
                id,
                call: call_id,
                name,
                mut arguments,
                ..
            } => {
                if name.starts_with(FREE_TEXT) {
                    let input = free_text(&arguments);
                    let fields = json!({"item_id": id, "output_index": at, "delta": input});
                    self.event("response.custom_tool_call_input.delta", fields, out);
                    let fields = json!({"item_id": id, "output_index": at, "input": input});
                    self.event("response.custom_tool_call_input.done", fields, out);
                } else {
                    if arguments.is_empty() {
                        arguments.push_str("{}");
                        let fields = json!({"item_id": id, "output_index": at, "delta": arguments});
                        self.event("response.function_call_arguments.delta", fields, out);
                    }
                    let fields = json!({
                        "item_id": id, "output_index": at, "name": name, "arguments": arguments,
                    });
                    self.event("response.function_call_arguments.done", fields, out);
                }
                call(&id, &call_id, &name, &arguments, status)
            }
        };
        self.event(
            "response.output_item.done",
            json!({"output_index": at, "item": item}),
            out,
        );
        self.output.push(item);
    }

    fn reply_id(&self) -> &str {
        self.head.as_ref().map_or("0", |head| &head.id)
    }

    fn response(&self, status: &Status, output: Vec<Value>, usage: Option<Tokens>) -> Value {
        let unnamed = Head::unnamed();
        response(
            self.head.as_ref().unwrap_or(&unnamed),
            &self.model,
            status,
            output,
            usage,
        )
    }

    /// `fields` with the event's type and the next sequence number in front.
    fn event(&mut self, name: &str, fields: Value, out: &mut Vec<u8>) {
        let mut data = json!({"type": name, "sequence_number": self.sequence});
        self.sequence += 1;
        if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
            data.extend(fields);
        }
        emit(name, &data, out);
    }
}

impl stream::Writer for Writer {
    fn start(&mut self, head: &Head, out: &mut Vec<u8>) {
        if self.head.is_some() {
            return;
        }
        self.head = Some(head.clone());
        for name in ["response.created", "response.in_progress"] {
            let response = self.response(&Status::InProgress, Vec::new(), None);
            self.event(name, json!({"response": response}), out);
        }
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        match piece {
            Piece::Reasoning(thought) => self.reasoning(&thought, out),
            Piece::Text(text) => self.words(Run::Text, &text, out),
            Piece::Refusal(text) => self.words(Run::Refusal, &text, out),
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => self.call(index, id, name, &arguments, out)?,
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        self.start(&Head::unnamed(), out);
        let status = Status::of(stop);
        self.close(status.of_item(), out);
        let output = std::mem::take(&mut self.output);
        let response = self.response(&status, output, Some(tokens));
        let name = if matches!(status, Status::Completed) {
            "response.completed"
        } else {
            "response.incomplete"
        };
        self.event(name, json!({"response": response}), out);
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        let code = match (error.code.as_deref(), error.kind.as_str()) {
            // Clients know this one and tell their user to start afresh.
            (Some("context_length_exceeded"), _) => "context_length_exceeded",
            (_, "rate_limit_error") => "rate_limit_exceeded",
            (_, "invalid_request_error") => "invalid_prompt",
            _ => "server_error",
        };
        self.failed(code, &error.message, out);
    }
}

fn event_of(run: Run) -> &'static str {
    match run {
        Run::Text => "response.output_text",
        Run::Refusal => "response.refusal",
    }
}
