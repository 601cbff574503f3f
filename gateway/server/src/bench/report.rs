//! What was measured, as a table for people and as a line of JSON, each goal with what was reached.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::load::Times;

/// Latencies of the same requests straight, through nginx and through Cordon.
pub struct Paced {
    pub straight: Times,
    pub nginx: Option<Times>,
    pub cordon: Times,
}

/// Requests a second, and microseconds of CPU a request.
pub struct Cost {
    pub straight: f64,
    pub nginx: Option<(f64, f64)>,
    pub cordon: (f64, f64),
}

/// First chunks and the ages of others, and chunks a second.
pub struct Streamed {
    pub straight: (Times, Times),
    pub nginx: Option<(Times, Times)>,
    pub cordon: (Times, Times),
    pub chunks_straight: f64,
    pub chunks_nginx: Option<f64>,
    pub chunks_cordon: f64,
}

/// Resident memory of Cordon in MB.
pub struct Memory {
    pub begun: f64,
    pub peak: f64,
    pub streams: usize,
    pub with_streams: f64,
    pub tunnels: u64,
    pub with_tunnels: f64,
}

/// All that was measured.
pub struct Figures {
    pub seconds: u64,
    pub rate: u32,
    pub connections: usize,
    pub cores_apart: bool,
    pub nginx: Option<String>,
    /// What a sync takes: half of them, and all but one in a hundred.
    pub disk: (f64, f64),
    pub paced: Paced,
    /// Latencies and first chunks of a Cordon whose folder is in memory.
    pub without_disk: Option<(Times, Times)>,
    pub costs: Vec<(&'static str, Cost)>,
    pub streamed: Streamed,
    pub connected: Cost,
    pub fresh_leaf: f64,
    pub memory: Memory,
    pub exchanges: u64,
    pub audit: String,
}

/// One row of the report.
struct Row {
    what: String,
    straight: Option<f64>,
    nginx: Option<f64>,
    cordon: f64,
    /// What the goal is about, and the goal: a ratio to nginx, or a figure of its own.
    reached: Option<f64>,
    goal: Option<Goal>,
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, reached: f64) -> bool {
        match self {
            Self::AtMost(most) => reached <= most,
            Self::AtLeast(least) => reached >= least,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
        }
    }
}

impl Row {
    fn own(what: impl Into<String>, cordon: f64, goal: Option<Goal>) -> Self {
        Self {
            what: what.into(),
            straight: None,
            nginx: None,
            cordon,
            reached: Some(cordon),
            goal,
        }
    }

    fn ratio(
        what: impl Into<String>,
        straight: Option<f64>,
        nginx: Option<f64>,
        cordon: f64,
        goal: Option<Goal>,
    ) -> Self {
        Self {
            what: what.into(),
            straight,
            nginx,
            cordon,
            reached: nginx.map(|nginx| cordon / nginx),
            goal,
        }
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "straight": self.straight.map(rounded),
            "nginx": self.nginx.map(rounded),
            "cordon": rounded(self.cordon),
            "reached": self.reached.map(rounded),
            "goal": self.goal.map(Goal::words),
            "met": self.goal.zip(self.reached).map(|(goal, reached)| goal.is_met(reached)),
        })
    }

    fn line(&self) -> String {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), shown);
        let goal = self.goal.map(Goal::words).unwrap_or_default();
        let met = match self.goal.zip(self.reached) {
            Some((goal, reached)) if goal.is_met(reached) => "met",
            Some(_) => "missed",
            None => "",
        };
        format!(
            "{:<46}{:>10}{:>10}{:>10}{:>10}  {goal:<10}{met}",
            self.what,
            figure(self.straight),
            figure(self.nginx),
            shown(self.cordon),
            figure(self.reached),
        )
    }
}

