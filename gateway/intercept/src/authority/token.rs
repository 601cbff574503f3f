//! Intermediates' keys in a hardware token (PKCS#11), which signs with them and never gives them out.
//!
//! A key belongs to an intermediate by its public half, which the certificate names; its label says whose
//! it is for people. Keys are made in the token, so no file ever holds them. The root's key stays offline, in a file:
//! the token is for what is used while Cordon runs.
//!
//! Limits: ECDSA on P-256, as everywhere; one session a key.
//!
//! On failure: the handshake that needed a signature fails. The next one opens a new session, so a token that was
//! unplugged and comes back is used again.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use sha2::{Digest, Sha256};

use super::TokenSettings;

/// The OID of P-256, as PKCS#11 wants a curve to be named.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// An uncompressed point on it.
const POINT: usize = 65;

/// Modules in use: a process may initialise each but once.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// Why a token cannot be used. It quotes no PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module or the token says no.
    #[error("the token's module says: {0}")]
    Module(#[from] Error),
    /// No token of that label is there.
    #[error("there is no token with the label `{0}`")]
    NoToken(String),
    /// No key of that label belongs to the certificate.
    #[error("the token has no key `{0}` that belongs to the certificate")]
    NoKey(String),
    /// The token gives no point on P-256 for a key that it made.
    #[error("the token does not tell the public key that it made")]
    NoPoint,
    /// The token's signature has another length than two numbers of the curve.
    #[error("the token's signature is no ECDSA signature on P-256")]
    BadSignature,
}

/// A key in a token.
pub(super) struct TokenKey {
    settings: TokenSettings,
    point: Vec<u8>,
    live: Mutex<Option<(Session, ObjectHandle)>>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Makes a key in the token. `id` tells it from others of its label.
    pub(super) fn generate(settings: &TokenSettings, id: &[u8]) -> Result<Self, TokenError> {
        let session = open(settings)?;
        let name = [
            Attribute::Label(settings.label.clone().into_bytes()),
            Attribute::Id(id.to_vec()),
            Attribute::Token(true),
        ];
        let mut public = name.to_vec();
        public.extend([
            Attribute::EcParams(P256.to_vec()),
            Attribute::Private(false),
            Attribute::Verify(true),
        ]);
        let mut private = name.to_vec();
        private.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ]);
        let (public, private) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
        let point = point_of(&session, public)?.ok_or(TokenError::NoPoint)?;
        Ok(Self {
            settings: settings.clone(),
            point,
            live: Mutex::new(Some((session, private))),
        })
    }

    /// Finds the key whose public half is `point`.
    pub(super) fn find(settings: &TokenSettings, point: &[u8]) -> Result<Self, TokenError> {
        let found = find(settings, point)?;
        Ok(Self {
            settings: settings.clone(),
            point: point.to_vec(),
            live: Mutex::new(Some(found)),
        })
    }

    fn signature(&self, digest: &[u8]) -> Result<Vec<u8>, TokenError> {
        // What is inside is replaced whole, so a panic leaves it usable.
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((session, key)) = live.as_ref()
            && let Ok(raw) = session.sign(&Mechanism::Ecdsa, *key, digest)
        {
            return in_der(&raw);
        }
        // The session may be gone with the token it was on.
        *live = None;
        let (session, key) = find(&self.settings, &self.point)?;
        let raw = session.sign(&Mechanism::Ecdsa, key, digest)?;
        *live = Some((session, key));
        in_der(&raw)
    }
}

impl PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(&Sha256::digest(message)).map_err(|error| {
            tracing::error!(%error, "the token that holds the authority's key does not sign");
            rcgen::Error::RemoteKeyError
        })
    }
}

/// A session on the token, logged in.
fn open(settings: &TokenSettings) -> Result<Session, TokenError> {
    let module = module(settings)?;
    let no_token = || TokenError::NoToken(settings.token.clone());
    let slot = module
        .get_slots_with_initialized_token()?
        .into_iter()
        .find(|slot| {
            module
                .get_token_info(*slot)
                .is_ok_and(|info| info.label().trim_end() == settings.token)
        })
        .ok_or_else(no_token)?;
    let session = module.open_rw_session(slot)?;
    let pin = AuthPin::new(settings.pin.as_str().into());
    match session.login(UserType::User, Some(&pin)) {
        // A login is the whole process's.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(error) => Err(error.into()),
    }
}

fn module(settings: &TokenSettings) -> Result<Pkcs11, TokenError> {
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

fn find(settings: &TokenSettings, point: &[u8]) -> Result<(Session, ObjectHandle), TokenError> {
    let session = open(settings)?;
    let label = Attribute::Label(settings.label.clone().into_bytes());
    let publics = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::EC),
        label.clone(),
    ];
    let mut wanted = None;
    for public in session.find_objects(&publics)? {
        if point_of(&session, public)?.as_deref() == Some(point) {
            let id = session.get_attributes(public, &[AttributeType::Id])?;
            wanted = id.into_iter().next();
            break;
        }
    }
    let no_key = || TokenError::NoKey(settings.label.clone());
    let privates = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        label,
        wanted.ok_or_else(no_key)?,
    ];
    let private = session
        .find_objects(&privates)?
        .into_iter()
        .next()
        .ok_or_else(no_key)?;
    Ok((session, private))
}

/// The point of a public key, out of the octet string that the standard wraps it in and some modules do not.
fn point_of(session: &Session, public: ObjectHandle) -> Result<Option<Vec<u8>>, TokenError> {
    let attributes = session.get_attributes(public, &[AttributeType::EcPoint])?;
    Ok(attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(bytes) => {
            let point = match bytes.as_slice() {
                [0x04, 0x41, point @ ..] if point.len() == POINT => point,
                point => point,
            };
            (point.len() == POINT).then(|| point.to_vec())
        }
        _ => None,
    }))
}

/// `r` and `s`, one after the other, as the sequence of integers that X.509 wants.
fn in_der(raw: &[u8]) -> Result<Vec<u8>, TokenError> {
    let (r, s) = raw
        .split_at_checked(raw.len() / 2)
        .filter(|(r, s)| r.len() == s.len() && (1..=32).contains(&r.len()))
        .ok_or(TokenError::BadSignature)?;
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        let digits = number.get(zeros..).unwrap_or_default();
        let sign = digits.first().is_none_or(|&first| first >= 0x80);
        let length = u8::try_from(digits.len() + usize::from(sign)).unwrap_or(u8::MAX);
        let mut bytes = vec![0x02, length];
        bytes.extend(sign.then_some(0));
        bytes.extend_from_slice(digits);
        bytes
    };
    let numbers = [integer(r), integer(s)].concat();
    let length = u8::try_from(numbers.len()).map_err(|_| TokenError::BadSignature)?;
    Ok([&[0x30, length], numbers.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_written_as_der() {
        let mut raw = vec![0; 64];
        (raw[31], raw[32]) = (0x7f, 0x80);
        let der = in_der(&raw).unwrap();
        assert_eq!(&der[..6], [0x30, 2 + 1 + 2 + 33, 0x02, 1, 0x7f, 0x02]);
        assert_eq!(&der[6..9], [33, 0, 0x80]);
        assert_eq!(in_der(&[0; 2]).unwrap(), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        for bad in [0, 1, 63, 66] {
            assert!(in_der(&vec![1; bad]).is_err(), "{bad}");
        }
    }
}
