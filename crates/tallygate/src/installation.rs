//! One running installation: the store, the journal and its shipper, what the data plane reads, and the planes on their
//! listeners. `serve` and `demo` differ only in what they put into it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};
use tallygate_admin::{AdminConfig, AdminState};
use tallygate_billing::{Budgets, Journal, JournalConfig, Shipper};
use tallygate_gateway::limits::{MemoryLimiter, RateLimiter, SharedLimiter};
use tallygate_gateway::metrics::SharedLimitMetrics;
use tallygate_gateway::{DataPlane, Drained, GatewayConfig, MediaBounds, Metrics, Parts};
use tallygate_store::upstreams::Timeouts;
use tallygate_store::{Snapshot, Store, setup, users};
use tallygate_types::{Clock, SteadyClock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::alerts::Teller;
use crate::arrival::Arrival;
use crate::config::Config;
use crate::last_good::LastGood;
use crate::live::Live;
use crate::ops::{self, Health};
use crate::probe::Probe;
use crate::profiles::ProfileFile;
use crate::refresh::Refresher;
use crate::shipping::Shipping;
use crate::{give_back, retention, secrets, shutdown, telemetry, usage_metrics};

/// How long the last flush to the database may take; what is left then stays in the journal and goes at the next start.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);
/// How long the admin listener, the probes and the store may take to close once the data plane is drained. A client that
/// sits on a half-sent request must not keep the process.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The three listeners, bound; what connects waits until they are served.
struct Listeners {
    data: TcpListener,
    admin: TcpListener,
    probes: TcpListener,
}

/// Listeners bound, store and journal open; nothing is served yet.
pub struct Opened {
    listeners: Listeners,
    pub store: Arc<Store>,
    pub journal: Arc<Journal>,
    pub shipper: Arc<Shipper>,
    pub clock: Arc<dyn Clock>,
    /// The dashboard says so on every page.
    pub is_demo: bool,
}

/// What is to be said of a running installation.
#[derive(Clone)]
pub struct Face {
    store: Arc<Store>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub metrics_listen: SocketAddr,
}

/// Everything running.
pub struct Running {
    pub face: Face,
    health: Arc<Health>,
    plane: Arc<DataPlane>,
    serving: JoinHandle<Drained>,
    drain: CancellationToken,
    drain_delay: Duration,
    /// Stops what must outlive the drain: admin, probes, refresher.
    stop: CancellationToken,
    shipping: Shipping,
    background: Vec<JoinHandle<()>>,
}

/// Opens the database and brings its schema up to date.
pub async fn open_store(config: &Config) -> Result<Arc<Store>> {
    let store = connect(config).await?;
    store.migrate().await?;
    Ok(store)
}

/// The database as it is; PostgreSQL is not asked anything yet.
async fn connect(config: &Config) -> Result<Arc<Store>> {
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::default());
    let secrets = secrets::load_or_make(config)?;
    let url = config.store.resolved_url()?;
    Ok(Store::open(url.expose_secret(), secrets, clock).await?)
}

/// Binds the listeners and opens the store, whose schema is not touched, and the journal; what an earlier process left unfinished is settled here.
///
/// The listeners come first: a port that is taken must be known before a key is minted that could then not be shown.
pub async fn open(config: &Config) -> Result<Opened> {
    let listeners = Listeners {
        data: bind(config.server.listen, "server.listen").await?,
        admin: bind(config.server.admin_listen, "server.admin_listen").await?,
        probes: bind(config.server.metrics_listen, "server.metrics_listen").await?,
    };
    let store = connect(config).await?;
    let clock: Arc<dyn Clock> = Arc::clone(store.clock());
    let journal_config = JournalConfig { clock: Arc::clone(&clock), ..JournalConfig::default() };
    let (journal, recovery) = Journal::open(config.journal_dir(), journal_config)?;
    if !recovery.settled.is_empty() {
        tracing::warn!(requests = recovery.settled.len(), "requests were in flight when the process died; settled as `crash`");
    }
    for damage in &recovery.quarantined {
        tracing::error!(
            segment = damage.segment,
            offset = damage.offset,
            bytes = damage.bytes,
            "the usage journal is damaged; a copy was kept"
        );
    }
    let shipper = Shipper::new(store.beside(), Arc::clone(&journal));
    Ok(Opened { listeners, store, journal, shipper, clock, is_demo: false })
}

