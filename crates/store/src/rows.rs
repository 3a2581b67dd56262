//! The configuration as it stands in the database at one version: rows, with secrets sealed and keys as digests.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::Network;
use uuid::Uuid;

use crate::billing_terms::TermsColumns;
use crate::budgets::BudgetRow;
use crate::limits::{BudgetColumns, LimitColumns};
use crate::responses::ResponseColumns;
use crate::routing::{RouteMatch, RoutingPolicy};
use crate::targets::{TargetRow, target_columns};
use crate::upstreams::TimeoutColumns;
use crate::{DbTime, Limits, Store, StoreError, query};

/// What a snapshot is made of, as it was kept on a disk: nothing in it can be used without the installation's secrets.
#[derive(Deserialize)]
pub struct Rows {
    pub(crate) tenants: Vec<TenantRow>,
    pub(crate) keys: Vec<KeyRow>,
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

impl Rows {
    /// The version of the configuration.
    pub const fn version(&self) -> i64 {
        self.rest.version
    }
}

/// Takes the rows of which there may be very many: one at a time, and each tenant before its keys.
pub(crate) trait Sink: Send {
    /// What tenants and keys refer to: comes before them.
    fn shared(&mut self, _shared: &Shared) -> Result<(), StoreError> {
        Ok(())
    }
    /// So many of each will come: maps that grow by doubling leave as much behind as they hold.
    fn expect(&mut self, _tenants: usize, _keys: usize) {}
    fn tenant(&mut self, row: TenantRow) -> Result<(), StoreError>;
    fn key(&mut self, row: KeyRow) -> Result<(), StoreError>;
}

/// Everything but tenants and keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Rest {
    pub version: i64,
    /// Marks of the pepper and the sealing key that it was made with.
    pub secrets: [String; 2],
    pub upstreams: Vec<UpstreamRow>,
    pub credentials: Vec<CredentialRow>,
    pub models: Vec<ModelRow>,
    pub aliases: Vec<(Uuid, String)>,
    pub targets: Vec<TargetRow>,
    pub routes: Vec<RouteRow>,
    #[serde(flatten)]
    pub shared: Shared,
}

/// What tenants and keys refer to.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Shared {
    #[serde(default)]
    pub projects: Vec<ProjectRow>,
    #[serde(default)]
    pub budgets: Vec<BudgetRow>,
    #[serde(default)]
    pub balances: Vec<BalanceRow>,
}

