//! How much a model is to think, in the form that its generation takes it in. The name tells the generation; of a model
//! with another name nothing is asked, since one that cannot think refuses the wish.

use serde_json::{Value, json};

use crate::translate::reasoning::Effort;

/// The least that Anthropic takes as a bound.
const LEAST: u64 = 1024;

/// What Claude is asked.
pub(super) enum Claude {
    /// A bound on the LLM tokens to think with.
    Budget(u64),
    /// An effort; whether a summary of the thoughts has to be asked for.
    Adaptive { effort: &'static str, summarized: bool },
}

/// `None` where it is not to think, or cannot. `most` bounds thoughts and answer together.
pub(super) fn of_claude(model: &str, effort: Option<Effort>, most: Option<u64>) -> Option<Claude> {
    let effort = effort.filter(|effort| *effort > Effort::Minimal)?;
    let version = version(model, "claude-")?;
    if version > (4, 5) {
        return Some(Claude::Adaptive {
            effort: effort.as_str(),
            summarized: version > (4, 6),
        });
    }
    // Half of what a caller permits, so that an answer has room behind the thoughts.
    let budget = most.map_or(effort.budget(), |most| effort.budget().min(most / 2));
    (version >= (3, 7) && budget >= LEAST).then_some(Claude::Budget(budget))
}

/// Gemini's `thinkingConfig`. Its thoughts come where they are asked for only.
pub(super) fn of_gemini(model: &str, effort: Option<Effort>) -> Option<Value> {
    let effort = effort?;
    let version = version(model, "gemini-")?;
    let pro = model.contains("pro");
    let thoughts = effort > Effort::None;
    if version >= (3, 0) {
        let level = match effort {
            // It cannot be kept from thinking, the larger ones not from thinking a little either.
            Effort::None | Effort::Minimal if !pro => "minimal",
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium if !pro => "medium",
            Effort::Medium | Effort::High => "high",
        };
        return Some(json!({"thinkingLevel": level, "includeThoughts": thoughts}));
    }
    if version < (2, 5) || (pro && !thoughts) {
        return None;
    }
    Some(json!({"thinkingBudget": effort.budget(), "includeThoughts": thoughts}))
}

/// The first number behind a family's name and the one right behind it: `claude-opus-4-5-20251101`, `gemini-2.5-pro`. A date is none.
fn version(model: &str, family: &str) -> Option<(u32, u32)> {
    let (_, rest) = model.split_once(family)?;
    let mut parts = rest.split(['-', '.', '@', ':']);
    let number = |part: &str| Some(part).filter(|part| part.len() <= 2)?.parse().ok();
    let major = parts.by_ref().find_map(number)?;
    Some((major, parts.next().and_then(number).unwrap_or(0)))
}
