//! The runner: starts everything, loads one after the other in rounds, and judges.

pub mod process;
mod report;
pub mod rows;
pub mod subjects;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use crate::load::{self, Way};
use crate::seed::greedy_key;
use process::{Core, Cpu, Pinning, Process, resident, wait_until_idle};
use rows::{ROWS, WORKS, Work};
use subjects::{Name, Subject, Tallygate};

/// Streams held open for the row on memory.
const HELD_STREAMS: usize = 1000;
/// After a start or an opening, until memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);
const STARTS: usize = 3;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub installations: Installations,
    #[arg(long, default_value = "/usr/sbin/nginx")]
    pub nginx: PathBuf,
    /// Rounds of each work; the table shows medians.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Windows this much longer or shorter.
    #[arg(long, default_value_t = 1.0)]
    pub stretch: f64,
    /// Only these works: small, small-500, small-2000, paced, flat, translated, translated-paced, text, image, alone, beside,
    /// memory.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these are loaded.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub subjects: Vec<Name>,
    /// At ordinary priority even where real-time priority is permitted: for a machine on which others work, too.
    #[arg(long)]
    pub ordinary: bool,
    /// Where the figures are written.
    #[arg(long, default_value = "bench/results/latest.json")]
    pub json: PathBuf,
}

/// What the installations of Tallygate are made of.
#[derive(Debug, Clone, clap::Args)]
pub struct Installations {
    /// The gateway's binary.
    #[arg(long, default_value = "target/shipped/tallygate")]
    pub tallygate: PathBuf,
    /// An empty database of a PostgreSQL server that is the bench's own.
    #[arg(long, env = "BENCH_POSTGRES_URL")]
    pub postgres_url: Option<String>,
    /// The server's process, to count its CPU.
    #[arg(long, env = "BENCH_POSTGRES_PID")]
    pub postgres_pid: Option<u32>,
    #[arg(long, default_value_t = 10_000)]
    pub tenants: usize,
}

/// What all parts of a run share.
pub struct Setting<'a> {
    pub installations: &'a Installations,
    pub nginx: &'a Path,
    /// Windows this much longer or shorter.
    pub stretch: f64,
    pub pinning: Pinning,
    pub folder: &'a Path,
    pub provider: SocketAddr,
}

/// One work on one subject in one round.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measured {
    /// Of the gateway's process tree for one answer or one piece of a stream, in microseconds, from the first request until it was
    /// idle again.
    pub cpu_us: f64,
    pub user_us: f64,
    /// The database's own.
    pub database_us: f64,
    pub resident_mb: f64,
    #[serde(flatten)]
    pub outcome: load::Outcome,
}

/// Memory and start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Footprint {
    pub idle_mb: f64,
    pub with_streams_mb: f64,
    pub start_ms: f64,
}

