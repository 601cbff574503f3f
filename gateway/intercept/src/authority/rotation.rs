//! The change from one root to the next, with a time in which callers trust both.
//!
//! The next authority is made whole in `next/` beside the files of the present one, and its root joins
//! the present one in `root.pem`, which every caller's bundle is made from. Once their machines have it,
//! a mark switches minting over, or back. At last the files of the next take the places of the old.
//!
//! Each step ends in one rename or one removal, so that a crash leaves the step undone or done;
//! a step that was cut short is finished by asking for it again.
//!
//! On failure: the error names the file, or the step that comes first.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cordon_domain::{Clock, SystemClock};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use time::{Duration, OffsetDateTime};

use super::{Authority, AuthorityError, Files, ROTATE_AHEAD, ROTATE_ROOT_AHEAD, Scope, files, mint};

/// A rotation of the authority in a folder.
#[derive(Clone, Debug)]
pub struct Rotation {
    dir: PathBuf,
}

/// A certificate of an authority.
#[derive(Clone, Debug)]
pub struct Described {
    /// `root`, `interception` or `gateway`.
    pub which: &'static str,
    /// What its authority does at the moment.
    pub part: &'static str,
    /// Its file.
    pub file: PathBuf,
    /// Itself.
    pub der: CertificateDer<'static>,
    /// Its end.
    pub not_after: OffsetDateTime,
}

impl Described {
    /// How long before its end such a certificate is to be replaced.
    #[must_use]
    pub fn ahead(which: &str) -> Duration {
        if which == "root" {
            ROTATE_ROOT_AHEAD
        } else {
            ROTATE_AHEAD
        }
    }
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationState {
    /// There is one authority.
    None,
    /// The next one is there, the old one mints.
    Prepared,
    /// The next one mints, the old one is still trusted.
    Switched,
}

impl Rotation {
    /// Of the authority in `dir`. Touches nothing.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where the next authority lies, there or not.
    #[must_use]
    pub fn next(&self) -> PathBuf {
        self.dir.join("next")
    }

    /// The mark that says that the next one mints.
    fn mark(&self) -> PathBuf {
        self.dir.join("switched")
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> RotationState {
        let next = Files::of(&self.next());
        if !next.root.exists() {
            return RotationState::None;
        }
        if self.mark().exists() {
            return RotationState::Switched;
        }
        // What a crash left of a next one that has taken its place already.
        let first = |path: &Path| {
            let pem = files::read(path).ok()?;
            CertificateDer::from_pem_slice(pem.as_bytes()).ok()
        };
        if first(&next.root) == first(&Files::of(&self.dir).root) {
            RotationState::None
        } else {
            RotationState::Prepared
        }
    }

    /// The folder of the authority that mints.
    #[must_use]
    pub fn minting(&self) -> PathBuf {
        match self.state() {
            RotationState::Switched => self.next(),
            RotationState::None | RotationState::Prepared => self.dir.clone(),
        }
    }

    /// The certificates of both authorities, each with the folder's part in the rotation.
    ///
    /// # Errors
    /// When a certificate that must be there is missing or wrong.
    pub fn certificates(&self) -> Result<Vec<Described>, AuthorityError> {
        let state = self.state();
        let (own, other) = match state {
            RotationState::None => ("mints", None),
            RotationState::Prepared => ("mints", Some("next")),
            RotationState::Switched => ("old, still trusted", Some("mints")),
        };
        let next = other.map(|part| (self.next(), part));
        let folders = std::iter::once((self.dir.clone(), own)).chain(next);
        let mut described = Vec::new();
        for (dir, part) in folders {
            let files = Files::of(&dir);
            for (which, file) in [
                ("root", files.root),
                ("interception", files.intermediate),
                ("gateway", files.gateway),
            ] {
                let (der, not_after) = mint::first_certificate(&file, &files::read(&file)?)?;
                described.push(Described {
                    which,
                    part,
                    file,
                    der,
                    not_after,
                });
            }
        }
        Ok(described)
    }

    /// Files that a running server watches: what they hold says which authority mints, and how.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        let (files, next) = (Files::of(&self.dir), Files::of(&self.next()));
        vec![
            files.root,
            files.intermediate,
            files.intermediate_key,
            files.gateway,
            files.gateway_key,
            next.root,
            next.intermediate,
            next.intermediate_key,
            next.gateway,
            next.gateway_key,
            self.mark(),
        ]
    }

