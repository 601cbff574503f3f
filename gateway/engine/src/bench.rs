//! `cordon-engine bench`: what this machine does, and how that compares.
//!
//! [`inside`] runs the scheduler beside the shortest possible decode loop on the same weights. With `--llama-cpp`, [`beside`] runs this
//! program as a server beside llama.cpp's own, over HTTP, in turns, so that what else the machine does hits both.
//!
//! Progress goes to standard error; the last line of standard output is one JSON object.

mod beside;
mod inside;
mod servers;
mod talk;

use std::{io::Write as _, process::ExitCode, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    args::Bench,
    weights::{self, Weights},
};

/// Measures, and prints.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    let weights = Arc::new(Weights::load(
        &Arc::new(weights::start_backend()?),
        &bench.model,
        bench.shape.gpu_layers,
        &[],
        CancellationToken::new(),
    )?);
    let mut figures = inside::measure(bench, &weights)?;
    if let Some(folder) = &bench.llama_cpp {
        figures.extend(beside::measure(bench, &weights, folder)?);
    }
    writeln!(std::io::stdout().lock(), "{}", serde_json::Value::Object(figures))?;
    Ok(ExitCode::SUCCESS)
}

/// Two decimals are more than such figures carry.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// The middle one, or the mean of the two in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}
