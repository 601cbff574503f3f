//! What the model's reply says.

use serde::Deserialize;

use super::{Missing, Opinion};

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: u64,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    #[serde(default)]
    top_logprobs: Vec<Other>,
}

#[derive(Deserialize)]
struct Other {
    token: String,
    logprob: Option<f64>,
}

/// The opinion in a reply, and the LLM tokens that it took where they are told. `answers` are all that can
/// be given, `no` first.
pub fn read(reply: &[u8], answers: &[String]) -> Result<(Opinion, Option<u64>), Missing> {
    let reply: Reply = serde_json::from_slice(reply).map_err(|_| Missing::Unreadable)?;
    let tokens = reply.usage.map(|usage| usage.total_tokens);
    let choice = reply.choices.into_iter().next().ok_or(Missing::Unreadable)?;
    let said = choice.message.content.unwrap_or_default();
    let said = said.trim();
    // Some servers hand a JSON string out without its quotes.
    let said = serde_json::from_str::<String>(said).unwrap_or_else(|_| said.to_owned());
    let at = answers
        .iter()
        .position(|answer| *answer == said)
        .ok_or(Missing::Unreadable)?;
    let likelihood = choice
        .logprobs
        .and_then(|logprobs| likelihood(&logprobs.content?))
        .unwrap_or(if at == 0 { 0.0 } else { 1.0 });
    // The last answer is a yes for a reason that is not listed, or without any.
    let reason = at.checked_sub(1).filter(|_| at + 1 < answers.len());
    Ok((Opinion { likelihood, reason }, tokens))
}

/// The share of yes at the first token by which yes and no differ; none where that cannot be told.
fn likelihood(tokens: &[Token]) -> Option<f32> {
    let mut before = String::new();
    for token in tokens {
        if verdict(&before, &token.token).is_some() {
            let share = |wanted: bool| -> f64 {
                token
                    .top_logprobs
                    .iter()
                    .filter(|other| verdict(&before, &other.token) == Some(wanted))
                    .filter_map(|other| other.logprob)
                    .map(f64::exp)
                    .sum()
            };
            let (yes, no) = (share(true), share(false));
            let likelihood = yes / (yes + no);
            return likelihood.is_finite().then_some(likelihood as f32);
        }
        before.push_str(&token.token);
    }
    None
}

/// Whether an answer that begins so is a yes or a no; none while that is open.
fn verdict(before: &str, token: &str) -> Option<bool> {
    let said = format!("{before}{token}");
    match said.trim_start().trim_start_matches('"').bytes().next()? {
        b'y' => Some(true),
        b'n' => Some(false),
        _ => None,
    }
}

/// Whether a refusal says that the request does not fit the model's context.
pub fn is_too_long(reply: &[u8]) -> bool {
    let reply: serde_json::Value = serde_json::from_slice(reply).unwrap_or_default();
    let error = &reply["error"];
    // Our engine's and OpenAI's word, llama-server's, and vLLM's sentence.
    error["code"] == "context_length_exceeded"
        || error["type"] == "exceed_context_size_error"
        || [&error["message"], &reply["message"]].iter().any(|message| {
            message
                .as_str()
                .is_some_and(|said| said.contains("maximum context length"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ANSWERS: [&str; 4] = ["no", "yes: a figure", "yes: a date", "yes: another reason"];

    fn opinion(content: &str, logprobs: &Value) -> Result<(Opinion, Option<u64>), Missing> {
        let reply = json!({
            "choices": [{"message": {"role": "assistant", "content": content}, "logprobs": logprobs}],
            "usage": {"total_tokens": 31},
        });
        read(reply.to_string().as_bytes(), &ANSWERS.map(str::to_owned))
    }

    #[test]
    fn without_probabilities_the_answer_counts() {
        let yes = |reason| Opinion {
            likelihood: 1.0,
            reason,
        };
        assert_eq!(
            opinion("\"yes: a date\"", &Value::Null),
            Ok((yes(Some(1)), Some(31)))
        );
        assert_eq!(
            opinion("yes: another reason", &Value::Null),
            Ok((yes(None), Some(31)))
        );
        let no = opinion(" \"no\" ", &json!({"content": null})).unwrap().0;
        assert_eq!((no.likelihood, no.reason), (0.0, None));
        let plain = read(
            br#"{"choices":[{"message":{"content":"\"yes\""}}]}"#,
            &["no", "yes"].map(str::to_owned),
        );
        assert_eq!(plain, Ok((yes(None), None)));
    }

    #[test]
    fn the_share_of_yes_is_read_where_the_answers_part() {
        let other = |token: &str, share: f64| json!({"token": token, "logprob": share.ln()});
        let logprobs = json!({"content": [
            {"token": "\"", "logprob": 0.0, "top_logprobs": [other("\"", 1.0)]},
            {"token": "no", "logprob": -0.4, "top_logprobs": [
                other("no", 0.5), other("yes", 0.2), other("y", 0.1), other("n", 0.1), {"token": "ye", "logprob": null},
                other(" maybe", 0.1),
            ]},
            {"token": "\"", "logprob": 0.0, "top_logprobs": [other("\"", 1.0)]},
        ]});
        let (read, _) = opinion("\"no\"", &logprobs).unwrap();
        assert!((read.likelihood - 1.0 / 3.0).abs() < 1e-6, "{read:?}");
        // One token that holds the quote as well.
        let logprobs = json!({"content": [
            {"token": "\"yes", "logprob": -0.4, "top_logprobs": [other("\"yes", 0.6), other("\"no", 0.2), other("\"", 0.2)]},
        ]});
        let (read, _) = opinion("\"yes: a date\"", &logprobs).unwrap();
        assert!((read.likelihood - 0.75).abs() < 1e-6, "{read:?}");
    }

    #[test]
    fn anything_else_is_no_answer() {
        for said in ["", "maybe", "\"yes\"", "yes: a date, and more", "No"] {
            assert_eq!(opinion(said, &Value::Null), Err(Missing::Unreadable), "{said}");
        }
        assert_eq!(read(b"{}", &["no".to_owned()]), Err(Missing::Unreadable));
        assert_eq!(read(b"[", &["no".to_owned()]), Err(Missing::Unreadable));
    }

    #[test]
    fn a_context_that_is_too_short_is_told_from_other_refusals() {
        assert!(is_too_long(br#"{"error": {"code": "context_length_exceeded"}}"#));
        assert!(is_too_long(
            br#"{"error": {"message": "This model's maximum context length is 4096 tokens."}}"#
        ));
        assert!(!is_too_long(br#"{"error": {"code": "unsupported_parameter"}}"#));
        assert!(!is_too_long(b"no json"));
    }
}