impl Opened {
    /// Starts everything, with the configuration of the store.
    pub async fn start(self, config: &Config) -> Result<Running> {
        let (running, arrival) = self.start_from(config, async |arrival| arrival.load().await.map(|()| true)).await?;
        drop(arrival);
        Ok(running)
    }

    /// Starts while the store is away; what is missing comes with the [`Arrival`].
    pub async fn start_without_store(self, config: &Config) -> Result<(Running, Arrival)> {
        let may_recall = config.store.start_without;
        self.start_from(config, async |arrival| Ok(arrival.make_do(may_recall))).await
    }

    /// `first` brings what the data plane begins with, and tells whether it can serve from that.
    async fn start_from(self, config: &Config, first: impl AsyncFnOnce(&Arrival) -> Result<bool>) -> Result<(Running, Arrival)> {
        let outbound = config.outbound.resolve()?;
        let profiles = ProfileFile::load(config.translation.profiles.as_deref())?;
        let metrics = Arc::new(Metrics::new()?);
        usage_metrics::register(metrics.registry(), Arc::clone(&self.shipper), Arc::clone(&self.journal))?;
        // An SQLite database is on the local disk itself.
        let last_good = config.store.sqlite_path().is_none().then(|| LastGood::beside(&config.journal_dir()));
        // One process alone writes SQLite; many share PostgreSQL.
        let (budgets, keeper) = if config.store.sqlite_path().is_some() {
            (Arc::new(Budgets::alone(self.clock.now())), None)
        } else {
            let (budgets, keeper) = Budgets::leasing(self.clock.now());
            (budgets, Some(keeper.with_lifetime(Duration::from_secs(config.budgets.lease_seconds))))
        };
        self.shipper.tell(Arc::clone(&budgets));
        let teller = Teller::new(Arc::clone(&self.store), &config.alerts, metrics.registry())?;
        let refresher = Arc::new(Refresher::new(Arc::clone(&self.store), Arc::clone(&budgets), last_good, metrics.registry())?);
        let health = Arc::new(Health::default());
        let arrival = Arrival {
            store: Arc::clone(&self.store),
            shipper: Arc::clone(&self.shipper),
            journal: Arc::clone(&self.journal),
            budgets: Arc::clone(&budgets),
            refresher: Arc::clone(&refresher),
            health: Arc::clone(&health),
            loaded: CancellationToken::new(),
        };
        let snapshot = Arc::clone(&refresher.snapshot);
        let can_serve = first(&arrival).await?;

        let Listeners { data, admin, probes } = self.listeners;
        let (listen, admin_listen, metrics_listen) = (data.local_addr()?, admin.local_addr()?, probes.local_addr()?);

        let shared_limits = match config.limits.resolved()? {
            None => None,
            Some(limits) => Some(Arc::new(SharedLimiter::new(&limits, SharedLimitMetrics::new(metrics.registry())?)?)),
        };
        let limiter: Arc<dyn RateLimiter> = match &shared_limits {
            None => Arc::new(MemoryLimiter),
            Some(shared) => {
                shared.meet().await;
                Arc::<SharedLimiter>::clone(shared)
            }
        };
        let parts = Parts {
            config: GatewayConfig { outbound: outbound.clone(), ..gateway_config(config) },
            snapshot: Arc::clone(&refresher.snapshot),
            store_fresh: Arc::clone(&refresher.store_is_fresh),
            profiles: Arc::clone(&profiles.current),
            prices: Arc::clone(&refresher.prices),
            budgets: Arc::clone(&budgets),
            journal: Arc::clone(&self.journal),
            refusals: Arc::clone(self.shipper.refusals()),
            digester: self.store.digester(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&metrics),
            access: telemetry::access_log(),
            shelf: Arc::<Store>::clone(&self.store),
        };
        let plane = DataPlane::with_limiter(parts, limiter);

        let is_there = refresher.store_is_fresh.load(Ordering::Acquire);
        if is_there && let Err(error) = plane.load_standings(&self.store).await {
            tracing::warn!(%error, "what is known of credentials from an earlier run cannot be read");
        }
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut background = Vec::new();
        let registry = metrics.registry().clone();
        let (probe_health, fresh, probe_stop) = (Arc::clone(&health), Arc::clone(&refresher.store_is_fresh), stop.clone());
        background.push(tokio::spawn(async move {
            if let Err(error) = ops::serve(probes, probe_health, registry, fresh, probe_stop).await {
                tracing::error!(%error, "the probes' listener failed");
            }
        }));
        let admin_config =
            AdminConfig { public_origin: public_url(config, admin_listen), api_url: Some(reachable(listen)), demo: self.is_demo };
        let admin_state = AdminState::new(
            Arc::clone(&self.store),
            Some(Arc::new(Live(Arc::clone(&plane)))),
            Arc::new(Probe::new(outbound)),
            admin_config,
        )?;
        background.push(tokio::spawn(serve_admin(admin, tallygate_admin::router(admin_state), stop.clone())));
        let (loaded, stopping, following) = (arrival.loaded.clone(), stop.clone(), (Arc::clone(&plane), Arc::clone(&metrics)));
        background.push(tokio::spawn(async move {
            if stopping.run_until_cancelled(loaded.cancelled()).await.is_some() {
                refresher.run(following.0, following.1, stopping).await;
            }
        }));
        background.push(tokio::spawn(give_back::run(stop.clone())));
        if let Some(shared) = shared_limits {
            background.push(tokio::spawn(shared.run(stop.clone())));
        }
        background.push(tokio::spawn(profiles.follow(stop.clone())));
        let (loaded, sharing) =
            (arrival.loaded.clone(), Arc::clone(&plane).share_standings(Arc::clone(&self.store), stop.clone()));
        let stopping = stop.clone();
        background.push(tokio::spawn(async move {
            if stopping.run_until_cancelled(loaded.cancelled()).await.is_some() {
                sharing.await;
            }
        }));
        if let Some(keeper) = keeper {
            let (loaded, stopping) = (arrival.loaded.clone(), stop.clone());
            let (store, node, clock) = (Arc::clone(&self.store), self.journal.node().to_owned(), Arc::clone(&self.clock));
            background.push(tokio::spawn(async move {
                // What an earlier process of this node leased is given back first, which its usage must be off.
                if stopping.run_until_cancelled(loaded.cancelled()).await.is_some() {
                    keeper.run(store, node, clock, stopping.cancelled_owned()).await;
                }
            }));
        }
        let (loaded, stopping) = (arrival.loaded.clone(), stop.clone());
        background.push(tokio::spawn(async move {
            if stopping.run_until_cancelled(loaded.cancelled()).await.is_some() {
                teller.run(stopping).await;
            }
        }));
        // What is shipped before budgets are loaded would count twice.
        let tidy = retention::keep(self.store.beside(), config.retention.usage_days, stop.clone());
        let shipping = Shipping::start(self.shipper, arrival.loaded.clone(), tidy)?;
        let serving = tokio::spawn(tallygate_gateway::serve(data, Arc::clone(&plane), drain.clone()));
        health.started.fetch_or(can_serve, Ordering::AcqRel);
        let drain_delay = Duration::from_millis(config.server.drain_delay_ms);
        let face = Face { store: self.store, snapshot, listen, admin_listen, metrics_listen };
        let running = Running { face, health, plane, serving, drain, drain_delay, stop, shipping, background };
        Ok((running, arrival))
    }
}

