//! Training: an instrumented gateway does what real traffic makes a gateway do, and writes a profile of it, by which the compiler
//! then makes the binary that is shipped. Nothing is measured here, but every answer is checked: a path that fails is not trained.
//!
//! Two kinds of load. The bench's own works, plain, streamed and translated, because most of what a gateway does is the same for
//! all; and each of the four dialects to each of the four, with tools, images and reasoning, because what a profile has never seen
//! is made small and slow.

mod door;
mod questions;
mod tour;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tallygate_sim::SimConfig;
use tokio::runtime::Runtime;

use door::{Certificate, Spoken};
use questions::Dialect;

use crate::run::process::{Pinning, wait_until_idle};
use crate::run::rows::{WORKS, Work};
use crate::run::subjects::{self, Name, Subject, Tallygate};
use crate::run::{self, Installations, Setting};

/// How long each of the bench's works is shown, in milliseconds. Of the database only what is shipped to it differs.
const ON_SQLITE: &[(&str, u64)] = &[
    ("small", 5000),
    ("small-2000", 2000),
    ("paced", 3000),
    ("flat", 1500),
    ("translated", 4000),
    ("translated-paced", 3000),
    ("text", 2000),
    ("image", 1500),
];
const ON_POSTGRES: &[(&str, u64)] = &[("small", 4000), ("paced", 2000)];
/// How long every dialect is shown to every other.
const TOUR: Duration = Duration::from_secs(8);
/// Pieces of a stream come apart from each other, as a model's do.
const SIM_CHUNK_DELAY_MS: u64 = 1;
/// For the open requests, what is still to be shipped, and the profile.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub installations: Installations,
    /// A folder for the profiles: `sqlite.profraw` and `postgres.profraw` of the bench's works, `tour.profraw` of all dialects.
    #[arg(long)]
    pub profiles: PathBuf,
    /// Loads this much longer or shorter.
    #[arg(long, default_value_t = 1.0)]
    pub stretch: f64,
}

pub fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.profiles)?;
    let profiles = options.profiles.canonicalize()?;
    let folder = tempfile::tempdir()?;
    let pinning = Pinning::NONE;
    let (provider, _provider) = subjects::provider(pinning)?;
    let runtime = Runtime::new()?;
    let sim = runtime.block_on(tallygate_sim::start(SimConfig { chunk_delay_ms: SIM_CHUNK_DELAY_MS, ..SimConfig::default() }))?;
    let certificate = Certificate::make(folder.path())?;
    let over_http1 = runtime.block_on(door::open(&certificate, Spoken::Http1, sim.addr))?;
    let over_http2 = runtime.block_on(door::open(&certificate, Spoken::Http2, sim.addr))?;
    let upstreams = questions::configuration(&certificate.file, |upstream| match upstream {
        Dialect::Chat => format!("http://{}", sim.addr),
        Dialect::Responses => format!("https://{over_http1}"),
        Dialect::Anthropic | Dialect::Gemini => format!("https://{over_http2}"),
    });
    let training = Training {
        setting: Setting {
            installations: &options.installations,
            // Not trained.
            nginx: Path::new(""),
            stretch: options.stretch,
            pinning,
            folder: folder.path(),
            provider,
        },
        runtime: &runtime,
        upstreams,
        profiles: &profiles,
    };
    training.show("sqlite", Name::Sqlite, Lesson::Works(ON_SQLITE))?;
    if options.installations.postgres_url.is_some() {
        training.show("postgres", Name::Postgres, Lesson::Works(ON_POSTGRES))?;
    }
    training.show("tour", Name::Sqlite, Lesson::Tour)?;
    runtime.block_on(sim.shutdown());
    Ok(())
}

/// What one gateway is shown. They are profiles of their own because they do not weigh the same: `bench/release.sh`.
enum Lesson {
    /// With the length of each in milliseconds.
    Works(&'static [(&'static str, u64)]),
    Tour,
}

struct Training<'a> {
    setting: Setting<'a>,
    runtime: &'a Runtime,
    /// Of the configuration: simulated providers in all dialects.
    upstreams: String,
    profiles: &'a Path,
}

impl Training<'_> {
    /// Starts a gateway, loads it, and has its profile.
    fn show(&self, title: &str, name: Name, lesson: Lesson) -> Result<()> {
        let profile = self.profiles.join(format!("{title}.profraw"));
        // An earlier training's would pass for this one's.
        if profile.exists() {
            fs::remove_file(&profile)?;
        }
        let mut tallygate = Tallygate::prepare(name, &self.setting)?;
        tallygate.more.clone_from(&self.upstreams);
        tallygate.profile = Some(profile.clone());
        let (mut subject, _) = tallygate.start(&self.setting)?;
        subject.check("bench-json")?;
        subject.check("bench-anthropic-json")?;
        wait_until_idle(&subject.pids())?;
        let shipped_before = subject.metric("tallygate_usage_shipped_total")?;
        let answers = match lesson {
            Lesson::Works(works) => self.works(&subject, works)?,
            Lesson::Tour => self.tour(&subject)?,
        };
        wait_until_idle(&subject.pids())?;
        let recorded = subject.metric("tallygate_usage_shipped_total")? - shipped_before;
        ensure!((recorded - answers as f64).abs() < 0.5, "{recorded} usage records for {answers} answers");
        subject.process.take().context("it has no process")?.terminate(ENDS_WITHIN)?;
        let bytes = fs::metadata(&profile).map_or(0, |file| file.len());
        ensure!(bytes > 0, "{title} wrote no profile: it was not built with -Cprofile-generate");
        eprintln!("train: {title}: {answers} answers, all right");
        Ok(())
    }

    fn works(&self, subject: &Subject, works: &[(&str, u64)]) -> Result<u64> {
        let mut answers = 0;
        for (id, window_ms) in works {
            let work = WORKS.iter().find(|work| work.id == *id).with_context(|| format!("there is no work `{id}`"))?;
            answers += self.load(subject, &Work { warm_up_ms: 0, window_ms: *window_ms, ..*work })?;
        }
        Ok(answers)
    }

    fn load(&self, subject: &Subject, work: &Work) -> Result<u64> {
        let outcome = run::load(work, subject, &self.setting)?;
        ensure!(outcome.answers > 0, "{}: nothing was answered", work.id);
        ensure!(
            outcome.errors == 0,
            "{}: {} answers were wrong or missing: {}",
            work.id,
            outcome.errors,
            outcome.first_error.unwrap_or_default()
        );
        eprintln!("train: {}: {}: {} answers", subject.name.text(), work.id, outcome.answers);
        Ok(outcome.answers)
    }

    fn tour(&self, subject: &Subject) -> Result<u64> {
        let keys = fs::read_to_string(subject.keys.as_ref().context("it has no keys")?)?;
        let keys = keys.lines().map(str::to_owned).collect();
        let until = Instant::now() + TOUR.mul_f64(self.setting.stretch);
        let answers = self.runtime.block_on(tour::take(subject.address, keys, until))?;
        eprintln!("train: {}: every dialect to every other: {answers} answers", subject.name.text());
        Ok(answers)
    }
}