#[derive(Debug, Default)]
pub struct Figures {
    /// By work and subject.
    pub rounds: BTreeMap<(&'static str, Name), Vec<Measured>>,
    pub footprints: BTreeMap<Name, Footprint>,
}

pub fn run(options: &Options) -> Result<()> {
    for wanted in &options.only {
        let is_known = wanted == "memory" || WORKS.iter().any(|work| work.id == wanted);
        ensure!(is_known, "there is no work `{wanted}`");
    }
    let pinning = Pinning::find(options.ordinary)?;
    let _spinning = process::keep_cores()?;
    let folder = tempfile::tempdir()?;
    // Other users' programs (PostgreSQL) have no business in it, but nginx's worker does.
    let (provider, _provider) = subjects::provider(pinning)?;
    let setting = Setting {
        installations: &options.installations,
        nginx: &options.nginx,
        stretch: options.stretch,
        pinning,
        folder: folder.path(),
        provider,
    };
    let names: Vec<Name> = [Name::Direct, Name::Nginx, Name::Hyper, Name::Sqlite, Name::Postgres]
        .into_iter()
        .filter(|name| options.subjects.is_empty() || options.subjects.contains(name))
        .filter(|name| *name != Name::Postgres || options.installations.postgres_url.is_some())
        .collect();

    let mut figures = Figures::default();
    if options.only.is_empty() || options.only.iter().any(|only| only == "memory") {
        for &name in names.iter().filter(|name| **name != Name::Direct) {
            eprintln!("memory: {}", name.text());
            figures.footprints.insert(name, footprint(name, &setting)?);
        }
    }
    let works: Vec<&Work> =
        WORKS.iter().filter(|work| options.only.is_empty() || options.only.iter().any(|o| o == work.id)).collect();
    if !works.is_empty() {
        let running = names.iter().map(|name| subjects::start(*name, &setting)).collect::<Result<Vec<_>>>()?;
        for subject in &running {
            subject.check("bench-json")?;
            if subject.name.is_tallygate() {
                subject.check("bench-anthropic-json")?;
            }
        }
        // What is compared with one another stands side by side, as the machine's moods go.
        for round in 1..=options.rounds {
            for work in &works {
                for subject in running.iter().filter(|subject| work.concerns(subject.name)) {
                    let measured =
                        measure(work, subject, &setting).with_context(|| format!("{} on {}", work.id, subject.name.text()))?;
                    eprintln!("{}, round {round}: {}", work.id, report::line(subject.name, work, &measured));
                    figures.rounds.entry((work.id, subject.name)).or_default().push(measured);
                }
            }
        }
    }
    let judged: Vec<_> = ROWS.iter().filter_map(|row| row.judge(&figures)).collect();
    print!("{}", report::table(&figures, &judged, pinning));
    report::write_json(&options.json, &figures, &judged, pinning)?;
    let wrong: u64 = figures.rounds.values().flatten().map(|measured| measured.outcome.errors).sum();
    if wrong > 0 {
        bail!("{wrong} answers were wrong or missing");
    }
    let failed = judged.iter().filter(|judgement| !judgement.is_above_bar).count();
    if failed > 0 {
        bail!("{failed} bars are not met");
    }
    Ok(())
}

/// One load, from idle to idle.
fn measure(work: &Work, subject: &Subject, setting: &Setting<'_>) -> Result<Measured> {
    wait_until_idle(&subject.pids())?;
    let cpu = |pid: Option<u32>| pid.map(Cpu::of).unwrap_or_default();
    let shipped = || if subject.metrics.is_some() { subject.metric("tallygate_usage_shipped_total") } else { Ok(0.0) };
    let (shipped_before, own, database) = (shipped()?, cpu(subject.pid()), cpu(subject.database));
    let outcome = load(work, subject, setting)?;
    wait_until_idle(&subject.pids())?;
    let (own, database) = (cpu(subject.pid()).since(own), cpu(subject.database).since(database));
    if subject.metrics.is_some() && outcome.errors == 0 {
        let recorded = shipped()? - shipped_before;
        let answers = outcome.answers + outcome.beside.answers;
        ensure!((recorded - answers as f64).abs() < 0.5, "{recorded} usage records for {answers} answers");
    }
    let units = if work.kind.is_stream() { outcome.pieces } else { outcome.answers }.max(1) as f64;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / units;
    Ok(Measured {
        cpu_us: each(own.total),
        user_us: each(own.user),
        database_us: each(own.database + database.sum()),
        resident_mb: subject.pid().map_or(0.0, |pid| megabytes(resident(pid))),
        outcome,
    })
}

pub fn load(work: &Work, subject: &Subject, setting: &Setting<'_>) -> Result<load::Outcome> {
    let stretched = |millis: u64| ((millis as f64 * setting.stretch) as u64).max(1).to_string();
    let mut command = setting.pinning.command(Core::Load, &std::env::current_exe()?);
    command
        .args(["load", &subject.address.to_string(), "--way", work.way(), "--model", &work.model(), "--kind", work.kind.name()])
        .args(["--prompt", work.prompt.name(), "--connections", &work.connections.to_string(), "--rate", &work.rate.to_string()])
        .args(["--warm-up-ms", &stretched(work.warm_up_ms), "--window-ms", &stretched(work.window_ms)]);
    if let Some(keys) = &subject.keys {
        command.arg("--keys").arg(keys);
    }
    if let Some((keys, rate)) = subject.keys.as_deref().zip(work.beside) {
        command.arg("--beside-key").arg(greedy_key(keys)).args(["--beside-rate", &rate.to_string()]);
    }
    let text = Process::start_connected(command)?.finish()?;
    serde_json::from_str(&text).context("the load's report")
}

/// A start of its own, so that what an earlier load left behind is not counted.
fn footprint(name: Name, setting: &Setting<'_>) -> Result<Footprint> {
    let mut start_ms = Vec::new();
    let subject = if name.is_tallygate() {
        let tallygate = Tallygate::prepare(name, setting)?;
        // The first start writes what the file declares; the measured ones find it there.
        drop(tallygate.start(setting)?);
        let mut last = None;
        for _ in 0..STARTS {
            drop(last.take());
            let (subject, took) = tallygate.start(setting)?;
            start_ms.push(took.as_secs_f64() * 1e3);
            last = Some(subject);
        }
        last.context("not started")?
    } else {
        subjects::start(name, setting)?
    };
    let pid = subject.pid().context("it has no process")?;
    wait_until_idle(&subject.pids())?;
    sleep(SETTLE);
    let idle_mb = megabytes(resident(pid));

    let mut command = setting.pinning.command(Core::Load, &std::env::current_exe()?);
    command.args(["load", &subject.address.to_string(), "--way", "hold", "--model", "bench-slow", "--kind", "slow"]).args([
        "--connections",
        &HELD_STREAMS.to_string(),
        "--window-ms",
        "0",
    ]);
    if let Some(keys) = &subject.keys {
        command.arg("--keys").arg(keys);
    }
    let mut held = Process::start_connected(command)?;
    let line = held.line()?;
    ensure!(line.trim() == "open", "the streams did not open: {line}");
    sleep(SETTLE);
    let with_streams_mb = megabytes(resident(pid));
    let outcome: load::Outcome = serde_json::from_str(&held.finish()?)?;
    ensure!(outcome.errors == 0, "{} of the held streams broke off", outcome.errors);
    Ok(Footprint { idle_mb, with_streams_mb, start_ms: rows::median(start_ms) })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Work {
    const fn way(&self) -> &'static str {
        match self.way {
            Way::Closed => "closed",
            Way::Open => "open",
            Way::Streams => "streams",
            Way::Hold => "hold",
        }
    }

    fn model(&self) -> String {
        format!("bench-{}{}", if self.is_translated { "anthropic-" } else { "" }, self.kind.name())
    }

    /// Only a gateway translates and knows tenants.
    fn concerns(&self, name: Name) -> bool {
        name.is_tallygate() || !(self.is_translated || self.is_of_tenants)
    }
}

/// So that a folder for the results need not be there.
fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("{}", path.display()))
}