impl Face {
    /// A one-time link for the first owner, if there is none yet.
    pub async fn setup_link(&self, admin_url: &str) -> Result<Option<String>> {
        if users::has_owner(&self.store).await? {
            return Ok(None);
        }
        let mut tx = self.store.begin().await?;
        let token: SecretString = setup::issue(&mut tx).await?;
        tx.commit().await?;
        Ok(Some(format!("{admin_url}/setup#{}", token.expose_secret())))
    }
}

impl Running {
    /// Serves until SIGTERM or SIGINT, then drains: open requests finish, usage reaches the database. A second signal cuts
    /// the drain short.
    pub async fn until_shutdown(self) -> Result<()> {
        shutdown::requested().await;
        self.health.draining.store(true, Ordering::Release);
        // A second signal has no patience with this either.
        let _ = timeout(self.drain_delay, shutdown::requested()).await;
        tracing::info!(in_flight = self.plane.in_flight(), "draining; a second signal stops at once");
        self.drain.cancel();
        let plane = Arc::clone(&self.plane);
        let impatient = tokio::spawn(async move {
            shutdown::requested().await;
            plane.stop.cancel();
        });
        let drained = self.serving.await.context("the data plane failed")?;
        self.stop.cancel();
        let until = Instant::now() + STOP_DEADLINE;
        for mut task in self.background {
            // A task that panicked has said so already.
            if timeout_at(until, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.plane.flush(FLUSH_DEADLINE).await;
        self.shipping.finish(FLUSH_DEADLINE).await;
        if timeout(STOP_DEADLINE, self.face.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
        impatient.abort();
        tracing::info!(complete = drained == Drained::Complete, "stopped");
        Ok(())
    }
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; set {key} to a free address"))
}

async fn serve_admin(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the admin listener failed");
    }
}

/// Where browsers find the dashboard.
pub fn public_url(config: &Config, admin_listen: SocketAddr) -> String {
    let derived = || reachable(admin_listen);
    config.server.public_url.as_ref().map_or_else(derived, |url| url.trim_end_matches('/').to_owned())
}

/// A URL a browser on this machine can open for a listener, which may be bound to every interface.
pub fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("http://127.0.0.1:{}", address.port()) } else { format!("http://{address}") }
}

