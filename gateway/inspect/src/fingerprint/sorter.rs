//! Sorts more postings than memory should hold: sorted runs in unnamed temporary files, merged as they are read.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

/// Postings that are kept in memory, 16 bytes each.
const IN_MEMORY: usize = 4 << 20;

/// A hash, and the document or row that has it.
pub(super) type Posting = (u64, u32);

/// Takes postings in any order.
#[derive(Default)]
pub(super) struct Sorter {
    waiting: Vec<Posting>,
    runs: Vec<File>,
}

impl Sorter {
    pub(super) fn push(&mut self, posting: Posting) -> io::Result<()> {
        self.waiting.push(posting);
        if self.waiting.len() >= IN_MEMORY {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.waiting.sort_unstable();
        self.waiting.dedup();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for (hash, of) in self.waiting.drain(..) {
            run.write_all(&hash.to_le_bytes())?;
            run.write_all(&of.to_le_bytes())?;
        }
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        Ok(())
    }

    /// All of them in order, each once.
    pub(super) fn sorted(mut self) -> io::Result<Sorted> {
        self.waiting.sort_unstable();
        let mut sources: Vec<Source> = self
            .runs
            .into_iter()
            .map(|run| Source::Run(BufReader::with_capacity(1 << 16, run)))
            .collect();
        sources.push(Source::Memory(self.waiting.into_iter()));
        Sorted::of(sources)
    }
}

/// Somewhere postings come from in order.
pub(super) enum Source {
    Run(BufReader<File>),
    Memory(std::vec::IntoIter<Posting>),
    /// A segment that is read again, its documents renumbered.
    Iter(Box<dyn Iterator<Item = io::Result<Posting>>>),
    Sorted(Box<Sorted>),
}

impl Source {
    fn next(&mut self) -> io::Result<Option<Posting>> {
        match self {
            Self::Memory(postings) => Ok(postings.next()),
            Self::Iter(postings) => postings.next().transpose(),
            Self::Sorted(sorted) => sorted.next(),
            Self::Run(run) => {
                let mut bytes = [0; 12];
                match run.read_exact(&mut bytes) {
                    Ok(()) => {
                        let (hash, of) = bytes.split_at(8);
                        let hash = u64::from_le_bytes(hash.try_into().expect("eight bytes"));
                        Ok(Some((
                            hash,
                            u32::from_le_bytes(of.try_into().expect("four bytes")),
                        )))
                    }
                    Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Postings in order.
pub(super) struct Sorted {
    sources: Vec<Source>,
    next: BinaryHeap<Reverse<(Posting, usize)>>,
    last: Option<Posting>,
}

impl Sorted {
    pub(super) fn of(mut sources: Vec<Source>) -> io::Result<Self> {
        let mut next = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(posting) = source.next()? {
                next.push(Reverse((posting, index)));
            }
        }
        Ok(Self {
            sources,
            next,
            last: None,
        })
    }

    /// These as one source among others.
    pub(super) fn into_source(self) -> Source {
        Source::Sorted(Box::new(self))
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Posting>> {
        while let Some(Reverse((posting, index))) = self.next.pop() {
            if let Some(following) = self.sources[index].next()? {
                self.next.push(Reverse((following, index)));
            }
            if self.last.replace(posting) != Some(posting) {
                return Ok(Some(posting));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_memory_merge_in_order() {
        let mut sorter = Sorter::default();
        for round in 0..3_u64 {
            for at in (0..100_u64).rev() {
                sorter
                    .push((at * 7 % 101, u32::try_from(round % 2).unwrap()))
                    .unwrap();
            }
            sorter.spill().unwrap();
        }
        sorter.push((5, 9)).unwrap();
        let mut sorted = sorter.sorted().unwrap();
        let mut all = Vec::new();
        while let Some(posting) = sorted.next().unwrap() {
            all.push(posting);
        }
        assert!(all.is_sorted());
        assert_eq!(all.len(), 201);
        assert!(all.contains(&(5, 9)));
    }
}
