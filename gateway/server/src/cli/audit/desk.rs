//! Where people work with the audit: every search, erasure, hold and reveal is on record before it is carried out.
//!
//! A command writes through a spool of its own, `spool-cli` in the state folder, with a chain of its own, so that it works whether the gateway runs or not. Two
//! commands at once take turns. What it recorded is in the store before the command ends.
//!
//! Who works here is known as the operating system's user, which is what is trusted; `--as` adds the name that somebody says they have where several
//! share that user, as in a container, and is recorded as claimed.
//!
//! Limits: half a minute to get a turn, and again for the store to take the records.
//!
//! On failure: nothing is carried out that is not on record.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use cordon_audit::{
    AuditConfig, Body, OpenError, Operator, Pruning, Pseudonyms, Recorder, Recording, Shipping, SpoolError,
    Store, StoreUrl, TreeName, kept::Keys,
};
use cordon_domain::{Clock, SystemClock};
use tokio::time::{Instant, sleep};

use super::super::Where;
use crate::{
    audit_room,
    config::{self, Config},
    installation::{Installation, InstallationKey},
};

const TURN: Duration = Duration::from_secs(30);
const SHIP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Who works, and on which installation.
#[derive(Args)]
pub(super) struct Who {
    /// Your name, where several share the operating system's user; recorded as what you say.
    #[arg(long = "as", value_name = "NAME")]
    claimed: Option<String>,
    #[command(flatten)]
    pub(super) place: Where,
}

/// A desk that is taken.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) installation: Installation,
    pub(super) key: InstallationKey,
    pub(super) store: Store,
    pub(super) operator: Operator,
    recorder: Recorder,
    shipping: Shipping,
}

impl Who {
    /// Takes a desk; waits while somebody else has it.
    pub(super) async fn sit_down(self) -> Result<Desk> {
        let config = self.place.load()?;
        let installation = Installation::of(&config);
        let key = installation.key()?;
        let url = audit_room::store_url(&config, &installation)?;
        let store = Box::pin(Store::open(&url))
            .await
            .with_context(|| format!("the store {url} cannot be read"))?;
        Box::pin(takes_records(&config, &url)).await?;
        let user = os_user();
        let operator = Operator {
            user: user.clone(),
            claimed: self.claimed.filter(|claimed| *claimed != user),
        };
        let until = Instant::now() + TURN;
        let (recorder, shipping) = loop {
            let mut audit =
                AuditConfig::new(installation.dir().join("spool-cli"), url.clone(), "cordon audit");
            let role =
                |url: &Option<config::Setting>| url.as_ref().map(|url| url.value().parse()).transpose();
            audit.writer = role(&config.audit.writer).context("audit.writer")?;
            audit.owner = role(&config.audit.owner).context("audit.owner")?;
            audit.key = Some(Arc::new(audit_room::checkpoint_key(&config, &key)?));
            audit.spool.segment_bytes = 1 << 20;
            audit.spool.max_bytes = 64 << 20;
            audit.spool.reserve_bytes = 1 << 20;
            audit.linger = Duration::ZERO;
            match Box::pin(cordon_audit::open(audit, Arc::new(SystemClock))).await {
                Ok(open) => break open,
                Err(OpenError::Spool(SpoolError::InUse { .. })) if Instant::now() < until => {
                    sleep(LOOK).await
                }
                Err(error) => return Err(error).context("what you do cannot be recorded"),
            }
        };
        Ok(Desk {
            config,
            installation,
            key,
            store,
            operator,
            recorder,
            shipping,
        })
    }
}

/// That records of what is done here can come into the store, so that nobody waits for what cannot be.
async fn takes_records(config: &Config, store: &StoreUrl) -> Result<()> {
    let url = match &config.audit.writer {
        Some(url) => url.value().parse().context("audit.writer")?,
        None => store.clone(),
    };
    if matches!(url, StoreUrl::Sqlite(_)) {
        return Ok(());
    }
    let writer = Store::open_for_writing(&url)
        .await
        .with_context(|| format!("the store {url} cannot be opened"))?;
    let takes = writer.takes_records().await;
    writer.close().await;
    ensure!(
        takes.with_context(|| format!("the store {url} cannot be asked"))?,
        "what you do is a record, and the role of {url} may add none: set `audit.writer` to one that may, as `SELECT audit_grant(ROLE, 'writer')` makes it"
    );
    Ok(())
}

impl Desk {
    /// Makes it durable; only then may it be carried out.
    pub(super) async fn record(&self, body: Body) -> Result<()> {
        self.recorder
            .record(Recording::of(body).in_tree(TreeName::governance()))
            .await
            .context("what you do cannot be recorded")?;
        // In the store too, as what it speaks of is done to the store at once.
        ensure!(
            self.recorder.in_store(SHIP).await,
            "what you do is recorded, and the record did not reach the store in time: nothing was done"
        );
        Ok(())
    }

    /// Keys of subjects, wherever they lie. Opened by those who need them: a hold is placed, and records are searched, while their database is away.
    pub(super) async fn keys(&self, store: &Store) -> Result<Keys> {
        Ok(Keys::new(
            store,
            Box::pin(audit_room::keys_apart(&self.config)).await?,
        ))
    }

    /// The store by the role that owns its tables, which alone prunes and erases.
    pub(super) async fn owner(&self) -> Result<Store> {
        let url = match &self.config.audit.owner {
            Some(url) => url.value().parse().context("audit.owner")?,
            None => audit_room::store_url(&self.config, &self.installation)?,
        };
        Store::create(&url)
            .await
            .with_context(|| format!("the store {url} cannot be opened"))
    }

    /// Removes records that had their time.
    pub(super) async fn prune(&self) -> Result<Pruning> {
        let store = self.owner().await?;
        let apart = audit_room::keys_apart(&self.config).await?;
        let pruned = cordon_audit::prune(
            &store,
            apart.as_ref(),
            &self.recorder,
            &self.config.audit.retention,
            self.now(),
        )
        .await;
        store.close().await;
        Ok(pruned?)
    }

    /// Waits until the store has what was recorded, and gives the desk up.
    pub(super) async fn leave(self) -> Result<()> {
        let left = self.shipping.shutdown(SHIP).await;
        if left > 0 {
            bail!(
                "{left} records of this are in {} and not yet in the store",
                self.installation.dir().join("spool-cli").display()
            );
        }
        Ok(())
    }

    /// What stands in records for a user; a reference stands for itself.
    pub(super) fn reference(&self, user: &str) -> String {
        if is_reference(user) {
            return user.to_owned();
        }
        Pseudonyms::new(self.key.commitments()).reference(user)
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(SystemClock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }
}

/// Whether a text is written as references are.
pub(super) fn is_reference(text: &str) -> bool {
    text.strip_prefix("p-")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The operating system's user, by name where it has one.
fn os_user() -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(uid) = std::fs::metadata("/proc/self").map(|process| process.uid()) else {
        return "unknown".to_owned();
    };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_names() {
        assert!(is_reference("p-0123456789abcdef0123456789abcdef"));
        for name in ["p-kim", "j.kim", "p-0123456789ABCDEF0123456789abcdef", ""] {
            assert!(!is_reference(name), "{name}");
        }
        assert!(!os_user().is_empty());
    }
}
