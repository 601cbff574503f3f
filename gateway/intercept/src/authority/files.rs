//! The authority's files: where they lie, and how they are read and written whole.
//!
//! Keys are created with mode 0600, never widened afterwards; every file is written beside its
//! place, synced and renamed, so that a crash leaves the old file or the new one.
//!
//! On failure: the error names the file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::AuthorityError;

/// No PEM file of ours comes near this; a larger one is a mistake.
const MAX_FILE: u64 = 1024 * 1024;

/// Where an authority's files lie in its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `root.pem`, the certificate that callers trust.
    pub root: PathBuf,
    /// `root.key`, the offline key. Move it off the machine; nothing at run time reads it.
    pub root_key: PathBuf,
    /// `intermediate.pem`, constrained to the intercepted hosts.
    pub intermediate: PathBuf,
    /// `intermediate.key`.
    pub intermediate_key: PathBuf,
    /// `gateway.pem`, constrained to the gateway's own names.
    pub gateway: PathBuf,
    /// `gateway.key`.
    pub gateway_key: PathBuf,
}

impl Files {
    /// The files of the authority in `dir`, there or not.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self {
            root: dir.join("root.pem"),
            root_key: dir.join("root.key"),
            intermediate: dir.join("intermediate.pem"),
            intermediate_key: dir.join("intermediate.key"),
            gateway: dir.join("gateway.pem"),
            gateway_key: dir.join("gateway.key"),
        }
    }

    /// The first of the root's files that is there.
    pub(super) fn occupied(&self) -> Option<PathBuf> {
        [&self.root, &self.root_key]
            .into_iter()
            .find(|path| path.symlink_metadata().is_ok())
            .cloned()
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), AuthorityError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| AuthorityError::Write {
        path: dir.to_owned(),
        source,
    })
}

/// Reads a whole small file.
pub(super) fn read(path: &Path) -> Result<String, AuthorityError> {
    let read = || -> io::Result<String> {
        if fs::metadata(path)?.len() > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read_to_string(path)
    };
    read().map_err(|source| AuthorityError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a key, which nobody else may read, from a folder in which nobody else may put another in its place.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, AuthorityError> {
    #[cfg(unix)]
    guarded(path)?;
    read(path).map(Zeroizing::new)
}

#[cfg(unix)]
fn guarded(path: &Path) -> Result<(), AuthorityError> {
    use std::os::unix::fs::MetadataExt;
    let look = |path: &Path| {
        fs::metadata(path).map_err(|source| AuthorityError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let key = look(path)?;
    // A secret that Kubernetes mounts is root's, and its one reader is in the file's group.
    let ours = || fs::metadata("/proc/self").map(|own| own.uid());
    let mounted = key.uid() == 0 && key.mode() & 0o037 == 0 && ours().is_ok_and(|uid| uid != 0);
    if key.mode() & 0o077 != 0 && !mounted {
        return Err(AuthorityError::Exposed {
            path: path.to_owned(),
            mode: key.mode() & 0o777,
        });
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let folder = look(dir)?;
    // Under a sticky bit nobody replaces the files of another.
    if folder.mode() & 0o022 != 0 && folder.mode() & 0o1000 == 0 {
        return Err(AuthorityError::OpenFolder {
            path: dir.to_owned(),
            mode: folder.mode() & 0o777,
        });
    }
    Ok(())
}

pub(super) fn write_secret(path: &Path, text: &Zeroizing<String>) -> Result<(), AuthorityError> {
    replace(path, text.as_bytes(), 0o600).map_err(|source| AuthorityError::Write {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn write_public(path: &Path, text: &str) -> Result<(), AuthorityError> {
    replace(path, text.as_bytes(), 0o644).map_err(|source| AuthorityError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), AuthorityError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(AuthorityError::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Makes what was renamed or removed in a folder durable.
pub(super) fn sync(dir: &Path) -> Result<(), AuthorityError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| AuthorityError::Write {
            path: dir.to_owned(),
            source,
        })
}

/// Writes `bytes` beside `path` with the given mode, syncs, and renames over it.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    // A leftover of a crash may have other permissions, so it is not written into.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        // The first error is the one to report; a leftover is cleared by the next write.
        let _ = fs::remove_file(&beside);
        return renamed;
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
