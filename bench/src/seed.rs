//! Tenants and keys as a large installation has them, put straight into the database.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use secrecy::ExposeSecret as _;
use tallygate_store::keys::{KeySettings, NewKey};
use tallygate_store::tenants::TenantSettings;
use tallygate_store::{Budget, BudgetPeriod, Limits, SecretBytes32, Secrets, Store, keys, tenants};
use tallygate_types::SystemClock;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// `sqlite:path` or `postgres://…`.
    #[arg(long)]
    pub store: String,
    #[arg(long, default_value_t = 10_000)]
    pub tenants: usize,
    /// Where the keys are written, one a line.
    #[arg(long)]
    pub keys: PathBuf,
    /// The installation's secrets, 64 hex digits each.
    #[arg(long, env = "BENCH_PEPPER", hide_env_values = true)]
    pub pepper: String,
    #[arg(long, env = "BENCH_SEALING_KEY", hide_env_values = true)]
    pub sealing_key: String,
}

/// Requests a minute that the greedy tenant may send: 100 a second.
const GREEDY_REQUESTS_PER_MINUTE: u32 = 6_000;

/// Where the key of the greedy tenant is, beside the others' keys.
pub fn greedy_key(keys: &Path) -> PathBuf {
    keys.with_extension("greedy")
}

pub async fn run(options: &Options) -> Result<()> {
    let secrets = Secrets {
        pepper: SecretBytes32::from_hex(&options.pepper)?,
        sealing_key: SecretBytes32::from_hex(&options.sealing_key)?,
    };
    let store = Store::open(&options.store, secrets, Arc::new(SystemClock)).await?;
    store.migrate().await?;
    // Everything that can be limited is, so that every check is made; nothing is ever refused.
    let limits =
        Limits { requests_per_minute: Some(10_000_000), tokens_per_minute: Some(1_000_000_000_000), concurrency: Some(5_000) };
    let budget = Budget { amount: "1000000".parse()?, currency: "USD".parse()?, period: BudgetPeriod::Month };
    let mut written = String::new();
    let mut tx = store.begin().await?;
    for number in 0..options.tenants {
        let mut settings = TenantSettings::named(format!("tenant-{number:05}"));
        settings.limits = limits;
        settings.budget = Some(budget);
        let tenant = tenants::create(&mut tx, &settings).await?;
        let mut settings = KeySettings::named("bench");
        settings.limits = limits;
        let (_, key) =
            keys::create(&mut tx, &NewKey { tenant_id: tenant.id, settings, declared: None, created_by: None }).await?;
        writeln!(written, "{}", key.expose_secret())?;
    }
    let mut settings = TenantSettings::named("greedy".to_owned());
    settings.limits = Limits { requests_per_minute: Some(GREEDY_REQUESTS_PER_MINUTE), ..limits };
    settings.budget = Some(budget);
    let greedy = tenants::create(&mut tx, &settings).await?;
    let new = NewKey { tenant_id: greedy.id, settings: KeySettings::named("bench"), declared: None, created_by: None };
    let (_, key) = keys::create(&mut tx, &new).await?;
    std::fs::write(greedy_key(&options.keys), key.expose_secret())?;
    tx.commit().await?;
    std::fs::write(&options.keys, written)?;
    store.close().await;
    Ok(())
}
