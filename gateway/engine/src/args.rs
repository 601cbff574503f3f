//! The command line. Everything is an argument; nothing is read from the environment.

mod model;

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::model::{LoraFile, ModelFile};

/// Answers chat requests from a language model on this machine, in OpenAI's dialect.
#[derive(Debug, Parser)]
#[command(
    name = "cordon-engine",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  cordon-engine --model SmolLM2-135M-Instruct.Q4_1.gguf --listen 127.0.0.1:8080 --slots 4 --ctx 4096\n  \
                  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n\n\
                  Prints one line {\"listening\": \"...\"} on standard output when ready. SIGTERM drains and exits;\n\
                  a second SIGTERM exits at once."
)]
pub(crate) struct Invocation {
    /// Something else than serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// What to serve, and where.
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// How to log.
    #[command(flatten)]
    pub(crate) logs: Logs,
}

/// Something else than serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure this machine: decode speed, and what the scheduler adds to a bare decode loop.
    Bench(Bench),
}

/// What to serve, and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// Weights, a GGUF file: `[NAME=]FILE[,slots=N][,ctx=N][,chunk=N][,gpu-layers=N][,keep-alive=SECONDS]`, once for each model. The first is
    /// meant where a request names none. One with `keep-alive` is loaded when it is first asked for, and put away when nobody has asked for so long.
    // Required, but clap would then ask for it before a subcommand as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Vec<ModelFile>,
    /// A LoRA adapter (GGUF) of a model, asked for by its own name: `[MODEL:]NAME=FILE[@SCALE]`.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) lora: Vec<LoraFile>,
    /// How to run them.
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Address to listen on; port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:0",
        conflicts_with = "unix"
    )]
    pub(crate) listen: std::net::SocketAddr,
    /// Unix socket to listen on instead; only its owner may connect.
    #[arg(long, value_name = "PATH")]
    pub(crate) unix: Option<PathBuf>,
    /// Name of the first model [default: the file's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Option<String>,
    /// Requests that may wait for a slot; more are told to come again (503).
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) queue: usize,
    /// Seconds that a request may wait for a slot; then it is told to come again (503).
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) queue_seconds: u64,
    /// Chat template (Jinja) of the first model to use instead of the one in the weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) chat_template: Option<PathBuf>,
    /// Seconds that answers in progress may take after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
    /// Leave when standard input closes. The supervisor holds the other end of that pipe, so the
    /// kernel closes it however the supervisor dies.
    #[arg(long)]
    pub(crate) die_with_parent: bool,
}

/// How to run the weights.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shape {
    /// Conversations decoded at the same time (1 to 64).
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) slots: u32,
    /// LLM tokens that each conversation may hold, prompt and answer together.
    #[arg(long, value_name = "N", default_value = "4096")]
    pub(crate) ctx: NonZeroU32,
    /// CPU threads [default: all].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU32>,
    /// Layers held by the GPU; needs a build with `cuda`, `vulkan` or `metal` [default: all].
    #[arg(long, value_name = "N")]
    pub(crate) gpu_layers: Option<u32>,
    /// How the context's keys and values are kept: `q8_0` takes half of the memory of `f16`, `q4_0` a quarter, at some loss.
    #[arg(long, value_enum, default_value_t = Keeping::F16)]
    pub(crate) kv: Keeping,
    /// Prompt tokens taken per step while answers are being decoded: smaller keeps the streams
    /// smoother, larger reads long prompts faster.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=2048))]
    pub(crate) chunk: u32,
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keeping {
    /// 16 bits a number.
    #[default]
    F16,
    /// About 8 bits a number.
    #[value(name = "q8_0")]
    Q8_0,
    /// About 4 bits a number.
    #[value(name = "q4_0")]
    Q4_0,
}

/// How to log.
#[derive(Clone, Debug, Args)]
pub(crate) struct Logs {
    /// Shape of log lines, which go to standard error and never quote a request.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub(crate) log_format: LogFormat,
    /// What to log, as `target=level` pairs [default: info,llama-cpp-2=warn; warn for bench].
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    /// Weights, a GGUF file.
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// How to run them; `--slots` and `--ctx` follow from what is measured.
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// How many conversations at once, one measurement each.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 4, 8])]
    pub(crate) streams: Vec<u32>,
    /// Prompt tokens of each conversation.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) prompt: usize,
    /// Tokens that each conversation answers.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) answer: usize,
    /// Folder with llama.cpp's `llama-server` and `llama-batched-bench`, to be measured beside this program over HTTP.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) llama_cpp: Option<PathBuf>,
    /// Times that each is measured; the best counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Invocation::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_subcommand_and_bench_needs_no_address() {
        let serve =
            Invocation::try_parse_from(["cordon-engine", "--model", "w.gguf", "--slots", "2"]).unwrap();
        assert_eq!(serve.serve.shape.slots, 2);
        assert_eq!(serve.serve.model[0].file.as_os_str(), "w.gguf");
        let bench = Invocation::try_parse_from(["cordon-engine", "bench", "--model", "w.gguf"]).unwrap();
        assert!(matches!(bench.command, Some(Command::Bench(_))));
    }

    #[test]
    fn zero_slots_and_two_addresses_are_refused() {
        assert!(Invocation::try_parse_from(["cordon-engine", "--model", "w", "--slots", "0"]).is_err());
        let both = [
            "cordon-engine",
            "--model",
            "w",
            "--listen",
            "127.0.0.1:1",
            "--unix",
            "s",
        ];
        assert!(Invocation::try_parse_from(both).is_err());
    }
}
