//! What a provider caches by its beginning stays the same: of a body that is edited all other bytes are the caller's,
//! and a conversation that grows keeps the placeholders that it had.

use std::fmt::Write as _;

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Home, OnPrem, Plan},
    replies::Talk,
    upstream::{Upstream, placeholders},
};

/// Numbers that follow from one another (xorshift), so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % bound
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    fn email(&mut self) -> String {
        let name = self.one_of(&["anna", "boris", "chloe", "daria", "emil", "fiona"]);
        format!("{name}.winter{}@hanbit-semi.com", self.below(4))
    }

    fn space(&mut self) -> &'static str {
        self.one_of(&["", "", " ", "\n  ", "\t"])
    }

    /// A JSON string, spelled in ways that no serializer would choose.
    fn string(&mut self) -> String {
        let mut text = String::from("\"");
        for _ in 0..self.below(6) {
            if self.below(3) == 0 {
                let email = self.email();
                let _ = write!(text, " {email} ");
            } else {
                text.push_str(self.one_of(&[
                    "hello ",
                    "caf\\u00e9 ",
                    "a\\/b ",
                    "gr\u{fc}n ",
                    "\\ud83d\\ude00 ",
                    "line\\n",
                    "\\\"so\\\" ",
                ]));
            }
        }
        text + "\""
    }

    fn value(&mut self, depth: usize) -> String {
        let space = self.space();
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => self
                .one_of(&["1.50", "-0", "1e5", "true", "null", "0.1000"])
                .to_owned(),
            1..=3 => self.string(),
            4 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
                format!("[{space}{}{space}]", items.join(&format!(",{space}")))
            }
            _ => {
                let members: Vec<_> = (0..self.below(4))
                    .map(|number| format!("\"x_{number}\"{space}:{}", self.value(depth - 1)))
                    .collect();
                format!("{{{space}{}{space}}}", members.join(&format!("{space},")))
            }
        }
    }

    fn body(&mut self) -> String {
        let (space, more) = (self.space(), self.value(3));
        let messages: Vec<_> = (0..=self.below(4))
            .map(|_| {
                format!(
                    "{{{space}\"role\":{space}\"user\",\"content\":{}}}",
                    self.string()
                )
            })
            .collect();
        let messages = messages.join(&format!(",{space}"));
        format!("{{\"model\":\"gpt-test\",{space}\"x_more\":{more},\"messages\":[{messages}]{space}}}")
    }
}

/// The e-mail addresses of a body, each once, in order.
fn emails(body: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in body.split([' ', '"']).filter(|word| word.contains('@')) {
        if !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_bodies_every_byte_that_is_not_edited_is_the_callers() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let mut line = caller
        .line(Talk::Chat.host(), false)
        .await
        .expect("Cordon takes a connection");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut edited = 0;
    for number in 0..1000 {
        let body = dice.body();
        cloud.forget();
        let reply = line
            .post(Talk::Chat, body.clone().into_bytes(), &[])
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status, 200, "{number}: {body}\n{}", reply.text());
        let seen = &cloud.asked()[0];
        let arrived = String::from_utf8_lossy(&seen.body).into_owned();
        let (found, put) = (emails(&body), placeholders(&arrived));
        assert_eq!(found.len(), put.len(), "{number}: {body}\n{arrived}");
        let expected = found.iter().zip(&put).fold(body, |body, (email, placeholder)| {
            body.replace(email, placeholder)
        });
        assert_eq!(arrived, expected, "{number}");
        edited += usize::from(!found.is_empty());
    }
    assert!(edited > 500, "only {edited} of the bodies were edited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_grows_keeps_its_beginning() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    for talk in Talk::ALL {
        let messages = if talk == Talk::Responses {
            "input"
        } else {
            "messages"
        };
        let mut dice = Dice(77);
        let mut sent = format!("{{\"model\":\"m-test\",\"max_tokens\":50,\"{messages}\":[");
        let mut before = String::new();
        for turn in 0..12 {
            let (role, comma) = if turn % 2 == 0 {
                ("user", "")
            } else {
                ("assistant", ",")
            };
            let comma = if turn == 0 { comma } else { "," };
            let (one, other) = (dice.email(), dice.email());
            let _ = write!(
                sent,
                "{comma}{{\"role\":\"{role}\",\"content\":\"Turn {turn}: ask {one} about {other}.\"}}"
            );
            cloud.forget();
            let reply = caller
                .post_bytes(talk, format!("{sent}]}}").into_bytes(), &[])
                .await
                .expect("Cordon answers");
            assert_eq!(reply.status, 200, "{talk:?} turn {turn}: {}", reply.text());
            let arrived = String::from_utf8_lossy(&cloud.asked()[0].body).into_owned();
            assert!(!arrived.contains('@'), "{talk:?} turn {turn}: {arrived}");
            assert!(!placeholders(&arrived).is_empty(), "{talk:?} turn {turn}");
            let beginning = arrived
                .strip_suffix("]}")
                .expect("the end of a body is the caller's")
                .to_owned();
            assert!(
                beginning.starts_with(&before),
                "{talk:?} turn {turn}:\n{before}\n{beginning}"
            );
            before = beginning;
        }
    }
}