    /// Makes the next authority, and has callers trust both from now on. Nothing is minted under it yet.
    ///
    /// # Errors
    /// When there is a next one already, or a file cannot be written.
    pub fn prepare(&self, scope: impl Into<Scope>, clock: &dyn Clock) -> Result<Files, AuthorityError> {
        // There must be one to follow.
        files::read(&Files::of(&self.dir).root)?;
        match self.state() {
            RotationState::None => {
                let making = self.dir.join("next.new");
                for leftover in [&making, &self.next()] {
                    remove_folder(leftover)?;
                }
                Authority::init(&making, scope, clock)?;
                fs::rename(&making, self.next()).map_err(|source| AuthorityError::Write {
                    path: self.next(),
                    source,
                })?;
                files::sync(&self.dir)?;
            }
            // Cut short before both were trusted.
            RotationState::Prepared if !self.both_trusted()? => {}
            RotationState::Prepared => {
                return Err(AuthorityError::OutOfTurn(
                    "the next authority is there already; once callers trust its root: `cordon ca rotate --switch`",
                ));
            }
            RotationState::Switched => {
                return Err(AuthorityError::OutOfTurn(
                    "a rotation is under way; end it first: `cordon ca rotate --retire`",
                ));
            }
        }
        self.trust_both()?;
        Ok(Files::of(&self.next()))
    }

    /// Has the next authority mint, once it is proven that it can vouch for everything in `scope`.
    ///
    /// # Errors
    /// When there is none, or it cannot.
    pub fn switch(&self, scope: impl Into<Scope>) -> Result<(), AuthorityError> {
        match self.state() {
            RotationState::None => Err(AuthorityError::OutOfTurn(
                "there is no next authority; make it first: `cordon ca rotate --next`",
            )),
            RotationState::Switched => Err(AuthorityError::OutOfTurn(
                "the next authority mints already; `cordon ca rotate --retire` ends the old one, `--back` returns to it",
            )),
            RotationState::Prepared => {
                self.trust_both()?;
                let trusted = files::read(&Files::of(&self.dir).root)?;
                Authority::load_from(&self.next(), trusted, &scope.into(), Arc::new(SystemClock))?;
                files::write_public(&self.mark(), "the authority in next/ mints\n")
            }
        }
    }

    /// Has the old authority mint again. Both stay trusted.
    ///
    /// # Errors
    /// When it does, or the mark cannot be removed.
    pub fn back(&self) -> Result<(), AuthorityError> {
        match self.state() {
            RotationState::Switched => self.unmark(),
            RotationState::None | RotationState::Prepared => Err(AuthorityError::OutOfTurn(
                "minting was not switched over, so there is nothing to go back from",
            )),
        }
    }

    /// Ends the old authority: its keys are gone, and callers need not trust its root any more.
    ///
    /// # Errors
    /// When the next one does not mint yet, or a file cannot be written.
    pub fn retire(&self) -> Result<(), AuthorityError> {
        if self.state() != RotationState::Switched {
            return Err(AuthorityError::OutOfTurn(
                "the old authority still mints; `cordon ca rotate --switch` comes first",
            ));
        }
        let (old, next) = (Files::of(&self.dir), Files::of(&self.next()));
        for (from, to) in [
            (&next.intermediate_key, &old.intermediate_key),
            (&next.gateway_key, &old.gateway_key),
            (&next.root_key, &old.root_key),
        ] {
            if from.exists() {
                files::write_secret(to, &files::read_secret(from)?)?;
            } else {
                // The next one's key is elsewhere, and the old one's is of no use any more.
                files::remove(to)?;
            }
        }
        for (from, to) in [
            (&next.intermediate, &old.intermediate),
            (&next.gateway, &old.gateway),
            (&next.root, &old.root),
        ] {
            files::write_public(to, &files::read(from)?)?;
        }
        self.unmark()?;
        remove_folder(&self.next())
    }

    fn unmark(&self) -> Result<(), AuthorityError> {
        files::remove(&self.mark())?;
        files::sync(&self.dir)
    }

    fn both_trusted(&self) -> Result<bool, AuthorityError> {
        let next = files::read(&Files::of(&self.next()).root)?;
        Ok(files::read(&Files::of(&self.dir).root)?.contains(next.trim()))
    }

