//! The data plane on a loopback port, with the configuration a test wants and nothing behind it but a journal.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tallygate_adapter::Profiles;
use tallygate_billing::journal::Position;
use tallygate_billing::{
    Budgets, ClassPrices, Journal, JournalConfig, PriceBook, PriceVersion, Refusals, RefusedRequest, UsageRecord,
};
use tallygate_gateway::{DataPlane, Drained, GatewayConfig, Metrics, NoShelf, Parts, Shelf, TracedAccess, serve};
use tallygate_store::routing::{Affinity, RoutingPolicy};
use tallygate_store::{
    Budget, BudgetEntry, CredentialEntry, KeyDigester, KeyEntry, Limits, ModelEntry, SecretBytes32, Snapshot, TargetEntry,
    TenantEntry, UpstreamEntry,
};
use tallygate_types::{Clock, Currency, Dialect, IdMap, PriceVersionId, SystemClock, Timestamp, UnitPrice, UsageClass};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const KEY: &str = "a-declared-key-for-tests-only";
/// Of another tenant without limits.
pub const OTHER_KEY: &str = "a-declared-key-of-another-tenant";
/// Nothing in these tests takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is to be configured. The defaults are a tenant without limits and no model.
pub struct Rig {
    pub config: GatewayConfig,
    pub tenant: TenantEntry,
    pub key: KeyEntry,
    pub models: Vec<ModelEntry>,
    /// Models by name that shall have no price.
    pub unpriced: Vec<&'static str>,
    pub store_is_fresh: bool,
    pub journal: JournalConfig,
    pub clock: Arc<dyn Clock>,
    /// Rows before the built-in ones.
    pub profiles: &'static str,
    /// Per million tokens.
    pub output_price: &'static str,
    pub shelf: Arc<dyn Shelf>,
    /// Of models that are added from now on. Off, so that requests with the same words take turns exactly.
    pub affinity: Affinity,
}

pub struct Gateway {
    pub address: SocketAddr,
    pub plane: Arc<DataPlane>,
    pub metrics: Arc<Metrics>,
    /// What requests that come from now on are served by.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub journal: Arc<Journal>,
    refusals: Arc<Refusals>,
    /// What came of them so far.
    refused: Mutex<Vec<RefusedRequest>>,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<Drained>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Where the journal lies.
    pub folder: tempfile::TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Rig {
    pub fn new() -> Self {
        Self {
            config: GatewayConfig::default(),
            tenant: TenantEntry::named("acme"),
            key: KeyEntry::named("ci", Arc::new(TenantEntry::named("acme"))),
            models: Vec::new(),
            unpriced: Vec::new(),
            store_is_fresh: true,
            journal: JournalConfig::default(),
            clock: Arc::new(SystemClock),
            profiles: "",
            output_price: "15.00",
            shelf: Arc::new(NoShelf),
            affinity: Affinity::Off,
        }
    }

    /// One model `smart`, served by one upstream that speaks `dialect`.
    pub fn serving(dialect: Dialect, address: SocketAddr) -> Self {
        Self::new().with_model("smart", vec![target(upstream("main", dialect, address, &["one"]), 1, 1)])
    }

    pub fn with_model(mut self, name: &str, targets: Vec<TargetEntry>) -> Self {
        let created_at = Timestamp::from_micros(1_700_000_000_000_000);
        let routing = RoutingPolicy { affinity: self.affinity, ..RoutingPolicy::default() };
        self.models.push(ModelEntry { created_at, routing, ..ModelEntry::named(name, targets) });
        self
    }

    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.tenant.limits = limits;
        self
    }

