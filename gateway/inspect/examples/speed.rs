//! Prints how long single inspections of a prompt of 4 KiB take: the fifth percentile and the median of many. On a
//! machine that does other things as well, these say more than a mean does (`cargo bench`). Names of texts as arguments
//! leave the others out, so that a profile shows one of them.

use std::{
    hint::black_box,
    io::{self, Write},
    time::Instant,
};

use cordon_inspect::Inspector;

#[path = "../benches/texts/prompts.rs"]
mod texts;

const ROUNDS: usize = 12_000;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let inspector = Inspector::embedded().unwrap_or_else(|_| panic!("the embedded detectors compile"));
    let only: Vec<String> = std::env::args().skip(1).collect();
    for (name, text) in texts::all() {
        if !only.is_empty() && !only.iter().any(|other| other == name) {
            continue;
        }
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                black_box(inspector.inspect(black_box(&text)));
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let told = |place: usize| {
            let time = times[place];
            format!("{time:.1} us, {:.0} MiB/s", text.len() as f64 / time / 1.048_576)
        };
        writeln!(
            out,
            "{name}: fifth percentile {}; median {}",
            told(ROUNDS / 20),
            told(ROUNDS / 2)
        )?;
    }
    Ok(())
}
