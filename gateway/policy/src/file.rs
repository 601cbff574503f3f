//! The shape of a policy file, as serde reads it; what the keys mean is decided in `policy.rs`.
//!
//! `policies/policy.schema.json` is generated from these types (the test at the foot keeps the
//! committed file equal), so the comments on the fields are the schema's descriptions too.

use cordon_domain::{Action, AuditLevel, Role};
use serde::Deserialize;
use serde_saphyr::Spanned;

#[cfg(test)]
use tests::{ActionName, LevelName};

/// What happens to a request on an intercepted host whose path or shape no dialect describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// It is refused. The default.
    #[default]
    Block,
    /// It is inspected string by string, as the user's words, where it is JSON, a form, parts or text. What is
    /// none of these is refused.
    Inspect,
    /// It is passed on uninspected, and recorded as such.
    Pass,
}

/// What happens to a request with a file that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnreadFiles {
    /// It is refused. The default.
    #[default]
    Block,
    /// It is passed on with the file uninspected, and recorded as such.
    Record,
}

/// A Cordon policy: which upstream answers whom, and what happens to what was found.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "Cordon policy"))]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    /// What happens to a request whose path or shape no dialect describes: `block` (the default), `inspect`, which reads every string of it, or `pass`, which lets it through uninspected.
    #[serde(default)]
    pub(crate) unknown: Unknown,
    /// Lets a request pass uninspected when inspection itself fails. Leave it out: a failure then refuses the request.
    #[serde(default)]
    pub(crate) fail_open: bool,
    /// How much depends on names, addresses and places that only the token classifier finds.
    #[serde(default)]
    pub(crate) names: NamesEntry,
    /// What happens to files in requests.
    #[serde(default)]
    pub(crate) files: FilesEntry,
    /// Bounds on what one exchange may cost.
    #[serde(default)]
    pub(crate) limits: LimitsEntry,
    /// Questions that the on-prem model is asked about a request's texts. A yes is a finding of type `QUESTION.ID`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<QuestionEntry>"))]
    pub(crate) questions: Vec<Spanned<QuestionEntry>>,
    /// Which upstream answers, first match first. When none matches the on-prem engine answers.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<RouteEntry>"))]
    pub(crate) routes: Vec<Spanned<RouteEntry>>,
    /// How much of an exchange its records keep, first match first. `metadata` when none matches.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<RecordEntry>"))]
    pub(crate) records: Vec<Spanned<RecordEntry>>,
    /// What happens to findings and exchanges. For each finding the first rule that matches counts; the strictest action over the exchange stands.
    #[cfg_attr(test, schemars(with = "Vec<RuleEntry>"))]
    pub(crate) rules: Vec<Spanned<RuleEntry>>,
}

/// What happens to a request that the token classifier could not read in time, or failed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Late {
    /// It is refused; the caller may try again. The default.
    #[default]
    Block,
    /// It goes on with what detectors and word lists found, and is recorded as such.
    StructuredOnly,
    /// There is no deadline: it waits. A classifier that fails refuses the request.
    Wait,
}

/// How much depends on names, addresses and places that only the token classifier finds.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NamesEntry {
    /// Cordon does not start, and takes up no policy, without the token classifier.
    #[serde(default)]
    pub(crate) needed: bool,
    /// What happens past the deadline that the configuration sets: `block` (the default), `structured-only` or `wait`.
    #[serde(default)]
    pub(crate) late: Late,
}

/// What happens to files in requests.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesEntry {
    /// What happens to a request with a file, or a part of one, that cannot be read (a picture without text recognition, sound, an unknown format): `block` (the default) or `record`, which lets it through uninspected. The on-prem engine is asked either way.
    #[serde(default)]
    pub(crate) unread: UnreadFiles,
}

/// Bounds on what one exchange may cost.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsEntry {
    /// Findings in one exchange above which it is blocked under the rule name `too-many-findings`. 20000 when left out.
    #[cfg_attr(test, schemars(with = "Option<u32>", range(min = 1, max = 1_000_000)))]
    pub(crate) max_findings: Option<Spanned<u32>>,
}

