//! `cordon bench`: what Cordon costs beside nginx, which forwards the same and does nothing else.
//!
//! It starts a provider of its own behind TLS on loopback, nginx as a TLS reverse proxy with one worker (where it is
//! installed), and Cordon as a child process of this very binary with a state folder of its own: policy, redaction, SQLite
//! store, spool synced to disk, all as in earnest; names by the token classifier apart. The same load then asks
//! straight, through nginx and through Cordon, in turns, in one run. Where there are two cores or more, the program
//! has one of them and load and provider the others.
//!
//! Every answer is checked: what the provider saw holds no original, what comes back holds them all, and at the end the
//! audit is verified and has two records for each exchange. CPU is counted until the store has every record. It
//! ends with one JSON line on standard output; the table for people goes to standard error.

mod load;
mod machine;
mod nginx;
mod provider;
mod report;
mod subject;
mod talk;
mod text;

use std::{
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::{
    load::{Done, Load, Times, Turn, hold_tunnels},
    machine::Cores,
    nginx::Nginx,
    provider::Provider,
    report::{Cost, Figures, Paced, Streamed},
    subject::Subject,
    talk::Target,
    text::{Answer, Body},
};
use crate::cli::{complain, runtime, say};

/// Arguments of `cordon bench`.
#[derive(Args)]
pub struct Bench {
    /// Seconds of each measurement; there are some twenty.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Requests a second of the paced measurements.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Connections of the saturating measurements.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// One second each, and a tenth of the tunnels and streams: to try it out.
    #[arg(long)]
    quick: bool,
}

/// Bytes of the two requests.
const SMALL: usize = 2_000;
const LARGE: usize = 100_000;
/// Connections at a time where each request has its own.
const CONNECTING: usize = 16;
/// Paced streams at a time.
const STREAMS: usize = 8;
/// Names that are asked for first, for the time that a fresh leaf takes.
const FRESH: usize = 40;
/// Where a folder in memory can be had: there the disk costs no time.
const MEMORY: &str = "/dev/shm";
/// Files beside those of tunnels.
const OTHER_FILES: u64 = 1_000;

impl Bench {
    /// Runs it.
    pub fn run(mut self) -> Result<ExitCode> {
        ensure!(
            self.seconds > 0 && self.rate > 0 && self.connections > 0,
            "every number must be at least 1"
        );
        if self.quick {
            self.seconds = 1;
        }
        // Threads have the cores that their starter had, so this comes before any is started.
        let cores = Cores::divide();
        let figures = runtime()?.block_on(self.measure(&cores))?;
        complain(&figures.table());
        say(&figures.json().to_string());
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self, cores: &Cores) -> Result<Figures> {
        let files = machine::files();
        let folder = tempfile::tempdir()?;
        let provider = Provider::start(folder.path()).await?;
        let most = if self.quick { 1_000 } else { 10_000 };
        let tunnels = most.min(files.saturating_sub(OTHER_FILES) / 2);
        let cordon = Subject::start(&folder.path().join("cordon"), &provider, cores, tunnels + 10).await?;
        let nginx = Nginx::start(folder.path(), &provider, cores).await?;
        if nginx.is_none() {
            complain("nginx is not installed: there are no ratios");
        }
        let rivals = Rivals::new(&provider, nginx.as_ref(), &cordon)?;

        let small = Arc::new(Body::new_text(SMALL, Answer::Plain));
        let small_turn = Arc::new(Body::turn(SMALL, Answer::Plain));
        let large = Arc::new(Body::new_text(LARGE, Answer::Plain));
        let large_turn = Arc::new(Body::turn(LARGE, Answer::Plain));
        let begun = machine::memory(cordon.process());
        rivals
            .warm(&small, self.span().min(Duration::from_secs(2)))
            .await?;

        let disk = machine::sync_milliseconds(folder.path())?;
        let paced = self.paced(&rivals, &small).await?;
        let without_disk = self.without_disk(&provider, cores).await?;

        machine::forget_peak(cordon.process());
        let small_cost = self
            .saturated("2 KB, all of it new", &rivals, &cordon, &small)
            .await?;
        let peak = machine::peak_memory(cordon.process());
        let small_turn_cost = self
            .saturated("2 KB, the last turn of it new", &rivals, &cordon, &small_turn)
            .await?;
        let large_turn_cost = self
            .saturated("100 KB, the last turn of it new", &rivals, &cordon, &large_turn)
            .await?;
        let large_cost = self
            .saturated("100 KB, all of it new", &rivals, &cordon, &large)
            .await?;

        let streamed = self.streamed(&rivals).await?;
        cordon.shipped().await?;
        let connected = self.connected(&rivals, &cordon, &small).await?;
        let asked_by_name = AtomicU64::new(0);
        let fresh = Load::fresh_leaf(|name| rivals.by_proxy(name), &small, FRESH, &asked_by_name).await?;

        let streams = if self.quick { 100 } else { 1_000 };
        complain(&format!("{streams} live streams, then {tunnels} idle tunnels"));
        let endless = Arc::new(Body::new_text(SMALL, Answer::Endless));
        let held = rivals.cordon.hold_streams(&endless, streams).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let with_streams = machine::memory(cordon.process());
        drop(held);
        let held = hold_tunnels(cordon.proxy, provider.echo, &cordon.key, tunnels as usize).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let with_tunnels = machine::memory(cordon.process());
        drop(held);

        ensure!(
            provider.leaks() == 0,
            "{} requests reached the provider with an original in them",
            provider.leaks()
        );
        let asked = rivals.cordon.asked() + rivals.by_proxy.asked() + asked_by_name.load(Ordering::Relaxed);
        let audit = cordon.finish(asked + tunnels).await?;
        Ok(Figures {
            seconds: self.seconds,
            rate: self.rate,
            connections: self.connections,
            cores_apart: cores.apart(),
            nginx: nginx.map(|nginx| nginx.version.clone()),
            disk,
            paced,
            without_disk,
            costs: vec![
                ("2 KB", small_cost),
                ("2 KB turn", small_turn_cost),
                ("100 KB turn", large_turn_cost),
                ("100 KB", large_cost),
            ],
            streamed,
            connected,
            fresh_leaf: fresh.0.milliseconds(0.5) - fresh.1.milliseconds(0.5),
            memory: report::Memory {
                begun,
                peak,
                streams,
                with_streams,
                tunnels,
                with_tunnels,
            },
            exchanges: asked,
            audit,
        })
    }

    fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Latencies at the fixed rate.
    async fn paced(&self, rivals: &Rivals, body: &Arc<Body>) -> Result<Paced> {
        complain(&format!("{} requests/s for {} s each", self.rate, self.seconds));
        Ok(Paced {
            straight: self.pace(&rivals.straight, body).await?,
            nginx: match &rivals.nginx {
                Some((nginx, _)) => Some(self.pace(nginx, body).await?),
                None => None,
            },
            cordon: self.pace(&rivals.cordon, body).await?,
        })
    }

    async fn pace(&self, load: &Load, body: &Arc<Body>) -> Result<Times> {
        let (load, body, rate, span) = (load.clone(), body.clone(), self.rate, self.span());
        tokio::task::spawn_blocking(move || load.paced(&body, rate, span)).await?
    }

    /// The same against a Cordon whose folder is in memory: what remains is not the disk's. Also first chunks.
    async fn without_disk(&self, provider: &Provider, cores: &Cores) -> Result<Option<(Times, Times)>> {
        if !Path::new(MEMORY).is_dir() {
            return Ok(None);
        }
        let folder = tempfile::tempdir_in(MEMORY)?;
        let cordon = Subject::start(folder.path(), provider, cores, 10).await?;
        let load = Load::new(cordon.target()?);
        let body = Arc::new(Body::new_text(SMALL, Answer::Plain));
        load.closed(Turn::Ask, &body, 8, Duration::from_secs(1)).await?;
        let times = self.pace(&load, &body).await?;
        let body = Arc::new(Body::new_text(SMALL, Answer::Paced));
        let (first, _) = load.streams(&body, STREAMS, self.span()).await?;
        cordon.finish(load.asked()).await?;
        Ok(Some((times, first)))
    }

    /// As many requests as there can be, and their CPU.
    async fn saturated(
        &self,
        what: &str,
        rivals: &Rivals,
        cordon: &Subject,
        body: &Arc<Body>,
    ) -> Result<Cost> {
        complain(&format!(
            "{what}: {} connections for {} s each",
            self.connections, self.seconds
        ));
        let ask = async |load: &Load| load.closed(Turn::Ask, body, self.connections, self.span()).await;
        let straight = ask(&rivals.straight).await?.rate();
        let nginx = match &rivals.nginx {
            Some((nginx, process)) => Some(with_cpu(*process, ask(nginx)).await?),
            None => None,
        };
        let before = machine::cpu_seconds(cordon.process());
        let done = ask(&rivals.cordon).await?;
        cordon.shipped().await?;
        let cpu = machine::cpu_seconds(cordon.process()) - before;
        Ok(Cost {
            straight,
            nginx,
            cordon: (done.rate(), cpu * 1e6 / done.count as f64),
        })
    }

    /// Streams at a pace, then as many chunks as there can be.
    async fn streamed(&self, rivals: &Rivals) -> Result<Streamed> {
        complain(&format!(
            "streams: {STREAMS} at a pace, then {} without, for {} s each",
            self.connections, self.seconds
        ));
        let paced = Arc::new(Body::new_text(SMALL, Answer::Paced));
        let flood = Arc::new(Body::new_text(SMALL, Answer::Flood));
        let pace = async |load: &Load| load.streams(&paced, STREAMS, self.span()).await;
        let rush = async |load: &Load| {
            let done = load
                .closed(Turn::Stream, &flood, self.connections, self.span())
                .await?;
            Ok::<_, anyhow::Error>(done.rate())
        };
        Ok(Streamed {
            straight: pace(&rivals.straight).await?,
            nginx: match &rivals.nginx {
                Some((nginx, _)) => Some(pace(nginx).await?),
                None => None,
            },
            cordon: pace(&rivals.cordon).await?,
            chunks_straight: rush(&rivals.straight).await?,
            chunks_nginx: match &rivals.nginx {
                Some((nginx, _)) => Some(rush(nginx).await?),
                None => None,
            },
            chunks_cordon: rush(&rivals.cordon).await?,
        })
    }

    /// A connection for each request: to nginx, and by way of the proxy to Cordon, which takes its TLS up.
    async fn connected(&self, rivals: &Rivals, cordon: &Subject, body: &Arc<Body>) -> Result<Cost> {
        complain(&format!("a connection for each request, {} s each", self.seconds));
        let ask = async |load: &Load| load.closed(Turn::Connect, body, CONNECTING, self.span()).await;
        let straight = ask(&rivals.straight).await?.rate();
        let nginx = match &rivals.nginx {
            Some((nginx, process)) => Some(with_cpu(*process, ask(nginx)).await?),
            None => None,
        };
        let before = machine::cpu_seconds(cordon.process());
        let done = ask(&rivals.by_proxy).await?;
        cordon.shipped().await?;
        let cpu = machine::cpu_seconds(cordon.process()) - before;
        Ok(Cost {
            straight,
            nginx,
            cordon: (done.rate(), cpu * 1e6 / done.count as f64),
        })
    }
}

/// Requests a second, and microseconds of the process's CPU for each.
async fn with_cpu(process: u32, done: impl Future<Output = Result<Done>>) -> Result<(f64, f64)> {
    let before = machine::cpu_seconds(process);
    let done = done.await?;
    let cpu = machine::cpu_seconds(process) - before;
    Ok((done.rate(), cpu * 1e6 / done.count as f64))
}

/// Everybody who is asked.
struct Rivals {
    straight: Load,
    nginx: Option<(Load, u32)>,
    cordon: Load,
    /// Cordon's proxy, at a name that is intercepted.
    by_proxy: Load,
    proxy: (SocketAddr, String, String),
}

impl Rivals {
    fn new(provider: &Provider, nginx: Option<&Nginx>, cordon: &Subject) -> Result<Self> {
        let straight = Target::new(provider.address, "localhost", provider.ca_pem(), "provider-key")?;
        let nginx = match nginx {
            Some(nginx) => {
                let target = Target::new(nginx.address, "localhost", &nginx.ca_pem, "provider-key")?;
                Some((Load::new(target), nginx.process()))
            }
            None => None,
        };
        let proxy = (cordon.proxy, cordon.ca_pem.clone(), cordon.key.clone());
        Ok(Self {
            straight: Load::new(straight),
            nginx,
            cordon: Load::new(cordon.target()?),
            by_proxy: Load::new(by_proxy(&proxy, provider::HOST)?),
            proxy,
        })
    }

    /// That name by way of Cordon's proxy.
    fn by_proxy(&self, name: &str) -> Result<Target> {
        by_proxy(&self.proxy, name)
    }

    async fn warm(&self, body: &Arc<Body>, span: Duration) -> Result<()> {
        complain("warming up");
        let all = [
            Some(&self.straight),
            self.nginx.as_ref().map(|(load, _)| load),
            Some(&self.cordon),
        ];
        for load in all.into_iter().flatten() {
            load.closed(Turn::Ask, body, 32, span)
                .await
                .context("warming up")?;
        }
        Ok(())
    }
}

fn by_proxy((proxy, ca_pem, key): &(SocketAddr, String, String), name: &str) -> Result<Target> {
    Target::new(*proxy, name, ca_pem, key)?.through(*proxy, name, key)
}
