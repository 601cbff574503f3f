//! What the scheduler adds to a bare loop.
//!
//! For each number of streams the same made-up prompts go through the scheduler and through the
//! shortest possible decode loop on the same weights, in turns, and the best of each counts, so that
//! the ratio of the two says something even on a busy machine. Then a long prompt arrives while
//! three answers stream, and the longest silence between two pieces of theirs is taken.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use llama_cpp_2::{llama_batch::LlamaBatch, token::LlamaToken};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::round;
use crate::{
    args::{Bench, Shape},
    gauges::Gauges,
    models,
    scheduler::{Ask, Layout, Piece, Sampling, Scheduler, context_params, likeliest},
    weights::Weights,
};

/// The long prompt that arrives while others stream.
const LONG_PROMPT: usize = 1177;

/// Measures.
pub(super) fn measure(bench: &Bench, weights: &Arc<Weights>) -> anyhow::Result<Map<String, Value>> {
    ensure!(
        bench.prompt > 0 && bench.answer > 1,
        "prompt and answer need tokens"
    );
    ensure!(
        bench.streams.iter().all(|&streams| (1..=64).contains(&streams)),
        "1 to 64 streams"
    );
    let mut by_streams = Map::new();
    for &streams in &bench.streams {
        let measured = at_once(bench, weights, streams)?;
        eprintln!("{streams:>3} streams: {measured}");
        by_streams.insert(streams.to_string(), measured);
    }
    let silence = silence(&bench.shape, weights)?;
    eprintln!("longest silence while {LONG_PROMPT} prompt tokens arrive: {silence:?}");
    let mut figures = Map::new();
    let told = json!({
        "model": bench.model.file_name().map(|name| name.to_string_lossy()),
        "threads": threads(&bench.shape),
        "prompt": bench.prompt,
        "answer": bench.answer,
        "streams": by_streams,
        "silence_ms": round(silence.as_secs_f64() * 1000.0),
    });
    if let Value::Object(told) = told {
        figures.extend(told);
    }
    Ok(figures)
}

/// Both ways, with a number of streams.
fn at_once(bench: &Bench, weights: &Arc<Weights>, streams: u32) -> anyhow::Result<Value> {
    let layout = layout(&bench.shape, streams, bench.prompt + bench.answer + 1);
    let prompts: Vec<_> = (0..streams)
        .map(|stream| made_up(weights, stream, bench.prompt))
        .collect();
    let scheduler = start(weights, layout)?;
    let (mut scheduled, mut bare) = (Spans::NEVER, Spans::NEVER);
    for _ in 0..bench.rounds {
        // The one-token run takes the prompts' time, which is taken off the other's.
        let first = scheduled_run(&scheduler, weights, &prompts, 1)?;
        let whole = scheduled_run(&scheduler, weights, &prompts, bench.answer)?;
        scheduled = scheduled.better(&Spans { first, whole });
        bare = bare.better(&bare_run(weights, &layout, &prompts, bench.answer)?);
    }
    let tokens = |each: usize| (each * streams as usize) as f64;
    let decode =
        |spans: &Spans| tokens(bench.answer - 1) / (spans.whole.saturating_sub(spans.first)).as_secs_f64();
    let prefill = |spans: &Spans| tokens(bench.prompt) / spans.first.as_secs_f64();
    let whole = |spans: &Spans| tokens(bench.answer) / spans.whole.as_secs_f64();
    Ok(json!({
        "decode_tps": round(decode(&scheduled)),
        "bare_decode_tps": round(decode(&bare)),
        "decode_ratio": round(decode(&scheduled) / decode(&bare)),
        "prefill_tps": round(prefill(&scheduled)),
        "bare_prefill_tps": round(prefill(&bare)),
        "answer_tps": round(whole(&scheduled)),
        "answer_ratio": round(whole(&scheduled) / whole(&bare)),
        "all_first_tokens_ms": round(scheduled.first.as_secs_f64() * 1000.0),
    }))
}

/// A scheduler that nobody watches.
fn start(weights: &Arc<Weights>, layout: Layout) -> anyhow::Result<Scheduler> {
    let gauges = Gauges::new(&Gauges::registry()?, "bench")?;
    Scheduler::start(
        Arc::clone(weights),
        layout,
        Arc::new(gauges),
        CancellationToken::new(),
    )
}

/// CPU threads that decode.
pub(super) fn threads(shape: &Shape) -> u32 {
    layout(shape, 1, 1).threads
}

/// Tokens a second that the scheduler decodes once all prompts are read.
pub(super) fn decode_speed(
    shape: &Shape,
    weights: &Arc<Weights>,
    streams: u32,
    prompt: usize,
    answer: usize,
) -> anyhow::Result<f64> {
    let layout = layout(shape, streams, prompt + answer + 1);
    let prompts: Vec<_> = (0..streams)
        .map(|stream| made_up(weights, stream, prompt))
        .collect();
    let scheduler = start(weights, layout)?;
    let first = scheduled_run(&scheduler, weights, &prompts, 1)?;
    let whole = scheduled_run(&scheduler, weights, &prompts, answer)?;
    let decoded = (answer - 1) * streams as usize;
    Ok(decoded as f64 / whole.saturating_sub(first).as_secs_f64())
}

/// How long until all streams had one token, and all of them.
struct Spans {
    first: Duration,
    whole: Duration,
}

impl Spans {
    const NEVER: Self = Self {
        first: Duration::MAX,
        whole: Duration::MAX,
    };

    /// The shortest of each: what other programs on the machine did only ever adds.
    fn better(&self, other: &Self) -> Self {
        Self {
            first: self.first.min(other.first),
            whole: self.whole.min(other.whole),
        }
    }
}

