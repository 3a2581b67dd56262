//! What is loaded, one at a time: the provider itself, nginx, the bare proxy, Tallygate on each database.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::process::{Core, Pinning, Process, ask, free_address, wait_for_listener};
use super::{Installations, Setting};
use crate::traffic::{ANSWER, Kind, OUTPUT_TOKENS, PROMPT_TOKENS, Prompt, question};

const PEPPER: &str = "b3c1f0a2d4e5968778695a4b3c2d1e0fb3c1f0a2d4e5968778695a4b3c2d1e0f";
const SEALING_KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const FIRST_ANSWER_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Name {
    /// No gateway: the load asks the provider.
    Direct,
    Nginx,
    /// The bare proxy.
    Hyper,
    /// Tallygate on SQLite.
    Sqlite,
    /// Tallygate on PostgreSQL.
    Postgres,
}

impl Name {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Hyper => "hyper",
            Self::Sqlite => "tallygate-sqlite",
            Self::Postgres => "tallygate-postgres",
        }
    }

    pub const fn is_tallygate(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres)
    }
}

/// One of them, running.
pub struct Subject {
    pub name: Name,
    pub address: SocketAddr,
    pub process: Option<Process>,
    /// Tallygate's keys.
    pub keys: Option<PathBuf>,
    /// Tallygate's probes and metrics.
    pub metrics: Option<SocketAddr>,
    /// Not counted as the gateway's own, and reported beside it.
    pub database: Option<u32>,
}

impl Subject {
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Everything that works for it.
    pub fn pids(&self) -> Vec<u32> {
        self.pid().into_iter().chain(self.database).collect()
    }

    /// A figure off Tallygate's metrics.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let address = self.metrics.context("it has no metrics")?;
        let text = ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("{name} is not among the metrics"))?.trim().parse()?)
    }

    /// Asks once, and compares the whole answer.
    pub fn check(&self, model: &str) -> Result<()> {
        let key = match &self.keys {
            Some(path) => fs::read_to_string(path)?.lines().next().unwrap_or_default().to_owned(),
            None => "no-key".to_owned(),
        };
        let answer = ask(self.address, &request(self.address, model, &key))?;
        let status = answer.get(9..12).unwrap_or_default();
        ensure!(status == "200", "{} answered: {answer}", self.name.text());
        let body = answer.find('{').and_then(|start| answer.get(start..=answer.rfind('}')?)).unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(body).with_context(|| answer.clone())?;
        let usage = &body["usage"];
        ensure!(
            body["choices"][0]["message"]["content"] == ANSWER
                && usage["prompt_tokens"] == PROMPT_TOKENS
                && usage["completion_tokens"] == OUTPUT_TOKENS,
            "{} changed the answer: {body}",
            self.name.text()
        );
        Ok(())
    }
}

fn request(address: SocketAddr, model: &str, key: &str) -> String {
    let body = question(model, Kind::Json, Prompt::Small);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The provider, which all of them ask.
pub fn provider(pinning: Pinning) -> Result<(SocketAddr, Process)> {
    let address = free_address()?;
    let mut command = pinning.command(Core::Load, &std::env::current_exe()?);
    command.args(["provider", &address.to_string()]);
    let mut process = Process::start(command)?;
    wait_for_listener(address, &mut process)?;
    Ok((address, process))
}

pub fn start(name: Name, setting: &Setting<'_>) -> Result<Subject> {
    match name {
        Name::Direct => Ok(plain(name, setting.provider, None)),
        Name::Nginx => nginx(setting),
        Name::Hyper => hyper(setting),
        Name::Sqlite | Name::Postgres => {
            let tallygate = Tallygate::prepare(name, setting)?;
            Ok(tallygate.start(setting)?.0)
        }
    }
}

fn plain(name: Name, address: SocketAddr, process: Option<Process>) -> Subject {
    Subject { name, address, process, keys: None, metrics: None, database: None }
}

fn nginx(setting: &Setting<'_>) -> Result<Subject> {
    let (folder, address) = (setting.folder.join("nginx"), free_address()?);
    fs::create_dir_all(&folder)?;
    let at = folder.display();
    let configuration = folder.join("nginx.conf");
    // Bodies fit into memory: on the disk it would be the disk that is measured.
    fs::write(
        &configuration,
        format!(
            "daemon off;
user root;
worker_processes 1;
master_process off;
pid {at}/pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  client_body_temp_path {at}/client;
  proxy_temp_path {at}/proxy;
  fastcgi_temp_path {at}/fastcgi;
  uwsgi_temp_path {at}/uwsgi;
  scgi_temp_path {at}/scgi;
  upstream provider {{ server {provider}; keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
    }}
  }}
}}
",
            provider = setting.provider
        ),
    )?;
    let mut command = setting.pinning.command(Core::Gateway, setting.nginx);
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(&configuration);
    let mut process = Process::start(command)?;
    wait_for_listener(address, &mut process)?;
    Ok(plain(Name::Nginx, address, Some(process)))
}

