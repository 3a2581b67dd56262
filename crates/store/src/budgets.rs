//! Budgets beside the tenants' own: how much may be spent by whom, on what, in which period.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{ApiKeyId, BudgetId, Currency, Pico, ProjectId, TenantId, Timestamp};
use uuid::Uuid;

use crate::value::text_enum;
use crate::{
    BudgetPeriod, DbTime, ManagedBy, Page, PageRequest, Source, StoreError, TenantScope, Tx, check, keys, projects, query,
};

const KIND: &str = "budget";
/// Budgets of one tenant at most: each request is held against all of them.
pub const MAX_BUDGETS_OF_TENANT: i64 = 200;
/// Characters of an end user's name at most.
pub const MAX_END_USER_CHARS: usize = 256;

text_enum! {
    /// What becomes of a request that a budget does not cover.
    pub enum BudgetMode("budgets") {
        /// It is refused.
        Hard = "hard",
        /// It is served, and somebody is told.
        Soft = "soft",
    }
}

/// Whose spending counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum BudgetScope {
    /// All of the tenant's.
    Tenant,
    /// What the keys of a project spend.
    Project {
        project_id: ProjectId,
    },
    Key {
        key_id: ApiKeyId,
    },
    /// What the tenant spends on the model of this public name.
    Model {
        model: String,
    },
    /// What is spent for one end user; without a name each of them has as much.
    EndUser {
        end_user: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpendingBudget {
    pub id: BudgetId,
    pub tenant_id: TenantId,
    #[serde(flatten)]
    pub settings: BudgetSettings,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a budget can be set. Scope, period and currency stay what they were made as: they say what was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSettings {
    #[serde(flatten)]
    pub scope: BudgetScope,
    pub period: BudgetPeriod,
    pub amount: Pico,
    pub currency: Currency,
    pub mode: BudgetMode,
    /// At how many percent spent somebody is told, in ascending order.
    pub alerts: Vec<u16>,
}

macro_rules! columns {
    () => {
        "id, tenant_id, scope, project_id, key_id, subject, period, amount, currency, mode, alerts, managed_by, version,
         created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    budget: BudgetRow,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

/// What a snapshot holds of it.
#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct BudgetRow {
    pub id: Uuid,
    pub tenant_id: Uuid,
    scope: String,
    project_id: Option<Uuid>,
    key_id: Option<Uuid>,
    subject: Option<String>,
    period: String,
    amount: String,
    currency: String,
    mode: String,
    alerts: Json<Vec<u16>>,
}

impl BudgetScope {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Project { .. } => "project",
            Self::Key { .. } => "key",
            Self::Model { .. } => "model",
            Self::EndUser { .. } => "end_user",
        }
    }

    fn subject(&self) -> Option<&str> {
        match self {
            Self::Model { model } => Some(model),
            Self::EndUser { end_user } => end_user.as_deref(),
            Self::Tenant | Self::Project { .. } | Self::Key { .. } => None,
        }
    }

    fn project(&self) -> Option<Uuid> {
        if let Self::Project { project_id } = self { Some(project_id.uuid()) } else { None }
    }

    fn key(&self) -> Option<Uuid> {
        if let Self::Key { key_id } = self { Some(key_id.uuid()) } else { None }
    }
}

impl BudgetSettings {
    fn check(&self) -> Result<(), StoreError> {
        if self.amount < Pico::ZERO {
            return Err(StoreError::invalid("amount", "must not be negative"));
        }
        match &self.scope {
            BudgetScope::Model { model } => check::name("model", model)?,
            BudgetScope::EndUser { end_user: Some(user) } if user.is_empty() || user.chars().count() > MAX_END_USER_CHARS => {
                return Err(StoreError::invalid("end_user", format!("must have 1 to {MAX_END_USER_CHARS} characters")));
            }
            _ => {}
        }
        check::alerts(&self.alerts)
    }
}

impl BudgetRow {
    pub(crate) fn read(&self) -> Result<(BudgetId, BudgetSettings), StoreError> {
        let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt("budgets", e);
        let scope = match (self.scope.as_str(), self.project_id, self.key_id, self.subject.clone()) {
            ("tenant", None, None, None) => BudgetScope::Tenant,
            ("project", Some(project), None, None) => BudgetScope::Project { project_id: ProjectId::from_uuid(project) },
            ("key", None, Some(key), None) => BudgetScope::Key { key_id: ApiKeyId::from_uuid(key) },
            ("model", None, None, Some(model)) => BudgetScope::Model { model },
            ("end_user", None, None, end_user) => BudgetScope::EndUser { end_user },
            (scope, ..) => return Err(corrupt(&format!("a budget of `{scope}` that does not say of which"))),
        };
        let settings = BudgetSettings {
            scope,
            period: BudgetPeriod::read(&self.period)?,
            amount: self.amount.parse().map_err(|e| corrupt(&e))?,
            currency: self.currency.parse().map_err(|e| corrupt(&e))?,
            mode: BudgetMode::read(&self.mode)?,
            alerts: self.alerts.0.clone(),
        };
        Ok((BudgetId::from_uuid(self.id), settings))
    }
}

impl TryFrom<Row> for SpendingBudget {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let tenant_id = TenantId::from_uuid(row.budget.tenant_id);
        let (id, settings) = row.budget.read()?;
        Ok(Self {
            id,
            tenant_id,
            settings,
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub async fn create(tx: &mut Tx, tenant: TenantId, settings: &BudgetSettings) -> Result<SpendingBudget, StoreError> {
    insert(tx, tenant, settings, ManagedBy::Api).await
}

pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    settings: &BudgetSettings,
    managed_by: ManagedBy,
) -> Result<SpendingBudget, StoreError> {
    settings.check()?;
    crate::tenants::get(&mut *tx, TenantScope::All, tenant).await?;
    let own = TenantScope::Only(tenant);
    match &settings.scope {
        BudgetScope::Project { project_id } => drop(projects::get(&mut *tx, own, *project_id).await?),
        BudgetScope::Key { key_id } => drop(keys::get(&mut *tx, own, *key_id).await?),
        BudgetScope::Tenant | BudgetScope::Model { .. } | BudgetScope::EndUser { .. } => {}
    }
    let count: i64 = query!(&mut *tx, |conn| {
        sqlx::query_scalar("SELECT count(*) FROM budgets WHERE tenant_id = $1").bind(tenant.uuid()).fetch_one(conn).await
    })??;
    if count >= MAX_BUDGETS_OF_TENANT {
        return Err(StoreError::invalid(
            "scope",
            format!("the tenant has {MAX_BUDGETS_OF_TENANT} budgets already, which is the most"),
        ));
    }
    let now = tx.db_now();
    let row: Row = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO budgets (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13, $13) RETURNING ",
            columns!()
        ))
        .bind(BudgetId::generate().uuid())
        .bind(tenant.uuid())
        .bind(settings.scope.as_str())
        .bind(settings.scope.project())
        .bind(settings.scope.key())
        .bind(settings.scope.subject())
        .bind(settings.period.as_str())
        .bind(settings.amount.to_string())
        .bind(settings.currency.to_string())
        .bind(settings.mode.as_str())
        .bind(Json(&settings.alerts))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })??;
    tx.touch_config();
    row.try_into()
}

