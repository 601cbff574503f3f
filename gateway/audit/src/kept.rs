//! What the store keeps sealed beside records: payloads, keys of subjects, and the blind index. How it comes there is the shipper's.
//!
//! Erasing takes the wrapped keys out of their rows, and the names with them, and leaves a tombstone: keys that were made until
//! then and come in later are taken in as erased. What the database keeps of the old rows (dead tuples, logs, backups) is the database's to
//! forget; `docs/audit-payloads.md` says how.
//!
//! On failure: [`StoreError`]; a row that no version of Cordon wrote is `Garbled`.

use std::collections::BTreeSet;

use cordon_domain::{EntityType, ExchangeId};
use uuid::Uuid;

use crate::{
    attachment::{SealedPart, WrappedKey},
    blind::BlindValue,
    commitment::Part,
    record::Entry,
    store::{Statement, Store, StoreError, Value, number},
};

/// A subject's key as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptKey {
    /// It is there.
    Wrapped(WrappedKey),
    /// It was shredded at that time, in milliseconds since 1970.
    Erased(u64),
}

/// What is sealed beside a record.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn payloads(store: &Store, entry: &Entry) -> Result<Vec<SealedPart>, StoreError> {
    let sql = "SELECT key, part, sealed FROM audit_payload WHERE writer = $1 AND sequence = $2 AND at = $3 AND class = $4";
    let values = vec![
        entry.writer.into(),
        number(entry.sequence),
        number(entry.at),
        Value::Text(entry.tree().class().to_owned()),
    ];
    let read = |row: &Vec<Value>| {
        let [key, part, sealed] = row.as_slice() else {
            return None;
        };
        let part = match part.text()? {
            "request" => Part::Request,
            "reply" => Part::Reply,
            _ => return None,
        };
        Some(SealedPart {
            key: key.uuid()?,
            part,
            sealed: sealed.bytes()?.to_vec(),
        })
    };
    let rows = store.rows(sql.to_owned(), values).await?;
    rows.iter()
        .map(|row| read(row).ok_or(StoreError::Garbled("audit_payload")))
        .collect()
}

/// Where subjects' keys are: beside the records, and apart from them where the configuration says so. Those that came in before they were
/// kept apart stay where they are.
#[derive(Clone, Debug)]
pub struct Keys {
    beside: Store,
    apart: Option<Store>,
}

impl Keys {
    /// The keys of a store, and of a database that has them apart from it.
    #[must_use]
    pub fn new(beside: &Store, apart: Option<Store>) -> Self {
        Self {
            beside: beside.clone(),
            apart,
        }
    }

