//! The load: a closed loop, an open loop, streams, and streams that are only held open.

mod beside;
mod closed;
mod open;
mod sample;
mod streams;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use sample::Percentiles;
use wire::Questions;

use crate::awake;
use crate::traffic::{Kind, Prompt, question};

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    pub target: SocketAddr,
    #[arg(long)]
    pub way: Way,
    #[arg(long)]
    pub model: String,
    #[arg(long)]
    pub kind: Kind,
    #[arg(long, default_value = "small")]
    pub prompt: Prompt,
    /// One key a line; each request takes the next one.
    #[arg(long)]
    pub keys: Option<PathBuf>,
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Requests per second of an open loop.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// A key that is limited, with which an open loop asks beside.
    #[arg(long, requires = "beside_rate")]
    pub beside_key: Option<PathBuf>,
    /// Requests per second of the open loop beside.
    #[arg(long, default_value_t = 0)]
    pub beside_rate: u64,
    #[arg(long, default_value_t = 0)]
    pub warm_up_ms: u64,
    #[arg(long)]
    pub window_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// Each connection asks again as soon as it has its answer.
    Closed,
    /// Requests leave at their time, whether or not earlier ones were answered, and their time counts from when they were due.
    Open,
    /// Streams one after the other on each connection.
    Streams,
    /// Opens all streams, says so, and holds them until its standard input is closed.
    Hold,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Right answers, the warm-up's and the last ones after the window included: what the gateway has worked for.
    pub answers: u64,
    /// Pieces of generated text in them.
    pub pieces: u64,
    /// What was not answered, or answered with anything but the right answer.
    pub errors: u64,
    pub first_error: Option<String>,
    /// Inside the window.
    pub answers_per_second: f64,
    pub pieces_per_second: f64,
    /// From asking (open loop: from when it was due) to the whole answer.
    pub latency: Percentiles,
    /// From asking to the first generated text.
    pub first_text: Percentiles,
    /// What became of the open loop beside.
    pub beside: Beside,
}

/// Answers to a key that asks for more than it may.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Beside {
    pub answers: u64,
    /// 429.
    pub refused: u64,
}

/// When to begin counting and when to stop.
#[derive(Debug, Clone, Copy)]
struct Span {
    warm_up: Duration,
    window: Duration,
}

impl Span {
    const fn end(self) -> Duration {
        self.warm_up.saturating_add(self.window)
    }

    fn covers(self, at: Duration) -> bool {
        at >= self.warm_up && at < self.end()
    }
}

pub fn run(options: &Options) -> Result<()> {
    let keys = match &options.keys {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
            text.lines().map(str::to_owned).collect()
        }
        None => vec!["no-key".to_owned()],
    };
    let body = question(&options.model, options.kind, options.prompt);
    let questions = Arc::new(Questions::new(options.target, keys, body, options.kind));
    let span = Span { warm_up: Duration::from_millis(options.warm_up_ms), window: Duration::from_millis(options.window_ms) };
    let outcome = match options.way {
        Way::Closed => crate::single_threaded(while_awake(closed::run(options.target, questions, options.connections, span)))?,
        Way::Open => {
            let open = || open::run(options.target, &questions, options.connections, options.rate, span);
            match &options.beside_key {
                None => open()?,
                Some(path) => beside::run(options, path, span, open)?,
            }
        }
        Way::Streams => crate::single_threaded(while_awake(streams::run(options.target, questions, options.connections, span)))?,
        Way::Hold => crate::single_threaded(streams::hold(options.target, questions, options.connections))?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Does not sleep until the work is done.
async fn while_awake<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let watch = tokio::spawn(awake::always());
    let done = work.await;
    watch.abort();
    done
}
