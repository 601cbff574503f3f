//! Tenants' keys in files, readable by their owner only.
//!
//! A file `tenant-NAME.key` holds 64 hex digits. It is made when a tenant's first key is to be wrapped and it is not there, and never when one is to be
//! unwrapped. A wrapped key says by which key it was wrapped, so that a replica with a file of its own is told apart from an altered row.
//!
//! On failure: [`TenantKeyError`].

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::{KeyFuture, TenantKeyError, TenantKeys};
use crate::{cipher::SecretKey, record::TreeName, secret_file};

const VERSION: u8 = 1;
const ID_BYTES: usize = 8;

/// Keys in the files of a folder.
pub struct FileKeys {
    dir: PathBuf,
    read: Mutex<HashMap<String, Arc<SecretKey>>>,
}

impl FileKeys {
    /// Those of a folder, which is made with the first key.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            read: Mutex::default(),
        }
    }

    fn key(&self, tenant: &str, make: bool) -> Result<Arc<SecretKey>, TenantKeyError> {
        // Names come out of a database, too, and this one becomes part of a path.
        if TreeName::new(tenant, "standard").is_err() {
            return Err(TenantKeyError::NoKey(tenant.to_owned()));
        }
        // An entry is inserted whole.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = read.get(tenant) {
            return Ok(Arc::clone(key));
        }
        let path = self.dir.join(format!("tenant-{tenant}.key"));
        let unusable = |source: io::Error| TenantKeyError::Io {
            path: path.clone(),
            source,
        };
        let text = if make {
            private_dir(&self.dir).map_err(unusable)?;
            secret_file::load_or_create(&path, || {
                let fresh = SecretKey::fresh().map_err(io::Error::other)?;
                Ok(Zeroizing::new(format!("{}\n", hex::encode(fresh.bytes()))))
            })
        } else {
            fs::read_to_string(&path).map(Zeroizing::new)
        };
        let text = text.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TenantKeyError::NoKey(tenant.to_owned()),
            _ => unusable(source),
        })?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_end(), bytes.as_mut())
            .map_err(|_| TenantKeyError::NotAKey(path.clone()))?;
        let key = Arc::new(SecretKey::from_slice(bytes.as_slice()).expect("it has 32 bytes"));
        read.insert(tenant.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    fn wrapped(&self, tenant: &str, key: &[u8; 32], bound: &[u8]) -> Result<Vec<u8>, TenantKeyError> {
        let by = self.key(tenant, true)?;
        let mut wrapped = vec![VERSION];
        wrapped.extend(id(&by));
        wrapped.extend(by.seal(bound, key)?);
        Ok(wrapped)
    }

    fn unwrapped(
        &self,
        tenant: &str,
        wrapped: &[u8],
        bound: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TenantKeyError> {
        let not_ours = || TenantKeyError::NotOurs(tenant.to_owned());
        let by = self.key(tenant, false)?;
        let (version, rest) = wrapped.split_first().ok_or_else(not_ours)?;
        let (named, sealed) = rest.split_first_chunk::<ID_BYTES>().ok_or_else(not_ours)?;
        if *version != VERSION || *named != id(&by) {
            return Err(not_ours());
        }
        Ok(by.open(bound, sealed)?)
    }
}

impl TenantKeys for FileKeys {
    fn wrap<'a>(&'a self, tenant: &'a str, key: &'a [u8; 32], bound: &'a [u8]) -> KeyFuture<'a, Vec<u8>> {
        Box::pin(async move { self.wrapped(tenant, key, bound) })
    }

    fn unwrap<'a>(
        &'a self,
        tenant: &'a str,
        wrapped: &'a [u8],
        bound: &'a [u8],
    ) -> KeyFuture<'a, Zeroizing<Vec<u8>>> {
        Box::pin(async move { self.unwrapped(tenant, wrapped, bound) })
    }
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeys")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// What tells one key from another, and tells nothing of it.
fn id(key: &SecretKey) -> [u8; ID_BYTES] {
    let hash = digest(
        &SHA256,
        &[b"cordon tenant key id v1\0".as_slice(), key.bytes()].concat(),
    );
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&hash.as_ref()[..ID_BYTES]);
    id
}

fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_come_back_out_of_their_wrapping_under_the_same_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = FileKeys::new(&dir.path().join("keys"));
        assert!(matches!(
            keys.unwrapped("default", &[], b""),
            Err(TenantKeyError::NoKey(_))
        ));
        let wrapped = keys.wrapped("default", &[7; 32], b"place").unwrap();
        let file = dir.path().join("keys/tenant-default.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let opened = FileKeys::new(&dir.path().join("keys")).unwrapped("default", &wrapped, b"place");
        assert_eq!(opened.unwrap().as_slice(), [7; 32]);
        assert!(matches!(
            keys.unwrapped("default", &wrapped, b"other"),
            Err(TenantKeyError::NotOpened(_))
        ));
        keys.wrapped("emea", &[7; 32], b"place").unwrap();
        assert!(matches!(
            keys.unwrapped("emea", &wrapped, b"place"),
            Err(TenantKeyError::NotOurs(_))
        ));
        for odd in ["../x", "", "A"] {
            assert!(matches!(
                keys.wrapped(odd, &[7; 32], b""),
                Err(TenantKeyError::NoKey(_))
            ));
        }
        fs::write(dir.path().join("keys/tenant-odd.key"), "odd").unwrap();
        assert!(matches!(
            keys.wrapped("odd", &[7; 32], b""),
            Err(TenantKeyError::NotAKey(_))
        ));
    }
}