fn hyper(setting: &Setting<'_>) -> Result<Subject> {
    let address = free_address()?;
    let mut command = setting.pinning.command(Core::Gateway, &std::env::current_exe()?);
    command.args(["proxy", &address.to_string(), &setting.provider.to_string()]);
    let mut process = Process::start(command)?;
    wait_for_listener(address, &mut process)?;
    Ok(plain(Name::Hyper, address, Some(process)))
}

/// An installation with its database filled, ready to be started as often as wanted.
pub struct Tallygate {
    name: Name,
    folder: PathBuf,
    keys: PathBuf,
    store: String,
    database: Option<u32>,
    /// More of the configuration: upstreams and models beside the bench's own.
    pub more: String,
    /// Where an instrumented binary writes its profile when it ends.
    pub profile: Option<PathBuf>,
}

impl Tallygate {
    pub fn prepare(name: Name, setting: &Setting<'_>) -> Result<Self> {
        let folder = setting.folder.join(name.text());
        let keys = folder.join("keys");
        let (store, database) = match name {
            Name::Postgres => {
                let Installations { postgres_url, postgres_pid, .. } = setting.installations;
                (postgres_url.clone().context("no PostgreSQL; give --postgres-url")?, *postgres_pid)
            }
            _ => (format!("sqlite:{}/tallygate.db", folder.display()), None),
        };
        let tallygate = Self { name, folder, keys, store, database, more: String::new(), profile: None };
        if !tallygate.keys.exists() {
            fs::create_dir_all(&tallygate.folder)?;
            tallygate.seed(setting.installations.tenants)?;
        }
        Ok(tallygate)
    }

    fn seed(&self, tenants: usize) -> Result<()> {
        let status = Command::new(std::env::current_exe()?)
            .args(["seed", "--store", &self.store, "--tenants", &tenants.to_string(), "--keys"])
            .arg(&self.keys)
            .env("BENCH_PEPPER", PEPPER)
            .env("BENCH_SEALING_KEY", SEALING_KEY)
            .status()?;
        ensure!(status.success(), "the database could not be filled");
        Ok(())
    }

    /// Starts it; how long it took until a request was answered is returned beside.
    pub fn start(&self, setting: &Setting<'_>) -> Result<(Subject, Duration)> {
        let (listen, admin, metrics) = (free_address()?, free_address()?, free_address()?);
        let configuration = self.folder.join("tallygate.toml");
        fs::write(&configuration, self.configuration(setting.provider, [listen, admin, metrics]))?;
        let mut command = setting.pinning.command(Core::Gateway, &setting.installations.tallygate);
        let log = |name: &str| File::create(self.folder.join(name));
        command
            .args(["serve", "--config"])
            .arg(&configuration)
            .env("BENCH_PEPPER", PEPPER)
            .env("BENCH_SEALING_KEY", SEALING_KEY)
            .env("BENCH_UPSTREAM_KEY", "sk-upstream-of-the-bench")
            .stdout(log("out.log")?)
            .stderr(log("err.log")?);
        if let Some(profile) = &self.profile {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        let started = Instant::now();
        let mut process = Process::start(command)?;
        let took = self.first_answer(listen, started, &mut process)?;
        let subject = Subject {
            name: self.name,
            address: listen,
            process: Some(process),
            keys: Some(self.keys.clone()),
            metrics: Some(metrics),
            database: self.database,
        };
        Ok((subject, took))
    }

    fn first_answer(&self, listen: SocketAddr, started: Instant, process: &mut Process) -> Result<Duration> {
        let keys = fs::read_to_string(&self.keys)?;
        let request = request(listen, "bench-json", keys.lines().next().unwrap_or_default());
        loop {
            let answer = ask(listen, &request);
            if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(started.elapsed());
            }
            let said = || tail(&self.folder.join("err.log"));
            ensure!(!process.has_ended(), "tallygate ended:\n{}", said());
            ensure!(started.elapsed() < FIRST_ANSWER_WITHIN, "tallygate answers no request:\n{}", said());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn configuration(&self, provider: SocketAddr, [listen, admin, metrics]: [SocketAddr; 3]) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            r#"[server]
listen = "{listen}"
admin_listen = "{admin}"
metrics_listen = "{metrics}"

[store]
url = "{store}"

[secrets]
key_pepper = "env:BENCH_PEPPER"
sealing_key = "env:BENCH_SEALING_KEY"

[journal]
dir = "{folder}/journal"

[[upstreams]]
name = "chat"
dialect = "openai-chat"
base_url = "http://{provider}/v1"
credentials = [{{ name = "c1", secret = "env:BENCH_UPSTREAM_KEY" }}]

[[upstreams]]
name = "anthropic"
dialect = "anthropic"
base_url = "http://{provider}"
credentials = [{{ name = "c1", secret = "env:BENCH_UPSTREAM_KEY" }}]
"#,
            store = self.store,
            folder = self.folder.display(),
        );
        for kind in Kind::ALL.map(Kind::name) {
            for (model, upstream) in [(format!("bench-{kind}"), "chat"), (format!("bench-anthropic-{kind}"), "anthropic")] {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    r#"
[[models]]
name = "{model}"
targets = [{{ upstream = "{upstream}", model = "up-{kind}" }}]
price = {{ currency = "USD", input = "3.00", cache_read = "0.30", output = "15.00" }}"#
                );
            }
        }
        text + &self.more
    }
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