fn layout(shape: &Shape, slots: u32, slot_length: usize) -> Layout {
    let usual = models::layout(shape, 0);
    Layout {
        slots,
        slot_length: u32::try_from(slot_length).unwrap_or(u32::MAX),
        ..usual
    }
}

/// Plain tokens that no other stream has in this order.
fn made_up(weights: &Weights, stream: u32, length: usize) -> Vec<LlamaToken> {
    let vocabulary = weights.vocabulary_size().max(2);
    let mut state = u64::from(stream) + 1;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        LlamaToken(i32::try_from((state >> 33) % vocabulary.unsigned_abs() as u64).unwrap_or(1))
    })
    .filter(|&token| !weights.ends_answer(token))
    .take(length)
    .collect()
}

/// Something to go on from in whole words. Made-up tokens are answered in pieces of characters,
/// which are held back and would look like silence.
fn story(weights: &Weights, stream: u32) -> Vec<LlamaToken> {
    let opening = format!("Chapter {stream}. Once upon a time, in a small village by the sea, there lived");
    weights.tokenise(&opening, false)
}

fn ask(weights: &Weights, prompt: Vec<LlamaToken>, answer: usize) -> Ask {
    Ask {
        prompt,
        sampling: Sampling {
            temperature: 0.0,
            // An answer that the model ends early would measure less than was asked for.
            never: weights.ends().to_vec(),
            ..Sampling::default()
        },
        stops: Vec::new(),
        answer_limit: Some(answer),
        reuse: false,
        form: None,
        report: None,
        salt: None,
        adapter: None,
        exchange: None,
    }
}

fn scheduled_run(
    scheduler: &Scheduler,
    weights: &Weights,
    prompts: &[Vec<LlamaToken>],
    answer: usize,
) -> anyhow::Result<Duration> {
    let asks: Vec<_> = prompts
        .iter()
        .map(|prompt| ask(weights, prompt.clone(), answer))
        .collect();
    let begun = Instant::now();
    let answers = asks
        .into_iter()
        .map(|ask| scheduler.submit(ask))
        .collect::<Result<Vec<_>, _>>()?;
    for mut pieces in answers {
        let made = finish(&mut pieces)?;
        ensure!(made == answer, "an answer had {made} tokens instead of {answer}");
    }
    Ok(begun.elapsed())
}

fn finish(pieces: &mut UnboundedReceiver<Piece>) -> anyhow::Result<usize> {
    loop {
        match pieces.blocking_recv().context("the scheduler lost an answer")? {
            Piece::Text { .. } => {}
            Piece::Refused(failure) => return Err(failure.into()),
            Piece::Done { usage, .. } => return Ok(usage.answer),
        }
    }
}

/// Prompts in, then all streams one token a step: nothing else.
fn bare_run(
    weights: &Weights,
    layout: &Layout,
    prompts: &[Vec<LlamaToken>],
    answer: usize,
) -> anyhow::Result<Spans> {
    let mut context = weights.open(context_params(layout))?;
    let chunk = 256;
    let mut batch = LlamaBatch::new(chunk.max(prompts.len()), 1);
    let begun = Instant::now();
    let mut last = Vec::with_capacity(prompts.len());
    for (stream, prompt) in prompts.iter().enumerate() {
        let sequence = i32::try_from(stream)?;
        for (number, tokens) in prompt.chunks(chunk).enumerate() {
            batch.clear();
            for (offset, &token) in tokens.iter().enumerate() {
                let at = number * chunk + offset;
                batch.add(token, i32::try_from(at)?, &[sequence], at + 1 == prompt.len())?;
            }
            context.decode(&mut batch)?;
        }
        last.push(likeliest(context.get_logits_ith(batch.n_tokens() - 1)));
    }
    let first = begun.elapsed();
    for made in 1..answer {
        batch.clear();
        for (stream, (&token, prompt)) in last.iter().zip(prompts).enumerate() {
            batch.add(
                token,
                i32::try_from(prompt.len() + made - 1)?,
                &[i32::try_from(stream)?],
                true,
            )?;
        }
        context.decode(&mut batch)?;
        for (at, token) in last.iter_mut().enumerate() {
            *token = likeliest(context.get_logits_ith(i32::try_from(at)?));
        }
    }
    Ok(Spans {
        first,
        whole: begun.elapsed(),
    })
}

/// The longest silence in three streams from when a long prompt arrives until it is read.
fn silence(shape: &Shape, weights: &Arc<Weights>) -> anyhow::Result<Duration> {
    let layout = layout(shape, 4, LONG_PROMPT + 512);
    let scheduler = start(weights, layout)?;
    let mut streams = (0..3)
        .map(|stream| scheduler.submit(ask(weights, story(weights, stream), 400)))
        .collect::<Result<Vec<_>, _>>()?;
    for pieces in &mut streams {
        // All three are under way from here on.
        pieces.blocking_recv();
    }
    let listeners: Vec<_> = streams
        .into_iter()
        .map(|mut pieces| {
            std::thread::spawn(move || {
                let mut heard = vec![Instant::now()];
                while let Some(Piece::Text { .. }) = pieces.blocking_recv() {
                    heard.push(Instant::now());
                }
                heard
            })
        })
        .collect();
    let arrived = Instant::now();
    let mut long = scheduler.submit(ask(weights, made_up(weights, 9, LONG_PROMPT), 1))?;
    finish(&mut long)?;
    let read = Instant::now();
    let mut longest = Duration::ZERO;
    for listener in listeners {
        let heard = listener
            .join()
            .map_err(|_| anyhow::anyhow!("a listener panicked"))?;
        let during = heard
            .windows(2)
            .filter(|pair| pair[1] >= arrived && pair[0] <= read);
        longest = during.map(|pair| pair[1] - pair[0]).fold(longest, Duration::max);
    }
    Ok(longest)
}
