//! What must not leave does not leave, and comes back.
//!
//! E-mail address, card number and name of somebody else in each of ten positions of a request; the
//! upstream behind TLS gets not one of them in any form, repeats the placeholders, and the caller
//! reads the originals, in every split of the stream.

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Home, OnPrem, Plan},
    encodings::{self, encoded},
    replies::{Deltas, Talk, call_tool, echo_divided, say},
    upstream::{Answer, Piece, Upstream, placeholders},
};
use serde_json::{Value, json};

/// A person of one position.
struct Person {
    name: String,
    email: String,
    card: String,
}

const GIVEN: [&str; 10] = [
    "Rebecca",
    "Jonathan",
    "Caroline",
    "Frederick",
    "Deborah",
    "Gregory",
    "Kathleen",
    "Lawrence",
    "Meredith",
    "Nathaniel",
];
const SURNAMES: [&str; 10] = [
    "Gardner",
    "Whitaker",
    "Sullivan",
    "Patterson",
    "Richardson",
    "Fitzgerald",
    "Henderson",
    "Montgomery",
    "Robertson",
    "Zimmerman",
];
const POSITIONS: usize = 10;

impl Person {
    fn number(number: usize) -> Self {
        let (given, surname) = (GIVEN[number], SURNAMES[number]);
        Self {
            name: format!("{given} {surname}"),
            email: format!(
                "{}.{}@hanbit-semi.com",
                given.to_lowercase(),
                surname.to_lowercase()
            ),
            card: card(number),
        }
    }

    fn told(&self) -> String {
        format!(
            "Please contact {} <{}>, who paid by card {}.",
            self.name, self.email, self.card
        )
    }

    fn originals(&self) -> [&str; 3] {
        [&self.name, &self.email, &self.card]
    }
}

/// A card number with a right check digit (Luhn), in groups of four.
fn card(number: usize) -> String {
    let body = format!("45390{:010}", 1_372_486_951 + number * 77_713);
    let sum: u32 = body
        .chars()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = digit.to_digit(10).unwrap_or_default();
            let weighted = if place % 2 == 0 { digit * 2 } else { digit };
            if weighted > 9 { weighted - 9 } else { weighted }
        })
        .sum();
    let all = format!("{body}{}", (10 - sum % 10) % 10);
    all.as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A request with a text in each of ten positions of its dialect.
fn ten_positions(talk: Talk, stream: bool, text: &[String]) -> Value {
    let nested = |text: &str| json!({"query": text, "limit": 3}).to_string();
    match talk {
        Talk::Chat => json!({
            "model": "gpt-test", "stream": stream, "metadata": {"ticket": text[9]},
            "messages": [
                {"role": "system", "content": text[0]},
                {"role": "developer", "content": text[1]},
                {"role": "user", "content": text[2]},
                {"role": "assistant", "content": text[3], "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": nested(&text[4])}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": text[5]},
                {"role": "user", "content": [{"type": "text", "text": text[6]}]},
            ],
            "tools": [{"type": "function", "function": {"name": "send", "description": text[7], "parameters":
                {"type": "object", "properties": {"to": {"type": "string", "description": text[8]}}}}}],
        }),
        Talk::Responses => json!({
            "model": "gpt-test", "stream": stream, "instructions": text[0], "metadata": {"ticket": text[9]},
            "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text[1]}]},
                {"role": "user", "content": text[2]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text[3], "annotations": []}]},
                {"type": "function_call", "call_id": "call_1", "name": "send", "arguments": nested(&text[4])},
                {"type": "function_call_output", "call_id": "call_1", "output": text[5]},
                {"role": "user", "content": [{"type": "input_text", "text": text[6]}]},
            ],
            "tools": [{"type": "function", "name": "send", "description": text[7], "parameters":
                {"type": "object", "properties": {"to": {"type": "string", "description": text[8]}}}}],
        }),
        Talk::Messages => json!({
            "model": "claude-test", "stream": stream, "max_tokens": 500, "x_unheard_of": {"deep": [text[9]]},
            "system": [{"type": "text", "text": text[0], "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": text[1]},
                {"role": "assistant", "content": [
                    {"type": "text", "text": text[2]},
                    {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"query": {"inner": text[3]}}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": text[4]}]},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text[5]}},
                    {"type": "text", "text": text[6]}]},
            ],
            "tools": [{"name": "send", "description": text[7], "input_schema":
                {"type": "object", "properties": {"to": {"type": "string", "description": text[8]}}}}],
        }),
    }
}

