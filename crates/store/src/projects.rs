//! Projects: what a tenant does for one purpose, with bounds of its own. Keys belong to one or to none.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{ProjectId, TenantId, Timestamp};
use uuid::Uuid;

use crate::limits::LimitColumns;
use crate::value::text_enum;
use crate::{DbTime, Limits, ManagedBy, Page, PageRequest, Source, StoreError, TenantScope, Tx, check, query};

const KIND: &str = "project";

text_enum! {
    pub enum ProjectStatus("projects") {
        Active = "active",
        /// Its keys are refused; no key can join it.
        Archived = "archived",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Project {
    pub id: ProjectId,
    pub tenant_id: TenantId,
    /// No other project of the tenant has it.
    pub name: String,
    pub status: ProjectStatus,
    pub limits: Limits,
    /// Public model names; `None` allows what the tenant allows.
    pub allowed_models: Option<Vec<String>>,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a project can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectSettings {
    pub name: String,
    pub status: ProjectStatus,
    #[serde(default)]
    pub limits: Limits,
    pub allowed_models: Option<Vec<String>>,
}

/// Which projects a list shows.
#[derive(Debug, Clone, Default)]
pub struct ProjectFilter {
    pub tenant_id: Option<TenantId>,
    pub status: Option<ProjectStatus>,
}

macro_rules! columns {
    () => {
        "id, tenant_id, name, status, requests_per_minute, tokens_per_minute, concurrency, allowed_models, managed_by, version,
         created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    status: String,
    #[sqlx(flatten)]
    limits: LimitColumns,
    allowed_models: Option<Json<Vec<String>>>,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl ProjectSettings {
    /// An active project without bounds of its own.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: ProjectStatus::Active, limits: Limits::default(), allowed_models: None }
    }

    fn check(&self) -> Result<(), StoreError> {
        check::label("name", &self.name)?;
        check::allowed_models(self.allowed_models.as_deref())
    }
}

impl Project {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> ProjectSettings {
        ProjectSettings {
            name: self.name.clone(),
            status: self.status,
            limits: self.limits,
            allowed_models: self.allowed_models.clone(),
        }
    }
}

impl TryFrom<Row> for Project {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ProjectId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            name: row.name,
            status: ProjectStatus::read(&row.status)?,
            limits: Limits::read(row.limits, "projects")?,
            allowed_models: row.allowed_models.map(|Json(models)| models),
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub async fn create(tx: &mut Tx, tenant: TenantId, settings: &ProjectSettings) -> Result<Project, StoreError> {
    insert(tx, tenant, settings, ManagedBy::Api).await
}

pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    settings: &ProjectSettings,
    managed_by: ManagedBy,
) -> Result<Project, StoreError> {
    settings.check()?;
    // A foreign key's failure would say little: name what is missing.
    crate::tenants::get(&mut *tx, TenantScope::All, tenant).await?;
    let (limits, now) = (settings.limits.columns()?, tx.db_now());
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO projects (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10) RETURNING ",
            columns!()
        ))
        .bind(ProjectId::generate().uuid())
        .bind(tenant.uuid())
        .bind(&settings.name)
        .bind(settings.status.as_str())
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(settings.allowed_models.as_ref().map(Json))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    tx.touch_config();
    row.map_err(|e| taken(e, &settings.name))?.try_into()
}

pub async fn get(source: impl Source, scope: TenantScope, id: ProjectId) -> Result<Project, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM projects WHERE id = $1 AND ($2 IS NULL OR tenant_id = $2)"))
            .bind(id.uuid())
            .bind(scope.tenant())
            .fetch_optional(conn)
            .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

pub async fn find_by_name(source: impl Source, tenant: TenantId, name: &str) -> Result<Option<Project>, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM projects WHERE tenant_id = $1 AND name = $2"))
            .bind(tenant.uuid())
            .bind(name)
            .fetch_optional(conn)
            .await
    })??;
    row.map(Project::try_from).transpose()
}

pub async fn list(
    source: impl Source,
    scope: TenantScope,
    filter: &ProjectFilter,
    page: &PageRequest,
) -> Result<Page<Project>, StoreError> {
    let before = page.before()?;
    let Some(scope) = scope.narrowed(filter.tenant_id) else { return Ok(Page { data: Vec::new(), next: None }) };
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM projects WHERE id < $1 AND ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR status = $3)
             ORDER BY id DESC LIMIT $4"
        ))
        .bind(before)
        .bind(scope.tenant())
        .bind(filter.status.map(ProjectStatus::as_str))
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
    })??;
    let projects = rows.into_iter().map(Project::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(projects, page, |project| project.id.uuid()))
}

/// Sets everything anew, if the project still has the version the caller read. Its keys follow it to a new name.
pub async fn update(
    tx: &mut Tx,
    scope: TenantScope,
    id: ProjectId,
    expected_version: i64,
    settings: &ProjectSettings,
) -> Result<Project, StoreError> {
    let stored = get(&mut *tx, scope, id).await?;
    replace(tx, &stored, expected_version, settings, stored.managed_by).await
}

pub(crate) async fn replace(
    tx: &mut Tx,
    stored: &Project,
    expected_version: i64,
    settings: &ProjectSettings,
    managed_by: ManagedBy,
) -> Result<Project, StoreError> {
    settings.check()?;
    let (limits, now) = (settings.limits.columns()?, tx.db_now());
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE projects SET name = $3, status = $4, requests_per_minute = $5, tokens_per_minute = $6, concurrency = $7,
             allowed_models = $8, managed_by = $9, version = version + 1, updated_at = $10
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(stored.id.uuid())
        .bind(expected_version)
        .bind(&settings.name)
        .bind(settings.status.as_str())
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(settings.allowed_models.as_ref().map(Json))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    let Some(row) = row.map_err(|e| taken(e, &settings.name))? else {
        return Err(StoreError::VersionMismatch { kind: KIND, current: stored.version });
    };
    if stored.name != settings.name {
        query!(&mut *tx, |conn| {
            sqlx::query("UPDATE api_keys SET project = $3, version = version + 1 WHERE tenant_id = $1 AND project = $2")
                .bind(stored.tenant_id.uuid())
                .bind(&stored.name)
                .bind(&settings.name)
                .execute(conn)
                .await
                .map(|_| ())
        })??;
    }
    tx.touch_config();
    row.try_into()
}

/// Deletes a project no key ever belonged to; another is archived instead, so that its usage keeps its name.
pub async fn delete(tx: &mut Tx, scope: TenantScope, id: ProjectId, expected_version: i64) -> Result<(), StoreError> {
    let stored = get(&mut *tx, scope, id).await?;
    let (keys, deleted): (i64, u64) = query!(&mut *tx, |conn| {
        let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND project = $2")
            .bind(stored.tenant_id.uuid())
            .bind(&stored.name)
            .fetch_one(&mut *conn)
            .await?;
        let delete = sqlx::query("DELETE FROM projects WHERE id = $1 AND version = $2 AND $3 = 0");
        let done = delete.bind(id.uuid()).bind(expected_version).bind(keys).execute(&mut *conn).await?;
        (keys, done.rows_affected())
    })?;
    if keys > 0 {
        return Err(StoreError::InUse { kind: KIND, by: format!("{keys} API keys; archive it instead") });
    }
    if deleted == 0 {
        return Err(StoreError::VersionMismatch { kind: KIND, current: stored.version });
    }
    tx.touch_config();
    Ok(())
}

fn taken(error: sqlx::Error, name: &str) -> StoreError {
    // SQLite names the columns, PostgreSQL the constraint.
    StoreError::unique(error, KIND, &[("name", "name", name)])
}
