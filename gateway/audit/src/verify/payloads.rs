//! Compares what is kept sealed with what the records say is kept, and tells what was erased from what somebody took.
//!
//! A sealed part is there for each record that names one and for no other, and the key that it opens under is there, or was erased
//! as a record of the erasure says. Whether a sealed part is still the one that was sealed shows when it is opened: its
//! record holds a commitment to what is inside.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
};

use uuid::Uuid;

use super::{Broken, Fault, VerifyError};
use crate::{
    record::{Body, Entry, TreeName, WriterId},
    store::{
        Look, Snapshot, StoreError, Value,
        columns::{Cell, Form},
    },
};

/// What is kept sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sealed {
    /// Parts whose keys are there.
    pub(super) kept: u64,
    /// Parts whose keys were erased.
    pub(super) erased: u64,
}

/// The state of a subject's key.
enum Key {
    Kept,
    /// A record says that it was.
    Erased,
    /// Nobody recorded that it was.
    Taken,
}

/// Compares all parts. `named` are the records of each writer that name one, by rising sequence.
pub(super) async fn compare(
    snapshot: &mut Snapshot,
    named: &BTreeMap<WriterId, Vec<u64>>,
) -> Result<Sealed, VerifyError> {
    let keys = keys(snapshot).await?;
    let mut found = Sealed::default();
    let mut left: HashMap<WriterId, HashSet<u64>> = named
        .iter()
        .map(|(writer, sequences)| (*writer, sequences.iter().copied().collect()))
        .collect();
    let mut outcome = Ok(());
    let mut take = |cells: &[Cell<'_>]| {
        outcome = (|| {
            let (Cell::Uuid(writer), Some(sequence), Cell::Uuid(key)) =
                (cells[0], cells[1].sequence(), cells[2])
            else {
                return Err(VerifyError::from(StoreError::Garbled("audit_payload")));
            };
            let writer = WriterId::from(writer);
            let broken = |fault| Broken {
                writer,
                sequence,
                fault,
            };
            if !left.get_mut(&writer).is_some_and(|left| left.remove(&sequence)) {
                return Err(broken(Fault::PayloadBeside).into());
            }
            match keys.get(&key) {
                Some(Key::Kept) => found.kept += 1,
                Some(Key::Erased) => found.erased += 1,
                Some(Key::Taken) | None => return Err(broken(Fault::KeyTaken).into()),
            }
            Ok(())
        })();
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let sql = "SELECT writer, sequence, key FROM audit_payload ORDER BY writer, sequence";
    snapshot
        .scan(sql, &[Form::Uuid, Form::Int, Form::Uuid], &mut take)
        .await?;
    outcome?;
    let missing = left
        .into_iter()
        .filter_map(|(writer, left)| Some((writer, left.into_iter().min()?)))
        .min();
    match missing {
        None => Ok(found),
        Some((writer, sequence)) => Err(Broken {
            writer,
            sequence,
            fault: Fault::PayloadMissing,
        }
        .into()),
    }
}

/// All keys of subjects.
async fn keys(snapshot: &mut Snapshot) -> Result<HashMap<Uuid, Key>, VerifyError> {
    let mut erasures: HashMap<(String, String), u64> = HashMap::new();
    let sql = "SELECT body FROM audit_record WHERE class = $1 AND kind = 'erased'";
    let governance = TreeName::governance();
    for row in snapshot
        .look(sql, vec![Value::Text(governance.class().to_owned())])
        .await?
    {
        let body = row.first().and_then(Value::text).unwrap_or_default();
        // One that does not read is found, and told of, where its chain is walked.
        if let Ok(Entry {
            body: Body::Erased(it),
            ..
        }) = Entry::parse(body.as_bytes())
        {
            let until = erasures.entry((it.tenant, it.subject)).or_default();
            *until = it.until.max(*until);
        }
    }
    let sql =
        "SELECT id, tenant, subject, created_at, CASE WHEN wrapped IS NULL THEN 0 ELSE 1 END FROM audit_key";
    let mut keys = HashMap::new();
    for row in snapshot.look(sql, Vec::new()).await? {
        let read = || {
            let [id, tenant, subject, created_at, is_kept] = row.as_slice() else {
                return None;
            };
            let whose = (tenant.text()?.to_owned(), subject.text()?.to_owned());
            let key = match is_kept.int()? {
                1 => Key::Kept,
                _ if erasures.get(&whose) >= Some(&created_at.sequence()?) => Key::Erased,
                _ => Key::Taken,
            };
            Some((id.uuid()?, key))
        };
        keys.extend(Some(read().ok_or(StoreError::Garbled("audit_key"))?));
    }
    Ok(keys)
}
