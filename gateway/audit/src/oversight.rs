//! Holds and reveals, as the records of them tell: there is no other state of either.
//!
//! A hold stands from its record until the record of its release. A reveal is asked for, approved by two people with keys of their own over the hash of the very
//! record that asks, and may then be opened until it expires, by the one who asked. Two people are two keys of two names, and two operators: whoever holds
//! another's key file as well as their own is one.
//!
//! What is trusted: the approvers' public keys in the configuration, and that the records are what was written, which
//! [`verify`](crate::verify()) shows. Somebody who writes into the database can take a hold away or add a request; that shows there, and they cannot approve.
//!
//! On failure: [`StoreError`]; [`NotRevealed`] says what a reveal still lacks.

use std::collections::{BTreeMap, BTreeSet};

use cordon_domain::ExchangeId;
use uuid::Uuid;

use crate::{
    note::{Note, Signature, SigningKey, VerifyingKey},
    record::{Body, Entry, EntryHash, HoldPlaced, HoldScope, Operator, RevealRequested, Searched},
    store::{Store, StoreError, Value, number},
};

/// Approvals that a reveal needs.
pub const APPROVALS: usize = 2;

/// Records of people's doings with the audit, the oldest first.
async fn told(store: &Store, kinds: &str, since: u64) -> Result<Vec<(Entry, EntryHash)>, StoreError> {
    let sql = format!(
        "SELECT body FROM audit_record WHERE class = 'governance' AND at >= $1 AND kind IN ({kinds}) ORDER BY at, writer, sequence"
    );
    let read = |row: &Vec<Value>| {
        let body = row.first()?.text()?;
        Some((
            Entry::parse(body.as_bytes()).ok()?,
            EntryHash::of(body.as_bytes()),
        ))
    };
    let rows = store.rows(sql, vec![number(since)]).await?;
    rows.iter()
        .map(|row| read(row).ok_or(StoreError::Garbled("audit_record")))
        .collect()
}

/// Holds that stand.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn holds(store: &Store) -> Result<Vec<HoldPlaced>, StoreError> {
    let mut holds = BTreeMap::new();
    let mut released = BTreeSet::new();
    for (entry, _) in told(store, "'hold_placed', 'hold_released'", 0).await? {
        match entry.body {
            Body::HoldPlaced(hold) => {
                holds.insert(hold.hold, hold);
            }
            // Clocks of two machines differ, so a release may be told before its hold.
            Body::HoldReleased(hold) => {
                released.insert(hold.hold);
            }
            _ => {}
        }
    }
    holds.retain(|id, _| !released.contains(id));
    Ok(holds.into_values().collect())
}

/// The first hold that stands against erasing a subject.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn hold_on(store: &Store, subject: &str) -> Result<Option<HoldPlaced>, StoreError> {
    for hold in holds(store).await? {
        if touches(store, &hold.scope, subject).await? {
            return Ok(Some(hold));
        }
    }
    Ok(None)
}

/// Whether anything of a subject is within a hold's scope. An exchange or a tunnel lasts from the record that opens it to the one that closes it, and is within a
/// time when any of that is. A hold on a subject stands even if nothing of theirs is there yet.
async fn touches(store: &Store, scope: &HoldScope, subject: &str) -> Result<bool, StoreError> {
    let HoldScope {
        subject: whose,
        exchange,
        since,
        until,
    } = scope;
    if whose.as_ref().is_some_and(|whose| whose != subject) {
        return Ok(false);
    }
    if whose.is_some() && exchange.is_none() && since.is_none() && until.is_none() {
        return Ok(true);
    }
    // One that opened before has to have ended before as well, or else some of it may be within.
    let mut sql = String::from(
        "SELECT 1 FROM audit_record o WHERE o.actor = $1 AND o.at < $3 AND (o.at >= $2 OR (o.kind IN ('intent', 'tunnel_opened') \
         AND NOT EXISTS (SELECT 1 FROM audit_record c WHERE c.exchange = o.exchange AND c.kind IN ('seal', 'tunnel_closed') \
         AND c.at >= o.at AND c.at < $2)))",
    );
    let mut values = vec![
        Value::Text(subject.to_owned()),
        number(since.unwrap_or(0)),
        number(until.unwrap_or(u64::MAX)),
    ];
    if let Some(exchange) = exchange {
        values.push(Value::Uuid(exchange.as_uuid()));
        sql.push_str(" AND o.exchange = $4");
    }
    sql.push_str(" LIMIT 1");
    Ok(!store.rows(sql, values).await?.is_empty())
}

