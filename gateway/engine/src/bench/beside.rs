//! This program as a server beside llama.cpp's own, over HTTP.
//!
//! Both servers get the same weights, slots and threads, and the same requests in turns; who goes first changes every round, and the median
//! of the rounds counts. All prompts differ unless sharing is what is measured.
//!
//! On failure: an error that says which measure failed; what was measured before is lost, as a table with holes would mislead.

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};
use tokio::{process::Command, time::Instant};

use super::{
    inside, median, round,
    servers::{Server, Size},
    talk::{self, Talk},
};
use crate::{args::Bench, weights::Weights};

/// Rounds whose median counts.
const ROUNDS: usize = 5;
/// Chats at once.
const AT_ONCE: [u32; 4] = [1, 4, 8, 16];
/// Words that are one token each in most vocabularies, so that a prompt's length can be chosen.
const WORDS: [&str; 32] = [
    "time", "water", "house", "light", "music", "paper", "river", "stone", "table", "voice", "world",
    "heart", "garden", "winter", "summer", "letter", "window", "number", "street", "school", "mother",
    "father", "friend", "system", "market", "doctor", "animal", "planet", "forest", "island", "bridge",
    "castle",
];
/// Words of a prompt that comes to about 130 tokens with the template's own.
const SHORT: usize = 95;
const ANSWER: u32 = 64;

/// Measures everything, and gives the figures by name.
pub(super) fn measure(
    bench: &Bench,
    weights: &Arc<Weights>,
    folder: &Path,
) -> anyhow::Result<Map<String, Value>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let ceiling = ceiling(bench, weights, folder).context("the ceiling of decoding")?;
    runtime.block_on(async {
        let contest = Contest {
            bench,
            program: folder.join("llama-server"),
        };
        let mut figures = Map::new();
        let mut told = |name: &str, figure: Value| {
            eprintln!("{name}: {figure}");
            figures.insert(name.to_owned(), figure);
        };
        for (name, figure) in contest.speed().await.context("speed")? {
            told(&name, figure);
        }
        told("ratio_batched_bench", ceiling);
        for (name, figure) in contest.long_prompt().await.context("a long prompt among chats")? {
            told(&name, figure);
        }
        for (name, figure) in contest.sharing().await.context("shared prompts")? {
            told(&name, figure);
        }
        told(
            "schema_ratio",
            contest.schema().await.context("answers by a schema")?,
        );
        for (name, figure) in contest.busy().await.context("beside busy cores")? {
            told(&name, figure);
        }
        Ok(figures)
    })
}

struct Contest<'a> {
    bench: &'a Bench,
    program: std::path::PathBuf,
}

