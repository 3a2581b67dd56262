//! The shape of `tallygate.toml`. The documentation comments here are the text of `config schema`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tallygate_gateway::limits::{self, SharedLimits};
use tallygate_types::Network;

use super::alerts::Alerts;
use super::budgets::Budgets;
use super::error::ConfigError;
use super::health::Health;
use super::outbound::Outbound;
use super::routing::{Model, Route, Upstream};
use super::secret::SecretRef;
use super::tenancy::Tenant;

/// The whole file. Every section may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: Server,
    pub store: Store,
    pub secrets: Installation,
    pub journal: Journal,
    pub retention: Retention,
    pub limits: Limits,
    pub budgets: Budgets,
    pub alerts: Alerts,
    pub media: Media,
    pub outbound: Outbound,
    pub health: Health,
    pub translation: Translation,
    pub log: Log,
    pub upstreams: Vec<Upstream>,
    pub models: Vec<Model>,
    pub routes: Vec<Route>,
    pub tenants: Vec<Tenant>,
}

/// Listeners and the bounds of a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Data plane: what tenants call.
    pub listen: SocketAddr,
    /// Admin API and dashboard. Loopback unless changed.
    pub admin_listen: SocketAddr,
    /// `/metrics`, `/healthz`, `/readyz`. Loopback unless changed.
    pub metrics_listen: SocketAddr,
    /// The dashboard's address as browsers see it (`https://gate.example.com`); derived from `admin_listen` if left out.
    pub public_url: Option<String>,
    /// Largest request body.
    pub max_body_bytes: u64,
    /// After SIGTERM: how long open requests may take to finish.
    pub drain_timeout_seconds: u64,
    /// After SIGTERM: how long connections are still accepted while `/readyz` says 503, so that a balancer looks elsewhere
    /// before they are not. A second or two behind one; nothing needs it without.
    pub drain_delay_ms: u64,
    /// How long an upstream may take to connect [default: 3 s].
    pub connect_timeout_ms: Option<u64>,
    /// How long an upstream may take to send its first byte [default: 60 s for streams; without streaming the first byte
    /// comes with the whole answer, for which it has 10 min].
    pub first_byte_timeout_ms: Option<u64>,
    /// How long an upstream may take from the head of a stream to its first content; its comments and pings are none
    /// [default: 5 min].
    pub first_token_timeout_ms: Option<u64>,
    /// How long an upstream may pause inside an answer [default: 2 min].
    pub idle_timeout_ms: Option<u64>,
    /// How long an upstream may take over a whole answer [default: 10 min, for streams 30 min].
    pub total_timeout_ms: Option<u64>,
    /// A whole answer that has begun comes at least at this pace, or is given up; 0: at any. Streams know no such bound.
    pub min_answer_bytes_per_second: u32,
    /// Attempts at upstreams for one request, the first included.
    pub max_attempts: u32,
    /// A stream in which nothing has come for so long is sent a comment, so that nobody takes its line for dead.
    pub stream_keep_alive_seconds: u64,
    /// How long a client may take nothing of an answer that has more for it, before it counts as gone.
    pub write_stall_timeout_ms: u64,
    /// Requests in flight over all tenants; more are answered 503. Near it, a tenant that has its share is refused first.
    pub max_in_flight: u32,
    /// Requests in flight of one tenant that sets no `concurrency` of its own; more are answered 429.
    pub max_in_flight_per_tenant: u32,
    /// Requests in flight of one key, where neither it nor its tenant sets a `concurrency`; more are answered 429.
    pub max_in_flight_per_key: u32,
    /// Load is shed before the process uses this much memory; 0: never [default: what its control group may use, if it is limited].
    pub memory_limit_bytes: Option<u64>,
    /// Networks of proxies that are believed whom they say a request comes from: the right-most address of `x-forwarded-for` that
    /// is not one of them. It counts where keys are bound to networks and where bad keys are slowed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Network>,
    /// Web pages that may call the data plane from a browser, by origin (`https://app.example.com`); `*` is every page.
    pub cors_origins: Vec<String>,
}

/// The database: `sqlite:path` (nothing to install, one process) or `postgres://user@host/db` (teams, replicas). A URL
/// that carries a password can stand elsewhere: `env:NAME` or `file:/path`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub url: String,
    /// With PostgreSQL: if it is away at start, serve from the last configuration this process kept beside its journal,
    /// instead of waiting for the database. What was changed meanwhile is not seen, keys revoked meanwhile still work, and
    /// tenants with a budget are refused until the database says what they have spent.
    pub start_without: bool,
}

/// Secrets of the installation. With SQLite they are made at first start and kept in a file of mode 0600 beside the
/// database; with PostgreSQL they must be given here.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Installation {
    /// 32 bytes as 64 hex digits: keys the digests of issued API keys.
    pub key_pepper: Option<SecretRef>,
    /// 32 bytes as 64 hex digits: seals upstream credentials.
    pub sealing_key: Option<SecretRef>,
}

/// The usage journal on the local disk, which must outlive the process.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Left out: `journal` beside the SQLite database, or `data/journal`.
    pub dir: Option<PathBuf>,
}

/// What leaves the database by itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days for which records of single requests are kept, 62 at least [default: for ever]. Sums by hour and bills stay; what
    /// a record was charged for cannot be looked up once it is gone.
    pub usage_days: Option<u32>,
}

