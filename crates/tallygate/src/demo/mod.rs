//! `demo`: the whole product on one machine, with simulated providers behind it and a day of usage in its books.

mod day;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tallygate_billing::prices::{self, NewPrice};
use tallygate_billing::{ClassPrices, PriceVersion};
use tallygate_sim::{SimConfig, SimHandle};
use tallygate_store::admin_tokens::{self, NewAdminToken};
use tallygate_store::keys::{self, KeySettings, NewKey};
use tallygate_store::users::Role;
use tallygate_store::{KeyEntry, Store, tenants};
use tallygate_types::{Clock as _, Currency, Dialect, SystemClock, Timestamp, UnitPrice, UsageClass};

use crate::banner::Banner;
use crate::cli::Demo;
use crate::commands::print_json;
use crate::config::{Budget, Config, Credential, Key, Limits, Log, LogFormat, Model, Period, Target, Tenant, Upstream};
use crate::installation::{self, Opened, Running};
use crate::{provision, telemetry};

/// The tenant whose key the banner prints.
const TENANT: &str = "acme";
const ADMIN_TOKEN_LIFETIME: Duration = Duration::from_hours(24 * 30);
/// The demo's prices hold since before its day of usage.
const PRICED_SINCE: Duration = Duration::from_hours(24 * 30);
/// How long the seeded day may take to reach the database.
const SEED_DEADLINE: Duration = Duration::from_secs(30);