    /// The database that has them apart from the records.
    #[must_use]
    pub fn apart(&self) -> Option<&Store> {
        self.apart.as_ref()
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Store> {
        self.apart.iter().chain([&self.beside])
    }

    /// The key of that id, if it ever came in.
    ///
    /// # Errors
    /// When a database does not answer or is garbled.
    pub async fn key(&self, id: Uuid) -> Result<Option<KeptKey>, StoreError> {
        for place in self.places() {
            let found = keys(place, "id = $1", vec![Value::Uuid(id)]).await?;
            if let Some(key) = found.into_iter().next() {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// All keys of a subject, of each database the oldest first.
    ///
    /// # Errors
    /// When a database does not answer or is garbled.
    pub async fn of(&self, tenant: &str, subject: &str) -> Result<Vec<KeptKey>, StoreError> {
        let mut found = Vec::new();
        for place in self.places() {
            let values = vec![Value::Text(tenant.to_owned()), Value::Text(subject.to_owned())];
            found.extend(keys(place, "tenant = $1 AND subject = $2", values).await?);
        }
        Ok(found)
    }

    /// Tenants under which keys of a subject are there that can be opened, whether they are configured or not.
    ///
    /// # Errors
    /// When a database does not answer or is garbled.
    pub async fn tenants_of(&self, subject: &str) -> Result<Vec<String>, StoreError> {
        let mut tenants = BTreeSet::new();
        for place in self.places() {
            tenants.extend(tenants_of(place, subject).await?);
        }
        Ok(tenants.into_iter().collect())
    }

    /// Tries whether the databases let themselves be erased from, and changes nothing.
    ///
    /// # Errors
    /// When one does not: most often its role may not.
    pub async fn may_erase(&self) -> Result<(), StoreError> {
        for place in self.places() {
            may_erase(place).await?;
        }
        Ok(())
    }

    /// Shreds all keys of a subject under these tenants that were made until `until`, and those of that time that come in later. Says how many were there.
    ///
    /// # Errors
    /// When a database does not answer; then none of its keys is shredded, and it has to be done again.
    pub async fn erase(
        &self,
        tenants: &[impl AsRef<str> + Sync],
        subject: &str,
        until: u64,
    ) -> Result<usize, StoreError> {
        let mut there = 0;
        for tenant in tenants {
            let keys = self.of(tenant.as_ref(), subject).await?;
            let shredded = |key: &&KeptKey| matches!(key, KeptKey::Wrapped(it) if it.created_at <= until);
            there += keys.iter().filter(shredded).count();
        }
        for place in self.places() {
            erase(place, tenants, subject, until).await?;
        }
        Ok(there)
    }
}

async fn keys(store: &Store, which: &'static str, values: Vec<Value>) -> Result<Vec<KeptKey>, StoreError> {
    let sql = format!(
        "SELECT id, tenant, subject, created_at, wrapped, name, erased_at FROM audit_key WHERE {which} ORDER BY created_at, id"
    );
    let read = |row: &Vec<Value>| {
        let [id, tenant, subject, created_at, wrapped, name, erased_at] = row.as_slice() else {
            return None;
        };
        Some(match (wrapped.bytes(), name.bytes()) {
            (Some(wrapped), Some(name)) => KeptKey::Wrapped(WrappedKey {
                id: id.uuid()?,
                tenant: tenant.text()?.to_owned(),
                subject: subject.text()?.to_owned(),
                created_at: created_at.sequence()?,
                wrapped: wrapped.to_vec(),
                name: name.to_vec(),
            }),
            _ => KeptKey::Erased(erased_at.sequence()?),
        })
    };
    let rows = store.rows(sql, values).await?;
    rows.iter()
        .map(|row| read(row).ok_or(StoreError::Garbled("audit_key")))
        .collect()
}

/// Tenants under which keys of a subject are there that can be opened.
async fn tenants_of(store: &Store, subject: &str) -> Result<Vec<String>, StoreError> {
    // From one tenant to the next by the index, as there are few tenants and many keys.
    let sql = "WITH RECURSIVE known (tenant) AS (SELECT min(tenant) FROM audit_key \
               UNION ALL SELECT (SELECT min(k.tenant) FROM audit_key k WHERE k.tenant > known.tenant) FROM known WHERE known.tenant IS NOT NULL) \
               SELECT tenant FROM known WHERE tenant IS NOT NULL AND EXISTS \
               (SELECT 1 FROM audit_key k WHERE k.tenant = known.tenant AND k.subject = $1 AND k.wrapped IS NOT NULL) ORDER BY tenant";
    let rows = store
        .rows(sql.to_owned(), vec![Value::Text(subject.to_owned())])
        .await?;
    rows.iter()
        .map(|row| row.first().and_then(Value::text).map(str::to_owned))
        .map(|tenant| tenant.ok_or(StoreError::Garbled("audit_key")))
        .collect()
}

/// Tries whether a store lets itself be erased from, and changes nothing.
async fn may_erase(store: &Store) -> Result<(), StoreError> {
    // Rights are looked at whether there are rows to change or not.
    let tombstone = "INSERT INTO audit_erasure (tenant, subject, at) SELECT tenant, subject, at FROM audit_erasure WHERE 1 = 0 \
                     ON CONFLICT (tenant, subject) DO UPDATE SET at = excluded.at";
    let shred = "UPDATE audit_key SET wrapped = NULL, name = NULL, erased_at = created_at WHERE 1 = 0";
    let tried = [tombstone, shred].map(|sql| Statement {
        sql,
        values: Vec::new(),
    });
    store.change(tried.into()).await
}

async fn erase(
    store: &Store,
    tenants: &[impl AsRef<str> + Sync],
    subject: &str,
    until: u64,
) -> Result<(), StoreError> {
    let values = |tenant: &str| {
        vec![
            Value::Text(tenant.to_owned()),
            Value::Text(subject.to_owned()),
            number(until),
        ]
    };
    let tombstones = tenants.iter().map(|tenant| Statement {
        sql: "INSERT INTO audit_erasure (tenant, subject, at) VALUES ($1, $2, $3) \
              ON CONFLICT (tenant, subject) DO UPDATE SET at = excluded.at WHERE audit_erasure.at < excluded.at",
        values: values(tenant.as_ref()),
    });
    let shred = tenants.iter().map(|tenant| Statement {
        sql: "UPDATE audit_key SET wrapped = NULL, name = NULL, erased_at = $3 \
              WHERE tenant = $1 AND subject = $2 AND created_at <= $3 AND wrapped IS NOT NULL",
        values: values(tenant.as_ref()),
    });
    // The tombstones first: whoever takes a key in at the same time waits for them, or is waited for.
    store.change(tombstones.chain(shred).collect()).await
}

/// Exchanges that a value was found in, the newest first, with the time of the record.
///
/// # Errors
/// When the store does not answer or is garbled.
pub async fn exchanges_with(
    store: &Store,
    entity: &EntityType,
    value: BlindValue,
    most: u32,
) -> Result<Vec<ExchangeId>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT exchange FROM audit_value WHERE value = $1 AND entity = $2 ORDER BY exchange DESC LIMIT {most}"
    );
    let values = vec![
        Value::Uuid(value.as_uuid()),
        Value::Text(entity.as_str().to_owned()),
    ];
    let rows = store.rows(sql, values).await?;
    rows.iter()
        .map(|row| row.first().and_then(Value::uuid).map(ExchangeId::from))
        .map(|exchange| exchange.ok_or(StoreError::Garbled("audit_value")))
        .collect()
}
