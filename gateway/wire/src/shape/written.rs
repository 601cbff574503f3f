//! What stands in a file that describes a dialect, before it is checked.
//!
//! `policies/dialect.schema.json` is generated from these types (the test at the foot keeps the committed file equal), so
//! the comments on the fields are the schema's descriptions too.

use std::collections::BTreeMap;

use cordon_domain::Role;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Claim, Patches};
use crate::Container;

/// A dialect of Cordon's that is spoken on some hosts: where text lies in its bodies, and how a refusal looks.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, schemars(title = "Cordon dialect"))]
pub(super) struct Written {
    /// The dialect's name in policies, records and metrics: lower-case letters, digits and hyphens, 40 at most.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) name: Spanned<String>,
    /// Hosts in lower case; `.name` stands for all below it, one `*` for anything.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(super) hosts: Spanned<Vec<Spanned<String>>>,
    /// How a refusal looks on every route that has none of its own.
    #[cfg_attr(test, schemars(with = "Option<WrittenRefusal>"))]
    pub(super) refusal: Option<Spanned<WrittenRefusal>>,
    /// The status that a WebSocket is refused with on these hosts where no route describes it.
    #[cfg_attr(test, schemars(with = "Option<u16>"))]
    pub(super) sockets: Option<Spanned<u16>>,
    /// Where a request says who is signed in; the first that is there counts. It is recorded as a pseudonym beside the actor, and
    /// nobody is let in by it.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<super::claims::WrittenClaim>"))]
    pub(super) claims: Vec<Claim>,
    /// Routes; the first that matches counts, except that those with `/**` come last.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<WrittenRoute>"))]
    pub(super) routes: Vec<Spanned<WrittenRoute>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRoute {
    /// For messages.
    pub(super) name: String,
    /// As in HTTP: [GET, POST].
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(super) methods: Spanned<Vec<String>>,
    /// `{x}` stands for one segment, `/**` at the end for any number.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(super) paths: Spanned<Vec<Spanned<String>>>,
    /// What a request asks for.
    #[serde(default)]
    pub(super) operation: WrittenOperation,
    /// Whether it describes the messages of a WebSocket, which is opened by GET.
    #[serde(default)]
    pub(super) socket: bool,
    /// What a body is made of; a content type that contradicts it is refused.
    #[serde(default)]
    pub(super) body: WrittenContainer,
    /// Patterns of places and whose words stand there: a JSON pointer in which `*` is any one step, `**` any
    /// number, and `#` goes into a string that holds JSON.
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, WrittenRole>>"))]
    pub(super) text: Option<Spanned<BTreeMap<String, WrittenRole>>>,
    /// Where the id of a conversation stands: a place in the body, or `{x}` of the paths. It is recorded as a pseudonym.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) conversation: Option<Spanned<String>>,
    /// The place of the model's name.
    pub(super) model: Option<String>,
    /// Whether the reply is a stream.
    #[serde(default)]
    pub(super) streamed: bool,
    /// Where text lies in replies.
    #[serde(default)]
    pub(super) reply: WrittenReply,
    /// How a refusal looks, in place of the file's.
    #[cfg_attr(test, schemars(with = "Option<WrittenRefusal>"))]
    pub(super) refusal: Option<Spanned<WrittenRefusal>>,
    /// Bodies and what has to be found in them; `cordon check` runs each.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<Example>"))]
    pub(super) examples: Vec<Spanned<Example>>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct WrittenReply {
    /// Patterns for a plain reply.
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, WrittenRole>>"))]
    pub(super) text: Option<Spanned<BTreeMap<String, WrittenRole>>>,
    /// Pointers to strings that a stream's events carry piece by piece.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    pub(super) pieces: Option<Spanned<Vec<String>>>,
    /// Pointers, and the texts or numbers of which one stands there in an event that ends an answer (`/event: [done, error]`). One WebSocket
    /// carries answer after answer, so without it what looks like the beginning of a placeholder at an answer's end waits for the next one.
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, Vec<String>>>"))]
    pub(super) ends: Option<Spanned<BTreeMap<String, Vec<String>>>>,
    /// How events say where their pieces go, if they are patches.
    pub(super) patches: Option<Patches>,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRefusal {
    /// The status, 200 to 599; that of the refusal when left out.
    pub(super) status: Option<u16>,
    /// The content type.
    pub(super) content_type: String,
    /// The body, with `{message}`, and perhaps `{code}` and `{exchange}`.
    pub(super) body: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum WrittenOperation {
    /// An answer of the model.
    #[default]
    Generate,
    /// A file is handed over.
    Upload,
    /// Anything else that the page needs.
    Manage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum WrittenContainer {
    Json,
    Lines,
    Frames,
    Form,
    Multipart,
    Text,
    File,
    Protobuf,
    ProtobufEnvelopes,
    JsonEnvelopes,
    /// What its content type says.
    #[default]
    Any,
}

impl From<WrittenContainer> for Option<Container> {
    fn from(written: WrittenContainer) -> Self {
        Some(match written {
            WrittenContainer::Json => Container::Json,
            WrittenContainer::Lines => Container::Lines,
            WrittenContainer::Frames => Container::Frames,
            WrittenContainer::Form => Container::Form,
            WrittenContainer::Multipart => Container::Multipart,
            WrittenContainer::Text => Container::Text,
            WrittenContainer::File => Container::File,
            WrittenContainer::Protobuf => Container::Protobuf,
            WrittenContainer::ProtobufEnvelopes => Container::ProtobufEnvelopes,
            WrittenContainer::JsonEnvelopes => Container::JsonEnvelopes,
            WrittenContainer::Any => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum WrittenRole {
    System,
    User,
    Assistant,
    ToolArguments,
    ToolResult,
    ToolDefinition,
    Other,
}

impl From<WrittenRole> for Role {
    fn from(written: WrittenRole) -> Self {
        match written {
            WrittenRole::System => Self::System,
            WrittenRole::User => Self::User,
            WrittenRole::Assistant => Self::Assistant,
            WrittenRole::ToolArguments => Self::ToolArguments,
            WrittenRole::ToolResult => Self::ToolResult,
            WrittenRole::ToolDefinition => Self::ToolDefinition,
            WrittenRole::Other => Self::Other,
        }
    }
}

/// A body of a route and what has to be found in it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    /// The content type.
    #[serde(default)]
    pub(super) content_type: Option<String>,
    /// The body.
    pub(super) body: String,
    /// Some of the segments: each place with its role and text.
    pub(super) segments: Vec<Expected>,
    /// Files, by place.
    #[serde(default)]
    pub(super) files: Vec<String>,
    /// The body once the texts of `segments` with `put` have been replaced by it.
    #[serde(default)]
    pub(super) edited: Option<String>,
    /// What the refusal's body holds.
    #[serde(default)]
    pub(super) refusal: Option<String>,
    /// The model's name that is found.
    #[serde(default)]
    pub(super) model: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// The segment's place.
    pub(super) place: String,
    /// Whose words they are.
    pub(super) role: WrittenRole,
    /// Its text.
    pub(super) text: String,
    /// What replaces it in `edited`.
    #[serde(default)]
    pub(super) put: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_the_one_of_these_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/dialect.schema.json");
        let schema = schemars::schema_for!(Written);
        let generated = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            committed, generated,
            "run the test once with UPDATE_SCHEMA=1 and commit the schema"
        );
    }
}
