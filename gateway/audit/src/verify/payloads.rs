//! Compares what is kept sealed, and the keys that it opens under, with what the records say of both, and tells what was erased from what
//! somebody took.
//!
//! A sealed part is there for each record that names one and for no other, with the bytes that were sealed; no key is needed to see that. The key
//! that a record names is there as it was, or was erased as a record of the erasure says. A subject that was erased has no key left
//! that was made before.
//!
//! Records of before there were these fields name neither bytes nor key: of theirs it is compared that a part is there, and that its key is
//! there or was erased. Whether the part is the one that was sealed shows when it is opened.
//!
//! Where keys are in a database apart, there are two moments that are looked at, of the records first. What happens between the two is told from what is wrong by
//! looking again: an erasure is on record before it is carried out, and records go before their keys do.
//!
//! Limits: what is held at once is what a window of a chain names, [`PAGE`] keys, and the erasures that are on record.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{ControlFlow, RangeInclusive},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Broken, Fault, VerifyError};
use crate::{
    attachment::WrappedKey,
    commitment::Part,
    record::{Body, Entry, EntryHash, NamedKey, TreeName, WriterId},
    store::{
        Look, Row, Snapshot, Store, StoreError, Value,
        columns::{Cell, Form},
        number,
    },
};

/// Keys that are read at once, where all are.
const PAGE: usize = 2000;
/// Keys that are asked for at once by their ids.
const ASKED: usize = 64;
/// How long an erasure that is on record may take to be carried out: the record comes first.
const UNDER_WAY: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);

/// What is kept sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sealed {
    /// Parts whose keys are there.
    pub(super) kept: u64,
    /// Parts whose keys were erased.
    pub(super) erased: u64,
}

/// What a record says of what is kept beside it.
pub(super) struct Beside {
    sequence: u64,
    at: u64,
    tree: TreeName,
    payload: Option<(Part, Option<EntryHash>)>,
    key: Option<Box<NamedKey>>,
}

impl Beside {
    /// None where nothing is kept beside it.
    pub(super) fn said(entry: &Entry) -> Option<Self> {
        let payload = match &entry.body {
            Body::Intent(intent) => intent.payload.as_deref(),
            Body::Seal(seal) => seal.payload.as_deref(),
            _ => None,
        };
        let payload = payload.map(|kept| (kept.part, kept.sealed));
        (payload.is_some() || entry.key.is_some()).then(|| Self {
            sequence: entry.sequence,
            at: entry.at,
            tree: entry.tree(),
            payload,
            key: entry.key.clone(),
        })
    }

