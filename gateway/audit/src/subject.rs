//! Keys of subjects: whose payloads can be opened, until they are erased.
//!
//! Each subject (a person, by the pseudonymous reference that stands in records) has a fresh key every hour in each gateway. It is made in memory,
//! wrapped by the tenant's key, and travels beside the records of that hour until one of them is durable: no database is asked on
//! the way of a request. The subject's name is sealed under it, so that who shreds the keys also makes the reference one that nobody can resolve.
//!
//! Limits: 10,000 subjects at a time, the longest known leaves first; five seconds for a tenant's key to answer.
//!
//! On failure: [`TenantKeyError`]. Whoever has a payload to seal waits for that answer; a name that cannot be sealed yet waits for a
//! later record.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cordon_domain::Clock;
use futures_util::FutureExt;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    attachment::{Attachment, WrappedKey},
    cipher::{NotOpened, NotSealed, SecretKey, bound},
    pseudonym::Subject,
    record::NamedKey,
    tenant_keys::{TenantKeyError, TenantKeys},
};

/// How long a key seals, in milliseconds.
pub(crate) const LIFE: u64 = 3_600_000;
const SUBJECTS: usize = 10_000;
const ANSWER: Duration = Duration::from_secs(5);

/// A subject's key, unwrapped.
pub struct SubjectKey {
    id: Uuid,
    tenant: String,
    subject: String,
    secret: SecretKey,
}

impl SubjectKey {
    pub(crate) fn fresh(tenant: &str, subject: &str) -> Result<Self, NotSealed> {
        Ok(Self {
            id: Uuid::now_v7(),
            tenant: tenant.to_owned(),
            subject: subject.to_owned(),
            secret: SecretKey::fresh()?,
        })
    }

    /// The key in its wrapping.
    ///
    /// # Errors
    /// When the tenant's key does not open it.
    pub async fn unwrap(keys: &dyn TenantKeys, wrapped: &WrappedKey) -> Result<Self, TenantKeyError> {
        let WrappedKey {
            id, tenant, subject, ..
        } = wrapped;
        let place = place(tenant, subject, *id);
        let secret = timeout(ANSWER, keys.unwrap(tenant, &wrapped.wrapped, &place))
            .await
            .unwrap_or(Err(TenantKeyError::TimedOut))?;
        Ok(Self {
            id: *id,
            tenant: tenant.clone(),
            subject: subject.clone(),
            secret: SecretKey::from_slice(&secret).ok_or_else(|| TenantKeyError::NotOurs(tenant.clone()))?,
        })
    }

