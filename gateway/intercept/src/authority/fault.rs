//! What can be wrong with an authority, told by file or host and by what mends it.

use std::{path::PathBuf, sync::Arc};

use time::OffsetDateTime;

#[cfg(feature = "pkcs11")]
use super::TokenError;

/// Why an authority could not be made, loaded or used. Names files and configured hosts only.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The directory holds one already; overwriting it would orphan every installed root.
    #[error("{} is there already; an authority is never overwritten, rotate it or choose another directory", .0.display())]
    AlreadyThere(PathBuf),
    /// An empty list would make an unconstrained intermediate.
    #[error("the list of hosts to intercept is empty; an authority without name constraints is not made")]
    NoHosts,
    /// A configured name is no host name.
    #[error("`{0}` is no host name that can be certified")]
    BadName(String),
    /// A file could not be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key that others may read.
    #[error("{} is a private key, and others than its owner may read it (mode {mode:03o}); run `chmod 600` on it, and rotate the authority if anybody did", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A folder of keys that others may write to.
    #[error("{} holds private keys, and others than its owner may put files there (mode {mode:03o}); run `chmod 700` on it", path.display())]
    OpenFolder {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The token with the intermediates' keys cannot be used.
    #[cfg(feature = "pkcs11")]
    #[error("the token with the authority's keys cannot be used: {0}")]
    Token(#[from] TokenError),
    /// A token is configured, and this build has no support for one.
    #[cfg(not(feature = "pkcs11"))]
    #[error("this build has no support for tokens (PKCS#11); build it with the feature `pkcs11`")]
    NoTokens,
    /// A step of a rotation that is not the next one.
    #[error("{0}")]
    OutOfTurn(&'static str),
    /// A file is not the PEM it should be.
    #[error("{} does not hold the {expected} it should", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// An intermediate without critical name constraints is not used.
    #[error("{} has no critical name constraints, so it could vouch for any site; it is not used", .0.display())]
    Unconstrained(PathBuf),
    /// The key does not belong to the certificate beside it.
    #[error("{} is not the key of the certificate beside it; run `cordon ca rotate` again", .0.display())]
    KeyMismatch(PathBuf),
    /// An intermediate is past its end.
    #[error("{} expired on {expired}; run `cordon ca rotate` with the root key", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        expired: OffsetDateTime,
    },
    /// The intermediate may not vouch for that host.
    #[error(
        "the authority may not vouch for `{host}`; list the host and run `cordon ca rotate` with the root key"
    )]
    HostNotPermitted {
        /// The host.
        host: String,
    },
    /// A leaf minted for the host does not verify under the root.
    #[error("a certificate for `{host}` under this authority does not verify: {source}")]
    Unproven {
        /// The host.
        host: String,
        /// What the verifier said.
        source: rustls::Error,
    },
    /// A certificate or key could not be made.
    #[error("a certificate could not be made")]
    Mint(#[from] rcgen::Error),
    /// Somebody else's mint of the same leaf, which this one waited for, failed.
    #[error(transparent)]
    MintShared(Arc<AuthorityError>),
    /// A TLS configuration could not be made.
    #[error("a TLS configuration could not be made")]
    Tls(#[from] rustls::Error),
}
