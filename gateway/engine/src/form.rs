//! Answers in a form that the request sets: JSON by a schema, a grammar, an expression, one of several texts.
//!
//! At each step only tokens that keep the answer within the form can be chosen. The grammar engine is
//! llguidance and not llama.cpp's own: that one aborts the process where a grammar leads nowhere, and
//! prints grammars it cannot read to standard error.
//!
//! Limits: those of llguidance on the size of a grammar and on the work of one step; [`FORMAT_BYTES`].
//!
//! On failure: a format that cannot be followed gives [`Failure::Unsupported`], which quotes nothing of it;
//! a step that goes over a limit gives [`FormFailed`], which ends that answer alone.

pub(crate) mod gbnf;

use std::sync::Arc;

use anyhow::Context as _;
use llama_cpp_2::token::LlamaToken;
use llguidance::{
    Matcher, ParserFactory,
    api::TopLevelGrammar,
    toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie},
};
use serde_json::{Value, json};

use crate::{failure::Failure, weights::Weights};

/// The largest schema or grammar, written out.
pub(crate) const FORMAT_BYTES: usize = 256 << 10;

/// What a request wants an answer to look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    /// JSON by a schema.
    Schema(Value),
    /// llguidance's own notation.
    Lark(String),
    /// A regular expression that the whole answer matches.
    Regex(String),
}

/// How llguidance marks tokens that stand for no text.
const CONTROL_MARK: u8 = 0xFF;

/// What forms are made from: the vocabulary as a tree of bytes.
pub(crate) struct Forms(ParserFactory);

impl Forms {
    /// Walks the vocabulary, which takes a moment.
    pub(crate) fn new(weights: &Weights) -> anyhow::Result<Self> {
        let mut words = Vec::new();
        let mut ends = Vec::new();
        for token in 0..weights.vocabulary_size() {
            let mut piece = Vec::new();
            weights.piece(LlamaToken(token), &mut piece);
            if piece.is_empty() {
                // Unlike every text, so that no form can ask for it.
                piece = [&[CONTROL_MARK], token.to_string().as_bytes()].concat();
            }
            words.push(piece);
            if weights.ends_answer(LlamaToken(token)) {
                ends.push(token.cast_unsigned());
            }
        }
        let first = *ends
            .first()
            .context("the model has no token that ends an answer")?;
        let info = TokRxInfo::new(u32::try_from(words.len())?, first);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        let vocabulary: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        Self::over(&vocabulary)
    }

    fn over(vocabulary: &TokEnv) -> anyhow::Result<Self> {
        let mut factory = ParserFactory::new_simple(vocabulary)?;
        factory.quiet();
        // Its errors would otherwise hold the schema and the answer so far.
        factory.limits_mut().verbose_errors = false;
        Ok(Self(factory))
    }

    /// The form that a format describes; `param` is who asked for it.
    pub(crate) fn of(&self, format: Format, param: &str) -> Result<Form, Failure> {
        let grammar = match format {
            Format::Schema(mut schema) => {
                if let Value::Object(fields) = &mut schema {
                    // On one line: a small model could otherwise go on with blanks for ever.
                    let one_line = json!({
                        "whitespace_flexible": false, "item_separator": ", ?", "key_separator": ": ?",
                    });
                    fields.insert("x-guidance".to_owned(), one_line);
                }
                TopLevelGrammar::from_json_schema(schema)
            }
            Format::Lark(grammar) => TopLevelGrammar::from_lark(grammar),
            Format::Regex(expression) => TopLevelGrammar::from_regex(&expression),
        };
        match self.0.create_parser(grammar) {
            Ok(parser) => Ok(Form(Matcher::new(Ok(parser)))),
            Err(_) => Err(Failure::Unsupported {
                param: param.to_owned(),
                why: "it cannot be followed; it is no valid schema, grammar or expression, too large, or uses what is not supported",
            }),
        }
    }
}

/// The form of one answer, and how far the answer is in it.
pub(crate) struct Form(Matcher);

/// The form cannot be followed any further. Says no more: what llguidance says may quote the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer's form could not be followed")]
pub(crate) struct FormFailed;