impl Contest<'_> {
    fn size(&self, slots: u32, length: u32) -> Size {
        Size {
            slots,
            length,
            threads: inside::threads(&self.bench.shape),
        }
    }

    async fn both(&self, size: Size) -> anyhow::Result<(Server, Server)> {
        let ours = Server::ours(&self.bench.model, size).await?;
        let theirs = Server::theirs(&self.program, &self.bench.model, size).await?;
        Ok((ours, theirs))
    }

    /// Tokens a second and the time to the first, at several numbers of chats; start and memory.
    async fn speed(&self) -> anyhow::Result<Map<String, Value>> {
        let (ours, theirs) = self.both(self.size(16, 512)).await?;
        let (mut speeds, mut firsts, mut absolute) = (Map::new(), Map::new(), Map::new());
        for chats in AT_ONCE {
            let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
            for turn in 0..ROUNDS {
                for who in in_turns(turn) {
                    let server = [&ours, &theirs][who];
                    runs[who].push(run(server, &prompts(turn, chats)).await?);
                }
            }
            let [ours, theirs] = runs.map(|runs| {
                let speed: Vec<f64> = runs.iter().map(|run| run.speed).collect();
                let first: Vec<f64> = runs.iter().map(|run| run.first).collect();
                (median(&speed), median(&first))
            });
            let name = chats.to_string();
            speeds.insert(name.clone(), round(ours.0 / theirs.0).into());
            firsts.insert(name.clone(), round(ours.1 / theirs.1).into());
            let told = json!({
                "tokens_per_second": [round(ours.0), round(theirs.0)],
                "first_token_ms": [round(ours.1 * 1000.0), round(theirs.1 * 1000.0)],
            });
            absolute.insert(name, told);
        }
        let weights = std::fs::metadata(&self.bench.model)?.len() as f64;
        let over = |server: &Server| {
            Ok::<_, anyhow::Error>(round((server.memory()? - weights) / f64::from(1 << 20)))
        };
        let seconds = |server: &Server| round(server.start.as_secs_f64());
        Ok(Map::from_iter([
            ("ratio_llama_server".to_owned(), speeds.into()),
            ("ttft_ratio".to_owned(), firsts.into()),
            ("ours_and_theirs".to_owned(), absolute.into()),
            (
                "start_seconds".to_owned(),
                json!([seconds(&ours), seconds(&theirs)]),
            ),
            (
                "memory_over_weights_mib".to_owned(),
                json!([over(&ours)?, over(&theirs)?]),
            ),
        ]))
    }

    /// Three chats stream, a prompt of 1,200 tokens arrives: the longest silence in any of them, and how long the long one waits.
    async fn long_prompt(&self) -> anyhow::Result<Map<String, Value>> {
        let (ours, theirs) = self.both(self.size(4, 2048)).await?;
        let mut silences: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        let mut waits: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for turn in 0..ROUNDS {
            for who in in_turns(turn) {
                let server = [&ours, &theirs][who];
                let chats = (0..3).map(|chat| {
                    let body = ask(&words(turn * 10 + chat, 20), 200);
                    async move { talk::chat(server.address, &[], &body).await }
                });
                let long = async {
                    // All three are under way by then on any machine that this is run on.
                    tokio::time::sleep(Duration::from_millis(1000)).await;
                    talk::chat(server.address, &[], &ask(&words(turn * 10 + 7, 1150), 1)).await
                };
                let (chats, long) = tokio::try_join!(try_join_all(chats), long)?;
                let silence = chats.iter().map(Talk::longest_silence).max().unwrap_or_default();
                silences[who].push(silence.as_secs_f64());
                waits[who].push(long.first().as_secs_f64());
            }
        }
        let [ours, theirs] = silences.map(|silences| median(&silences));
        let waits = waits.map(|waits| round(median(&waits)));
        Ok(Map::from_iter([
            ("silence_ratio".to_owned(), round(ours / theirs).into()),
            ("silence_seconds".to_owned(), json!([round(ours), round(theirs)])),
            ("long_prompt_seconds".to_owned(), json!(waits)),
        ]))
    }

    /// How much less is decoded where prompts begin alike, what that does to the time, and what it costs those that do not.
    async fn sharing(&self) -> anyhow::Result<Map<String, Value>> {
        let ours = Server::ours(&self.bench.model, self.size(16, 1024)).await?;
        let (mut saved, mut faster, mut second, mut unrelated) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for turn in 0..ROUNDS {
            let system = words(1000 + turn, 490);
            let chat = |number: usize, shares: bool| {
                let mut body = ask(&words(turn * 100 + number, 8), 8);
                let question = body["messages"][0].clone();
                body["messages"] = json!([{"role": "system", "content": system}, question]);
                body["cache_prompt"] = shares.into();
                body
            };
            let mut took = [0.0; 2];
            for who in in_turns(turn) {
                let shares = who == 0;
                let bodies: Vec<Value> = (0..16).map(|number| chat(number, shares)).collect();
                let ran = run(&ours, &bodies).await?;
                took[who] = ran.wall;
                if shares {
                    saved.push(ran.prompt / (ran.prompt - ran.cached));
                }
            }
            faster.push(took[1] / took[0]);

            let mut body = ask(&words(turn * 100 + 50, 400), 16);
            let answer = talk::chat(ours.address, &[], &body).await?.text;
            let question = body["messages"][0].clone();
            body["messages"] = json!([question, {"role": "assistant", "content": answer}, {"role": "user", "content": "Go on."}]);
            let talk = talk::chat(ours.address, &[], &body).await?;
            second.push(talk.prompt as f64 / (talk.prompt - talk.cached) as f64);

            let mut speeds = [0.0; 2];
            for who in in_turns(turn) {
                let mut bodies = prompts(turn + 40 + who * 20, 8);
                for body in &mut bodies {
                    body["cache_prompt"] = (who == 0).into();
                }
                speeds[who] = run(&ours, &bodies).await?.speed;
            }
            unrelated.push(speeds[0] / speeds[1]);
        }
        Ok(Map::from_iter([
            ("shared_prompt_less".to_owned(), round(median(&saved)).into()),
            ("shared_prompt_faster".to_owned(), round(median(&faster)).into()),
            ("second_turn_less".to_owned(), round(median(&second)).into()),
            ("unrelated_ratio".to_owned(), round(median(&unrelated)).into()),
        ]))
    }

    /// Eight chats by a schema beside eight of free text.
    async fn schema(&self) -> anyhow::Result<Value> {
        let ours = Server::ours(&self.bench.model, self.size(8, 512)).await?;
        let schema = json!({"type": "json_schema", "json_schema": {"name": "list", "schema": {
            "type": "object",
            "properties": {"items": {"type": "array", "minItems": 40, "items": {"type": "object",
                "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["name", "count"], "additionalProperties": false}}},
            "required": ["items"], "additionalProperties": false,
        }}});
        let mut ratios = Vec::new();
        for turn in 0..=ROUNDS {
            let mut speeds = [0.0; 2];
            for who in in_turns(turn) {
                let mut bodies = prompts(turn + who * 10, 8);
                for body in &mut bodies {
                    if who == 0 {
                        body["response_format"] = schema.clone();
                        body["ignore_eos"] = false.into();
                    }
                }
                speeds[who] = run(&ours, &bodies).await?.speed;
            }
            // The first round pays for reading the vocabulary.
            if turn > 0 {
                ratios.push(speeds[0] / speeds[1]);
            }
        }
        Ok(round(median(&ratios)).into())
    }

    /// One chat while two other programs keep two cores busy.
    async fn busy(&self) -> anyhow::Result<Map<String, Value>> {
        let (ours, theirs) = self.both(self.size(4, 512)).await?;
        let spinning = || {
            Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        };
        let _busy = [spinning()?, spinning()?];
        let mut speeds: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for turn in 0..3 {
            for who in in_turns(turn) {
                let server = [&ours, &theirs][who];
                // llama.cpp's may need a minute for these.
                let body = ask(&words(turn, 20), 24);
                speeds[who].push(run(server, &[body]).await?.speed);
            }
        }
        let [ours, theirs] = speeds.map(|speeds| median(&speeds));
        Ok(Map::from_iter([
            ("busy_ratio".to_owned(), round(ours / theirs).into()),
            (
                "busy_tokens_per_second".to_owned(),
                json!([round(ours), round(theirs)]),
            ),
        ]))
    }
}

/// Who goes first, and who second.
fn in_turns(turn: usize) -> [usize; 2] {
    if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// What came of several chats at once.
struct Run {
    /// Tokens answered a second, from the first request to the last answer.
    speed: f64,
    /// Seconds to the first token, the median of the chats.
    first: f64,
    /// Seconds.
    wall: f64,
    /// Tokens read, and those that needed no decoding.
    prompt: f64,
    cached: f64,
}

async fn run(server: &Server, bodies: &[Value]) -> anyhow::Result<Run> {
    let begun = Instant::now();
    let chats = bodies.iter().map(|body| talk::chat(server.address, &[], body));
    let talks = try_join_all(chats).await?;
    let wall = begun.elapsed().as_secs_f64();
    let sum = |of: fn(&Talk) -> u64| talks.iter().map(of).sum::<u64>() as f64;
    let firsts: Vec<f64> = talks.iter().map(|talk| talk.first().as_secs_f64()).collect();
    Ok(Run {
        speed: sum(|talk| talk.answer) / wall,
        first: median(&firsts),
        wall,
        prompt: sum(|talk| talk.prompt),
        cached: sum(|talk| talk.cached),
    })
}

/// Chats whose prompts have nothing in common.
fn prompts(turn: usize, chats: u32) -> Vec<Value> {
    (0..chats as usize)
        .map(|chat| ask(&words(turn * 1000 + chat, SHORT), ANSWER))
        .collect()
}

/// A request that both servers understand alike; the answer has as many tokens as are asked for.
fn ask(text: &str, tokens: u32) -> Value {
    json!({
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": true,
        "stream": true,
        "stream_options": {"include_usage": true},
    })
}

/// So many words that no other `number` has in this order.
fn words(number: usize, count: usize) -> String {
    let mut state = number as u64 + 1;
    let mut text = format!("Story {number}:");
    for _ in 0..count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push(' ');
        text.push_str(WORDS[(state >> 59) as usize]);
    }
    text
}

/// The scheduler's decode speed beside what `llama-batched-bench` reaches, by the number of streams.
fn ceiling(bench: &Bench, weights: &Arc<Weights>, folder: &Path) -> anyhow::Result<Value> {
    let mut ratios = Map::new();
    for streams in AT_ONCE {
        let mut of_rounds = Vec::new();
        for _ in 0..3 {
            let theirs = batched_bench(bench, folder, streams)?;
            let ours = inside::decode_speed(&bench.shape, weights, streams, 128, ANSWER as usize)?;
            of_rounds.push(ours / theirs);
        }
        ratios.insert(streams.to_string(), round(median(&of_rounds)).into());
    }
    Ok(ratios.into())
}

fn batched_bench(bench: &Bench, folder: &Path, streams: u32) -> anyhow::Result<f64> {
    let output = std::process::Command::new(folder.join("llama-batched-bench"))
        .arg("-m")
        .arg(&bench.model)
        .args(["-c", &(streams * 256).to_string(), "-b", "2048", "-ub", "512"])
        .args([
            "-npp",
            "128",
            "-ntg",
            &ANSWER.to_string(),
            "-npl",
            &streams.to_string(),
        ])
        .args([
            "-t",
            &inside::threads(&bench.shape).to_string(),
            "--output-format",
            "jsonl",
        ])
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "llama-batched-bench failed");
    let line = output
        .stdout
        .split(|&byte| byte == b'\n')
        .find(|line| line.starts_with(b"{"))
        .context("llama-batched-bench told nothing")?;
    let told: Value = serde_json::from_slice(line)?;
    told["speed_tg"]
        .as_f64()
        .context("llama-batched-bench told no speed")
}
