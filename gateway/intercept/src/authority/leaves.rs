//! The bounded single-flight store of minted leaves.
//!
//! However many handshakes ask for a name at once, one mints and the others wait for it (some
//! hundred microseconds, so a lock and not a task). A leaf is minted again after half of its life,
//! long before it expires. When the store is full, the leaf used longest ago goes.
//!
//! On failure: the error goes to all who waited, and the next to ask tries again.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::{CertifiedKey, SingleCertAndKey},
};
use time::OffsetDateTime;

use super::AuthorityError;
use crate::trust::server_config;

/// A minted certificate with its chain and the TLS configuration that serves it.
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    renew: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Self, AuthorityError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain.clone(), key, &provider)?;
        let config = server_config(Arc::new(SingleCertAndKey::from(certified)))?;
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            chain,
            config: Arc::new(config),
            http1: Arc::new(http1),
            renew: now + (not_after - now) / 2,
            not_after,
        })
    }

    /// The leaf certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.chain.first().expect("a chain starts with its leaf")
    }

    /// What is sent with it: the intermediate, not the root.
    #[must_use]
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        self.chain.get(1..).unwrap_or_default()
    }

    /// The TLS configuration that serves it, offering `h2` and `http/1.1`. Sessions resume only
    /// under the configuration that began them, so never across names.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The same, offering `http/1.1` alone: for a host that speaks nothing else.
    #[must_use]
    pub fn http1_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.http1)
    }

    /// When it expires.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }
}

type Minted = Result<Arc<Leaf>, Arc<AuthorityError>>;

struct Slot {
    leaf: Arc<OnceLock<Minted>>,
    used: u64,
}

pub(super) struct Leaves {
    slots: Mutex<(HashMap<String, Slot>, u64)>,
    most: usize,
    minted: AtomicU64,
}

impl Leaves {
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: Mutex::new((HashMap::new(), 0)),
            most: most.max(1),
            minted: AtomicU64::new(0),
        }
    }

    pub(super) fn minted(&self) -> u64 {
        self.minted.load(Ordering::Relaxed)
    }

    /// The leaf under `name`, made by `mint` when there is none or it is due for renewal.
    pub(super) fn take(
        &self,
        name: &str,
        now: OffsetDateTime,
        mint: impl FnOnce(OffsetDateTime) -> Result<Leaf, AuthorityError>,
    ) -> Result<Arc<Leaf>, AuthorityError> {
        let slot = self.slot(name, now);
        let minted = slot.get_or_init(|| {
            self.minted.fetch_add(1, Ordering::Relaxed);
            mint(now).map(Arc::new).map_err(Arc::new)
        });
        match minted {
            Ok(leaf) => Ok(Arc::clone(leaf)),
            Err(error) => {
                self.forget(name, &slot);
                Err(AuthorityError::MintShared(Arc::clone(error)))
            }
        }
    }

    fn slot(&self, name: &str, now: OffsetDateTime) -> Arc<OnceLock<Minted>> {
        // A panic while the map was held cannot leave it half changed: each step is one call.
        let mut guard = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (slots, tick) = &mut *guard;
        *tick += 1;
        if let Some(slot) = slots.get_mut(name) {
            let due = matches!(slot.leaf.get(), Some(Ok(leaf)) if leaf.renew <= now);
            if due {
                slot.leaf = Arc::default();
            }
            slot.used = *tick;
            return Arc::clone(&slot.leaf);
        }
        if slots.len() >= self.most {
            let oldest = slots
                .iter()
                .min_by_key(|(_, slot)| slot.used)
                .map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                slots.remove(&oldest);
            }
        }
        let leaf = Arc::<OnceLock<Minted>>::default();
        let slot = Slot {
            leaf: Arc::clone(&leaf),
            used: *tick,
        };
        slots.insert(name.to_owned(), slot);
        leaf
    }

    fn forget(&self, name: &str, failed: &Arc<OnceLock<Minted>>) {
        let mut guard = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (slots, _) = &mut *guard;
        if slots
            .get(name)
            .is_some_and(|slot| Arc::ptr_eq(&slot.leaf, failed))
        {
            slots.remove(name);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).0.len()
    }
}