impl Form {
    /// Tokens that may come next.
    pub(crate) fn allowed(&mut self) -> Result<SimpleVob, FormFailed> {
        self.0.compute_mask_or_eos().map_err(|_| FormFailed)
    }

    /// Notes the token that was chosen.
    pub(crate) fn take(&mut self, token: LlamaToken) -> Result<(), FormFailed> {
        self.0
            .consume_token(token.0.cast_unsigned())
            .map_err(|_| FormFailed)
    }

    /// Whether the answer is whole and nothing may follow.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.is_stopped() && !self.0.is_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vocabulary of single bytes, and what a form lets a writer say who takes the wanted bytes where he
    /// may, else the first that are allowed.
    fn write(schema: Value, wanted: &str) -> Result<String, Failure> {
        follow(Format::Schema(schema), wanted)
    }

    fn follow(format: Format, wanted: &str) -> Result<String, Failure> {
        let vocabulary = ApproximateTokEnv::single_byte_env();
        let mut form = Forms::over(&vocabulary).unwrap().of(format, "response_format")?;
        let mut wanted = wanted.bytes();
        let mut said = Vec::new();
        while !form.is_complete() && said.len() < 500 {
            let allowed = form.allowed().unwrap();
            let next = wanted.next().filter(|&byte| allowed.is_allowed(byte.into()));
            let Some(next) = next.or_else(|| (0..=255).find(|&byte| allowed.is_allowed(byte.into()))) else {
                break;
            };
            form.take(LlamaToken(next.into())).unwrap();
            said.push(next);
        }
        Ok(String::from_utf8(said).unwrap())
    }

    #[test]
    fn an_answer_is_one_of_those_listed_whatever_the_writer_wants() {
        let schema = json!({"enum": ["no", "yes: a figure", "yes: a name"]});
        assert_eq!(write(schema.clone(), "\"yes: a name").unwrap(), "\"yes: a name\"");
        assert_eq!(write(schema.clone(), "Sure! The answer is").unwrap(), "\"no\"");
        assert_eq!(write(schema, "\"n").unwrap(), "\"no\"");
    }

    #[test]
    fn objects_have_the_fields_of_their_schema() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "boolean"}, "b": {"$ref": "#/$defs/b"}},
            "required": ["a", "b"],
            "additionalProperties": false,
            "$defs": {"b": {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2}},
        });
        let said = write(schema, "{\"a\":false").unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said, json!({"a": false, "b": [1, 1]}));
    }

    #[test]
    fn grammars_and_expressions_are_followed() {
        let gbnf = |source: &str| Format::Lark(gbnf::to_lark(source).unwrap());
        let list = "root ::= (\"- \" [a-z]{2,3} \"\\n\"){2}";
        assert_eq!(follow(gbnf(list), "- ab\n- cde\n").unwrap(), "- ab\n- cde\n");
        let choice = "root ::= \"yes\" | no-Answer\nno-Answer ::= \"no\"";
        assert_eq!(follow(gbnf(choice), "no").unwrap(), "no");
        assert_eq!(
            follow(Format::Regex("[0-9]{4}".to_owned()), "x1y23456")
                .unwrap()
                .len(),
            4
        );
        assert!(follow(Format::Regex("(".to_owned()), "").is_err());
        assert!(follow(Format::Lark("start: nothing".to_owned()), "").is_err());
    }

    #[test]
    fn blanks_come_to_an_end() {
        for wanted in ["{          ", "{\"a\":          ", "\n\n\n"] {
            let schema = json!({
                "type": "object", "properties": {"a": {"const": 1}}, "required": ["a"],
                "additionalProperties": false,
            });
            let said = write(schema, wanted).unwrap();
            assert!(!said.contains("  ") && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_without_a_quote() {
        for schema in [
            json!({"type": "secret"}),
            json!({"enum": "secret"}),
            json!({"$ref": "https://example.com/secret"}),
            json!({"type": "string", "pattern": "(secret"}),
            json!("secret"),
        ] {
            match write(schema.clone(), "") {
                Err(failure) => assert!(!failure.to_string().contains("secret")),
                Ok(said) => panic!("{schema} was followed: {said}"),
            }
        }
    }
}