    pub fn with_budget(mut self, amount: &str) -> Self {
        let budget = format!(r#"{{"amount":"{amount}","currency":"USD","period":"month"}}"#);
        let budget = serde_json::from_str::<Budget>(&budget).unwrap();
        self.tenant.budgets = Some(Arc::new(vec![BudgetEntry::of_tenant(self.tenant.id, budget)]));
        self
    }

    pub async fn start(self) -> Gateway {
        let digester = KeyDigester::new(&SecretBytes32::new([7; 32]));
        let tenant = Arc::new(self.tenant);
        let key = KeyEntry { tenant: Arc::clone(&tenant), ..self.key };
        let other = Arc::new(TenantEntry { responses: tenant.responses, ..TenantEntry::named("globex") });
        let other_key = KeyEntry { tenant: Arc::clone(&other), ..Self::new().key };
        let prices = PriceBook::default();
        prices.replace(
            self.models
                .iter()
                .filter(|model| !self.unpriced.contains(&&*model.name))
                .map(|model| price(model, self.output_price)),
        );
        let aliases =
            self.models.iter().flat_map(|model| model.aliases.iter().map(|alias| (alias.clone(), model.name.to_string())));
        let aliases = aliases.collect();
        let upstreams =
            self.models.iter().flat_map(|model| &model.targets).map(|t| (t.upstream.id, Arc::clone(&t.upstream))).collect();
        let snapshot = Snapshot {
            version: 1,
            keys: IdMap::from_iter([(digester.digest(KEY), Arc::new(key)), (digester.digest(OTHER_KEY), Arc::new(other_key))]),
            tenants: IdMap::from_iter([(tenant.id, tenant), (other.id, other)]),
            models: self.models.into_iter().map(|model| (model.name.to_string(), Arc::new(model))).collect(),
            aliases,
            upstreams,
            routes: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path(), self.journal).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let refusals = Arc::<Refusals>::default();
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let plane = DataPlane::new(Parts {
            config: self.config,
            snapshot: Arc::clone(&snapshot),
            store_fresh: Arc::new(AtomicBool::new(self.store_is_fresh)),
            profiles: Arc::new(ArcSwap::from_pointee(Profiles::builtin().with_overrides(self.profiles).unwrap())),
            prices: Arc::new(prices),
            budgets: Arc::new(Budgets::alone(Timestamp::UNIX_EPOCH)),
            journal: Arc::clone(&journal),
            refusals: Arc::clone(&refusals),
            digester,
            clock: self.clock,
            metrics: Arc::clone(&metrics),
            access: Arc::new(TracedAccess),
            shelf: self.shelf,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::clone(&plane), shutdown.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Gateway {
            address,
            plane,
            metrics,
            snapshot,
            journal,
            refusals,
            refused: Mutex::default(),
            shutdown,
            serving,
            client,
            folder,
        }
    }
}

pub fn upstream(name: &str, dialect: Dialect, address: SocketAddr, credentials: &[&str]) -> UpstreamEntry {
    let credential = |name: &&str| Arc::new(CredentialEntry::named(*name, format!("secret-{name}")));
    // As each vendor's documentation writes it.
    let base_url = match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => format!("http://{address}/v1"),
        Dialect::Anthropic | Dialect::Gemini => format!("http://{address}"),
    };
    UpstreamEntry { credentials: credentials.iter().map(credential).collect(), ..UpstreamEntry::at(name, dialect, base_url) }
}

pub fn target(upstream: UpstreamEntry, weight: u32, priority: u32) -> TargetEntry {
    TargetEntry { weight, priority, ..TargetEntry::at(Arc::new(upstream), "real-model") }
}

/// Three dollars a million input tokens.
fn price(model: &ModelEntry, output: &str) -> PriceVersion {
    let per_million = |text| UnitPrice::parse_per_million(text).unwrap();
    PriceVersion {
        id: PriceVersionId::generate(),
        model_id: model.id,
        currency: Currency::USD,
        valid_from: Timestamp::UNIX_EPOCH,
        prices: ClassPrices::default()
            .with(UsageClass::InputUncached, per_million("3.00"))
            .with(UsageClass::OutputText, per_million(output)),
        created_at: Timestamp::UNIX_EPOCH,
        created_by: "test".into(),
        source: None,
    }
}

impl Gateway {
    pub async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        tokio::time::timeout(PATIENCE, self.client.request(request)).await.expect("no answer in time").unwrap()
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Full::new(body.to_owned().into())).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("no end in time").unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.post_as(KEY, path, body).await
    }

    pub async fn post_as(&self, key: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        self.ask(Method::POST, path, &[("authorization", &bearer), ("content-type", "application/json")], body).await
    }

    pub async fn chat(&self, body: &str) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    /// Opens a stream and hands its body out unread.
    pub async fn open(&self, path: &str, body: &str) -> http::Response<Incoming> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {KEY}"))
            .body(Full::new(body.to_owned().into()))
            .unwrap();
        self.send(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {KEY}");
        self.ask(Method::GET, path, &[("authorization", &bearer)], "").await
    }

    /// What is in the books, as it came: from the journal, and what was refused.
    pub fn records(&self) -> Vec<UsageRecord> {
        let mut records = self.journal.read(Position::default(), 10_000).unwrap().records;
        records.extend(self.refused().into_iter().map(|refused| refused.record));
        records.sort_by_key(|record| record.request_id);
        records
    }

    pub fn refused(&self) -> Vec<RefusedRequest> {
        let mut refused = self.refused.lock().unwrap();
        refused.extend(self.refusals.take());
        refused.clone()
    }

    /// The records, as soon as there are `count`.
    pub async fn records_when(&self, count: usize) -> Vec<UsageRecord> {
        eventually(|| Some(self.records()).filter(|records| records.len() >= count)).await
    }

    pub fn metric(&self, line: &str) -> bool {
        self.metrics.render().unwrap().lines().any(|known| known == line)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Waits for something that another task does.
pub async fn eventually<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = condition() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never happened")
}

pub async fn next_piece(body: &mut Incoming) -> Option<String> {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("no piece in time")?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}