impl Figures {
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let added =
            |rows: &mut Vec<Row>, what: &str, [straight, cordon]: [f64; 2], nginx: Option<f64>, goal| {
                rows.push(Row::ratio(
                    what,
                    Some(straight),
                    nginx.map(|nginx| nginx - straight),
                    cordon - straight,
                    goal,
                ));
            };
        for (share, name, most) in [(0.5, "p50", 2.0), (0.99, "p99", 3.0)] {
            let straight = self.paced.straight.milliseconds(share);
            let nginx = self.paced.nginx.as_ref().map(|times| times.milliseconds(share));
            let with = self.paced.cordon.milliseconds(share);
            let rate = self.rate;
            let without = self
                .without_disk
                .as_ref()
                .map(|(times, _)| times.milliseconds(share));
            if let Some(without) = without {
                let what = format!("ms added {name} at {rate}/s, disk apart");
                added(
                    &mut rows,
                    &what,
                    [straight, without],
                    nginx,
                    Some(Goal::AtMost(most)),
                );
            }
            let what = format!("ms added {name} at {rate}/s, disk and all");
            added(&mut rows, &what, [straight, with], nginx, None);
        }
        for (what, cost) in &self.costs {
            let (least, most) = match *what {
                "2 KB" => (Some(0.6), Some(2.0)),
                "100 KB turn" => (Some(0.4), Some(2.5)),
                _ => (None, None),
            };
            rows.push(Row::ratio(
                format!("requests/s, {what}"),
                Some(cost.straight),
                cost.nginx.map(|nginx| nginx.0),
                cost.cordon.0,
                least.map(Goal::AtLeast),
            ));
            rows.push(Row::ratio(
                format!("us of CPU a request, {what}"),
                None,
                cost.nginx.map(|nginx| nginx.1),
                cost.cordon.1,
                most.map(Goal::AtMost),
            ));
        }
        let streamed = &self.streamed;
        let first = |times: &(Times, Times)| times.0.milliseconds(0.5);
        let rest = |times: &(Times, Times)| times.1.milliseconds(0.5);
        let over = |mut row: Row| {
            row.reached = Some(row.cordon);
            row
        };
        let straight = first(&streamed.straight);
        let nginx = streamed.nginx.as_ref().map(|nginx| first(nginx) - straight);
        if let Some((_, without)) = &self.without_disk {
            let cordon = without.milliseconds(0.5) - straight;
            let goal = Some(Goal::AtMost(0.5));
            rows.push(over(Row::ratio(
                "ms added first chunk, disk apart",
                Some(straight),
                nginx,
                cordon,
                goal,
            )));
        }
        let cordon = first(&streamed.cordon) - straight;
        rows.push(over(Row::ratio(
            "ms added first chunk, disk and all",
            Some(straight),
            nginx,
            cordon,
            None,
        )));
        let straight = rest(&streamed.straight);
        let nginx = streamed.nginx.as_ref().map(|nginx| rest(nginx) - straight);
        let cordon = rest(&streamed.cordon) - straight;
        let goal = Some(Goal::AtMost(0.1));
        rows.push(over(Row::ratio(
            "ms added a chunk, p50",
            Some(straight),
            nginx,
            cordon,
            goal,
        )));
        rows.push(over(Row::ratio(
            "chunks/s",
            Some(streamed.chunks_straight),
            streamed.chunks_nginx,
            streamed.chunks_cordon,
            Some(Goal::AtLeast(150_000.0)),
        )));
        rows.push(Row::ratio(
            "requests/s, a connection for each",
            Some(self.connected.straight),
            self.connected.nginx.map(|nginx| nginx.0),
            self.connected.cordon.0,
            Some(Goal::AtLeast(0.85)),
        ));
        rows.push(Row::ratio(
            "us of CPU, a connection for each",
            None,
            self.connected.nginx.map(|nginx| nginx.1),
            self.connected.cordon.1,
            None,
        ));
        rows.push(Row::own(
            "ms more with a fresh leaf, p50",
            self.fresh_leaf,
            Some(Goal::AtMost(1.0)),
        ));
        let memory = &self.memory;
        rows.push(Row::own("MB before the first request", memory.begun, None));
        rows.push(Row::own(
            format!("MB at most with {} connections, 2 KB", self.connections),
            memory.peak,
            Some(Goal::AtMost(60.0)),
        ));
        rows.push(Row::own(
            format!("MB with {} live streams", memory.streams),
            memory.with_streams,
            Some(Goal::AtMost(150.0)),
        ));
        rows.push(Row::own(
            format!("MB with {} idle tunnels", memory.tunnels),
            memory.with_tunnels,
            Some(Goal::AtMost(150.0)),
        ));
        rows
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "\n{:<46}{:>10}{:>10}{:>10}{:>10}  goal\n",
            "", "straight", "nginx", "Cordon", "reached"
        );
        for row in self.rows() {
            let _ = writeln!(text, "{}", row.line());
        }
        let apart = if self.cores_apart {
            "the program has one core, load and provider the others"
        } else {
            "program, load and provider share the cores"
        };
        let _ = write!(
            text,
            "\n{apart}; a sync takes this disk {:.2} ms, {:.2} ms in the worst of a hundred\n\
             {} requests through Cordon, all answered rightly; audit: {}",
            self.disk.0, self.disk.1, self.exchanges, self.audit
        );
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows().iter().map(Row::json).collect();
        json!({
            "seconds": self.seconds,
            "rate": self.rate,
            "connections": self.connections,
            "cores_apart": self.cores_apart,
            "nginx": self.nginx,
            "sync_ms": {"p50": rounded(self.disk.0), "p99": rounded(self.disk.1)},
            "rows": rows,
            "requests": self.exchanges,
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
