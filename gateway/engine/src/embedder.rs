//! Texts to vectors: a context of its own, as llama.cpp pools what it decodes there and keeps nothing.
//!
//! Made at its first use. How a text's vector comes from its tokens is what the weights say; where they say nothing, as chat models do, it is their
//! mean. Vectors have length 1. A reranker's weights give one number for a pair of texts instead.
//!
//! Limits: [`LENGTH`] tokens a text (fewer where the model was trained on fewer), [`TOGETHER`] texts in a step, [`JOBS`] requests waiting.
//!
//! On failure: a [`Failure`]; an error of llama.cpp fails the texts of that request alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, ensure};
use llama_cpp_2::{
    context::{
        LlamaContext,
        params::{LlamaContextParams, LlamaPoolingType},
    },
    llama_batch::LlamaBatch,
    token::LlamaToken,
};
use tokio::sync::oneshot;

use crate::{failure::Failure, weights::Weights};

/// Tokens of a text: all of them are decoded at once.
const LENGTH: u32 = 2048;
/// Texts of a step.
const TOGETHER: usize = 16;
/// Requests that wait.
const JOBS: usize = 64;

/// Texts of one request, and where their vectors go.
struct Job {
    texts: Vec<Vec<LlamaToken>>,
    out: oneshot::Sender<anyhow::Result<Vec<Vec<f32>>>>,
}

/// The handle on the thread that embeds.
pub(crate) struct Embedder {
    jobs: mpsc::SyncSender<Job>,
    length: usize,
    ranks: bool,
    under_way: Arc<AtomicUsize>,
    _thread: JoinHandle<()>,
}

impl Embedder {
    /// Allocates the context on a thread of its own and waits until it stands.
    pub(crate) fn start(weights: Arc<Weights>, threads: u32) -> anyhow::Result<Self> {
        let trained = weights.trained_length();
        let length = if trained == 0 { LENGTH } else { trained.min(LENGTH) };
        let (jobs, waiting) = mpsc::sync_channel(JOBS);
        let (ready, opened) = mpsc::channel();
        let ranks = weights.pooling() == Some(LlamaPoolingType::Rank);
        let under_way = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::Builder::new().name("embed".to_owned()).spawn({
            let under_way = Arc::clone(&under_way);
            move || run(&weights, length, threads, &waiting, &under_way, &ready)
        })?;
        opened
            .recv()
            .context("the embedding thread ended before it began")??;
        Ok(Self {
            jobs,
            length: length as usize,
            ranks,
            under_way,
            _thread: thread,
        })
    }

    /// Whether the weights rank pairs of texts instead of embedding one.
    pub(crate) fn ranks(&self) -> bool {
        self.ranks
    }

    /// Refuses a text that cannot be embedded.
    pub(crate) fn bound(&self, text: &[LlamaToken]) -> Result<(), Failure> {
        if text.is_empty() {
            return Err(Failure::Invalid {
                param: "input".to_owned(),
                why: "holds an empty text",
            });
        }
        if text.len() > self.length {
            return Err(Failure::TextLength {
                tokens: text.len(),
                limit: self.length,
            });
        }
        Ok(())
    }

    /// Whether texts are being embedded, or wait for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// A vector for each text.
    pub(crate) async fn embed(&self, texts: Vec<Vec<LlamaToken>>) -> Result<Vec<Vec<f32>>, Failure> {
        for text in &texts {
            self.bound(text)?;
        }
        let (out, vectors) = oneshot::channel();
        self.jobs
            .try_send(Job { texts, out })
            .map_err(|error| match error {
                mpsc::TrySendError::Full(_) => Failure::Busy { seconds: 2 },
                mpsc::TrySendError::Disconnected(_) => Failure::Inference,
            })?;
        match vectors.await {
            Ok(Ok(vectors)) => Ok(vectors),
            Ok(Err(error)) => {
                tracing::error!(%error, "texts could not be embedded");
                Err(Failure::Inference)
            }
            Err(_) => Err(Failure::Inference),
        }
    }
}

fn run(
    weights: &Weights,
    length: u32,
    threads: u32,
    waiting: &mpsc::Receiver<Job>,
    under_way: &AtomicUsize,
    ready: &mpsc::Sender<anyhow::Result<()>>,
) {
    let mut bench = match Bench::open(weights, length, threads) {
        Ok(bench) => bench,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    if ready.send(Ok(())).is_err() {
        return;
    }
    // Ends when the last handle is dropped.
    while let Ok(Job { texts, out }) = waiting.recv() {
        let vectors = bench.embed(&texts, || out.is_closed());
        let _ = out.send(vectors);
        under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Bench<'w> {
    context: LlamaContext<'w>,
    batch: LlamaBatch<'static>,
    length: usize,
    ranks: bool,
}

impl<'w> Bench<'w> {
    fn open(weights: &'w Weights, length: u32, threads: u32) -> anyhow::Result<Self> {
        let threads = i32::try_from(threads)?;
        let pooling = weights.pooling();
        let params = LlamaContextParams::default()
            .with_n_ctx(std::num::NonZeroU32::new(length))
            .with_n_seq_max(u32::try_from(TOGETHER)?)
            .with_kv_unified(true)
            .with_n_batch(length)
            .with_n_ubatch(length)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_embeddings(true)
            .with_pooling_type(match pooling {
                Some(LlamaPoolingType::None) | None => LlamaPoolingType::Mean,
                Some(own) => own,
            });
        Ok(Self {
            context: weights.open(params)?,
            batch: LlamaBatch::new(length as usize, 1),
            length: length as usize,
            ranks: pooling == Some(LlamaPoolingType::Rank),
        })
    }

    /// Gives up when nobody waits any more.
    fn embed(
        &mut self,
        texts: &[Vec<LlamaToken>],
        is_left: impl Fn() -> bool,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            ensure!(!is_left(), "whoever asked has left");
            let mut room = self.length;
            let fitting = rest.iter().take(TOGETHER).take_while(|text| {
                let fits = text.len() <= room;
                room = room.saturating_sub(text.len());
                fits
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            self.context.clear_kv_cache();
            self.batch.clear();
            for (sequence, text) in (0..).zip(now) {
                for (place, &token) in (0..).zip(text) {
                    self.batch.add(token, place, &[sequence], true)?;
                }
            }
            self.context.decode(&mut self.batch)?;
            for sequence in 0..i32::try_from(now.len())? {
                let vector = self.context.embeddings_seq_ith(sequence)?.to_vec();
                vectors.push(if self.ranks { vector } else { of_length_one(vector) });
            }
        }
        Ok(vectors)
    }
}

fn of_length_one(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector
        .iter()
        .map(|number| f64::from(*number).powi(2))
        .sum::<f64>()
        .sqrt();
    if length > 0.0 {
        for number in &mut vector {
            *number = (f64::from(*number) / length) as f32;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_or_none() {
        assert_eq!(of_length_one(vec![3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(of_length_one(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}
