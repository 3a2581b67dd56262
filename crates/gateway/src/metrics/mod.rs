//! The data plane's metrics. Handles are looked up once per model and upstream and then kept, those of a model beside its entry
//! of the snapshot, so that counting a request costs a few atomic additions.
//!
//! Label rules: a label's values come from configuration or from a closed set, never from a client. A model name that is
//! not configured is `other`. Histograms carry no tenant. Each family of kept handles is capped; beyond the cap all is
//! `other`.

mod arms;
mod exchange;
mod handles;
mod proxies;
mod shared_limits;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{CounterVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tallygate_billing::{Outcome, UsageSource};
use tallygate_store::ModelEntry;
use tallygate_types::{Pico, Usage, UsageClass};

use self::arms::{ArmMetrics, OfArm};
pub use self::exchange::ExchangeMetrics;
pub use self::handles::ModelHandles;
use self::handles::{ENDPOINTS, EndpointHandles, Kept, ModelSeries, PROVIDERS, TenantHandles, UpstreamHandles, index};
pub use self::proxies::ProxyMetrics;
pub use self::shared_limits::SharedLimitMetrics;

/// The label of everything that is not configured.
pub const OTHER: &str = "other";

/// Seconds. OpenTelemetry's boundaries for generative AI, extended: reasoning runs last for minutes.
const DURATION_BUCKETS: [f64; 14] = [0.01, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 163.84, 655.36];
const FIRST_TOKEN_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const PER_TOKEN_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0];
const OVERHEAD_BUCKETS: [f64; 13] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Pico-units in one unit of money.
const PICO_PER_UNIT: f64 = 1e12;

/// The outcome of an attempt that delivered, and the reason it has.
pub const OK: &str = "ok";
pub const NO_REASON: &str = "none";

/// All metrics of the data plane and the registry that renders them.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    first_token: HistogramVec,
    per_token: HistogramVec,
    tokens: IntCounterVec,
    billed: CounterVec,
    cache_saved: CounterVec,
    cache_extra: CounterVec,
    arms: ArmMetrics,
    tenant_requests: IntCounterVec,
    tenant_tokens: IntCounterVec,
    attempts: IntCounterVec,
    upstream_duration: HistogramVec,
    failovers: IntCounterVec,
    limit_decisions: IntCounterVec,
    auth_failures: IntCounterVec,
    translation_losses: IntCounterVec,
    unknown_finishes: IntCounterVec,
    connections_open: IntGauge,
    pub auth_throttled: IntCounter,
    pub connections_refused: IntCounter,
    pub accept_failures: IntCounter,
    pub usage_estimated: IntCounter,
    pub usage_unpriced: IntCounter,
    pub journal_failures: IntCounter,
    pub rejections_unrecorded: IntCounter,
    pub panics: IntCounter,
    pub exchange: ExchangeMetrics,
    pub memory: MemoryMetrics,
    pub kept: KeptMetrics,
    pub proxies: ProxyMetrics,
    models: Kept<ModelHandles>,
    tenants: Kept<TenantHandles>,
    upstreams: Kept<UpstreamHandles>,
    endpoints: [EndpointHandles; ENDPOINTS.len()],
}

/// One finished request, as the metrics see it.
pub struct Finished<'a> {
    pub endpoint: &'static str,
    pub model: &'a ModelHandles,
    pub tenant: Option<&'a str>,
    pub provider: Option<&'static str>,
    pub stream: bool,
    pub outcome: Outcome,
    pub duration: Duration,
    pub first_token: Option<Duration>,
    pub overhead: Duration,
    pub usage: &'a Usage,
    pub usage_source: UsageSource,
    pub charge: Pico,
    pub currency: Option<&'a str>,
    /// The route or model whose split it is of, and the arm.
    pub arm: Option<(&'a str, &'a str)>,
    /// Below zero where writing the cache cost more.
    pub cache_saved: Pico,
}

/// The memory of what clients drop between the turns of a tool loop.
#[derive(Clone)]
pub struct MemoryMetrics {
    pub hits: IntCounter,
    pub misses: IntCounter,
    /// Pushed out by newer ones.
    pub evicted: IntCounter,
    /// Too large to be kept.
    pub refused: IntCounter,
    pub bytes: IntGauge,
    pub entries: IntGauge,
}

/// What is kept of answers for later requests that refer to them.
#[derive(Clone)]
pub struct KeptMetrics {
    pub kept: IntCounter,
    pub not_kept: IntCounter,
    /// Requests refused because the database could not be asked.
    pub away: IntCounter,
    /// Names of what upstreams keep that did not reach the database.
    pub pins_lost: IntCounter,
}

/// Counts a thing as present until it is dropped.
pub struct Present(IntGauge);