/// Look-ups of values by an operator since a time.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn lookups(store: &Store, operator: &str, since: u64) -> Result<usize, StoreError> {
    let told = told(store, "'searched'", since).await?;
    let by = |entry: &Entry| matches!(&entry.body, Body::Searched(Searched { operator: by, value_of: Some(_), .. }) if by.user == operator);
    Ok(told.iter().filter(|(entry, _)| by(entry)).count())
}

/// A reveal that was asked for.
#[derive(Clone, Debug)]
pub struct Reveal {
    /// The request.
    pub request: RevealRequested,
    /// The hash of its record, which approvers sign.
    record: EntryHash,
    /// Approvals in the order of their records, and by whose process each came.
    approvals: Vec<(Operator, Signature)>,
    /// How often it was opened.
    pub opened: usize,
}

/// What a reveal still lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRevealed {
    /// Its time is over.
    #[error("the request has expired; ask again")]
    Expired,
    /// Not enough approvers agreed.
    #[error("it needs the approval of {APPROVALS} approvers other than the one who asked, and has {0}")]
    NotApproved(usize),
    /// Somebody else asked.
    #[error("only {0}, who asked for it, can open it")]
    AnothersRequest(String),
    /// The approver asked for it.
    #[error("{0} asked for it, and cannot approve it")]
    OwnRequest(String),
    /// Whoever works here approved it by another key before.
    #[error(
        "{0} approved it already by the key {1}; another person has to, who says who they are by `--as` if you share a user"
    )]
    SamePerson(String, String),
}

/// All reveals that were asked for, the oldest first.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn reveals(store: &Store) -> Result<Vec<Reveal>, StoreError> {
    let told = told(store, "'reveal_requested', 'reveal_approved', 'revealed'", 0).await?;
    let mut reveals: Vec<Reveal> = Vec::new();
    for (entry, record) in &told {
        if let Body::RevealRequested(request) = &entry.body {
            reveals.push(Reveal {
                request: request.clone(),
                record: *record,
                approvals: Vec::new(),
                opened: 0,
            });
        }
    }
    let of = |reveals: &mut Vec<Reveal>, id: Uuid| reveals.iter().position(|it| it.request.reveal == id);
    for (entry, _) in told {
        match entry.body {
            Body::RevealApproved(approved) => {
                if let Some(at) = of(&mut reveals, approved.reveal)
                    && let Ok(mut lines) = Signature::parse_lines(&format!("{}\n", approved.signature))
                {
                    let by = lines.drain(..).map(|line| (approved.operator.clone(), line));
                    reveals[at].approvals.extend(by);
                }
            }
            Body::Revealed(opened) => {
                if let Some(at) = of(&mut reveals, opened.reveal) {
                    reveals[at].opened += 1;
                }
            }
            _ => {}
        }
    }
    Ok(reveals)
}

impl Reveal {
    /// What an approver signs.
    fn text(&self) -> String {
        let RevealRequested {
            reveal, expires_at, ..
        } = &self.request;
        format!(
            "cordon reveal approval v1\n{reveal}\n{}\n{expires_at}\n",
            self.record
        )
    }

    /// An approver's signature over the request, as a line. `known` are the keys of those who may approve.
    ///
    /// # Errors
    /// When the approver is who asked, by their key's name or by who works here, or has approved by another key.
    pub fn approve(
        &self,
        key: &SigningKey,
        operator: &Operator,
        known: &[VerifyingKey],
        at: u64,
    ) -> Result<String, NotRevealed> {
        let approver = key.verifying().name();
        if self.asked(approver) {
            return Err(NotRevealed::OwnRequest(approver.to_owned()));
        }
        if same(operator, &self.request.operator) {
            return Err(NotRevealed::OwnRequest(operator.name().to_owned()));
        }
        let earlier = self.agreed(known);
        let other = |(name, by): &&(&str, &Operator)| *name != approver && same(by, operator);
        if let Some((name, _)) = earlier.iter().find(other) {
            return Err(NotRevealed::SamePerson(
                operator.name().to_owned(),
                (*name).to_owned(),
            ));
        }
        Ok(key.sign(&self.text(), at).to_string())
    }

    /// Whether that is a name of who asked: the system's, or the one that they say they have.
    fn asked(&self, name: &str) -> bool {
        let operator = &self.request.operator;
        name == operator.user || operator.claimed.as_deref() == Some(name)
    }

