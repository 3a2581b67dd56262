//! Tenants: the customers of the installation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{Currency, TenantId, Timestamp};
use uuid::Uuid;

use crate::billing_terms::{BillingTerms, TermsColumns};
use crate::limits::{BudgetColumns, LimitColumns};
use crate::page::contains_pattern;
use crate::responses::{self, ResponseColumns, ResponseSettings};
use crate::value::text_enum;
use crate::{Budget, DbTime, Limits, ManagedBy, Page, PageRequest, Source, StoreError, TenantScope, Tx, check, query};

const KIND: &str = "tenant";

text_enum! {
    pub enum TenantStatus("tenants") {
        Active = "active",
        /// Its requests are refused, with `suspended_message`.
        Suspended = "suspended",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub status: TenantStatus,
    pub suspended_message: Option<String>,
    /// IANA name; budget periods turn at its midnight.
    pub time_zone: String,
    pub limits: Limits,
    /// For single models, by public name; beside `limits`.
    pub model_limits: BTreeMap<String, Limits>,
    /// For each of the tenant's end users; beside `limits`.
    pub end_user_limits: Limits,
    pub budget: Option<Budget>,
    pub billing: BillingTerms,
    /// Public model names; `None` allows all.
    pub allowed_models: Option<Vec<String>>,
    pub responses: ResponseSettings,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a tenant can be set: all of it at creation, all of it anew at an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    pub name: String,
    pub status: TenantStatus,
    pub suspended_message: Option<String>,
    pub time_zone: String,
    pub limits: Limits,
    #[serde(default)]
    pub model_limits: BTreeMap<String, Limits>,
    #[serde(default)]
    pub end_user_limits: Limits,
    pub budget: Option<Budget>,
    #[serde(default)]
    pub billing: BillingTerms,
    pub allowed_models: Option<Vec<String>>,
    pub responses: ResponseSettings,
}

/// Which tenants a list shows.
#[derive(Debug, Clone, Default)]
pub struct TenantFilter {
    pub status: Option<TenantStatus>,
    /// Part of the name, whatever its case.
    pub search: Option<String>,
}

macro_rules! columns {
    () => {
        "id, name, status, suspended_message, time_zone, requests_per_minute, tokens_per_minute, concurrency,
         model_limits, end_user_limits, budget_amount, budget_currency, budget_period, billing_mode, balance_currency,
         balance_alert, alert_emails, allowed_models, responses_mode, responses_lifetime_hours, responses_max_bytes, responses_max_count, managed_by, version, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    status: String,
    suspended_message: Option<String>,
    time_zone: String,
    #[sqlx(flatten)]
    limits: LimitColumns,
    model_limits: Json<BTreeMap<String, Limits>>,
    end_user_limits: Json<Limits>,
    #[sqlx(flatten)]
    budget: BudgetColumns,
    #[sqlx(flatten)]
    billing: TermsColumns,
    allowed_models: Option<Json<Vec<String>>>,
    #[sqlx(flatten)]
    responses: ResponseColumns,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl TenantSettings {
    /// An active tenant in UTC, without limits.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: TenantStatus::Active,
            suspended_message: None,
            time_zone: "UTC".into(),
            limits: Limits::default(),
            model_limits: BTreeMap::new(),
            end_user_limits: Limits::default(),
            budget: None,
            billing: BillingTerms::default(),
            allowed_models: None,
            responses: ResponseSettings::default(),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        check::name("name", &self.name)?;
        check::text("suspended_message", self.suspended_message.as_deref())?;
        check::time_zone(&self.time_zone)?;
        check::allowed_models(self.allowed_models.as_deref())?;
        check::model_limits(&self.model_limits)?;
        self.responses.check()?;
        self.billing.check()?;
        if self.budget.is_some_and(|budget| budget.amount.get() < 0) {
            return Err(StoreError::invalid("budget.amount", "must not be negative"));
        }
        Ok(())
    }
}

impl Tenant {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> TenantSettings {
        TenantSettings {
            name: self.name.clone(),
            status: self.status,
            suspended_message: self.suspended_message.clone(),
            time_zone: self.time_zone.clone(),
            limits: self.limits,
            model_limits: self.model_limits.clone(),
            end_user_limits: self.end_user_limits,
            budget: self.budget,
            billing: self.billing.clone(),
            allowed_models: self.allowed_models.clone(),
            responses: self.responses,
        }
    }
}

impl TryFrom<Row> for Tenant {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: TenantId::from_uuid(row.id),
            name: row.name,
            status: TenantStatus::read(&row.status)?,
            suspended_message: row.suspended_message,
            time_zone: row.time_zone,
            limits: Limits::read(row.limits, "tenants")?,
            model_limits: row.model_limits.0,
            end_user_limits: row.end_user_limits.0,
            budget: Budget::read(row.budget)?,
            billing: BillingTerms::read(row.billing)?,
            allowed_models: row.allowed_models.map(|Json(models)| models),
            responses: ResponseSettings::read(&row.responses)?,
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub async fn create(tx: &mut Tx, settings: &TenantSettings) -> Result<Tenant, StoreError> {
    insert(tx, settings, ManagedBy::Api).await
}

pub(crate) async fn insert(tx: &mut Tx, settings: &TenantSettings, managed_by: ManagedBy) -> Result<Tenant, StoreError> {
    settings.check()?;
    let (limits, budget, now) = (settings.limits.columns()?, Budget::columns(settings.budget.as_ref()), tx.db_now());
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO tenants (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
             $16, $17, $18, $19, $20, $21, $22, $23, 1, $24, $24) RETURNING ",
            columns!()
        ))
        .bind(TenantId::generate().uuid())
        .bind(&settings.name)
        .bind(settings.status.as_str())
        .bind(&settings.suspended_message)
        .bind(&settings.time_zone)
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(Json(&settings.model_limits))
        .bind(Json(&settings.end_user_limits))
        .bind(&budget.amount)
        .bind(&budget.currency)
        .bind(&budget.period)
        .bind(settings.billing.mode.as_str())
        .bind(settings.billing.currency.to_string())
        .bind(settings.billing.balance_alert.map(|amount| amount.to_string()))
        .bind(Json(&settings.billing.alert_emails))
        .bind(settings.allowed_models.as_ref().map(Json))
        .bind(settings.responses.mode.as_str())
        .bind(i64::from(settings.responses.lifetime_hours))
        .bind(i64::try_from(settings.responses.max_bytes).unwrap_or(i64::MAX))
        .bind(i64::from(settings.responses.max_count))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    tx.touch_config();
    row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))?.try_into()
}