/// Where rate limits are counted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// `memory`: each process counts for itself. `redis://[user:password@]host[:port][/db]` (with TLS `rediss://`): all processes
    /// count together in Redis or Valkey. A URL that carries a password can stand elsewhere: `env:NAME` or `file:/path`.
    pub shared: String,
    /// What holds while Redis is away or has lost its counts: `share` (each process admits its share of a limit), `open` (each the
    /// whole limit), `closed` (whoever has limits is answered 503).
    pub on_failure: OnFailure,
}

/// What holds while shared limits cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    #[default]
    Share,
    Open,
    Closed,
}

/// Translation between the protocols.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Translation {
    /// A TOML file that says what models accept, laid over the table that is built in; read again whenever it changes. Its
    /// form: docs/translation.md.
    pub profiles: Option<PathBuf>,
}

/// Images and documents that requests name by URL and whose upstream takes them only inline.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Hosts, as `name` or `name:port`, that may be fetched from though they are private: an image server of your own. Every
    /// tenant's URLs may then reach them. Cloud metadata addresses are never reached.
    pub private_hosts: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or per module (`info,tallygate_gateway=debug`).
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Auto,
    Json,
    Text,
}

/// Money per million tokens as decimal text.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub currency: String,
    pub input: String,
    pub output: String,
    pub cache_read: Option<String>,
    pub cache_write_5m: Option<String>,
    pub cache_write_1h: Option<String>,
    pub reasoning: Option<String>,
    pub input_audio: Option<String>,
    pub input_image: Option<String>,
    pub output_audio: Option<String>,
    pub output_image: Option<String>,
}

/// Responses kept by the gateway. A limit left out is the default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Responses {
    /// `stateless`: nothing is kept; `stored`: kept in the database, sealed.
    pub mode: ResponsesMode,
    /// Hours since a response was last built upon [default: 720].
    pub lifetime_hours: Option<u32>,
    /// Bytes of all the tenant's responses together; beyond it the oldest leave [default: 268435456].
    pub max_bytes: Option<u64>,
    /// Number of the tenant's responses; beyond it the oldest leave [default: 10000].
    pub max_count: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponsesMode {
    #[default]
    Stateless,
    Stored,
}

/// Limits that are not shared.
const MEMORY: &str = "memory";
const DEFAULT_DATA_PORT: u16 = 8080;
const DEFAULT_ADMIN_PORT: u16 = 8081;
const DEFAULT_METRICS_PORT: u16 = 9090;

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_DATA_PORT)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_ADMIN_PORT)),
            metrics_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_METRICS_PORT)),
            public_url: None,
            max_body_bytes: 32 * 1024 * 1024,
            drain_timeout_seconds: 120,
            drain_delay_ms: 0,
            connect_timeout_ms: None,
            first_byte_timeout_ms: None,
            first_token_timeout_ms: None,
            idle_timeout_ms: None,
            total_timeout_ms: None,
            min_answer_bytes_per_second: 16,
            max_attempts: 4,
            stream_keep_alive_seconds: 15,
            write_stall_timeout_ms: 60_000,
            max_in_flight: 2_000,
            max_in_flight_per_tenant: 200,
            max_in_flight_per_key: 50,
            memory_limit_bytes: None,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:data/tallygate.db".to_owned(), start_without: false }
    }
}

impl Config {
    /// The configuration as it may be shown: passwords in URLs are replaced.
    pub fn masked(mut self) -> Self {
        mask(&mut self.store.url);
        mask(&mut self.limits.shared);
        self
    }

    /// The directory of the usage journal.
    pub fn journal_dir(&self) -> PathBuf {
        let beside_database = || self.store.sqlite_path().and_then(Path::parent).map(|dir| dir.join("journal"));
        self.journal.dir.clone().or_else(beside_database).unwrap_or_else(|| PathBuf::from("data/journal"))
    }
}

impl Store {
    /// The URL itself, fetched if it is only pointed at.
    pub fn resolved_url(&self) -> Result<SecretString, ConfigError> {
        let reference: SecretRef = self.url.parse().unwrap_or_else(|error: std::convert::Infallible| match error {});
        reference.resolve("store.url")
    }

    /// The database file, if the engine is SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        let rest = self.url.strip_prefix("sqlite:")?;
        Some(Path::new(rest.strip_prefix("//").unwrap_or(rest)))
    }
}

impl Limits {
    /// The URL itself, fetched if it is only pointed at. `None`: nothing is shared.
    pub fn resolved(&self) -> Result<Option<SharedLimits>, ConfigError> {
        if self.shared == MEMORY {
            return Ok(None);
        }
        let reference: SecretRef = self.shared.parse().unwrap_or_else(|error: std::convert::Infallible| match error {});
        let url = reference.resolve("limits.shared")?;
        SharedLimits::check(&url).map_err(|why| {
            ConfigError::Invalid(format!("limits.shared must be `{MEMORY}` or a URL like `redis://host:6379`: {why}"))
        })?;
        let on_failure = match self.on_failure {
            OnFailure::Share => limits::OnFailure::Share,
            OnFailure::Open => limits::OnFailure::Open,
            OnFailure::Closed => limits::OnFailure::Closed,
        };
        Ok(Some(SharedLimits { url, on_failure }))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { shared: MEMORY.to_owned(), on_failure: OnFailure::default() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

fn mask(url: &mut String) {
    if let Some((scheme, rest)) = url.split_once("://")
        && let Some((credentials, host)) = rest.rsplit_once('@')
        && let Some((user, _)) = credentials.split_once(':')
    {
        *url = format!("{scheme}://{user}:***@{host}");
    }
}
