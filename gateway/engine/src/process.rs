//! What the engine needs of its process: OpenMP's settings, logs, and knowing when its parent dies.

use std::io::{IsTerminal, Read};

use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::args::{LogFormat, Logs};

/// How long an idle OpenMP thread spins before it sleeps.
///
/// Unset, libgomp spins for minutes: with other work on the machine its threads then burn the time
/// slices that the decoding ones need, and speed collapses (measured: 0.4 against 35 tokens a
/// second). Zero would cost idle machines a little. It is read when libgomp is loaded, which is
/// before `main`, so the only way to set it for ourselves is to start over.
#[cfg(target_os = "linux")]
const SPIN: (&str, &str) = ("GOMP_SPINCOUNT", "1000");

/// Starts this program again with OpenMP's spinning bounded, unless that is set already.
///
/// On failure: goes on without, since that costs speed only.
#[cfg(target_os = "linux")]
pub(crate) fn settle_openmp() {
    use std::os::unix::process::CommandExt;

    let (name, value) = SPIN;
    // Set by the operator or by ourselves a moment ago: either way there is nothing to do.
    if std::env::var_os(name).is_some() || std::env::var_os("OMP_WAIT_POLICY").is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(called) = arguments.next() {
        command.arg0(called);
    }
    // `exec` returns only when it failed. Process id, standard streams and parent stay the same.
    let error = command.args(arguments).env(name, value).exec();
    eprintln!("cordon-engine: cannot set {name} ({error}); expect slow answers on a busy machine");
}

/// Elsewhere OpenMP is another library, with other defaults.
#[cfg(not(target_os = "linux"))]
pub(crate) fn settle_openmp() {}

/// Sends our log lines, and llama.cpp's, to standard error. `usual` is what is logged unless the
/// command line says otherwise.
pub(crate) fn start_logs(logs: &Logs, usual: &str) {
    let wanted = logs.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(usual));
    // Colours are for people at a terminal, not for files.
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match logs.log_format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
    // A panic's message can quote the text that it stumbled over, so only its place is told.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "a defect: something panicked");
    }));
}

/// Cancels `gone` when standard input ends. A thread, because reading a pipe blocks.
pub(crate) fn watch_parent(gone: CancellationToken) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(move || {
            let mut ignored = [0_u8; 64];
            let mut input = std::io::stdin().lock();
            loop {
                match input.read(&mut ignored) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            gone.cancel();
        })?;
    Ok(())
}
