//! Findings that are known and accepted: a baseline file, and `cordon:allow` beside the value.
//!
//! A baseline holds one keyed hash a finding, over its path, type and value. The key is a file of its own
//! that stays out of the repository: with a public key, short values such as card numbers could be guessed.
//!
//! On failure: a baseline or key that cannot be read ends the scan before it began.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use cordon_domain::EntityType;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// First line of a baseline.
const HEAD: &str = "# cordon scan baseline 1";

/// Beside a value, it says that the value may stay.
const ALLOW: &str = "cordon:allow";

/// The largest baseline that is read.
const LARGEST: u64 = 64 << 20;

/// The known findings.
pub(super) struct Baseline {
    key: [u8; 32],
    known: BTreeSet<String>,
}

impl Baseline {
    /// Reads a baseline and its key.
    pub(super) fn load(file: &Path, key: Option<&Path>) -> Result<Self> {
        let cannot = || format!("cannot read the baseline {}", file.display());
        let size = fs::metadata(file).with_context(cannot)?.len();
        anyhow::ensure!(
            size <= LARGEST,
            "the baseline {} is larger than 64 MiB",
            file.display()
        );
        let source = fs::read_to_string(file).with_context(cannot)?;
        let mut lines = source.lines();
        if lines.next() != Some(HEAD) {
            bail!("{} is no baseline of cordon scan", file.display());
        }
        let mut known = BTreeSet::new();
        for (number, line) in (2..).zip(lines) {
            if line.len() != 32 || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                bail!("{}:{number}: expected 32 hexadecimal digits", file.display());
            }
            known.insert(line.to_owned());
        }
        let key = read_key(&key_file(file, key))?;
        Ok(Self { key, known })
    }

    /// An empty one to be written, with its key, which is made where there is none.
    pub(super) fn new(file: &Path, key: Option<&Path>) -> Result<Self> {
        let path = key_file(file, key);
        if !path.exists() {
            let mut fresh = [0; 32];
            getrandom::fill(&mut fresh).map_err(|fault| anyhow::anyhow!("no randomness: {fault}"))?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options
                .open(&path)
                .and_then(|mut file| writeln!(file, "{}", hex::encode(fresh)))
                .with_context(|| format!("cannot write the key {}", path.display()))?;
        }
        Ok(Self {
            key: read_key(&path)?,
            known: BTreeSet::new(),
        })
    }

    /// The mark of a finding.
    pub(super) fn mark(&self, path: &Path, entity: &EntityType, value: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        let path = path.strip_prefix("./").unwrap_or(path);
        for part in [
            path.as_os_str().as_encoded_bytes(),
            entity.as_str().as_bytes(),
            value.as_bytes(),
        ] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    /// Whether a mark is in it.
    pub(super) fn holds(&self, mark: &str) -> bool {
        self.known.contains(mark)
    }

    /// Writes marks to a file, in place of what it held.
    pub(super) fn write(file: &Path, marks: &BTreeSet<String>) -> Result<()> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let cannot = || format!("cannot write the baseline {}", file.display());
        let mut fresh =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(cannot)?;
        writeln!(fresh, "{HEAD}").with_context(cannot)?;
        for mark in marks {
            writeln!(fresh, "{mark}").with_context(cannot)?;
        }
        fresh.persist(file).with_context(cannot)?;
        Ok(())
    }
}

fn key_file(file: &Path, key: Option<&Path>) -> PathBuf {
    key.map_or_else(
        || {
            let mut beside = file.as_os_str().to_owned();
            beside.push(".key");
            PathBuf::from(beside)
        },
        Path::to_owned,
    )
}

fn read_key(path: &Path) -> Result<[u8; 32]> {
    let source = fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read the baseline's key {}; `--baseline-key` names another",
            path.display()
        )
    })?;
    let mut key = [0; 32];
    hex::decode_to_slice(source.trim(), &mut key)
        .map_err(|_| anyhow::anyhow!("{}: expected 64 hexadecimal digits", path.display()))?;
    Ok(key)
}

/// Whether a comment in a line lets a finding of a type pass: `cordon:allow`, or `cordon:allow EMAIL PHONE`.
pub(super) fn allowed(line: &str, entity: &EntityType) -> bool {
    line.match_indices(ALLOW).any(|(at, _)| {
        let mut types = line[at + ALLOW.len()..]
            .split([' ', ',', '\t'])
            .filter(|word| !word.is_empty())
            .take_while(|word| word.parse::<EntityType>().is_ok())
            .peekable();
        types.peek().is_none() || types.any(|word| word == entity.as_str() || word == entity.family())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> EntityType {
        "EMAIL".parse().unwrap()
    }

    #[test]
    fn comments_allow_what_they_name() {
        assert!(allowed("a@b.example # cordon:allow", &email()));
        assert!(allowed("a@b.example /* cordon:allow PHONE, EMAIL */", &email()));
        assert!(!allowed("a@b.example # cordon:allow SECRET", &email()));
        assert!(!allowed("a@b.example # cordon", &email()));
        assert!(allowed("x # cordon:allow SECRET", &"SECRET.JWT".parse().unwrap()));
    }

    #[test]
    fn baselines_know_what_was_written_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known");
        let fresh = Baseline::new(&file, None).unwrap();
        let mark = fresh.mark(Path::new("./a.txt"), &email(), "a@b.example");
        Baseline::write(&file, &BTreeSet::from([mark])).unwrap();
        let read = Baseline::load(&file, None).unwrap();
        assert!(read.holds(&read.mark(Path::new("a.txt"), &email(), "a@b.example")));
        assert!(!read.holds(&read.mark(Path::new("a.txt"), &email(), "c@b.example")));
        assert!(!fs::read_to_string(&file).unwrap().contains("b.example"));
        // Without the key it is no use.
        fs::remove_file(dir.path().join("known.key")).unwrap();
        assert!(Baseline::load(&file, None).is_err());
        fs::write(&file, "something else").unwrap();
        assert!(Baseline::load(&file, None).is_err());
    }
}