pub async fn get(source: impl Source, scope: TenantScope, id: BudgetId) -> Result<SpendingBudget, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM budgets WHERE id = $1 AND ($2 IS NULL OR tenant_id = $2)"))
            .bind(id.uuid())
            .bind(scope.tenant())
            .fetch_optional(conn)
            .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

pub async fn list(
    source: impl Source,
    scope: TenantScope,
    tenant: Option<TenantId>,
    page: &PageRequest,
) -> Result<Page<SpendingBudget>, StoreError> {
    let before = page.before()?;
    let Some(scope) = scope.narrowed(tenant) else { return Ok(Page { data: Vec::new(), next: None }) };
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM budgets WHERE id < $1 AND ($2 IS NULL OR tenant_id = $2) ORDER BY id DESC LIMIT $3"
        ))
        .bind(before)
        .bind(scope.tenant())
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
    })??;
    let budgets = rows.into_iter().map(SpendingBudget::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(budgets, page, |budget| budget.id.uuid()))
}

/// Sets amount, mode and alerts anew, if the budget still has the version the caller read.
pub async fn update(
    tx: &mut Tx,
    scope: TenantScope,
    id: BudgetId,
    expected_version: i64,
    settings: &BudgetSettings,
) -> Result<SpendingBudget, StoreError> {
    let stored = get(&mut *tx, scope, id).await?;
    let same =
        BudgetSettings { amount: settings.amount, mode: settings.mode, alerts: settings.alerts.clone(), ..stored.settings };
    if same != *settings {
        return Err(StoreError::invalid("scope", "scope, period and currency do not change; make another budget"));
    }
    settings.check()?;
    let now = tx.db_now();
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE budgets SET amount = $3, mode = $4, alerts = $5, version = version + 1, updated_at = $6
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(settings.amount.to_string())
        .bind(settings.mode.as_str())
        .bind(Json(&settings.alerts))
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    let row = row.ok_or(StoreError::VersionMismatch { kind: KIND, current: stored.version })?;
    tx.touch_config();
    row.try_into()
}

pub async fn delete(tx: &mut Tx, scope: TenantScope, id: BudgetId, expected_version: i64) -> Result<(), StoreError> {
    let stored = get(&mut *tx, scope, id).await?;
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM budgets WHERE id = $1 AND version = $2")
            .bind(id.uuid())
            .bind(expected_version)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    if deleted == 0 {
        return Err(StoreError::VersionMismatch { kind: KIND, current: stored.version });
    }
    tx.touch_config();
    Ok(())
}
