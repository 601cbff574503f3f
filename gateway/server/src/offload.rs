//! Work on whole texts: short work where it stands, long work on threads of its own, so that one large prompt does not
//! delay other callers.
//!
//! Limits: as many long pieces of work at a time as there are cores, and [`FEWEST`] at least, so that those of middling length go on
//! beside a very long one. More would not end sooner, and each thread that inspects keeps tables of its own.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use tokio::sync::Semaphore;

/// Texts of together this size are inspected where the request is served: of ordinary prose that takes
/// less than a millisecond.
const INSPECTED_INLINE: usize = 16 << 10;
/// Bodies of this size are read where the request is served: reading is many times as fast as inspecting.
const READ_INLINE: usize = 192 << 10;

/// Long pieces of work at a time, on a machine with fewer cores.
const FEWEST: usize = 4;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.max(FEWEST)))
});

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Texts of so many bytes are inspected.
    Inspect(usize),
    /// A body of so many bytes is read.
    Read(usize),
    /// Besides the processor it may wait for the disk or for others.
    Waits,
}

/// It panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp;

/// Does the work.
pub async fn offload<T: Send + 'static>(
    work: Work,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GaveUp> {
    let inline = match work {
        Work::Inspect(bytes) => bytes <= INSPECTED_INLINE,
        Work::Read(bytes) => bytes <= READ_INLINE,
        Work::Waits => false,
    };
    if inline {
        return catch_unwind(AssertUnwindSafe(run)).map_err(|_| GaveUp);
    }
    // The semaphore is never closed. Whoever waits takes no core, so their number needs no bound here.
    let place = match work {
        Work::Waits => None,
        Work::Inspect(_) | Work::Read(_) => PLACES.clone().acquire_owned().await.ok(),
    };
    // Who asked may leave meanwhile; the work has its place until it is done.
    let run = move || {
        let done = run();
        drop(place);
        done
    };
    tokio::task::spawn_blocking(run).await.map_err(|_| GaveUp)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn short_work_stays_and_long_work_leaves() {
        let here = thread::current().id();
        let there = |work| offload(work, || thread::current().id());
        assert_eq!(there(Work::Inspect(INSPECTED_INLINE)).await, Ok(here));
        assert_eq!(there(Work::Read(READ_INLINE)).await, Ok(here));
        assert_ne!(there(Work::Inspect(INSPECTED_INLINE + 1)).await, Ok(here));
        assert_ne!(there(Work::Waits).await, Ok(here));
    }

    #[tokio::test]
    async fn a_panic_is_told_wherever_it_happens() {
        for work in [Work::Inspect(0), Work::Read(usize::MAX), Work::Waits] {
            let panics = || panic!("as asked");
            assert_eq!(offload(work, panics).await, Err::<(), _>(GaveUp));
        }
    }
}
