//! Files that hold one secret: made once, by whoever comes first, and readable by their owner only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use zeroize::Zeroizing;

/// The text in `path`; what `fresh` makes is kept there when the file does not exist.
pub(crate) fn load_or_create(
    path: &Path,
    fresh: impl FnOnce() -> io::Result<Zeroizing<String>>,
) -> io::Result<Zeroizing<String>> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => create(path, fresh()?),
        read => read,
    }
}

fn create(path: &Path, text: Zeroizing<String>) -> io::Result<Zeroizing<String>> {
    // Written aside and linked into place: of two processes that start at once, one makes the
    // secret and the other reads it, and neither ever sees half a file.
    let aside = path.with_extension(format!("{}.new", uuid::Uuid::now_v7().simple()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    let made = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    match made {
        Ok(()) => {
            removed?;
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
            Ok(text)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path).map(Zeroizing::new),
        Err(e) => Err(e),
    }
}
