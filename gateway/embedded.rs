//! For the build scripts of the rooms that embed files of `policies/`: lists a folder's, so that a file is embedded by
//! lying there.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// Writes `out` of the build's own folder: a slice of each file's name with its text, by name.
pub(crate) fn list(policies: &str, out: &str) -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = manifest.join("../../policies").join(policies).canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.sort();
    let mut list = String::from("&[\n");
    for path in files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
    {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        list.push_str(&format!(
            "    ({name:?}, include_str!({:?})),\n",
            path.display().to_string()
        ));
    }
    list.push_str("]\n");
    fs::write(
        Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join(out),
        list,
    )
}