impl Metrics {
    /// Registers everything in a registry of its own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("tallygate".to_owned()), None)?;
        let by_model = ["endpoint", "model", "stream"];
        let overhead =
            histogram(&registry, "overhead_seconds", "Time spent in the gateway itself", &OVERHEAD_BUCKETS, &["endpoint"])?;
        let in_flight =
            register(&registry, IntGaugeVec::new(Opts::new("requests_in_flight", "Requests being served"), &["endpoint"])?)?;
        let streams_open =
            register(&registry, IntGaugeVec::new(Opts::new("streams_open", "Streams being sent"), &["endpoint"])?)?;
        let endpoints = ENDPOINTS.map(|endpoint| EndpointHandles {
            overhead: overhead.with_label_values(&[endpoint]),
            in_flight: in_flight.with_label_values(&[endpoint]),
            streams_open: streams_open.with_label_values(&[endpoint]),
        });
        Ok(Self {
            requests: counters(
                &registry,
                "requests_total",
                "Requests by how they ended",
                &["endpoint", "model", "outcome", "stream"],
            )?,
            request_duration: histogram(
                &registry,
                "request_duration_seconds",
                "From the accepted request to the last byte of the answer",
                &DURATION_BUCKETS,
                &by_model,
            )?,
            first_token: histogram(
                &registry,
                "time_to_first_token_seconds",
                "From the accepted request to the first content of a stream",
                &FIRST_TOKEN_BUCKETS,
                &by_model,
            )?,
            per_token: histogram(
                &registry,
                "time_per_output_token_seconds",
                "Time of a stream after its first content, by output tokens",
                &PER_TOKEN_BUCKETS,
                &by_model,
            )?,
            tokens: counters(&registry, "tokens_total", "Tokens metered", &["model", "provider", "kind", "source"])?,
            billed: register(
                &registry,
                CounterVec::new(
                    Opts::new("billed_amount_total", "Money charged; the ledger has the exact sum"),
                    &["currency", "model"],
                )?,
            )?,
            cache_saved: register(
                &registry,
                CounterVec::new(
                    Opts::new("cache_saved_amount_total", "Money that prompt caches of providers saved, by request"),
                    &["currency", "model"],
                )?,
            )?,
            cache_extra: register(
                &registry,
                CounterVec::new(
                    Opts::new("cache_extra_amount_total", "Money that writing prompt caches cost more than reading them saved"),
                    &["currency", "model"],
                )?,
            )?,
            arms: ArmMetrics::new(&registry)?,
            tenant_requests: counters(&registry, "tenant_requests_total", "Requests by tenant", &["tenant"])?,
            tenant_tokens: counters(&registry, "tenant_tokens_total", "Tokens by tenant", &["tenant"])?,
            attempts: counters(
                &registry,
                "upstream_attempts_total",
                "Attempts on upstreams",
                &["upstream", "provider", "outcome", "reason"],
            )?,
            upstream_duration: histogram(
                &registry,
                "upstream_duration_seconds",
                "From dispatch to the upstream's first answer",
                &DURATION_BUCKETS,
                &["upstream"],
            )?,
            failovers: counters(&registry, "failovers_total", "Requests moved to another upstream", &["from", "to", "reason"])?,
            limit_decisions: counters(
                &registry,
                "ratelimit_decisions_total",
                "Refusals by a limit",
                &["scope", "dimension", "decision"],
            )?,
            auth_failures: counters(&registry, "auth_failures_total", "Requests without a valid key", &["reason"])?,
            auth_throttled: counter(
                &registry,
                "auth_throttled_total",
                "Requests with a bad key from addresses that had sent too many of them, answered 429",
            )?,
            translation_losses: counters(
                &registry,
                "translation_lossy_total",
                "Requests whose translation approximated or dropped something",
                &["from", "to"],
            )?,
            unknown_finishes: counters(
                &registry,
                "unknown_finish_reasons_total",
                "Answers whose provider gave a reason to end that is not known, told to clients as a plain end",
                &["provider"],
            )?,
            connections_open: register(&registry, IntGauge::new("connections_open", "Client connections")?)?,
            accept_failures: counter(&registry, "accept_failures_total", "Connections that could not be accepted")?,
            connections_refused: counter(&registry, "connections_refused_total", "Client connections beyond the cap")?,
            usage_estimated: counter(&registry, "usage_estimated_total", "Requests whose usage had to be estimated")?,
            usage_unpriced: counter(&registry, "usage_unpriced_total", "Requests with usage that no price covers; must be 0")?,
            journal_failures: counter(&registry, "journal_failures_total", "Writes the journal refused; must be 0")?,
            rejections_unrecorded: counter(
                &registry,
                "rejections_unrecorded_total",
                "Refused requests that were counted but, being too many, not recorded",
            )?,
            panics: counter(&registry, "panics_total", "Requests that ended in a bug; must be 0")?,
            exchange: ExchangeMetrics::new(&registry)?,
            memory: MemoryMetrics::new(&registry)?,
            kept: KeptMetrics::new(&registry)?,
            proxies: ProxyMetrics::new(&registry)?,
            models: Kept::default(),
            tenants: Kept::default(),
            upstreams: Kept::default(),
            endpoints,
            registry,
        })
    }

    /// For rendering, and for others to register beside.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The page a Prometheus server scrapes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    pub fn finished(&self, request: &Finished<'_>) {
        let endpoint = index(request.endpoint);
        let model = request.model;
        let series = self.series(model, endpoint, request.stream);
        series.outcomes[request.outcome as usize]
            .get_or_init(|| {
                let labels = [ENDPOINTS[endpoint], model.name.as_str(), request.outcome.as_str(), truth(request.stream)];
                self.requests.with_label_values(&labels)
            })
            .inc();
        series.duration.observe(request.duration.as_secs_f64());
        self.endpoints[endpoint].overhead.observe(request.overhead.as_secs_f64());
        if let Some(first) = request.first_token {
            series.first_token.observe(first.as_secs_f64());
            let output = request.usage.output_total();
            if output > 1 {
                series.per_token.observe(request.duration.saturating_sub(first).as_secs_f64() / (output - 1) as f64);
            }
        }
        let total = request.usage.total();
        if total > 0 {
            self.count_tokens(model, request);
        }
        if let Some(currency) = request.currency
            && request.charge > Pico::ZERO
        {
            self.count_money(model, request.charge, currency);
        }
        if let Some(currency) = request.currency
            && request.cache_saved != Pico::ZERO
        {
            let saved = request.cache_saved.get() as f64 / PICO_PER_UNIT;
            let counter = if saved > 0.0 { &self.cache_saved } else { &self.cache_extra };
            counter.with_label_values(&[currency, model.name.as_str()]).inc_by(saved.abs());
        }
        if let Some((rule, arm)) = request.arm {
            self.arms.finished(&OfArm {
                rule,
                arm,
                outcome: request.outcome,
                duration: request.duration,
                usage: request.usage,
                charge: request.charge,
                currency: request.currency,
            });
        }
        if let Some(tenant) = request.tenant {
            let tenant = self.tenants.get(tenant, |name| TenantHandles {
                requests: self.tenant_requests.with_label_values(&[name]),
                tokens: self.tenant_tokens.with_label_values(&[name]),
            });
            tenant.requests.inc();
            tenant.tokens.inc_by(total);
        }
        if request.usage_source == UsageSource::Estimated {
            self.usage_estimated.inc();
        }
    }

    fn count_tokens(&self, model: &ModelHandles, request: &Finished<'_>) {
        let provider = PROVIDERS.iter().position(|known| Some(*known) == request.provider).unwrap_or(PROVIDERS.len() - 1);
        for (class, tokens) in request.usage.iter() {
            model.tokens[provider][class as usize][request.usage_source as usize]
                .get_or_init(|| {
                    let labels = [model.name.as_str(), PROVIDERS[provider], kind(class), request.usage_source.as_str()];
                    self.tokens.with_label_values(&labels)
                })
                .inc_by(tokens);
        }
    }

    fn count_money(&self, model: &ModelHandles, charge: Pico, currency: &str) {
        // A graph's approximation: no bill is made of it.
        let amount = charge.get() as f64 / PICO_PER_UNIT;
        let counter = || self.billed.with_label_values(&[currency, model.name.as_str()]);
        let (kept, billed) = model.billed.get_or_init(|| (currency.to_owned(), counter()));
        if kept == currency { billed.inc_by(amount) } else { counter().inc_by(amount) }
    }

    /// Counts one request of `endpoint` as being served until the result is dropped.
    pub fn serving(&self, endpoint: &str) -> Present {
        Present::new(&self.endpoints[index(endpoint)].in_flight)
    }

    /// Counts one client connection as open until the result is dropped, by a bug in it too.
    pub fn connected(&self) -> Present {
        Present::new(&self.connections_open)
    }

    /// Counts one stream of `endpoint` as open until the result is dropped.
    pub fn streaming(&self, endpoint: &str) -> Present {
        Present::new(&self.endpoints[index(endpoint)].streams_open)
    }

    pub fn attempted(&self, upstream: &str, provider: &'static str, outcome: &'static str, reason: &str, duration: Duration) {
        let handles = self.upstreams.get(upstream, |name| UpstreamHandles {
            succeeded: self.attempts.with_label_values(&[name, provider, OK, NO_REASON]),
            duration: self.upstream_duration.with_label_values(&[name]),
        });
        if outcome == OK {
            handles.succeeded.inc();
        } else {
            self.attempts.with_label_values(&[upstream, provider, outcome, reason]).inc();
        }
        handles.duration.observe(duration.as_secs_f64());
    }

    pub fn failed_over(&self, from: &str, to: &str, reason: &str) {
        self.failovers.with_label_values(&[from, to, reason]).inc();
    }

    pub fn limited(&self, scope: &str, dimension: &str) {
        self.limit_decisions.with_label_values(&[scope, dimension, "refused"]).inc();
    }

    pub fn not_authenticated(&self, reason: &str) {
        self.auth_failures.with_label_values(&[reason]).inc();
    }

    pub fn lossy(&self, from: &str, to: &str) {
        self.translation_losses.with_label_values(&[from, to]).inc();
    }

    pub fn ended_for_unknown_reason(&self, provider: &str) {
        self.unknown_finishes.with_label_values(&[provider]).inc();
    }

    /// Forgets the series of an upstream or a model that is no longer configured.
    pub fn forget_model(&self, name: &str) {
        self.models.forget(name);
        for endpoint in ENDPOINTS {
            for stream in ["false", "true"] {
                let labels = [endpoint, name, stream];
                for family in [&self.request_duration, &self.first_token, &self.per_token] {
                    let _ = family.remove_label_values(&labels);
                }
                for outcome in Outcome::ALL {
                    let _ = self.requests.remove_label_values(&[endpoint, name, outcome.as_str(), stream]);
                }
            }
        }
    }

    /// What requests for a model are counted by.
    pub fn of_model(&self, entry: &ModelEntry) -> Arc<ModelHandles> {
        entry.series.share(|| self.model(&entry.name)).unwrap_or_else(|| self.model(&entry.name))
    }

    /// The same for what is no configured model.
    pub fn of_no_model(&self) -> Arc<ModelHandles> {
        self.model(OTHER)
    }

    fn model(&self, name: &str) -> Arc<ModelHandles> {
        self.models.get(name, ModelHandles::new)
    }

    fn series<'a>(&self, model: &'a ModelHandles, endpoint: usize, stream: bool) -> &'a ModelSeries {
        model.series[endpoint][usize::from(stream)].get_or_init(|| {
            let labels = [ENDPOINTS[endpoint], model.name.as_str(), truth(stream)];
            ModelSeries {
                outcomes: std::array::from_fn(|_| OnceLock::new()),
                duration: self.request_duration.with_label_values(&labels),
                first_token: self.first_token.with_label_values(&labels),
                per_token: self.per_token.with_label_values(&labels),
            }
        })
    }
}

