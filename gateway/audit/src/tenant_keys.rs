//! Keys of tenants, which wrap the keys of subjects and do nothing else.
//!
//! Where such a key lies is the company's choice: in a file ([`FileKeys`]), in a hardware token ([`TokenKeys`], PKCS#11), or with a
//! service that wraps over the network. The last two never give it out.
//!
//! On failure: [`TenantKeyError`].

use std::{fmt, future::Future, io, path::PathBuf, pin::Pin};

use zeroize::Zeroizing;

use crate::cipher::{NotOpened, NotSealed};

mod file;
pub use file::FileKeys;

#[cfg(feature = "pkcs11")]
mod token;
#[cfg(feature = "pkcs11")]
pub use token::{KeyToken, TokenKeys};

/// What a tenant's key answers.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TenantKeyError>> + Send + 'a>>;

/// Wraps and unwraps keys of subjects. `bound` says what a wrapped key belongs to: unwrapping takes the same again.
pub trait TenantKeys: fmt::Debug + Send + Sync {
    /// The key, wrapped by the tenant's.
    fn wrap<'a>(&'a self, tenant: &'a str, key: &'a [u8; 32], bound: &'a [u8]) -> KeyFuture<'a, Vec<u8>>;

    /// The key out of its wrapping.
    fn unwrap<'a>(
        &'a self,
        tenant: &'a str,
        wrapped: &'a [u8],
        bound: &'a [u8],
    ) -> KeyFuture<'a, Zeroizing<Vec<u8>>>;
}

/// A tenant's key does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum TenantKeyError {
    /// There is none.
    #[error("there is no key of the tenant `{0}`")]
    NoKey(String),
    /// It was wrapped by another key.
    #[error("it was not wrapped by the present key of the tenant `{0}`, or for another subject")]
    NotOurs(String),
    /// A file cannot be read or made.
    #[error("tenant's key {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("tenant's key {path}: not 64 hex digits", path = .0.display())]
    NotAKey(PathBuf),
    /// The token or the service says no.
    #[error("the tenant's key is not to be had: {0}")]
    Unavailable(String),
    /// It did not answer.
    #[error("the tenant's key did not answer in time")]
    TimedOut,
    /// The system gives no random bytes.
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
    /// What was wrapped does not open.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
}