async fn installation(cloud: &Upstream, on_prem: &Upstream) -> (Home, String) {
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(on_prem), cloud));
    let key = home.key("ann", "staff");
    (home, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_original_leaves_and_every_original_comes_back() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let (home, key) = installation(&cloud, &on_prem).await;
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let people: Vec<Person> = (0..POSITIONS).map(Person::number).collect();
    let texts: Vec<String> = people.iter().map(Person::told).collect();
    for talk in Talk::ALL {
        for stream in [false, true] {
            cloud.answer(|seen| echo_divided(seen, Deltas::Of(5)).in_pieces_of(7));
            let reply = caller
                .post(talk, &ten_positions(talk, stream, &texts))
                .await
                .expect("Cordon answers");
            assert_eq!(reply.status, 200, "{talk:?} {}\n{}", reply.text(), cordon.log());
            assert_eq!(reply.decision(), "redact");
            let said = reply.said(talk);
            assert!(reply.complete && said.complete, "{talk:?} {said:?}");
            for (position, person) in people.iter().enumerate() {
                for original in person.originals() {
                    assert!(
                        !cloud.knows(original),
                        "{talk:?}: {original} of position {position} arrived upstream"
                    );
                    assert!(
                        said.text.contains(original),
                        "{talk:?}: {original} of position {position} is not in {said:?}"
                    );
                }
                let digits = person.card.replace(' ', "");
                assert!(
                    !cloud.knows(&digits),
                    "{talk:?}: the card of position {position} arrived upstream"
                );
            }
            assert!(placeholders(&said.text).is_empty(), "{talk:?}: {said:?}");
            for again in &said.repeated {
                assert_eq!(
                    again, &said.text,
                    "{talk:?}: the stream's end repeats another text"
                );
            }
            let record = home.record(reply.exchange()).await;
            let found = &record["opening"]["body"]["entities"];
            for entity in ["EMAIL", "CREDIT_CARD", "PERSON"] {
                assert!(found[entity].as_u64() >= Some(10), "{talk:?}: {found}");
            }
            assert_eq!(record["closing"]["body"]["outcome"], "completed", "{record:#}");
        }
    }
    assert!(
        on_prem.asked().is_empty(),
        "the engine was asked in the provider's place"
    );
    let log = cordon.log();
    for original in people.iter().flat_map(Person::originals) {
        assert!(!log.contains(original), "the log holds {original}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_come_back_in_every_split_of_the_stream() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let (home, key) = installation(&cloud, &on_prem).await;
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let person = Person::number(3);
    for talk in Talk::ALL {
        let body = talk.request(&person.told(), true).to_string().into_bytes();
        let mut line = caller
            .line(talk.host(), false)
            .await
            .expect("Cordon takes a connection");
        let expected = format!(
            "About {} and {} and {}: done.",
            person.name, person.email, person.card
        );
        // "About [..] and [..] and [..]: done." is shorter than this in any naming of the types.
        let longest = 120;
        let by_delta = (1..longest).map(|at| (Deltas::At(at), usize::MAX));
        let by_size = [1, 2, 3, 4, 7].map(|size| (Deltas::Of(size), usize::MAX));
        let by_bytes = [1, 2, 3, 5, 11, 64].map(|size| (Deltas::Of(2), size));
        for (deltas, size) in by_delta.chain(by_size).chain(by_bytes) {
            cloud.answer(move |seen| {
                let answer = echo_divided(seen, deltas);
                if size == usize::MAX {
                    answer
                } else {
                    answer.in_pieces_of(size)
                }
            });
            let reply = line.post(talk, body.clone(), &[]).await.expect("Cordon answers");
            let said = reply.said(talk);
            assert_eq!(
                said.text,
                expected,
                "{talk:?} {deltas:?} in pieces of {size}: {}",
                reply.text()
            );
            assert!(
                said.complete && reply.complete,
                "{talk:?} {deltas:?} in pieces of {size}"
            );
            assert!(
                said.repeated.iter().all(|again| again == &expected),
                "{talk:?} {deltas:?}: {said:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_come_back_inside_tool_call_arguments() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let (home, key) = installation(&cloud, &on_prem).await;
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let person = Person::number(5);
    for talk in Talk::ALL {
        for stream in [false, true] {
            let mut line = caller
                .line(talk.host(), false)
                .await
                .expect("Cordon takes a connection");
            for size in 1..40 {
                cloud.answer(move |seen| {
                    let named = seen.placeholders();
                    let arguments = json!({"to": named, "note": format!("for {}", named.join("+"))});
                    call_tool(seen, &arguments.to_string(), Deltas::Of(size))
                });
                let body = talk.request(&person.told(), stream).to_string().into_bytes();
                let reply = line.post(talk, body, &[]).await.expect("Cordon answers");
                let said = reply.said(talk);
                let arguments: Value = serde_json::from_str(&said.arguments)
                    .unwrap_or_else(|_| panic!("{talk:?}: arguments are no JSON: {said:?}"));
                let expected = person.originals();
                assert_eq!(arguments["to"], json!(expected), "{talk:?} in deltas of {size}");
                assert_eq!(
                    arguments["note"],
                    format!("for {}", expected.join("+")),
                    "{talk:?} in deltas of {size}"
                );
                assert!(
                    said.repeated.iter().all(|again| again == &said.arguments),
                    "{talk:?}: {said:?}"
                );
                if !stream {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_keeps_its_placeholder_and_a_lookalike_stays_itself() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let (home, key) = installation(&cloud, &on_prem).await;
    let person = Person::number(7);
    let mut placeholder = String::new();
    // Before and after a restart: the same value, the same placeholder.
    for _ in 0..2 {
        let cordon = home.serve().await;
        let caller = Caller::new(&cordon, Door::Proxy, &key);
        for talk in Talk::ALL {
            cloud.forget();
            let request = talk.request(&format!("Write to {}", person.email), false);
            let reply = caller.post(talk, &request).await.expect("Cordon answers");
            assert_eq!(reply.said(talk).text, format!("About {}: done.", person.email));
            let named = cloud.asked()[0].placeholders();
            assert_eq!(named.len(), 1, "{named:?}");
            assert!(
                placeholder.is_empty() || placeholder == named[0],
                "{placeholder} became {}",
                named[0]
            );
            placeholder.clone_from(&named[0]);
        }
        cordon.kill().await;
    }
    // The caller's own text holds that very placeholder: the two must not be confused.
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    for talk in Talk::ALL {
        let text = format!("{placeholder} is not {}", person.email);
        cloud.answer(|seen| {
            say(
                seen,
                &format!("I saw {}", seen.placeholders().join(" and ")),
                Deltas::Of(4),
            )
        });
        for stream in [false, true] {
            let reply = caller
                .post(talk, &talk.request(&text, stream))
                .await
                .expect("Cordon answers");
            assert_eq!(
                reply.said(talk).text,
                format!("I saw {placeholder} and {}", person.email),
                "{talk:?}"
            );
        }
    }
    assert!(!cloud.knows(&person.email), "the address arrived upstream");
}

/// Nobody asks for an encoding, but servers and what stands before them compress all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_comes_back_with_originals_whatever_it_was_compressed_with() {
    let cloud = Upstream::behind_tls().await;
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let person = Person::number(1);
    for encoding in encodings::ALL {
        cloud.answer(move |seen| {
            assert_eq!(seen.header("accept-encoding"), Some(&b"identity"[..]));
            let mut answer = echo_divided(seen, Deltas::Of(3)).with_header("content-encoding", encoding);
            for piece in &mut answer.pieces {
                if let Piece::Bytes(bytes) = piece {
                    *bytes = encoded(encoding, bytes).into();
                }
            }
            answer
        });
        let ask = |stream: bool| {
            Talk::Chat
                .request(&person.told(), stream)
                .to_string()
                .into_bytes()
        };
        let asks_for_it = [
            ("accept-encoding", encoding),
            ("content-type", "application/json"),
        ];
        let reply = caller
            .post_bytes(Talk::Chat, ask(false), &asks_for_it)
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status, 200, "{encoding}: {}", reply.text());
        assert!(reply.headers.get("content-encoding").is_none(), "{encoding}");
        for original in person.originals() {
            assert!(reply.text().contains(original), "{encoding}: {}", reply.text());
        }
        // A stream that is compressed cannot be edited as it comes: an error, and no placeholders.
        let reply = caller
            .post_bytes(Talk::Chat, ask(true), &asks_for_it)
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status, 502, "{encoding}: {}", reply.text());
    }
    // What unpacks beyond the limits is none.
    cloud.answer(|_| {
        let zeros = json!({"choices": [{"message": {"content": " ".repeat(40 << 20)}}]}).to_string();
        Answer::new(200, "application/json", encoded("zstd", zeros.as_bytes()))
            .with_header("content-encoding", "zstd")
    });
    let body = Talk::Chat.request("Ping.", false).to_string().into_bytes();
    let reply = caller
        .post_bytes(Talk::Chat, body, &[("content-type", "application/json")])
        .await
        .expect("Cordon answers");
    assert_eq!(reply.status, 502);
    assert!(reply.body.len() < 4096);
}