/// A question about a request's texts that can be answered by yes or no.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct QuestionEntry {
    /// Name of the question in records and refusals: lower-case letters, digits and `-`. `unreleased-results` finds `QUESTION.UNRELEASED_RESULTS`.
    #[cfg_attr(test, schemars(with = "String", regex(pattern = r"^[a-z][a-z0-9-]{0,54}$")))]
    pub(crate) id: Spanned<String>,
    /// The question, so that a yes is what rules shall act on: "Does the text hold financial results that are not yet published?"
    #[cfg_attr(test, schemars(with = "String", length(min = 1, max = 1000)))]
    pub(crate) ask: Spanned<String>,
    /// Reasons that a yes may have. The model picks one; it is recorded and told to the caller.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>", length(min = 1, max = 16)))]
    pub(crate) reasons: Option<Spanned<Vec<Spanned<String>>>>,
    /// Whose words it is asked about. `user` and `tool_result`, when left out.
    #[cfg_attr(test, schemars(with = "Option<Vec<RoleName>>", length(min = 1)))]
    pub(crate) roles: Option<Spanned<Vec<RoleName>>>,
    /// Shorter texts are not asked about. 40 when left out.
    pub(crate) min_bytes: Option<u32>,
    /// How likely the model must hold a yes, above 0.0 and up to 1.0. 0.5 when left out.
    #[cfg_attr(test, schemars(with = "Option<f32>", range(min = 0.0, max = 1.0)))]
    pub(crate) min_score: Option<Spanned<f32>>,
    /// CEL condition over the names of a rule without `entities`; the question is asked where it holds. When left out: `upstream.kind == "cloud"`.
    #[cfg_attr(test, schemars(with = "Option<String>", length(max = 2048)))]
    pub(crate) when: Option<Spanned<String>>,
    /// What happens where it has no answer (no model, too late, too costly): `block` (the default), `reroute` or `alert`.
    #[serde(default)]
    pub(crate) unanswered: Unanswered,
}

/// What happens to an exchange about which a question has no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unanswered {
    /// It is refused; the caller may try again. The default.
    #[default]
    Block,
    /// The on-prem engine answers instead of the upstream asked for.
    Reroute,
    /// It goes on, and the record says that nobody could be asked.
    Alert,
}

/// Sends the exchanges that its condition matches to an upstream.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteEntry {
    /// Name of the route in records and messages: lower-case letters, digits and `-`.
    #[cfg_attr(
        test,
        schemars(with = "String", regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))
    )]
    pub(crate) id: Spanned<String>,
    /// CEL condition over `actor.user`, `actor.groups`, `dialect`, `door`, `host`, `model`, `method`, `path`, `requested.name`, `requested.kind` and `counts`. Always, when left out.
    #[cfg_attr(test, schemars(with = "Option<String>", length(max = 2048)))]
    pub(crate) when: Option<Spanned<String>>,
    /// Name of an upstream in the configuration, or `requested` (the one the caller addressed; the route is passed over when none was) or `engine`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) to: Spanned<String>,
}

/// How much the records of some exchanges keep.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordEntry {
    /// CEL condition over what routes have. Always, when left out.
    #[cfg_attr(test, schemars(with = "Option<String>", length(max = 2048)))]
    pub(crate) when: Option<Spanned<String>>,
    /// `none` (that there was an exchange), `metadata` (who, where, under which rule, how many of which entity types), `redacted` (also the texts, sealed, as they left the building and came back) or `full` (the texts as they came and went, sealed).
    #[cfg_attr(test, schemars(with = "LevelName"))]
    #[serde(default)]
    pub(crate) level: AuditLevel,
    /// The retention class, one of `audit.retention` in the configuration. `standard`, when left out.
    #[cfg_attr(
        test,
        schemars(with = "Option<String>", regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,31}$"))
    )]
    pub(crate) class: Option<Spanned<String>>,
}