/// The sum of a prepaid tenant's balance entries.
#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct BalanceRow {
    pub tenant_id: Uuid,
    pub amount_units: i64,
    pub amount_pico: i64,
    pub entries: i64,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct ProjectRow {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub name: String,
    pub status: String,
    #[sqlx(flatten)]
    pub limits: LimitColumns,
    pub allowed_models: Option<Json<Vec<String>>>,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct TenantRow {
    pub id: Uuid,
    pub name: String,
    pub status: String,
    pub suspended_message: Option<String>,
    pub time_zone: String,
    #[sqlx(flatten)]
    pub limits: LimitColumns,
    #[serde(default)]
    pub model_limits: Json<BTreeMap<String, Limits>>,
    #[serde(default)]
    pub end_user_limits: Json<Limits>,
    #[sqlx(flatten)]
    pub budget: BudgetColumns,
    #[sqlx(flatten)]
    #[serde(default)]
    pub billing: TermsColumns,
    pub allowed_models: Option<Json<Vec<String>>>,
    #[sqlx(flatten)]
    pub responses: ResponseColumns,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct KeyRow {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub name: String,
    pub digest: Vec<u8>,
    pub status: String,
    pub expires_at: Option<DbTime>,
    #[sqlx(flatten)]
    pub limits: LimitColumns,
    pub allowed_models: Option<Json<Vec<String>>>,
    #[serde(default)]
    pub allowed_endpoints: Option<Json<Vec<String>>>,
    #[serde(default)]
    pub allowed_networks: Option<Json<Vec<Network>>>,
    pub project: Option<String>,
    pub tags: Json<Vec<String>>,
    #[serde(default)]
    pub previous_digest: Option<Vec<u8>>,
    #[serde(default)]
    pub previous_expires_at: Option<DbTime>,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct UpstreamRow {
    pub id: Uuid,
    pub name: String,
    pub dialect: String,
    pub base_url: String,
    pub proxy: Option<String>,
    pub no_proxy: Json<Vec<String>>,
    pub local: bool,
    pub credential_strategy: String,
    #[sqlx(flatten)]
    pub timeouts: TimeoutColumns,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct CredentialRow {
    pub id: Uuid,
    pub upstream_id: Uuid,
    pub name: String,
    pub sealed_secret: Vec<u8>,
    pub fingerprint: String,
    pub proxy: Option<String>,
    pub weight: i64,
    #[sqlx(flatten)]
    pub limits: LimitColumns,
    pub daily_spend: Option<String>,
    pub retires_at: Option<DbTime>,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct ModelRow {
    pub id: Uuid,
    pub name: String,
    pub strict: bool,
    pub routing: Json<RoutingPolicy>,
    pub created_at: DbTime,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct RouteRow {
    pub id: Uuid,
    pub name: String,
    pub position: i64,
    pub matches: Json<RouteMatch>,
    pub routing: Json<RoutingPolicy>,
}

/// A dozen queries in one transaction, whatever the number of tenants and keys.
pub(crate) async fn read(store: &Store, sink: &mut impl Sink) -> Result<Rest, StoreError> {
    let mut tx = store.begin_reading().await?;
    let version: String = query!(&mut tx, |conn| {
        sqlx::query_scalar("SELECT value FROM installation WHERE key = 'config_version'").fetch_one(conn).await
    })??;
    let (tenants, keys): (i64, i64) = query!(&mut tx, |conn| {
        sqlx::query_as("SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM api_keys)").fetch_one(conn).await
    })??;
    let projects: Vec<ProjectRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, tenant_id, name, status, requests_per_minute, tokens_per_minute, concurrency, allowed_models FROM projects",
        )
        .fetch_all(conn)
        .await
    })??;
    let budgets: Vec<BudgetRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, tenant_id, scope, project_id, key_id, subject, period, amount, currency, mode, alerts FROM budgets
             ORDER BY id",
        )
        .fetch_all(conn)
        .await
    })??;
    let balances: Vec<BalanceRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT e.tenant_id, CAST(SUM(e.amount_units) AS bigint) AS amount_units,
                    CAST(SUM(e.amount_pico) AS bigint) AS amount_pico, count(*) AS entries
             FROM balance_entries e JOIN tenants t ON t.id = e.tenant_id WHERE t.billing_mode = 'prepaid' GROUP BY e.tenant_id",
        )
        .fetch_all(conn)
        .await
    })??;
    let shared = Shared { projects, budgets, balances };
    sink.shared(&shared)?;
    sink.expect(usize::try_from(tenants).unwrap_or(0), usize::try_from(keys).unwrap_or(0));
    query!(&mut tx, |conn| {
        let mut tenants = sqlx::query_as(
            "SELECT id, name, status, suspended_message, time_zone, requests_per_minute, tokens_per_minute, concurrency,
                    model_limits, end_user_limits, budget_amount, budget_currency, budget_period, billing_mode,
                    balance_currency, balance_alert, alert_emails, allowed_models, responses_mode, responses_lifetime_hours,
                    responses_max_bytes, responses_max_count FROM tenants",
        )
        .fetch(conn);
        while let Some(row) = tenants.try_next().await? {
            sink.tenant(row)?;
        }
    })?;
    query!(&mut tx, |conn| {
        let mut keys = sqlx::query_as(
            "SELECT id, tenant_id, name, digest, status, expires_at, requests_per_minute, tokens_per_minute, concurrency,
                    allowed_models, allowed_endpoints, allowed_networks, project, tags, previous_digest, previous_expires_at
             FROM api_keys",
        )
        .fetch(conn);
        while let Some(row) = keys.try_next().await? {
            sink.key(row)?;
        }
    })?;
    let upstreams: Vec<UpstreamRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, name, dialect, base_url, proxy, no_proxy, local, credential_strategy, connect_timeout_ms,
                    first_byte_timeout_ms, first_token_timeout_ms, stream_idle_timeout_ms, total_timeout_ms
             FROM upstreams WHERE status = 'active'",
        )
        .fetch_all(conn)
        .await
    })??;
    let credentials: Vec<CredentialRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, upstream_id, name, sealed_secret, fingerprint, proxy, weight, requests_per_minute, tokens_per_minute,
                    concurrency, daily_spend, retires_at FROM credentials WHERE status = 'active' ORDER BY name",
        )
        .fetch_all(conn)
        .await
    })??;
    let models: Vec<ModelRow> = query!(&mut tx, |conn| {
        sqlx::query_as("SELECT id, name, strict, routing, created_at FROM models WHERE status = 'active'").fetch_all(conn).await
    })??;
    let aliases: Vec<(Uuid, String)> = query!(&mut tx, |conn| {
        sqlx::query_as("SELECT model_id, alias FROM model_aliases ORDER BY model_id, position").fetch_all(conn).await
    })??;
    let targets: Vec<TargetRow> = query!(&mut tx, |conn| {
        sqlx::query_as(concat!("SELECT ", target_columns!(), " FROM targets ORDER BY priority, position")).fetch_all(conn).await
    })??;
    let routes: Vec<RouteRow> = query!(&mut tx, |conn| {
        sqlx::query_as("SELECT id, name, position, matches, routing FROM routes WHERE status = 'active' ORDER BY position, id")
            .fetch_all(conn)
            .await
    })??;
    let version = version.parse().map_err(|_| StoreError::corrupt("installation", "config_version is not a number"))?;

    let secrets = store.sealer().checks().map(|(_, check)| check);
    Ok(Rest { version, secrets, upstreams, credentials, models, aliases, targets, routes, shared })
}
