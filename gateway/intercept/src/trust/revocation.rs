//! Revocation lists (CRLs) from files: which certificates of upstreams their authorities have withdrawn.
//!
//! The lists are the company's to fetch: nothing here asks the network in the middle of a handshake,
//! where whoever can block the question could also decide the answer. A list's signature is checked
//! against the certificate's issuer each time it is used.
//!
//! Limits: 64 MiB a file, 10,000 files.
//!
//! On failure: the error names the file. Nothing configured is ever skipped: a folder without a list is an
//! error, since with no list at all nothing would be checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};

/// The largest public lists have some ten megabytes.
const MAX_FILE: u64 = 64 << 20;
/// The most files that are read.
const MAX_FILES: usize = 10_000;
/// What names a file in a folder as a list.
const EXTENSIONS: [&str; 3] = ["crl", "pem", "der"];

/// Revocation lists, and what holds where they say nothing.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    pub(crate) lists: Vec<CertificateRevocationListDer<'static>>,
    /// Whether a certificate that no list speaks of is refused.
    pub refuse_unknown: bool,
    /// Whether a list past its `nextUpdate` still counts.
    pub accept_expired: bool,
}

/// Why revocation lists could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// A file or folder could not be read.
    #[error("{}: {}", path.display(), source.kind())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no list, or one that is not understood.
    #[error("{}: holds no revocation list that can be used (X.509 CRL version 2, in PEM or DER)", .0.display())]
    Unusable(PathBuf),
    /// A folder holds no list.
    #[error("{}: the folder holds no revocation list (*.crl, *.pem, *.der)", .0.display())]
    Empty(PathBuf),
    /// More files than are read.
    #[error("{}: more than {MAX_FILES} revocation lists", .0.display())]
    TooMany(PathBuf),
}

impl Revocation {
    /// Reads lists from files and folders of them.
    ///
    /// # Errors
    /// When anything named is missing, empty, or no list.
    pub fn read(paths: &[PathBuf]) -> Result<Self, RevocationError> {
        let mut lists = Vec::new();
        for file in Self::files(paths)? {
            lists.extend(read_file(&file)?);
        }
        Ok(Self {
            lists,
            ..Self::default()
        })
    }

    /// The files that paths stand for: a folder for the lists in it, in order.
    ///
    /// # Errors
    /// When a folder cannot be read, or holds no list.
    pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, RevocationError> {
        let mut files = Vec::new();
        for path in paths {
            let failed = |source| RevocationError::Read {
                path: path.clone(),
                source,
            };
            if !fs::metadata(path).map_err(failed)?.is_dir() {
                files.push(path.clone());
                continue;
            }
            let mut found = Vec::new();
            for entry in fs::read_dir(path).map_err(failed)? {
                let file = entry.map_err(failed)?.path();
                let listed = file
                    .extension()
                    .and_then(|extension| extension.to_str())
                    .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()));
                if listed && file.is_file() {
                    found.push(file);
                }
            }
            if found.is_empty() {
                return Err(RevocationError::Empty(path.clone()));
            }
            found.sort();
            files.extend(found);
            if files.len() > MAX_FILES {
                return Err(RevocationError::TooMany(path.clone()));
            }
        }
        Ok(files)
    }

    /// How many lists there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there are none, and so nothing is checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }
}

fn read_file(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, RevocationError> {
    let read = || -> io::Result<Vec<u8>> {
        if fs::metadata(path)?.len() > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read(path)
    };
    let bytes = read().map_err(|source| RevocationError::Read {
        path: path.to_owned(),
        source,
    })?;
    let unusable = || RevocationError::Unusable(path.to_owned());
    let lists: Vec<_> = if bytes.windows(11).any(|part| part == b"-----BEGIN ") {
        CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|_| unusable())?
    } else {
        vec![CertificateRevocationListDer::from(bytes)]
    };
    let parse =
        |list: &CertificateRevocationListDer<'_>| webpki::BorrowedCertRevocationList::from_der(list).is_ok();
    if lists.is_empty() || !lists.iter().all(parse) {
        return Err(unusable());
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod,
        KeyPair, KeyUsagePurpose, SerialNumber,
    };
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn list() -> rcgen::CertificateRevocationList {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let issuer = Issuer::new(params, key);
        let now = OffsetDateTime::now_utc();
        CertificateRevocationListParams {
            this_update: now - Duration::hours(1),
            next_update: now + Duration::hours(1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&issuer)
        .unwrap()
    }

    #[test]
    fn lists_are_read_from_files_and_folders_in_both_forms() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("lists");
        fs::create_dir(&folder).unwrap();
        assert!(matches!(
            Revocation::read(std::slice::from_ref(&folder)),
            Err(RevocationError::Empty(_))
        ));
        fs::write(folder.join("a.crl"), list().der()).unwrap();
        fs::write(
            folder.join("b.pem"),
            list().pem().unwrap() + &list().pem().unwrap(),
        )
        .unwrap();
        fs::write(folder.join("README"), "not a list").unwrap();
        assert_eq!(Revocation::read(std::slice::from_ref(&folder)).unwrap().len(), 3);
        assert_eq!(Revocation::read(&[folder.join("a.crl")]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_list_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.crl");
        for bytes in [
            &b""[..],
            b"words",
            &list().der()[..40],
            b"-----BEGIN CERTIFICATE-----\n",
        ] {
            fs::write(&file, bytes).unwrap();
            let error = Revocation::read(std::slice::from_ref(&file)).unwrap_err();
            assert!(error.to_string().contains("bad.crl"), "{error}");
        }
        assert!(matches!(
            Revocation::read(&[dir.path().join("absent")]),
            Err(RevocationError::Read { .. })
        ));
    }
}