    /// Approvers, of those that are given, who agreed, and by whose process. Two keys of one name are one approver, so are two names by one operator, and who
    /// asked is none.
    fn agreed<'r>(&'r self, known: &'r [VerifyingKey]) -> Vec<(&'r str, &'r Operator)> {
        let mut agreed: Vec<(&str, &Operator)> = Vec::new();
        let Ok(text) = Note::new(self.text()) else {
            return agreed;
        };
        for (operator, signature) in &self.approvals {
            let mut note = text.clone();
            if note.push(signature.clone()).is_err() {
                continue;
            }
            let Some(key) = known.iter().find(|key| note.vouched_by(key).is_ok()) else {
                continue;
            };
            let counts = |(name, by): &(&str, &Operator)| *name != key.name() && !same(by, operator);
            if !self.asked(key.name()) && !same(operator, &self.request.operator) && agreed.iter().all(counts)
            {
                agreed.push((key.name(), operator));
            }
        }
        agreed
    }

    /// Names of the approvers, of those that are given, who agreed.
    #[must_use]
    pub fn approvers(&self, known: &[VerifyingKey]) -> Vec<String> {
        let names: BTreeSet<&str> = self.agreed(known).into_iter().map(|(name, _)| name).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Whether it may be opened now by an operator; who approved.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_open(
        &self,
        operator: &Operator,
        known: &[VerifyingKey],
        now: u64,
    ) -> Result<Vec<String>, NotRevealed> {
        if now >= self.request.expires_at {
            return Err(NotRevealed::Expired);
        }
        if *operator != self.request.operator {
            return Err(NotRevealed::AnothersRequest(
                self.request.operator.name().to_owned(),
            ));
        }
        let approvers = self.approvers(known);
        if approvers.len() < APPROVALS {
            return Err(NotRevealed::NotApproved(approvers.len()));
        }
        Ok(approvers)
    }
}

/// Whether two operators are one person, as far as they say: of one user and one claimed name, or of one name.
fn same(one: &Operator, other: &Operator) -> bool {
    one == other || one.name() == other.name()
}

/// The records of an exchange, the oldest first.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn records_of(store: &Store, exchange: ExchangeId) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT body FROM audit_record WHERE exchange = $1 ORDER BY at, writer, sequence";
    let rows = store
        .rows(sql.to_owned(), vec![Value::Uuid(exchange.as_uuid())])
        .await?;
    rows.iter()
        .map(|row| {
            row.first()
                .and_then(|body| Entry::parse(body.text()?.as_bytes()).ok())
        })
        .map(|entry| entry.ok_or(StoreError::Garbled("audit_record")))
        .collect()
}

#[cfg(test)]
mod tests {
    use cordon_domain::ExchangeId;

    use super::*;
    use crate::{
        commitment::Part,
        note::Algorithm,
        record::{Operator, Sealed},
    };

    fn operator(name: &str) -> Operator {
        Operator {
            user: name.to_owned(),
            claimed: None,
        }
    }

    fn asked(by: &str) -> Reveal {
        Reveal {
            request: RevealRequested {
                reveal: Uuid::from_u128(7),
                operator: operator(by),
                reason: "case 12".into(),
                of: Sealed::Payload {
                    exchange: ExchangeId::from(Uuid::from_u128(8)),
                    part: Part::Request,
                },
                expires_at: 1000,
            },
            record: EntryHash::of(b"the record"),
            approvals: Vec::new(),
            opened: 0,
        }
    }

    fn approver(name: &str) -> SigningKey {
        let dir = tempfile::tempdir().unwrap();
        SigningKey::load_or_create(&dir.path().join("key"), name, Algorithm::Ed25519).unwrap()
    }

    fn public(keys: &[SigningKey]) -> Vec<VerifyingKey> {
        keys.iter().map(|key| key.verifying().clone()).collect()
    }

    fn sign(reveal: &mut Reveal, key: &SigningKey, by: &Operator) {
        let line = key.sign(&reveal.text(), 1).to_string();
        let lines = Signature::parse_lines(&format!("{line}\n")).unwrap();
        reveal
            .approvals
            .extend(lines.into_iter().map(|line| (by.clone(), line)));
    }

    /// Approves as the key's own operator.
    fn approve(reveal: &mut Reveal, key: &SigningKey, known: &[VerifyingKey]) {
        let by = operator(key.verifying().name());
        reveal.approve(key, &by, known, 1).unwrap();
        sign(reveal, key, &by);
    }