/// A simulated provider: its name, the model sold from it, its dialect, and money per million tokens of input, cached input
/// and output.
struct Simulated {
    upstream: &'static str,
    model: &'static str,
    dialect: Dialect,
    prices: [&'static str; 3],
}

const SIMULATED: [Simulated; 4] = [
    Simulated { upstream: "sim-openai", model: "gpt-sim", dialect: Dialect::OpenaiChat, prices: ["2.50", "0.25", "10.00"] },
    Simulated { upstream: "sim-anthropic", model: "claude-sim", dialect: Dialect::Anthropic, prices: ["3.00", "0.30", "15.00"] },
    Simulated { upstream: "sim-gemini", model: "gemini-sim", dialect: Dialect::Gemini, prices: ["1.25", "0.125", "10.00"] },
    Simulated {
        upstream: "sim-responses",
        model: "responses-sim",
        dialect: Dialect::OpenaiResponses,
        prices: ["1.75", "0.175", "14.00"],
    },
];
const EMBEDDING_MODEL: &str = "embedding-sim";
const EMBEDDING_PRICE: &str = "0.02";

pub async fn run(arg: Demo, as_json: bool) -> Result<ExitCode> {
    let started = Instant::now();
    telemetry::install(&Log { format: LogFormat::Auto, level: "warn".to_owned() })?;
    // Held until the end: dropping it removes the folder.
    let temporary = if arg.data_dir.is_none() { Some(tempfile::tempdir()?) } else { None };
    let data_dir =
        arg.data_dir.as_deref().or_else(|| temporary.as_ref().map(tempfile::TempDir::path)).context("no data folder")?;

    let sim = tallygate_sim::start(SimConfig::default()).await?;
    let config = config(data_dir, arg.listen, sim.addr)?;
    let mut opened = installation::open(&config).await?;
    opened.is_demo = true;
    opened.store.migrate().await?;
    provision::declare(&opened.store, &config).await?;
    let priced = set_prices(&opened.store).await?;
    let (api_key, admin_token) = credentials(&opened.store).await?;
    seed(&opened, priced).await?;
    let running = opened.start(&config).await?;

    let banner = banner(&config, &running, &api_key, started).await?;
    if as_json {
        print_json(&json!({
            "url": banner.url,
            "api_key": api_key.expose_secret(),
            "admin_url": banner.admin_url,
            "admin_token": admin_token.expose_secret(),
            "setup_url": banner.setup_link,
            "metrics_url": banner.metrics_url,
            "models": models(),
        }))?;
    } else {
        print!("{}", banner.text());
        println!(
            "  Admin API  curl {}/admin/v1/tenants -H \"Authorization: Bearer {}\"",
            banner.admin_url,
            admin_token.expose_secret()
        );
        println!("Simulated providers at http://{}; Ctrl-C stops everything.", sim.addr);
    }
    finish(running, sim).await
}

async fn finish(running: Running, sim: SimHandle) -> Result<ExitCode> {
    running.until_shutdown().await?;
    sim.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// The demo as a configuration file would declare it.
fn config(data_dir: &Path, listen: SocketAddr, sim: SocketAddr) -> Result<Config> {
    let mut config = Config::default();
    config.store.url = format!("sqlite:{}", data_dir.join("tallygate.db").display());
    config.server.listen = listen;
    config.server.admin_listen = next_port(listen, 1)?;
    config.server.metrics_listen = next_port(listen, 2)?;
    for simulated in &SIMULATED {
        let credential = Credential::named("demo", "simulated-credential".parse()?);
        config.upstreams.push(Upstream::at(simulated.upstream, simulated.dialect, format!("http://{sim}"), vec![credential]));
        config.models.push(model(simulated.model, simulated.upstream));
    }
    config.models.push(model(EMBEDDING_MODEL, SIMULATED[0].upstream));
    config.tenants = vec![
        tenant(TENANT, &["web", "batch"], Some("250.00")),
        tenant("globex", &["research"], Some("40.00")),
        tenant("initech", &["reports"], None),
    ];
    Ok(config)
}

fn model(name: &str, upstream: &str) -> Model {
    Model::named(name, vec![Target::at(upstream, name)])
}

fn tenant(name: &str, keys: &[&str], budget: Option<&str>) -> Tenant {
    Tenant {
        limits: Limits { requests_per_minute: Some(600), tokens_per_minute: Some(2_000_000), concurrency: Some(50) },
        budget: budget.map(|amount| Budget { amount: amount.to_owned(), currency: "USD".to_owned(), period: Period::Month }),
        keys: keys.iter().map(|key| Key::minted(*key)).collect(),
        ..Tenant::named(name)
    }
}

/// The address `offset` ports further on; port 0 stays "any free port".
fn next_port(listen: SocketAddr, offset: u16) -> Result<SocketAddr> {
    let port = match listen.port() {
        0 => 0,
        port => port.checked_add(offset).context("--listen needs two more ports after its own; choose a lower one")?,
    };
    Ok(SocketAddr::new(listen.ip(), port))
}

/// Prices every model that has none yet; true if this is the first start on this data folder.
async fn set_prices(store: &Store) -> Result<bool> {
    let per_million = UnitPrice::parse_per_million;
    let mut priced = Vec::new();
    for simulated in &SIMULATED {
        let [input, cached, output] = simulated.prices;
        let prices = ClassPrices::default()
            .with(UsageClass::InputUncached, per_million(input)?)
            .with(UsageClass::InputCacheRead, per_million(cached)?)
            .with(UsageClass::OutputText, per_million(output)?);
        priced.push((simulated.model, prices));
    }
    let embedding = per_million(EMBEDDING_PRICE)?;
    let embedding =
        ClassPrices::default().with(UsageClass::InputUncached, embedding).with(UsageClass::OutputText, UnitPrice::ZERO);
    priced.push((EMBEDDING_MODEL, embedding));

    let mut is_first = false;
    let mut tx = store.begin().await?;
    for (name, prices) in priced {
        let model = tallygate_store::models::find_by_name(&mut tx, name).await?.context("a demo model is missing")?;
        if !prices::list(&mut tx, Some(model.id)).await?.is_empty() {
            continue;
        }
        is_first = true;
        let valid_from = Timestamp::from_micros(tx.now().micros() - PRICED_SINCE.as_micros() as i64);
        let (currency, created_by) = (Currency::USD, "demo".to_owned());
        prices::create(&mut tx, NewPrice { model_id: model.id, currency, valid_from, prices, source: None, created_by }).await?;
    }
    tx.touch_config();
    tx.commit().await?;
    Ok(is_first)
}

/// A fresh tenant key and admin token for this run, so that a restart on the same folder can print them again.
async fn credentials(store: &Store) -> Result<(SecretString, SecretString)> {
    let mut tx = store.begin().await?;
    let tenant = tenants::find_by_name(&mut tx, TENANT).await?.context("the demo tenant is missing")?;
    let now = tx.now();
    let mut name = "demo".to_owned();
    for start in 2_u32.. {
        if keys::find_by_name(&mut tx, tenant.id, &name).await?.is_none() {
            break;
        }
        name = format!("demo {start}");
    }
    let settings = KeySettings::named(name);
    let (_, api_key) =
        keys::create(&mut tx, &NewKey { tenant_id: tenant.id, settings, declared: None, created_by: None }).await?;
    let new = NewAdminToken {
        name: format!("demo {now}"),
        role: Role::Owner,
        expires_at: now.saturating_add(ADMIN_TOKEN_LIFETIME),
        created_by: "demo".to_owned(),
    };
    let (_, admin_token) = admin_tokens::create(&mut tx, &new).await?;
    tx.commit().await?;
    Ok((api_key, admin_token))
}

/// Writes the day of usage where real usage is written: into the journal, from which it is shipped.
async fn seed(opened: &Opened, is_first: bool) -> Result<()> {
    if !is_first {
        return Ok(());
    }
    let snapshot = opened.store.snapshot().await?;
    let mut keys: Vec<Arc<KeyEntry>> = snapshot.keys.values().filter(|key| !key.name.starts_with("demo")).cloned().collect();
    keys.sort_by_key(|key| key.id);
    let mut versions: Vec<Arc<PriceVersion>> = prices::list(&opened.store, None).await?.into_iter().map(Arc::new).collect();
    versions.sort_by_key(|version| version.model_id);
    let mut models = Vec::new();
    for simulated in &SIMULATED {
        let Some(model) = snapshot.models.get(simulated.model) else { continue };
        let price = versions.iter().find(|version| version.model_id == model.id);
        models.extend(price.map(|price| (Arc::clone(model), Arc::clone(price))));
    }
    for record in day::records(SystemClock.now(), &keys, &models) {
        opened.journal.end(&record)?;
    }
    opened.shipper.flush(SEED_DEADLINE).await?;
    Ok(())
}

fn models() -> Vec<&'static str> {
    SIMULATED.iter().map(|simulated| simulated.model).chain([EMBEDDING_MODEL]).collect()
}

async fn banner(config: &Config, running: &Running, api_key: &SecretString, started: Instant) -> Result<Banner> {
    let admin_url = installation::reachable(running.face.admin_listen);
    Ok(Banner {
        url: installation::reachable(running.face.listen),
        setup_link: running.face.setup_link(&admin_url).await?,
        admin_url,
        metrics_url: installation::reachable(running.face.metrics_listen),
        minted_keys: vec![(TENANT.to_owned(), "demo".to_owned(), api_key.expose_secret().to_owned())],
        store: "sqlite (demo)".to_owned(),
        upstreams: config.upstreams.len(),
        models: models().len(),
        example_model: Some(SIMULATED[0].model.to_owned()),
        ready_in: started.elapsed(),
        warnings: Vec::new(),
    })
}