    /// What of a row of `audit_payload` is not as the record says.
    fn differs(&self, row: &[Cell<'_>]) -> Option<&'static str> {
        let (part, sealed) = self.payload?;
        let is_named = |id| self.key.as_ref().is_none_or(|key| key.id == id);
        match (row[5], sealed) {
            (Cell::Bytes(_), None) => {}
            (Cell::Bytes(bytes), Some(sealed)) if EntryHash::of(bytes) == sealed => {}
            _ => return Some("bytes"),
        }
        match row[1] {
            Cell::Uuid(id) if is_named(id) => {}
            _ => return Some("key"),
        }
        if row[2].text() != Some(part.name()) {
            return Some("part");
        }
        if row[3].sequence() != Some(self.at) {
            return Some("time");
        }
        (row[4].text() != Some(self.tree.class())).then_some("class")
    }
}

/// A subject's key as the store has it.
struct Key {
    tenant: String,
    subject: String,
    made: u64,
    state: State,
}

enum State {
    /// It is there; the hash of it as it travelled.
    Wrapped(EntryHash),
    Shredded,
    /// Neither: by half, or more than once.
    Spoilt,
}

/// The last erasure of a subject that is on record.
#[derive(Clone, Copy)]
struct Erasure {
    until: u64,
    writer: WriterId,
    sequence: u64,
}

/// By tenant and subject.
type Erasures = HashMap<(String, String), Erasure>;

/// Compares what is kept sealed, a window of a chain at a time.
pub(super) struct Payloads {
    erasures: Erasures,
    found: Sealed,
    /// The records as they are by now.
    live: Store,
    apart: Option<Apart>,
}

/// The database that has keys apart from the records.
struct Apart {
    live: Store,
    snapshot: Snapshot,
}

/// The columns of a key, in the order that [`Key::read`] takes them.
const KEY: &str = "id, tenant, subject, created_at, wrapped, name";

impl Key {
    fn read(row: &Row) -> Option<(Uuid, Self)> {
        let [id, tenant, subject, made, wrapped, name] = row.as_slice() else {
            return None;
        };
        let (id, made) = (id.uuid()?, made.sequence()?);
        let (tenant, subject) = (tenant.text()?.to_owned(), subject.text()?.to_owned());
        let state = match (wrapped, name) {
            (Value::Null, Value::Null) => State::Shredded,
            (Value::Bytes(wrapped), Value::Bytes(name)) => {
                let key = WrappedKey {
                    id,
                    tenant: tenant.clone(),
                    subject: subject.clone(),
                    created_at: made,
                    wrapped: wrapped.clone(),
                    name: name.clone(),
                };
                State::Wrapped(key.named().sha256)
            }
            _ => State::Spoilt,
        };
        let key = Self {
            tenant,
            subject,
            made,
            state,
        };
        Some((id, key))
    }

    fn is_erased(&self, erasures: &Erasures) -> bool {
        self.erasure(erasures).is_some()
    }

    /// The erasure on record that it falls under.
    fn erasure(&self, erasures: &Erasures) -> Option<Erasure> {
        let whose = (self.tenant.clone(), self.subject.clone());
        let erasure = erasures.get(&whose).copied();
        erasure.filter(|erasure| erasure.until >= self.made)
    }

    /// What is wrong with it as the key that a record names.
    fn fault(&self, named: &NamedKey, erasures: &Erasures) -> Option<Fault> {
        if (&self.tenant, &self.subject) != (&named.tenant, &named.subject) {
            return Some(Fault::KeyAltered("subject"));
        }
        if self.made != named.made {
            return Some(Fault::KeyAltered("time"));
        }
        match self.state {
            State::Wrapped(sha256) if sha256 == named.sha256 => None,
            State::Shredded if self.is_erased(erasures) => None,
            State::Shredded => Some(Fault::KeyTaken),
            State::Wrapped(_) | State::Spoilt => Some(Fault::KeyAltered("key")),
        }
    }
}

impl Payloads {
    pub(super) async fn new(
        snapshot: &mut Snapshot,
        store: &Store,
        keys: Option<&Store>,
    ) -> Result<Self, VerifyError> {
        let erasures = erasures(snapshot).await?;
        let apart = match keys {
            Some(keys) => Some(Apart {
                live: keys.clone(),
                snapshot: keys.snapshot().await?,
            }),
            None => None,
        };
        Ok(Self {
            erasures,
            found: Sealed::default(),
            live: store.clone(),
            apart,
        })
    }

    /// The keys of these ids, as far as they are there, where they are kept apart before those beside the records.
    async fn keys(
        &mut self,
        snapshot: &mut Snapshot,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Key>, VerifyError> {
        let mut found = keys(snapshot, ids).await?;
        if let Some(apart) = &mut self.apart {
            found.extend(keys(&mut apart.snapshot, ids).await?);
            let unexplained =
                |key: &Key| matches!(key.state, State::Shredded) && !key.is_erased(&self.erasures);
            if found.values().any(unexplained) {
                self.erasures = erasures(&mut self.live).await?;
            }
        }
        Ok(found)
    }

    /// Whether a record whose key is gone had its time since the records were looked at.
    async fn is_pruned(&self, writer: WriterId, sequence: u64) -> Result<bool, StoreError> {
        if self.apart.is_none() {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM audit_record WHERE writer = $1 AND sequence = $2";
        let rows = self
            .live
            .rows(sql.to_owned(), vec![writer.into(), number(sequence)]);
        Ok(rows.await?.is_empty())
    }

    /// Compares what lies beside a window of a writer's records. `beside` is what those say, by rising sequence.
    pub(super) async fn compare(
        &mut self,
        snapshot: &mut Snapshot,
        writer: WriterId,
        window: RangeInclusive<u64>,
        beside: &[Beside],
    ) -> Result<(), VerifyError> {
        let broken = |sequence, fault| Broken {
            writer,
            sequence,
            fault,
        };
        let mut named = beside.iter().filter(|beside| beside.payload.is_some()).peekable();
        let mut opened_by: Vec<(u64, Uuid)> = Vec::new();
        let mut outcome = Ok(());
        let mut one = |row: &[Cell<'_>]| {
            let sequence = row[0].sequence().unwrap_or(0);
            if let Some(missing) = named.next_if(|next| next.sequence < sequence) {
                return Err(broken(missing.sequence, Fault::PayloadMissing));
            }
            let Some(beside) = named.next_if(|next| next.sequence == sequence) else {
                return Err(broken(sequence, Fault::PayloadBeside));
            };
            if let Some(what) = beside.differs(row) {
                return Err(broken(sequence, Fault::PayloadAltered(what)));
            }
            if let Cell::Uuid(key) = row[1] {
                opened_by.push((sequence, key));
            }
            Ok(())
        };
        let mut take = |row: &[Cell<'_>]| {
            outcome = one(row);
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let sql = format!(
            "SELECT sequence, key, part, at, class, sealed FROM audit_payload \
             WHERE writer = '{writer}' AND sequence >= {} AND sequence <= {} ORDER BY sequence",
            window.start(),
            window.end()
        );
        let forms = [
            Form::Int,
            Form::Uuid,
            Form::Text,
            Form::Int,
            Form::Text,
            Form::Bytes,
        ];
        snapshot.scan(&sql, &forms, &mut take).await?;
        outcome?;
        if let Some(missing) = named.next() {
            return Err(broken(missing.sequence, Fault::PayloadMissing).into());
        }
        let of_records = beside.iter().filter_map(|beside| Some(beside.key.as_ref()?.id));
        let mut wanted: Vec<Uuid> = of_records.chain(opened_by.iter().map(|(_, key)| *key)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let keys = self.keys(snapshot, &wanted).await?;
        for beside in beside {
            let Some(named) = &beside.key else { continue };
            let fault = match keys.get(&named.id) {
                Some(key) => key.fault(named, &self.erasures),
                None if self.is_pruned(writer, beside.sequence).await? => None,
                None => Some(Fault::KeyTaken),
            };
            if let Some(fault) = fault {
                return Err(broken(beside.sequence, fault).into());
            }
        }
        for (sequence, id) in opened_by {
            let fault = match keys.get(&id) {
                Some(Key {
                    state: State::Wrapped(_),
                    ..
                }) => {
                    self.found.kept += 1;
                    continue;
                }
                Some(
                    key @ Key {
                        state: State::Shredded,
                        ..
                    },
                ) if key.is_erased(&self.erasures) => {
                    self.found.erased += 1;
                    continue;
                }
                Some(Key {
                    state: State::Spoilt, ..
                }) => Fault::KeyAltered("key"),
                None if self.is_pruned(writer, sequence).await? => continue,
                Some(_) | None => Fault::KeyTaken,
            };
            return Err(broken(sequence, fault).into());
        }
        Ok(())
    }

    /// Looks at all keys, those too that no record names, once all chains are walked.
    pub(super) async fn finish(mut self, snapshot: &mut Snapshot) -> Result<Sealed, VerifyError> {
        let live = self.live.clone();
        self.all(snapshot, &live).await?;
        if let Some(Apart { live, mut snapshot }) = self.apart.take() {
            let looked = self.all(&mut snapshot, &live).await;
            snapshot.close().await;
            looked?;
        }
        Ok(self.found)
    }

    /// Looks at all keys of a database.
    async fn all(&mut self, snapshot: &mut Snapshot, live: &Store) -> Result<(), VerifyError> {
        // Of each erasure one key that is still there: they go together.
        let mut left: BTreeMap<(WriterId, u64), Uuid> = BTreeMap::new();
        let mut behind: Option<Uuid> = None;
        loop {
            let (condition, values) = match behind {
                None => ("", Vec::new()),
                Some(id) => ("WHERE k.id > $1", vec![Value::Uuid(id)]),
            };
            // What was carried out took the keys in the transaction that left its mark.
            let sql = format!(
                "SELECT k.id, k.tenant, k.subject, k.created_at, k.wrapped, k.name, e.at FROM audit_key k \
                 LEFT JOIN audit_erasure e ON e.tenant = k.tenant AND e.subject = k.subject \
                 {condition} ORDER BY k.id LIMIT {PAGE}"
            );
            let mut rows = snapshot.look(&sql, values).await?;
            if rows.is_empty() {
                break;
            }
            for row in &mut rows {
                let marked = row.pop().and_then(|at| at.sequence());
                let (id, key) = Key::read(row).ok_or(StoreError::Garbled("audit_key"))?;
                behind = Some(id);
                let is_shredded = matches!(key.state, State::Shredded);
                if is_shredded && !key.is_erased(&self.erasures) {
                    self.erasures = erasures(&mut self.live).await?;
                }
                match (&key.state, key.erasure(&self.erasures)) {
                    (State::Wrapped(_), None) | (State::Shredded, Some(_)) => {}
                    (State::Wrapped(_), Some(erasure)) => {
                        if marked >= Some(key.made) {
                            return Err(not_carried_out(erasure.writer, erasure.sequence).into());
                        }
                        left.insert((erasure.writer, erasure.sequence), id);
                    }
                    (State::Shredded | State::Spoilt, _) => return Err(VerifyError::Key(id)),
                }
            }
        }
        let until = Instant::now() + UNDER_WAY;
        for ((writer, sequence), id) in left {
            while is_wrapped(live, id).await? {
                if Instant::now() >= until {
                    return Err(not_carried_out(writer, sequence).into());
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

fn not_carried_out(writer: WriterId, sequence: u64) -> Broken {
    Broken {
        writer,
        sequence,
        fault: Fault::NotErased,
    }
}

/// Whether a key is there by now.
async fn is_wrapped(store: &Store, id: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM audit_key WHERE id = $1 AND wrapped IS NOT NULL";
    let rows = store.rows(sql.to_owned(), vec![Value::Uuid(id)]).await?;
    Ok(!rows.is_empty())
}

/// The keys of these ids, as far as they are there.
async fn keys(snapshot: &mut Snapshot, ids: &[Uuid]) -> Result<HashMap<Uuid, Key>, StoreError> {
    let mut found = HashMap::new();
    let marks: Vec<String> = (1..=ASKED).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT {KEY} FROM audit_key WHERE id IN ({})", marks.join(", "));
    for chunk in ids.chunks(ASKED) {
        // The last fills the places that are left, so that there is one statement to prepare.
        let last = std::iter::repeat(&chunk[chunk.len() - 1]);
        let values = chunk.iter().chain(last).take(ASKED);
        let values = values.map(|id| Value::Uuid(*id)).collect();
        for row in snapshot.look(&sql, values).await? {
            let (id, mut key) = Key::read(&row).ok_or(StoreError::Garbled("audit_key"))?;
            if found.contains_key(&id) {
                // There are two where somebody dropped the table's own key. Which of them opens is anybody's guess.
                key.state = State::Spoilt;
            }
            found.insert(id, key);
        }
    }
    Ok(found)
}

/// The last erasure of each subject that is on record.
async fn erasures(by: &mut impl Look) -> Result<Erasures, StoreError> {
    let mut erasures = Erasures::new();
    let sql = "SELECT body FROM audit_record WHERE class = $1 AND kind = 'erased'";
    let governance = Value::Text(TreeName::governance().class().to_owned());
    for row in by.look(sql, vec![governance]).await? {
        let body = row.first().and_then(Value::text).unwrap_or_default();
        // One that does not read is found, and told of, where its chain is walked.
        let Ok(Entry {
            writer,
            sequence,
            body: Body::Erased(it),
            ..
        }) = Entry::parse(body.as_bytes())
        else {
            continue;
        };
        let erasure = Erasure {
            until: it.until,
            writer,
            sequence,
        };
        for tenant in it.tenants.into_iter().chain(it.ahead) {
            let last = erasures.entry((tenant, it.subject.clone())).or_insert(erasure);
            if last.until < erasure.until {
                *last = erasure;
            }
        }
    }
    Ok(erasures)
}
