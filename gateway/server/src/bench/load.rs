//! The load: requests at a pace or as fast as connections allow, streams, tunnels; each answer checked.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{
    provider,
    talk::{Line, Target, connect},
    text::{Body, ORIGINALS},
};

/// Connections that a paced load takes turns with, so that one slow answer does not hold up the next request.
const PACERS: u32 = 4;
/// The scheduler wakes a sleeper late; from here on it is waited for awake.
const AWAKE: Duration = Duration::from_micros(150);
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The end of a stream that is kept.
const TAIL: usize = 8 << 10;
/// Connections that are opened at once where thousands are to be held.
const OPENED_AT_ONCE: usize = 64;

/// Numbers of requests; no two of a run are the same.
static NUMBER: AtomicU64 = AtomicU64::new(0);

type Tls = Line<TlsStream<TcpStream>>;

/// Somebody to ask.
#[derive(Clone)]
pub struct Load {
    target: Target,
    asked: Arc<AtomicU64>,
}

impl Load {
    /// A load against that.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            asked: Arc::default(),
        }
    }

    /// How many requests were sent so far. All were answered, or the benchmark has ended.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    async fn send(&self, line: &mut Tls, body: &Body) -> Result<()> {
        let request = self
            .target
            .request(&body.numbered(NUMBER.fetch_add(1, Ordering::Relaxed)));
        self.asked.fetch_add(1, Ordering::Relaxed);
        line.send(&request).await
    }

    /// Sends a request and reads the head of its answer.
    async fn begin(&self, line: &mut Tls, body: &Body) -> Result<super::talk::Head> {
        self.send(line, body).await?;
        let head = line.head().await?.context("there was no answer")?;
        if head.status() != Some(200) {
            let body = line.body(&head).await.unwrap_or_default();
            return Err(anyhow!(
                "the answer was {}: {}",
                head.status().unwrap_or_default(),
                String::from_utf8_lossy(&body)
            ));
        }
        Ok(head)
    }

    async fn ask(&self, line: &mut Tls, body: &Body) -> Result<()> {
        let head = self.begin(line, body).await?;
        let answer = line.body(&head).await?;
        ensure!(has_originals(&answer), "an original did not come back");
        Ok(())
    }

    /// Sends at a fixed rate, and measures from the moment when each request was due. It blocks.
    pub fn paced(&self, body: &Body, rate: u32, span: Duration) -> Result<Times> {
        let gap = Duration::from_secs(1) / rate;
        let count = (span.as_secs_f64() * f64::from(rate)) as u32;
        let begin = Instant::now() + Duration::from_millis(50);
        let pace = |pacer: u32| -> Result<Vec<Duration>> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let mut line = runtime.block_on(Line::open(&self.target))?;
            let mut times = Vec::new();
            for number in (pacer..count).step_by(PACERS as usize) {
                let due = begin + gap * number;
                thread::sleep((due - AWAKE).saturating_duration_since(Instant::now()));
                while Instant::now() < due {
                    std::hint::spin_loop();
                }
                runtime.block_on(self.ask(&mut line, body))?;
                times.push(due.elapsed());
            }
            Ok(times)
        };
        let times = thread::scope(|scope| {
            let pacers: Vec<_> = (0..PACERS)
                .map(|pacer| scope.spawn(move || pace(pacer)))
                .collect();
            let mut times = Vec::new();
            for pacer in pacers {
                times.extend(pacer.join().map_err(|_| anyhow!("a pacer panicked"))??);
            }
            Ok::<_, anyhow::Error>(times)
        })?;
        Ok(Times::new(times))
    }

    /// Does the same over and over on so many connections.
    pub async fn closed(&self, turn: Turn, body: &Arc<Body>, callers: usize, span: Duration) -> Result<Done> {
        let begin = Instant::now();
        let mut asked = JoinSet::new();
        for _ in 0..callers {
            let (load, body) = (self.clone(), body.clone());
            asked.spawn(async move {
                let (mut count, mut line) = (0, None);
                while begin.elapsed() < span {
                    count += timeout(PATIENCE, load.turn(turn, &mut line, &body))
                        .await
                        .context("there was no answer in time")??;
                }
                Ok::<_, anyhow::Error>(count)
            });
        }
        let mut count = 0;
        while let Some(answer) = asked.join_next().await {
            count += answer??;
        }
        Ok(Done {
            count,
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    async fn turn(&self, turn: Turn, line: &mut Option<Tls>, body: &Body) -> Result<u64> {
        if turn == Turn::Connect {
            *line = None;
        }
        let line = match line {
            Some(line) => line,
            None => line.insert(Line::open(&self.target).await?),
        };
        if turn != Turn::Stream {
            self.ask(line, body).await?;
            return Ok(1);
        }
        let mut count = 0;
        self.stream(line, body, |_| count += 1).await?;
        Ok(count)
    }

    /// Reads one stream to its end and tells the age of each chunk; gives when the first one came.
    async fn stream(&self, line: &mut Tls, body: &Body, mut age: impl FnMut(Duration)) -> Result<Duration> {
        let asked = Instant::now();
        let mut first = None;
        self.begin(line, body).await?;
        let mut text = Vec::new();
        let mut tail = Vec::new();
        loop {
            let ended = line.chunks(&mut text).await?;
            let read = provider::ages(&text, |chunk| {
                first.get_or_insert_with(|| asked.elapsed());
                age(chunk);
            });
            if ended {
                tail.extend_from_slice(&text);
                break;
            }
            tail.extend(text.drain(..read));
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        // The originals are in the last chunk but the closing ones; what was read before is not kept.
        ensure!(has_originals(&tail), "an original did not come back in a stream");
        ensure!(
            memchr::memmem::find(&tail, b"data: [DONE]").is_some(),
            "a stream did not end"
        );
        first.context("a stream had no chunk")
    }

    /// Reads paced streams on so many connections: when first chunks came, and how long each other one took.
    pub async fn streams(&self, body: &Arc<Body>, callers: usize, span: Duration) -> Result<(Times, Times)> {
        let begin = Instant::now();
        let mut asked = JoinSet::new();
        for caller in 0..callers {
            let (load, body) = (self.clone(), body.clone());
            asked.spawn(async move {
                // Spread over the time between two chunks, so that they do not wait for each other.
                tokio::time::sleep(provider::PACED.1 * caller as u32 / callers as u32).await;
                let mut line = Line::open(&load.target).await?;
                let (mut first, mut rest) = (Vec::new(), Vec::new());
                while begin.elapsed() < span {
                    let mut ages = Vec::with_capacity(provider::PACED.0);
                    let came = load.stream(&mut line, &body, |age| ages.push(age)).await?;
                    first.push(came);
                    rest.extend(ages.drain(1..));
                }
                Ok::<_, anyhow::Error>((first, rest))
            });
        }
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.join_next().await {
            let (came, ages) = answer??;
            first.extend(came);
            rest.extend(ages);
        }
        Ok((Times::new(first), Times::new(rest)))
    }

    /// Opens so many streams that do not end, and reads on until it is dropped.
    pub async fn hold_streams(&self, body: &Arc<Body>, count: usize) -> Result<JoinSet<Result<()>>> {
        let mut held = JoinSet::new();
        for _ in 0..count.div_ceil(OPENED_AT_ONCE) {
            let mut opening = JoinSet::new();
            for _ in 0..OPENED_AT_ONCE.min(count - held.len()) {
                let (load, body) = (self.clone(), body.clone());
                opening.spawn(async move {
                    let mut line = Line::open(&load.target).await?;
                    load.begin(&mut line, &body).await?;
                    line.chunks(&mut Vec::new()).await?;
                    Ok::<_, anyhow::Error>(line)
                });
            }
            while let Some(line) = opening.join_next().await {
                let mut line = line??;
                held.spawn(async move {
                    let mut text = Vec::new();
                    while !line.chunks(&mut text).await? {
                        text.clear();
                    }
                    Ok(())
                });
            }
        }
        Ok(held)
    }

    /// How long the first request by way of the proxy takes to a name that was never asked for, and the next one to
    /// the same name, each on a connection of its own.
    pub async fn fresh_leaf(
        proxy: impl Fn(&str) -> Result<Target>,
        body: &Body,
        count: usize,
        asked: &AtomicU64,
    ) -> Result<(Times, Times)> {
        let (mut fresh, mut known) = (Vec::new(), Vec::new());
        for number in 0..count {
            let load = Self::new(proxy(&format!("host-{number}.{}", provider::HOST))?);
            for times in [&mut fresh, &mut known] {
                let begin = Instant::now();
                let mut line = Line::open(&load.target).await?;
                times.push(begin.elapsed());
                load.ask(&mut line, body).await?;
            }
            asked.fetch_add(load.asked(), Ordering::Relaxed);
        }
        Ok((Times::new(fresh), Times::new(known)))
    }
}

/// What is done over and over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A request on the same connection.
    Ask,
    /// A request on a connection of its own.
    Connect,
    /// A stream; its chunks are counted.
    Stream,
}

/// Opens so many tunnels by way of the proxy, lets a byte pass through each, and holds them.
pub async fn hold_tunnels(
    proxy: SocketAddr,
    to: SocketAddr,
    key: &str,
    count: usize,
) -> Result<Vec<TcpStream>> {
    let ask: Arc<str> = connect(&to.to_string(), key).into();
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..OPENED_AT_ONCE.min(count - held.len()) {
            let ask = ask.clone();
            opening.spawn(async move {
                let mut stream = TcpStream::connect(proxy).await?;
                stream.write_all(ask.as_bytes()).await?;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.context("the proxy hung up")?);
                }
                ensure!(
                    head.starts_with(b"HTTP/1.1 200"),
                    "CONNECT was answered otherwise"
                );
                stream.write_all(b"x").await?;
                ensure!(stream.read_u8().await? == b'x', "a byte was changed on its way");
                Ok::<_, anyhow::Error>(stream)
            });
        }
        while let Some(stream) = opening.join_next().await {
            held.push(stream??);
        }
    }
    Ok(held)
}

fn has_originals(answer: &[u8]) -> bool {
    ORIGINALS
        .iter()
        .all(|original| memchr::memmem::find(answer, original.as_bytes()).is_some())
}

/// What was done in which time.
#[derive(Clone, Copy)]
pub struct Done {
    /// How often.
    pub count: u64,
    /// In how long.
    pub seconds: f64,
}

impl Done {
    /// How often a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// Times of one kind, sorted.
pub struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that a share of them stayed within, in milliseconds.
    pub fn milliseconds(&self, share: f64) -> f64 {
        let index = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0
            .get(index)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_nearest_ranks() {
        let times = Times::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((times.milliseconds(0.5), times.milliseconds(0.99)), (50.0, 99.0));
    }
}