pub async fn get(source: impl Source, scope: TenantScope, id: TenantId) -> Result<Tenant, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM tenants WHERE id = $1 AND ($2 IS NULL OR id = $2)"))
            .bind(id.uuid())
            .bind(scope.tenant())
            .fetch_optional(conn)
            .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

pub async fn find_by_name(source: impl Source, name: &str) -> Result<Option<Tenant>, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM tenants WHERE name = $1")).bind(name).fetch_optional(conn).await
    })??;
    row.map(Tenant::try_from).transpose()
}

pub async fn list(
    source: impl Source,
    scope: TenantScope,
    filter: &TenantFilter,
    page: &PageRequest,
) -> Result<Page<Tenant>, StoreError> {
    let before = page.before()?;
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            r" FROM tenants WHERE id < $1 AND ($2 IS NULL OR id = $2) AND ($3 IS NULL OR status = $3)
             AND ($4 IS NULL OR lower(name) LIKE $4 ESCAPE '\') ORDER BY id DESC LIMIT $5"
        ))
        .bind(before)
        .bind(scope.tenant())
        .bind(filter.status.map(TenantStatus::as_str))
        .bind(filter.search.as_deref().map(contains_pattern))
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
    })??;
    let tenants = rows.into_iter().map(Tenant::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(tenants, page, |tenant| tenant.id.uuid()))
}

/// Sets everything anew, if the tenant still has the version the caller read.
pub async fn update(tx: &mut Tx, id: TenantId, expected_version: i64, settings: &TenantSettings) -> Result<Tenant, StoreError> {
    let managed_by = get(&mut *tx, TenantScope::All, id).await?.managed_by;
    replace(tx, id, expected_version, settings, managed_by).await
}

