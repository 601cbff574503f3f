//! ONNX Runtime, loaded when the first classifier is, and its sessions.

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

use ort::{
    environment::Environment,
    session::{Session, builder::GraphOptimizationLevel},
};

use super::{Missed, NerError};

/// The runtime, loaded at the first call: it takes one environment a process.
pub(super) fn environment(runtime: &Path) -> Result<Environment, NerError> {
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let unusable = |error: String| NerError::Runtime(runtime.to_owned(), error);
    let environment = ort::init_from(runtime)
        .map_err(|error| unusable(error.to_string()))?
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(loaded.insert(environment).clone())
}

pub(super) fn session(environment: &Environment, classifier: &Path) -> Result<Session, NerError> {
    let unusable = |error: String| NerError::Classifier(classifier.to_owned(), error);
    let builder = Session::builder(environment).map_err(|error| unusable(error.to_string()))?;
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| unusable(error.to_string()))?;
    builder
        .with_intra_threads(1)
        .map_err(|error| unusable(error.to_string()))?
        .commit_from_file(classifier)
        .map_err(|error| unusable(error.to_string()))
}

/// Sessions, each used by one thread at a time.
pub(super) struct Pool {
    free: Mutex<Vec<Session>>,
    freed: Condvar,
}

impl Pool {
    pub(super) fn new(sessions: Vec<Session>) -> Self {
        Self {
            free: Mutex::new(sessions),
            freed: Condvar::new(),
        }
    }

    pub(super) fn take(&self, until: Option<Instant>) -> Result<Taken<'_>, Missed> {
        // The list is whole whenever a holder of the lock panics.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Missed::Late);
            }
            if let Some(session) = free.pop() {
                return Ok(Taken {
                    pool: self,
                    session: Some(session),
                });
            }
            free = match left {
                None => self.freed.wait(free).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.freed
                        .wait_timeout(free, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// A session on loan.
pub(super) struct Taken<'p> {
    pool: &'p Pool,
    session: Option<Session>,
}

impl Deref for Taken<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("it is given back at the drop only")
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is given back at the drop only")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.push(session);
            self.pool.freed.notify_one();
        }
    }
}
