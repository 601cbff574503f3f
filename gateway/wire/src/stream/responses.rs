//! `openai-responses`: an event `X.delta` whose `delta` is a string is a piece of a channel, and
//! `X.done` for the same item and part ends it.
//!
//! That is how every event of the dialect is named, so text of events that come later is streamed as
//! well. All other strings, among them the full texts that the `done` events and
//! `response.completed` repeat, are rewritten whole.

use super::{
    Channel, Facts, Scope, Step,
    read::{index, others_but, piece},
};
use crate::json::{Kind, Value};

/// Events whose delta is sound, in base64.
const SOUND: &[&str] = &["response.audio", "response.output_audio"];

pub(super) fn read(root: Value<'_>, event: &str, facts: &mut Facts, steps: &mut Vec<Step>) {
    let named = root.get("type").and_then(|kind| kind.text());
    let name = named.as_deref().unwrap_or(event);
    note(root, name, facts);

    let delta = root.get("delta").filter(|delta| delta.kind() == Kind::String);
    if let (Some(run), Some(delta)) = (name.strip_suffix(".delta"), delta) {
        if !SOUND.contains(&run) {
            piece(delta, channel(root, run), run.contains("arguments"), steps);
        }
        others_but(root, &["delta"], steps);
        return;
    }
    match name {
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "error" => {
            steps.push(Step::End(Scope::All));
        }
        // Several responses may be under way in one Realtime session.
        "response.done" => steps.push(Step::End(match response_of(root) {
            Some(response) => Scope::Under(response),
            None => Scope::All,
        })),
        "response.output_item.done"
        | "response.content_part.done"
        | "response.reasoning_summary_part.done" => {
            steps.push(Step::End(Scope::Under(item(root))));
        }
        _ => {
            if let Some(run) = name.strip_suffix(".done") {
                steps.push(Step::End(Scope::One(Channel(channel(root, run)))));
            }
        }
    }
    others_but(root, &[], steps);
}

fn note(root: Value<'_>, name: &str, facts: &mut Facts) {
    facts.sequence = root
        .get("sequence_number")
        .and_then(|n| n.as_u64())
        .or(facts.sequence);
    if let Some(response) = root.get("response") {
        facts.note_model(response.get("model"));
        facts.note_response(response.get("id"));
    }
    facts.note_counts(root);
    let failed = matches!(name, "response.failed" | "error");
    facts.failed |= failed;
    facts.complete |= failed
        || matches!(
            name,
            "response.completed"
                | "response.incomplete"
                | "response.cancelled"
                | "response.done"
                | "transcript.text.done"
                | "speech.audio.done"
                | "image_generation.completed"
                | "image_edit.completed"
        );
}

/// Prefix of all channels of a Realtime response, which its events name and a stream's do not.
fn response_of(root: Value<'_>) -> Option<String> {
    let named = root
        .get("response_id")
        .or_else(|| root.get("response")?.get("id"));
    let id = named?.text().filter(|id| id.len() <= 128)?;
    Some(format!("response:{id}:"))
}

/// Prefix of all channels of the event's output item.
fn item(root: Value<'_>) -> String {
    let response = root.get("response_id").and_then(|_| response_of(root));
    format!("{}{}", response.unwrap_or_default(), item_of(root))
}

fn item_of(root: Value<'_>) -> String {
    match root.get("output_index").and_then(|n| n.as_u64()) {
        Some(index) => format!("item:{index}:"),
        // Servers that leave the index out still name the item.
        None => match root.get("item_id").and_then(|id| id.text()) {
            Some(id) if id.len() <= 128 => format!("item:{id}:"),
            _ => "item::".to_owned(),
        },
    }
}

fn channel(root: Value<'_>, run: &str) -> String {
    let part = index(root.get("content_index").or_else(|| root.get("summary_index")), 0);
    format!("{}{run}:{part}", item(root))
}