/// Says what happens to findings, or, without `entities`, to an exchange.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    /// Name of the rule in refusals, records and acknowledgements: lower-case letters, digits and `-`.
    #[cfg_attr(
        test,
        schemars(with = "String", regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))
    )]
    pub(crate) id: Spanned<String>,
    /// Entity types that the rule speaks of. A family covers its members (`SECRET` covers `SECRET.JWT`), `"*"` covers all. Left out, the rule speaks of the exchange itself.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>", length(min = 1, max = 256)))]
    pub(crate) entities: Option<Spanned<Vec<Spanned<String>>>>,
    /// Least score of a finding, 0.0 to 1.0.
    #[cfg_attr(test, schemars(with = "Option<f32>", range(min = 0.0, max = 1.0)))]
    pub(crate) min_score: Option<Spanned<f32>>,
    /// Whose words: only findings in segments of these roles. All, when left out.
    #[cfg_attr(test, schemars(with = "Option<Vec<RoleName>>", length(min = 1)))]
    pub(crate) roles: Option<Spanned<Vec<RoleName>>>,
    /// CEL condition; besides the names of a route's also `upstream.name`, `upstream.kind`, and, with `entities`, `finding.entity`, `finding.family`, `finding.score`, `finding.detector`. Always, when left out.
    #[cfg_attr(test, schemars(with = "Option<String>", length(max = 2048)))]
    pub(crate) when: Option<Spanned<String>>,
    /// What happens, mildest first: `allow`, `alert`, `redact`, `reroute`, `coach`, `block`.
    #[cfg_attr(test, schemars(with = "ActionName"))]
    pub(crate) action: Spanned<Action>,
    /// What the employee should do, in plain words; part of the refusal. Needed for `coach` and `block`.
    #[cfg_attr(test, schemars(with = "Option<String>", length(max = 1000)))]
    pub(crate) advice: Option<Spanned<String>>,
}

/// Whose words a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleName {
    /// System or developer instructions.
    System,
    /// The user's own words, files and images.
    User,
    /// An answer of the language model.
    Assistant,
    /// Arguments of a tool call.
    ToolArguments,
    /// What a tool gave back.
    ToolResult,
    /// Names, descriptions and schemas of the tools offered.
    ToolDefinition,
    /// Any other field, headers and query included.
    Other,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::System => Self::System,
            RoleName::User => Self::User,
            RoleName::Assistant => Self::Assistant,
            RoleName::ToolArguments => Self::ToolArguments,
            RoleName::ToolResult => Self::ToolResult,
            RoleName::ToolDefinition => Self::ToolDefinition,
            RoleName::Other => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The actions as the schema lists them; the test below holds them to the domain's own.
    #[derive(schemars::JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) enum ActionName {
        /// Nothing; later rules are not asked about this finding.
        Allow,
        /// It goes on, and the record says that somebody should look.
        Alert,
        /// The finding is replaced by a placeholder.
        Redact,
        /// The on-prem engine answers instead of the upstream asked for.
        Reroute,
        /// It is refused with advice; the caller may acknowledge it and send again.
        Coach,
        /// It is refused.
        Block,
    }

    /// The levels as the schema lists them; the test below holds them to the domain's own.
    #[derive(schemars::JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) enum LevelName {
        /// That there was an exchange.
        None,
        /// Who, where, under which rule, and how many of which entity types.
        Metadata,
        /// Also the texts, sealed, with what policy took out of them taken out.
        Redacted,
        /// The texts as they came and went, sealed.
        Full,
    }

    fn schema() -> serde_json::Value {
        serde_json::to_value(schemars::schema_for!(PolicyFile)).unwrap()
    }

    #[test]
    fn the_committed_schema_is_the_one_of_these_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/policy.schema.json");
        let generated = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            committed, generated,
            "run the test once with UPDATE_SCHEMA=1 and commit the schema"
        );
    }

    #[test]
    fn the_schema_lists_every_action_and_level() {
        let text = schema().to_string();
        for action in [
            Action::Allow,
            Action::Alert,
            Action::Redact,
            Action::Reroute,
            Action::Coach,
            Action::Block,
        ] {
            assert!(text.contains(&format!("{:?}", action.name())), "{action}");
        }
        for level in [
            AuditLevel::None,
            AuditLevel::Metadata,
            AuditLevel::Redacted,
            AuditLevel::Full,
        ] {
            assert!(text.contains(&format!("{:?}", level.name())), "{level}");
        }
    }
}