    fn trust_both(&self) -> Result<(), AuthorityError> {
        if self.both_trusted()? {
            return Ok(());
        }
        let root = Files::of(&self.dir).root;
        let both = format!(
            "{}\n{}",
            files::read(&root)?.trim_end(),
            files::read(&Files::of(&self.next()).root)?
        );
        files::write_public(&root, &both)
    }
}

fn remove_folder(path: &Path) -> Result<(), AuthorityError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(AuthorityError::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Scope {
        Scope::from(&vec!["api.openai.com".to_owned()])
    }

    fn load(dir: &Path) -> Authority {
        Authority::load(dir, hosts(), Arc::new(SystemClock)).unwrap()
    }

    fn roots(authority: &Authority) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(authority.root_pem().as_bytes())
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn both_are_trusted_between_the_first_step_and_the_last() {
        let dir = tempfile::tempdir().unwrap();
        Authority::init(dir.path(), hosts(), &SystemClock).unwrap();
        let rotation = Rotation::of(dir.path());
        let old = load(dir.path()).root.clone();

        for step in [rotation.switch(hosts()), rotation.back(), rotation.retire()] {
            assert!(matches!(step, Err(AuthorityError::OutOfTurn(_))));
        }
        rotation.prepare(hosts(), &SystemClock).unwrap();
        assert_eq!(rotation.state(), RotationState::Prepared);
        let prepared = load(dir.path());
        assert_eq!(prepared.root, old, "the old one mints on");
        let both = roots(&prepared);
        assert_eq!(both.len(), 2);
        assert!(matches!(
            rotation.prepare(hosts(), &SystemClock),
            Err(AuthorityError::OutOfTurn(_))
        ));

        for _ in 0..2 {
            rotation.switch(hosts()).unwrap();
            let switched = load(dir.path());
            assert_eq!(
                (switched.root.clone(), roots(&switched)),
                (both[1].clone(), both.clone())
            );
            rotation.back().unwrap();
            assert_eq!(load(dir.path()).root, old);
        }
        rotation.switch(hosts()).unwrap();
        rotation.retire().unwrap();
        let retired = load(dir.path());
        assert_eq!(roots(&retired), [both[1].clone()]);
        assert_eq!(rotation.state(), RotationState::None);
        assert!(!rotation.next().exists());
        // And round again.
        rotation.prepare(hosts(), &SystemClock).unwrap();
    }

    #[test]
    fn a_next_one_that_cannot_vouch_for_a_host_is_not_switched_to() {
        let dir = tempfile::tempdir().unwrap();
        Authority::init(dir.path(), hosts(), &SystemClock).unwrap();
        let rotation = Rotation::of(dir.path());
        rotation.prepare(hosts(), &SystemClock).unwrap();
        let more = Scope::from(&vec!["api.openai.com".to_owned(), "api.groq.com".to_owned()]);
        assert!(matches!(
            rotation.switch(more),
            Err(AuthorityError::HostNotPermitted { .. })
        ));
        assert_eq!(rotation.state(), RotationState::Prepared);
    }

    /// Every state that a crash can leave behind loads, and asking again finishes the step.
    #[test]
    fn what_a_crash_leaves_is_finished_by_the_same_step() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        Authority::init(top, hosts(), &SystemClock).unwrap();
        let rotation = Rotation::of(top);
        let (old, next) = (Files::of(top), Files::of(&rotation.next()));

        // While the next one is made.
        Authority::init(&top.join("next.new"), hosts(), &SystemClock).unwrap();
        fs::remove_file(top.join("next.new/gateway.pem")).unwrap();
        load(top);
        // Made, and not trusted yet.
        let before = fs::read(&old.root).unwrap();
        rotation.prepare(hosts(), &SystemClock).unwrap();
        fs::write(&old.root, &before).unwrap();
        load(top);
        rotation.prepare(hosts(), &SystemClock).unwrap();
        assert_eq!(roots(&load(top)).len(), 2);

        // Between any two files of the last step: the next one's, which is whole, mints.
        rotation.switch(hosts()).unwrap();
        let saved: Vec<_> = [
            &old.root,
            &old.intermediate,
            &old.intermediate_key,
            &old.gateway,
            &old.gateway_key,
        ]
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .into();
        let news = [
            &next.root,
            &next.intermediate,
            &next.intermediate_key,
            &next.gateway,
            &next.gateway_key,
        ];
        for done in 0..news.len() {
            for (path, bytes) in &saved {
                fs::write(path, bytes).unwrap();
            }
            for ((path, _), new) in saved.iter().zip(news).take(done) {
                fs::write(path, fs::read(new).unwrap()).unwrap();
            }
            load(top);
        }
        // All in place, the mark gone, the folder still there.
        let kept = tempfile::tempdir().unwrap();
        for file in fs::read_dir(rotation.next()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), kept.path().join(file.file_name())).unwrap();
        }
        rotation.retire().unwrap();
        fs::rename(kept.path(), rotation.next()).unwrap();
        assert_eq!(rotation.state(), RotationState::None);
        load(top);
        rotation.prepare(hosts(), &SystemClock).unwrap();
        assert_eq!(rotation.state(), RotationState::Prepared);
    }
}
