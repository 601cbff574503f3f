//! What is asked: bodies of a chat whose texts no two requests share, as far as that is what is measured.

/// What must never reach the provider, and must come back.
pub const ORIGINALS: [&str; 3] = [
    "mira.holt@fab-seven.example",
    "4111 1111 1111 1111",
    "+49 30 901820-33",
];

/// Ordinary sentences, of which texts are made.
const SENTENCES: [&str; 16] = [
    "The second batch left the line on Tuesday and the inspection found nothing out of the ordinary. ",
    "Please keep the tone friendly, and do not promise a date before the warehouse has confirmed it. ",
    "Our colleagues in the evening shift will go through the open questions and write down what is missing. ",
    "When the pump is started cold, the pressure rises slowly and settles after a few minutes. ",
    "The draft of the agreement names three suppliers, but only one of them can deliver the larger size. ",
    "I read the report twice and still cannot see why the estimate for the spring was so much lower. ",
    "If the customer asks for a refund, explain the steps and attach the form at the end of the letter. ",
    "Most of the complaints are about packaging that arrives wet, so we should look at the lids again. ",
    "The function returns early when the list is empty, which the caller does not seem to expect. ",
    "Next week the whole team meets to decide which of the proposals goes to the board. ",
    "A short summary at the top would help readers who have no time for the details. ",
    "Half of the sensors were replaced in autumn, and the others will follow when the parts arrive. ",
    "It would be good to know whether the translation keeps the meaning of the second paragraph. ",
    "The training material explains the safety rules well, but the pictures are out of date. ",
    "We compared both offers line by line and found that the cheaper one leaves out the installation. ",
    "Thank the visitors for their patience and tell them that the tour begins at the main entrance. ",
];

/// Words that number a request without a digit.
const WORDS: [&str; 16] = [
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "junco", "knoll",
    "larch", "maple", "north", "ocean", "pearl",
];

/// About so many bytes of sentences, beginning with the one of that number.
fn prose(first: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 128);
    let mut sentences = SENTENCES.iter().cycle().skip(first % SENTENCES.len());
    while text.len() < bytes {
        text.push_str(sentences.next().expect("a cycle has no end"));
    }
    text
}

/// The body of a request, but for the words that make it this one.
pub struct Body {
    before: String,
    after: String,
}

/// What comes back, and so the name of the language model that is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A plain reply.
    Plain,
    /// Chunks at a pace.
    Paced,
    /// Chunks as fast as they can be sent.
    Flood,
    /// Chunks now and then, for as long as the caller stays.
    Endless,
}

impl Answer {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Plain, "bench-plain"),
        (Self::Paced, "bench-paced"),
        (Self::Flood, "bench-flood"),
        (Self::Endless, "bench-endless"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// What a body asks for.
    pub fn asked_by(body: &[u8]) -> Option<Self> {
        // It stands in front, so that large bodies need not be read for it.
        let front = &body[..body.len().min(64)];
        Self::NAMES
            .into_iter()
            .find(|(_, name)| memchr::memmem::find(front, name.as_bytes()).is_some())
            .map(|(answer, _)| answer)
    }
}

impl Body {
    /// One question of about so many bytes, all of it new each time.
    pub fn new_text(bytes: usize, answer: Answer) -> Self {
        Self::of(&[], &ask(&prose(0, bytes.saturating_sub(480))), answer)
    }

    /// A turn of a conversation: what was said before is sent again, the last question is new. This is how programs
    /// use language models, agents above all.
    pub fn turn(bytes: usize, answer: Answer) -> Self {
        let last = (bytes / 8).clamp(300, 2000);
        // What is left of the size is shared evenly, so that it is kept whatever the number of turns.
        let rest = bytes.saturating_sub(last + 400);
        let turns = (rest / (last * 2)).max(1);
        let each = rest / turns;
        let before: Vec<String> = (0..turns)
            .map(|turn| {
                format!(
                    "{}{}",
                    prose(turn * 3, each.saturating_sub(110)),
                    turn_words(turn)
                )
            })
            .collect();
        Self::of(&before, &ask(&prose(7, last.saturating_sub(150))), answer)
    }

    fn of(before: &[String], last: &str, answer: Answer) -> Self {
        let said = before.iter().enumerate().map(|(turn, text)| {
            let role = if turn % 2 == 0 { "user" } else { "assistant" };
            serde_json::json!({"role": role, "content": text})
        });
        let mut messages = vec![serde_json::json!({
            "role": "system", "content": "You are the assistant of a customer service team. Answer in English."
        })];
        messages.extend(said);
        messages.push(serde_json::json!({"role": "user", "content": format!("{MARK}{last}")}));
        let messages = serde_json::Value::from(messages).to_string();
        let stream = answer != Answer::Plain;
        let body = format!(
            "{{\"model\":\"{}\",\"temperature\":0.2,\"stream\":{stream},\"messages\":{messages}}}",
            answer.name()
        );
        let (before, after) = body.split_once(MARK).expect("the mark was put in above");
        Self {
            before: before.to_owned(),
            after: after.to_owned(),
        }
    }

    /// The body with this number.
    pub fn numbered(&self, number: u64) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.before.len() + self.after.len() + 64);
        body.extend_from_slice(self.before.as_bytes());
        let mut rest = number;
        loop {
            body.extend_from_slice(WORDS[(rest % 16) as usize].as_bytes());
            body.push(b' ');
            rest /= 16;
            if rest == 0 {
                break;
            }
        }
        body.extend_from_slice(self.after.as_bytes());
        body
    }
}

/// Where the number goes; nothing else in a body looks like it.
const MARK: &str = "@@number@@";

fn ask(background: &str) -> String {
    format!(
        "was the word of the day. Please write a short, friendly answer to {}, who paid with card {} and can be called at {}. Background: {background}",
        ORIGINALS[0], ORIGINALS[1], ORIGINALS[2]
    )
}

fn turn_words(turn: usize) -> String {
    format!("So much for {} {}.", WORDS[turn % 16], WORDS[turn / 16 % 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_size_and_are_json() {
        for bytes in [2_000, 100_000] {
            for body in [
                Body::new_text(bytes, Answer::Plain),
                Body::turn(bytes, Answer::Flood),
            ] {
                let text = body.numbered(123_456);
                let off = text.len() as f64 / bytes as f64;
                assert!((0.9..1.1).contains(&off), "{} for {bytes}", text.len());
                serde_json::from_slice::<serde_json::Value>(&text).unwrap();
                assert_ne!(text, body.numbered(123_457));
                for original in ORIGINALS {
                    assert!(memchr::memmem::find(&text, original.as_bytes()).is_some());
                }
            }
        }
        let asked = Answer::asked_by(&Body::turn(2_000, Answer::Endless).numbered(1));
        assert!(asked == Some(Answer::Endless));
    }
}
