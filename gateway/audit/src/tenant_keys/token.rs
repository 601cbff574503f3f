//! Tenants' keys in a hardware token (PKCS#11), which wraps with them and never gives them out.
//!
//! A tenant's key is an AES-256 key with the label `LABEL-TENANT`, made in the token when it is not there. What it wraps is
//! `version (1 byte) | nonce (12 bytes) | ciphertext and tag` of AES-GCM. If two gateways made a key each, both unwrap.
//!
//! Limits: one session, used by one caller at a time, off the threads that serve requests.
//!
//! On failure: [`TenantKeyError::Unavailable`]; the next call opens a new session, so a token that was unplugged and comes back is used again.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use zeroize::Zeroizing;

use super::{KeyFuture, TenantKeyError, TenantKeys};

const VERSION: u8 = 2;
const NONCE_BYTES: usize = 12;

/// Modules in use: a process may initialise each but once.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The token that holds tenants' keys.
#[derive(Clone)]
pub struct KeyToken {
    /// The PKCS#11 module, a shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// What labels of our keys in it begin with.
    pub label: String,
    /// The user's PIN.
    pub pin: Zeroizing<String>,
}

impl fmt::Debug for KeyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyToken")
            .field("module", &self.module)
            .field("token", &self.token)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Keys in a token.
#[derive(Debug)]
pub struct TokenKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: KeyToken,
    live: Mutex<Option<Session>>,
}

/// Why a token does not wrap. It quotes no PIN.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("the token's module says: {0}")]
    Module(#[from] Error),
    #[error("there is no token with the label `{0}`")]
    NoToken(String),
    #[error("the system gives no random bytes")]
    Randomness,
}

impl TokenKeys {
    /// Those of a token. Nothing is asked of it yet.
    #[must_use]
    pub fn new(settings: KeyToken) -> Self {
        Self(Arc::new(Inner {
            settings,
            live: Mutex::new(None),
        }))
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl Fn(&Session, &KeyToken) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TenantKeyError> {
        let inner = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || inner.ask(ask)).await;
        asked
            .map_err(|_| TenantKeyError::Unavailable("a task failed".to_owned()))?
            .map_err(|error| TenantKeyError::Unavailable(error.to_string()))
    }
}

impl Inner {
    fn ask<T>(&self, ask: impl Fn(&Session, &KeyToken) -> Result<T, TokenError>) -> Result<T, TokenError> {
        // What is inside is replaced whole, so a panic leaves it usable.
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = live.as_ref()
            && let Ok(answer) = ask(session, &self.settings)
        {
            return Ok(answer);
        }
        // The session may be gone with the token it was on.
        *live = None;
        let session = open(&self.settings)?;
        let answer = ask(&session, &self.settings)?;
        *live = Some(session);
        Ok(answer)
    }
}

impl TenantKeys for TokenKeys {
    fn wrap<'a>(&'a self, tenant: &'a str, key: &'a [u8; 32], bound: &'a [u8]) -> KeyFuture<'a, Vec<u8>> {
        let (tenant, key, bound) = (tenant.to_owned(), Zeroizing::new(*key), bound.to_vec());
        Box::pin(self.ask(move |session, settings| {
            let by = match find(session, settings, &tenant)?.first() {
                Some(by) => *by,
                None => make(session, settings, &tenant)?,
            };
            let mut nonce = [0; NONCE_BYTES];
            getrandom::fill(&mut nonce).map_err(|_| TokenError::Randomness)?;
            let sealed = {
                let params = GcmParams::new(&mut nonce, &bound, 128.into())?;
                session.encrypt(&Mechanism::AesGcm(params), by, key.as_slice())?
            };
            Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
        }))
    }

    fn unwrap<'a>(
        &'a self,
        tenant: &'a str,
        wrapped: &'a [u8],
        bound: &'a [u8],
    ) -> KeyFuture<'a, Zeroizing<Vec<u8>>> {
        Box::pin(async move {
            let not_ours = || TenantKeyError::NotOurs(tenant.to_owned());
            let (nonce, sealed) = wrapped
                .strip_prefix(&[VERSION])
                .and_then(|rest| rest.split_first_chunk::<NONCE_BYTES>())
                .ok_or_else(not_ours)?;
            let (nonce, sealed) = (*nonce, sealed.to_vec());
            let (of, bound) = (tenant.to_owned(), bound.to_vec());
            let opened = self
                .ask(move |session, settings| {
                    let keys = find(session, settings, &of)?;
                    let open = |by: &ObjectHandle| {
                        let mut nonce = nonce;
                        let params = GcmParams::new(&mut nonce, &bound, 128.into()).ok()?;
                        let opened = session.decrypt(&Mechanism::AesGcm(params), *by, &sealed).ok()?;
                        Some(Zeroizing::new(opened))
                    };
                    Ok((!keys.is_empty(), keys.iter().find_map(open)))
                })
                .await?;
            match opened {
                (_, Some(key)) => Ok(key),
                (true, None) => Err(not_ours()),
                (false, None) => Err(TenantKeyError::NoKey(tenant.to_owned())),
            }
        })
    }
}

fn name(settings: &KeyToken, tenant: &str) -> Attribute {
    Attribute::Label(format!("{}-{tenant}", settings.label).into_bytes())
}

fn find(session: &Session, settings: &KeyToken, tenant: &str) -> Result<Vec<ObjectHandle>, TokenError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        name(settings, tenant),
    ];
    Ok(session.find_objects(&wanted)?)
}

fn make(session: &Session, settings: &KeyToken, tenant: &str) -> Result<ObjectHandle, TokenError> {
    let template = [
        name(settings, tenant),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(32.into()),
    ];
    Ok(session.generate_key(&Mechanism::AesKeyGen, &template)?)
}

/// A session on the token, logged in.
fn open(settings: &KeyToken) -> Result<Session, TokenError> {
    let module = module(settings)?;
    let slot = module
        .get_slots_with_initialized_token()?
        .into_iter()
        .find(|slot| {
            module
                .get_token_info(*slot)
                .is_ok_and(|info| info.label().trim_end() == settings.token)
        })
        .ok_or_else(|| TokenError::NoToken(settings.token.clone()))?;
    let session = module.open_rw_session(slot)?;
    let pin = AuthPin::new(settings.pin.as_str().into());
    match session.login(UserType::User, Some(&pin)) {
        // A login is the whole process's, and the authority's keys may be in the same token.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(error) => Err(error.into()),
    }
}

fn module(settings: &KeyToken) -> Result<Pkcs11, TokenError> {
    // An entry is inserted whole.
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(&settings.module) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(&settings.module)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error.into()),
    }
    modules.insert(settings.module.clone(), module.clone());
    Ok(module)
}