    #[test]
    fn two_others_approve_before_it_is_opened_in_time_by_who_asked() {
        let keys = [approver("ann"), approver("bob"), approver("cat")];
        let known = public(&keys);
        let mut reveal = asked("cat");
        assert_eq!(
            reveal.may_open(&operator("cat"), &known, 1),
            Err(NotRevealed::NotApproved(0))
        );
        approve(&mut reveal, &keys[0], &known);
        approve(&mut reveal, &keys[0], &known);
        assert_eq!(
            reveal.may_open(&operator("cat"), &known, 1),
            Err(NotRevealed::NotApproved(1)),
            "one approver twice"
        );
        assert_eq!(
            reveal.approve(&keys[2], &operator("dan"), &known, 1),
            Err(NotRevealed::OwnRequest("cat".into()))
        );
        // A stranger, and an approver of the same name with a key that is not configured.
        for stranger in [approver("dan"), approver("bob")] {
            approve(&mut reveal, &stranger, &known);
        }
        assert_eq!(
            reveal.may_open(&operator("cat"), &known, 1),
            Err(NotRevealed::NotApproved(1))
        );
        approve(&mut reveal, &keys[1], &known);
        assert_eq!(
            reveal.may_open(&operator("cat"), &known, 1).unwrap(),
            ["ann", "bob"]
        );
        assert_eq!(
            reveal.may_open(&operator("ann"), &known, 1),
            Err(NotRevealed::AnothersRequest("cat".into()))
        );
        assert_eq!(
            reveal.may_open(&operator("cat"), &known, 1000),
            Err(NotRevealed::Expired)
        );

        // Their signatures are worth nothing under another request, nor under one that was altered.
        for altered in [
            Reveal {
                record: EntryHash::of(b"another record"),
                ..reveal.clone()
            },
            Reveal {
                request: RevealRequested {
                    expires_at: 2000,
                    ..reveal.request.clone()
                },
                ..reveal.clone()
            },
        ] {
            assert_eq!(
                altered.may_open(&operator("cat"), &known, 1),
                Err(NotRevealed::NotApproved(0))
            );
        }
    }

    #[test]
    fn who_asked_does_not_count_even_if_they_sign() {
        let keys = [approver("ann"), approver("cat")];
        let known = public(&keys);
        let mut reveal = asked("cat");
        approve(&mut reveal, &keys[0], &known);
        sign(&mut reveal, &keys[1], &operator("dan"));
        assert_eq!(
            reveal.may_open(&operator("cat"), &known, 1),
            Err(NotRevealed::NotApproved(1))
        );
    }

    #[test]
    fn another_name_makes_nobody_a_second_person() {
        let keys = [approver("ann"), approver("bob"), approver("cat")];
        let known = public(&keys);
        let somebody = Operator {
            user: "cat".to_owned(),
            claimed: Some("somebody".to_owned()),
        };
        let mut reveal = asked("cat");
        reveal.request.operator = somebody.clone();
        assert_eq!(
            reveal.approve(&keys[2], &operator("dan"), &known, 1),
            Err(NotRevealed::OwnRequest("cat".into()))
        );
        approve(&mut reveal, &keys[0], &known);
        sign(&mut reveal, &keys[2], &operator("dan"));
        assert_eq!(
            reveal.may_open(&somebody, &known, 1),
            Err(NotRevealed::NotApproved(1))
        );
        approve(&mut reveal, &keys[1], &known);
        // Only who asked, by the same names.
        let other = Operator {
            user: "dan".to_owned(),
            claimed: Some("somebody".to_owned()),
        };
        assert!(matches!(
            reveal.may_open(&other, &known, 1),
            Err(NotRevealed::AnothersRequest(_))
        ));
        assert!(reveal.may_open(&somebody, &known, 1).is_ok());
    }

    #[test]
    fn who_holds_anothers_key_too_is_one_person() {
        let keys = [approver("ann"), approver("bob")];
        let known = public(&keys);
        let shared = |claimed: Option<&str>| Operator {
            user: "root".to_owned(),
            claimed: claimed.map(str::to_owned),
        };
        let mut reveal = asked("cat");
        reveal.request.operator = shared(Some("cat"));
        // The asker by another's key, under the same name or by saying it from another user.
        for by in [shared(Some("cat")), operator("cat")] {
            let refused = reveal.approve(&keys[0], &by, &known, 1);
            assert_eq!(refused, Err(NotRevealed::OwnRequest("cat".into())));
            sign(&mut reveal, &keys[0], &by);
        }
        assert!(reveal.approvers(&known).is_empty());
        // One approver by both keys.
        sign(&mut reveal, &keys[0], &shared(Some("ann")));
        assert!(reveal.approve(&keys[0], &shared(Some("ann")), &known, 1).is_ok());
        assert_eq!(
            reveal.approve(&keys[1], &shared(Some("ann")), &known, 1),
            Err(NotRevealed::SamePerson("ann".into(), "ann".into()))
        );
        sign(&mut reveal, &keys[1], &shared(Some("ann")));
        assert_eq!(reveal.approvers(&known), ["ann"]);
        sign(&mut reveal, &keys[1], &shared(Some("bob")));
        assert_eq!(reveal.approvers(&known), ["ann", "bob"]);
    }
}