pub(crate) async fn replace(
    tx: &mut Tx,
    id: TenantId,
    expected_version: i64,
    settings: &TenantSettings,
    managed_by: ManagedBy,
) -> Result<Tenant, StoreError> {
    settings.check()?;
    keep_balance_currency(tx, id, settings.billing.currency).await?;
    let (limits, budget, now) = (settings.limits.columns()?, Budget::columns(settings.budget.as_ref()), tx.db_now());
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE tenants SET name = $3, status = $4, suspended_message = $5, time_zone = $6, requests_per_minute = $7,
             tokens_per_minute = $8, concurrency = $9, model_limits = $10, end_user_limits = $11, budget_amount = $12,
             budget_currency = $13, budget_period = $14, billing_mode = $15, balance_currency = $16, balance_alert = $17,
             alert_emails = $18, allowed_models = $19, responses_mode = $20, responses_lifetime_hours = $21,
             responses_max_bytes = $22, responses_max_count = $23, managed_by = $24, version = version + 1, updated_at = $25
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&settings.name)
        .bind(settings.status.as_str())
        .bind(&settings.suspended_message)
        .bind(&settings.time_zone)
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(Json(&settings.model_limits))
        .bind(Json(&settings.end_user_limits))
        .bind(&budget.amount)
        .bind(&budget.currency)
        .bind(&budget.period)
        .bind(settings.billing.mode.as_str())
        .bind(settings.billing.currency.to_string())
        .bind(settings.billing.balance_alert.map(|amount| amount.to_string()))
        .bind(Json(&settings.billing.alert_emails))
        .bind(settings.allowed_models.as_ref().map(Json))
        .bind(settings.responses.mode.as_str())
        .bind(i64::from(settings.responses.lifetime_hours))
        .bind(i64::try_from(settings.responses.max_bytes).unwrap_or(i64::MAX))
        .bind(i64::from(settings.responses.max_count))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    match row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))? {
        Some(row) => {
            tx.touch_config();
            row.try_into()
        }
        None => Err(stale(tx, id).await),
    }
}

/// What was booked stays of the currency it was booked in.
async fn keep_balance_currency(tx: &mut Tx, id: TenantId, currency: Currency) -> Result<(), StoreError> {
    let booked: Option<String> = query!(&mut *tx, |conn| {
        sqlx::query_scalar("SELECT currency FROM balance_entries WHERE tenant_id = $1 AND currency <> $2 LIMIT 1")
            .bind(id.uuid())
            .bind(currency.to_string())
            .fetch_optional(conn)
            .await
    })??;
    match booked {
        Some(booked) => Err(StoreError::invalid("billing.currency", format!("stays {booked}: entries are booked in it"))),
        None => Ok(()),
    }
}

/// Deletes a tenant nothing hangs on; one that ever had a key or money is suspended instead, so that its usage keeps its name.
pub async fn delete(tx: &mut Tx, id: TenantId, expected_version: i64) -> Result<(), StoreError> {
    let (keys, users, entries): (i64, i64, i64) = query!(&mut *tx, |conn| {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM api_keys WHERE tenant_id = $1), (SELECT count(*) FROM users WHERE tenant_id = $1),
                    (SELECT count(*) FROM balance_entries WHERE tenant_id = $1)",
        )
        .bind(id.uuid())
        .fetch_one(conn)
        .await
    })??;
    if keys + users + entries > 0 {
        let by = format!("{keys} API keys, {users} users and {entries} balance entries; suspend it instead");
        return Err(StoreError::InUse { kind: KIND, by });
    }
    responses::forget_tenant(tx, id.uuid()).await?;
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM projects WHERE tenant_id = $1").bind(id.uuid()).execute(&mut *conn).await?;
        let done = sqlx::query("DELETE FROM tenants WHERE id = $1 AND version = $2").bind(id.uuid()).bind(expected_version);
        done.execute(&mut *conn).await?.rows_affected()
    })?;
    if deleted == 0 {
        return Err(stale(tx, id).await);
    }
    tx.touch_config();
    Ok(())
}

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, id: TenantId) -> StoreError {
    match get(tx, TenantScope::All, id).await {
        Ok(tenant) => StoreError::VersionMismatch { kind: KIND, current: tenant.version },
        Err(error) => error,
    }
}