    /// The subject's name, which was sealed with the key.
    ///
    /// # Errors
    /// When it is another's.
    pub fn name(&self, wrapped: &WrappedKey) -> Result<String, NotOpened> {
        let name = self.secret.open(&self.name_place(), &wrapped.name)?;
        String::from_utf8(name.to_vec()).map_err(|_| NotOpened)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    async fn wrapped(
        &self,
        keys: &dyn TenantKeys,
        name: &str,
        created_at: u64,
    ) -> Result<WrappedKey, TenantKeyError> {
        let place = place(&self.tenant, &self.subject, self.id);
        let wrapped = timeout(ANSWER, keys.wrap(&self.tenant, self.secret.bytes(), &place))
            .await
            .unwrap_or(Err(TenantKeyError::TimedOut))?;
        Ok(WrappedKey {
            id: self.id,
            tenant: self.tenant.clone(),
            subject: self.subject.clone(),
            created_at,
            wrapped,
            name: self.secret.seal(&self.name_place(), name.as_bytes())?,
        })
    }

    fn name_place(&self) -> Vec<u8> {
        bound(
            "cordon subject name v1",
            &[
                self.tenant.as_bytes(),
                self.subject.as_bytes(),
                self.id.as_bytes(),
            ],
        )
    }
}

/// What a wrapped key is bound to.
fn place(tenant: &str, subject: &str, id: Uuid) -> Vec<u8> {
    bound(
        "cordon subject key v1",
        &[tenant.as_bytes(), subject.as_bytes(), id.as_bytes()],
    )
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A key that seals, with the wrapping that has to become durable before anything that it sealed is of use.
pub(crate) struct LiveKey {
    pub(crate) key: SubjectKey,
    /// What records say of it.
    pub(crate) named: NamedKey,
    attachment: Vec<u8>,
    created_at: u64,
    is_kept: AtomicBool,
}

impl LiveKey {
    /// The wrapped key, as long as no record is durable that it travelled with. The store takes it once, however often it comes.
    pub(crate) fn attachment(&self) -> Option<Vec<u8>> {
        (!self.is_kept.load(Ordering::Acquire)).then(|| self.attachment.clone())
    }

    /// A record that it travelled with is durable.
    pub(crate) fn kept(&self) {
        self.is_kept.store(true, Ordering::Release);
    }
}

/// Keys of the subjects of the hour.
#[derive(Clone)]
pub struct Subjects(Arc<Inner>);

struct Inner {
    tenant_keys: Arc<dyn TenantKeys>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Whether the tenant's key did not answer the last time.
    is_failing: AtomicBool,
}

#[derive(Default)]
struct Known {
    keys: HashMap<(String, String), Arc<LiveKey>>,
    /// Those that are being wrapped for nobody who waits.
    making: HashSet<(String, String)>,
}

impl Subjects {
    /// No keys yet.
    #[must_use]
    pub fn new(tenant_keys: Arc<dyn TenantKeys>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            tenant_keys,
            clock,
            known: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }))
    }

    /// The subject's key of the hour.
    pub(crate) async fn key(&self, tenant: &str, subject: &Subject) -> Result<Arc<LiveKey>, TenantKeyError> {
        match self.0.known_key(tenant, &subject.reference) {
            Some(key) => Ok(key),
            None => self.0.make(tenant, subject).await,
        }
    }

    /// The subject's key of the hour, if it is there or can be had without waiting. Otherwise it is made for the next who asks.
    pub(crate) fn ready(&self, tenant: &str, subject: &Subject) -> Option<Arc<LiveKey>> {
        if let Some(key) = self.0.known_key(tenant, &subject.reference) {
            return Some(key);
        }
        let id = (tenant.to_owned(), subject.reference.clone());
        if !self.0.known().making.insert(id.clone()) {
            return None;
        }
        let (inner, tenant, subject) = (Arc::clone(&self.0), tenant.to_owned(), subject.clone());
        let mut making = Box::pin(async move {
            let made = inner.make(&tenant, &subject).await;
            inner.known().making.remove(&id);
            made.ok()
        });
        // Keys in files answer at once.
        match making.as_mut().now_or_never() {
            Some(made) => made,
            None => {
                tokio::spawn(making);
                None
            }
        }
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is a single insert or removal, so a panic elsewhere leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_key(&self, tenant: &str, reference: &str) -> Option<Arc<LiveKey>> {
        let now = self.now();
        let known = self.known();
        let key = known.keys.get(&(tenant.to_owned(), reference.to_owned()))?;
        (now < key.created_at + LIFE).then(|| Arc::clone(key))
    }

    async fn make(&self, tenant: &str, subject: &Subject) -> Result<Arc<LiveKey>, TenantKeyError> {
        let made = self.try_make(tenant, subject).await;
        let fails = made.is_err();
        if self.is_failing.swap(fails, Ordering::Relaxed) != fails {
            match &made {
                Ok(_) => tracing::info!("keys of subjects are being wrapped again"),
                Err(error) => tracing::error!(
                    %error,
                    "the tenant's key does not wrap: no payload can be recorded, and names of new actors are not kept"
                ),
            }
        }
        made
    }

    async fn try_make(&self, tenant: &str, subject: &Subject) -> Result<Arc<LiveKey>, TenantKeyError> {
        let created_at = self.now();
        let key = SubjectKey::fresh(tenant, &subject.reference)?;
        let wrapped = key.wrapped(&*self.tenant_keys, &subject.name, created_at).await?;
        let named = wrapped.named();
        let live = Arc::new(LiveKey {
            key,
            named,
            attachment: Attachment::SubjectKey(wrapped).encode(),
            created_at,
            is_kept: AtomicBool::new(false),
        });
        let mut known = self.known();
        if known.keys.len() >= SUBJECTS {
            known.keys.retain(|_, key| created_at < key.created_at + LIFE);
        }
        if known.keys.len() >= SUBJECTS {
            let oldest = known.keys.iter().min_by_key(|(_, key)| key.created_at);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                known.keys.remove(&oldest);
            }
        }
        known
            .keys
            .insert((tenant.to_owned(), subject.reference.clone()), Arc::clone(&live));
        Ok(live)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subjects")
            .field("known", &self.0.known().keys.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use time::OffsetDateTime;
    use zeroize::Zeroizing;

    use super::*;
    use crate::tenant_keys::{FileKeys, KeyFuture};

    #[derive(Debug, Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::Relaxed)).unwrap()
        }
    }

    fn subject(name: &str) -> Subject {
        Subject {
            reference: format!("p-{name}"),
            name: name.to_owned(),
            is_person: true,
        }
    }

    #[tokio::test]
    async fn a_key_lasts_an_hour_and_comes_back_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let files: Arc<dyn TenantKeys> = Arc::new(FileKeys::new(dir.path()));
        let clock = Arc::new(Hand::default());
        let subjects = Subjects::new(Arc::clone(&files), clock.clone());
        let ann = subject("ann");
        let first = subjects.ready("default", &ann).expect("files answer at once");
        let again = subjects.key("default", &ann).await.unwrap();
        assert_eq!(first.key.id(), again.key.id());
        assert_ne!(first.key.id(), subjects.key("emea", &ann).await.unwrap().key.id());
        clock.0.store(3599, Ordering::Relaxed);
        assert_eq!(
            first.key.id(),
            subjects.key("default", &ann).await.unwrap().key.id()
        );
        clock.0.store(3600, Ordering::Relaxed);
        assert_ne!(
            first.key.id(),
            subjects.key("default", &ann).await.unwrap().key.id()
        );

        let Ok(Attachment::SubjectKey(wrapped)) = Attachment::parse(&first.attachment().unwrap()) else {
            panic!("a wrapped key");
        };
        first.kept();
        assert!(first.attachment().is_none());
        let key = SubjectKey::unwrap(&*files, &wrapped).await.unwrap();
        assert_eq!(key.name(&wrapped).unwrap(), "ann");
        let theirs = WrappedKey {
            subject: "p-bob".into(),
            ..wrapped.clone()
        };
        assert!(
            SubjectKey::unwrap(&*files, &theirs).await.is_err(),
            "given to another subject"
        );
    }

    /// A tenant's key that answers when it is told to.
    #[derive(Debug)]
    struct Slow(tokio::sync::Semaphore);

    impl TenantKeys for Slow {
        fn wrap<'a>(&'a self, _: &'a str, _: &'a [u8; 32], _: &'a [u8]) -> KeyFuture<'a, Vec<u8>> {
            Box::pin(async {
                let _turn = self.0.acquire().await;
                Ok(vec![1])
            })
        }

        fn unwrap<'a>(&'a self, _: &'a str, _: &'a [u8], _: &'a [u8]) -> KeyFuture<'a, Zeroizing<Vec<u8>>> {
            Box::pin(async { Err(TenantKeyError::TimedOut) })
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_name() {
        let slow = Arc::new(Slow(tokio::sync::Semaphore::new(0)));
        let subjects = Subjects::new(slow.clone(), Arc::new(Hand::default()));
        let ann = subject("ann");
        assert!(subjects.ready("default", &ann).is_none());
        assert!(subjects.ready("default", &ann).is_none());
        assert_eq!(subjects.0.known().making.len(), 1, "asked for once");
        slow.0.add_permits(1);
        while subjects.ready("default", &ann).is_none() {
            tokio::task::yield_now().await;
        }
        assert!(subjects.0.known().making.is_empty());
    }
}