impl MemoryMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let lookups = counters(
            registry,
            "signature_memory_lookups_total",
            "Looks for what an answer left behind for the next turn of its tool loop",
            &["result"],
        )?;
        Ok(Self {
            hits: lookups.with_label_values(&["hit"]),
            misses: lookups.with_label_values(&["miss"]),
            evicted: counter(registry, "signature_memory_evicted_total", "Entries pushed out by newer ones")?,
            refused: counter(registry, "signature_memory_refused_total", "Entries too large to be kept")?,
            bytes: register(registry, IntGauge::new("signature_memory_bytes", "Bytes kept for tool loops")?)?,
            entries: register(registry, IntGauge::new("signature_memory_entries", "Entries kept for tool loops")?)?,
        })
    }
}

impl KeptMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let writes = counters(registry, "stored_responses_total", "Responses that were to be kept", &["result"])?;
        Ok(Self {
            kept: writes.with_label_values(&["kept"]),
            not_kept: writes.with_label_values(&["failed"]),
            away: counter(registry, "stored_responses_unavailable_total", "Requests refused because none could be looked up")?,
            pins_lost: counter(registry, "upstream_pins_lost_total", "Names of what upstreams keep that were not noted")?,
        })
    }
}

impl Present {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// The kinds that graphs tell apart; usage records keep all classes.
const fn kind(class: UsageClass) -> &'static str {
    match class {
        UsageClass::InputCacheRead | UsageClass::InputAudioCached => "cached_input",
        UsageClass::InputCacheWrite5m | UsageClass::InputCacheWrite1h => "cache_write",
        UsageClass::InputUncached | UsageClass::InputAudio | UsageClass::InputImage | UsageClass::InputVideo => "input",
        UsageClass::OutputReasoning => "reasoning",
        UsageClass::OutputText | UsageClass::OutputAudio | UsageClass::OutputImage => "output",
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    register(registry, IntCounter::new(name, help)?)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
}