pub fn gateway_config(config: &Config) -> GatewayConfig {
    let server = &config.server;
    GatewayConfig {
        max_body_bytes: usize::try_from(server.max_body_bytes).unwrap_or(usize::MAX),
        write_stall_timeout: Duration::from_millis(server.write_stall_timeout_ms),
        max_in_flight: server.max_in_flight,
        max_in_flight_per_tenant: server.max_in_flight_per_tenant,
        max_in_flight_per_key: server.max_in_flight_per_key,
        memory_limit_bytes: server.memory_limit_bytes,
        max_attempts: usize::try_from(server.max_attempts.max(1)).unwrap_or(1),
        min_answer_bytes_per_second: server.min_answer_bytes_per_second,
        stream_keep_alive: Duration::from_secs(server.stream_keep_alive_seconds.max(1)),
        cors_origins: server.cors_origins.clone(),
        trusted_proxies: server.trusted_proxies.clone(),
        drain_timeout: Duration::from_secs(server.drain_timeout_seconds),
        upstream_timeouts: Timeouts {
            connect_ms: server.connect_timeout_ms,
            first_byte_ms: server.first_byte_timeout_ms,
            first_token_ms: server.first_token_timeout_ms,
            stream_idle_ms: server.idle_timeout_ms,
            total_ms: server.total_timeout_ms,
        },
        health: config.health.bounds(),
        media: MediaBounds { private_hosts: config.media.private_hosts.clone(), ..MediaBounds::default() },
        ..GatewayConfig::default()
    }
}
