//! Models as tenants name them, and the targets they are served from.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{ModelId, Timestamp};
use uuid::Uuid;

use crate::page::contains_pattern;
use crate::routing::RoutingPolicy;
use crate::targets::{self, Owner, TargetRow, target_columns};
pub use crate::targets::{Target, TargetSettings};
use crate::upstreams::Status;
use crate::{DbTime, ManagedBy, Page, PageRequest, Source, StoreError, Tx, check, query};

const KIND: &str = "model";
/// Aliases of one model at most.
const MAX_ALIASES: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    pub id: ModelId,
    pub name: String,
    /// Other names it answers to.
    pub aliases: Vec<String>,
    pub status: Status,
    /// Refuse what a translation cannot carry, instead of reporting it.
    pub strict: bool,
    pub routing: RoutingPolicy,
    pub targets: Vec<Target>,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a model can be set; targets are replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub status: Status,
    pub strict: bool,
    #[serde(default)]
    pub routing: RoutingPolicy,
    pub targets: Vec<TargetSettings>,
}

/// Which models a list shows.
#[derive(Debug, Clone, Default)]
pub struct ModelFilter {
    pub status: Option<Status>,
    /// Part of the name, whatever its case.
    pub search: Option<String>,
}

macro_rules! columns {
    () => {
        "id, name, status, strict, routing, managed_by, version, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    status: String,
    strict: bool,
    routing: Json<RoutingPolicy>,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl ModelSettings {
    /// An active model that is served from these targets.
    pub fn named(name: impl Into<String>, targets: Vec<TargetSettings>) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            status: Status::Active,
            strict: false,
            routing: RoutingPolicy::default(),
            targets,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        check::name("name", &self.name)?;
        if self.aliases.len() > MAX_ALIASES {
            return Err(StoreError::invalid("aliases", format!("must be at most {MAX_ALIASES}")));
        }
        let mut names = HashSet::from([self.name.as_str()]);
        for alias in &self.aliases {
            check::name("aliases", alias)?;
            if !names.insert(alias) {
                return Err(StoreError::invalid(
                    "aliases",
                    format!("`{alias}` stands twice, or is the name of the model itself"),
                ));
            }
        }
        self.routing.check()?;
        targets::check(&self.targets, &self.routing)
    }
}

impl Model {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> ModelSettings {
        ModelSettings {
            name: self.name.clone(),
            aliases: self.aliases.clone(),
            status: self.status,
            strict: self.strict,
            routing: self.routing.clone(),
            targets: self.targets.iter().map(|target| target.settings.clone()).collect(),
        }
    }

    fn read(row: Row, aliases: Vec<String>, targets: Vec<Target>) -> Result<Self, StoreError> {
        Ok(Self {
            id: ModelId::from_uuid(row.id),
            name: row.name,
            aliases,
            status: Status::read(&row.status)?,
            strict: row.strict,
            routing: row.routing.0,
            targets,
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub async fn create(tx: &mut Tx, settings: &ModelSettings) -> Result<Model, StoreError> {
    let model = insert(tx, settings, ManagedBy::Api).await?;
    targets::check_price_models(tx).await?;
    Ok(model)
}

pub(crate) async fn insert(tx: &mut Tx, settings: &ModelSettings, managed_by: ManagedBy) -> Result<Model, StoreError> {
    settings.check()?;
    let (id, now) = (ModelId::generate(), tx.db_now());
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO models (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7) RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(&settings.name)
        .bind(settings.status.as_str())
        .bind(settings.strict)
        .bind(Json(&settings.routing))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    let row = row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))?;
    replace_aliases(tx, id, settings).await?;
    let targets = targets::replace(tx, Owner::Model(id), &settings.targets).await?;
    tx.touch_config();
    Model::read(row, settings.aliases.clone(), targets)
}

pub async fn get(source: impl Source, id: ModelId) -> Result<Model, StoreError> {
    read_one(source, Some(id.uuid()), None).await?.ok_or_else(|| StoreError::not_found(KIND, id))
}

pub async fn find_by_name(source: impl Source, name: &str) -> Result<Option<Model>, StoreError> {
    read_one(source, None, Some(name)).await
}

async fn read_one(source: impl Source, id: Option<Uuid>, name: Option<&str>) -> Result<Option<Model>, StoreError> {
    let (row, aliases, targets): (Option<Row>, Vec<String>, Vec<TargetRow>) = query!(source, |conn| {
        async {
            let row: Option<Row> = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM models WHERE ($1 IS NULL OR id = $1) AND ($2 IS NULL OR name = $2)"
            ))
            .bind(id)
            .bind(name)
            .fetch_optional(&mut *conn)
            .await?;
            let aliases = sqlx::query_scalar("SELECT alias FROM model_aliases WHERE model_id = $1 ORDER BY position")
                .bind(row.as_ref().map(|row| row.id))
                .fetch_all(&mut *conn)
                .await?;
            let targets = sqlx::query_as(concat!(
                "SELECT ",
                target_columns!(),
                " FROM targets WHERE model_id = $1 ORDER BY priority, position"
            ))
            .bind(row.as_ref().map(|row| row.id))
            .fetch_all(&mut *conn)
            .await?;
            Ok::<_, sqlx::Error>((row, aliases, targets))
        }
        .await
    })??;
    let Some(row) = row else { return Ok(None) };
    let targets = targets.into_iter().map(Target::try_from).collect::<Result<Vec<_>, _>>()?;
    Model::read(row, aliases, targets).map(Some)
}

pub async fn list(source: impl Source, filter: &ModelFilter, page: &PageRequest) -> Result<Page<Model>, StoreError> {
    let before = page.before()?;
    let (rows, aliases, targets): (Vec<Row>, Vec<(Uuid, String)>, Vec<TargetRow>) = query!(source, |conn| {
        async {
            let rows: Vec<Row> = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                r" FROM models WHERE id < $1 AND ($2 IS NULL OR status = $2)
                 AND ($3 IS NULL OR lower(name) LIKE $3 ESCAPE '\') ORDER BY id DESC LIMIT $4"
            ))
            .bind(before)
            .bind(filter.status.map(Status::as_str))
            .bind(filter.search.as_deref().map(contains_pattern))
            .bind(page.fetch_rows())
            .fetch_all(&mut *conn)
            .await?;
            // All aliases and targets between the first and the last id of the page; of models the filter left out, a few too many.
            let aliases = sqlx::query_as(
                "SELECT model_id, alias FROM model_aliases WHERE model_id <= $1 AND model_id >= $2 ORDER BY position",
            )
            .bind(rows.first().map(|row| row.id))
            .bind(rows.last().map(|row| row.id))
            .fetch_all(&mut *conn)
            .await?;
            let targets = sqlx::query_as(concat!(
                "SELECT ",
                target_columns!(),
                " FROM targets WHERE model_id <= $1 AND model_id >= $2 ORDER BY priority, position"
            ))
            .bind(rows.first().map(|row| row.id))
            .bind(rows.last().map(|row| row.id))
            .fetch_all(&mut *conn)
            .await?;
            Ok::<_, sqlx::Error>((rows, aliases, targets))
        }
        .await
    })??;
    let mut of_model: HashMap<Uuid, Vec<Target>> = HashMap::new();
    for row in targets {
        let Some(model) = row.model_id else { continue };
        of_model.entry(model).or_default().push(row.try_into()?);
    }
    let mut aliases_of: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (model, alias) in aliases {
        aliases_of.entry(model).or_default().push(alias);
    }
    let models = rows.into_iter().map(|row| {
        let aliases = aliases_of.remove(&row.id).unwrap_or_default();
        let targets = of_model.remove(&row.id).unwrap_or_default();
        Model::read(row, aliases, targets)
    });
    Ok(Page::by_id(models.collect::<Result<Vec<_>, _>>()?, page, |model| model.id.uuid()))
}

/// Sets everything anew, targets as a whole, if the model still has the version the caller read. A target that stays where it
/// was keeps its id.
pub async fn update(tx: &mut Tx, id: ModelId, expected_version: i64, settings: &ModelSettings) -> Result<Model, StoreError> {
    let model = replace(tx, id, expected_version, settings, None).await?;
    targets::check_price_models(tx).await?;
    Ok(model)
}

pub(crate) async fn replace(
    tx: &mut Tx,
    id: ModelId,
    expected_version: i64,
    settings: &ModelSettings,
    managed_by: Option<ManagedBy>,
) -> Result<Model, StoreError> {
    settings.check()?;
    let now = tx.db_now();
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE models SET name = $3, status = $4, strict = $5, routing = $6, managed_by = COALESCE($7, managed_by),
             version = version + 1, updated_at = $8 WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&settings.name)
        .bind(settings.status.as_str())
        .bind(settings.strict)
        .bind(Json(&settings.routing))
        .bind(managed_by.map(ManagedBy::as_str))
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    match row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))? {
        Some(row) => {
            replace_aliases(tx, id, settings).await?;
            let targets = targets::replace(tx, Owner::Model(id), &settings.targets).await?;
            tx.touch_config();
            Model::read(row, settings.aliases.clone(), targets)
        }
        None => Err(stale(tx, id).await),
    }
}

/// Deletes a model with its targets. Its prices and what was charged for it stay: they are history. Refused while targets of
/// others are charged by its price.
pub async fn delete(tx: &mut Tx, id: ModelId, expected_version: i64) -> Result<(), StoreError> {
    let owners: Vec<String> = query!(&mut *tx, |conn| {
        sqlx::query_scalar(
            "SELECT DISTINCT COALESCE(o.name, r.name) AS owner FROM targets t JOIN models m ON m.name = t.price_model
             LEFT JOIN models o ON o.id = t.model_id LEFT JOIN routes r ON r.id = t.route_id
             WHERE m.id = $1 AND (t.model_id IS NULL OR t.model_id <> m.id) ORDER BY owner",
        )
        .bind(id.uuid())
        .fetch_all(conn)
        .await
    })??;
    if !owners.is_empty() {
        return Err(StoreError::InUse {
            kind: KIND,
            by: format!("targets of {}, which are charged by its price", owners.join(", ")),
        });
    }
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM models WHERE id = $1 AND version = $2")
            .bind(id.uuid())
            .bind(expected_version)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    if deleted == 0 {
        return Err(stale(tx, id).await);
    }
    tx.touch_config();
    Ok(())
}

/// Every name leads to one model: neither its own name nor an alias of it may be known for another.
async fn replace_aliases(tx: &mut Tx, model: ModelId, settings: &ModelSettings) -> Result<(), StoreError> {
    query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM model_aliases WHERE model_id = $1").bind(model.uuid()).execute(conn).await.map(|_| ())
    })??;
    let is_alias: Option<String> = query!(&mut *tx, |conn| {
        sqlx::query_scalar("SELECT alias FROM model_aliases WHERE alias = $1").bind(&settings.name).fetch_optional(conn).await
    })??;
    if is_alias.is_some() {
        return Err(StoreError::AlreadyExists { kind: KIND, field: "name", value: settings.name.clone() });
    }
    for (position, alias) in settings.aliases.iter().enumerate() {
        let taken = || StoreError::AlreadyExists { kind: KIND, field: "aliases", value: alias.clone() };
        let is_name: Option<String> = query!(&mut *tx, |conn| {
            sqlx::query_scalar("SELECT name FROM models WHERE name = $1").bind(alias).fetch_optional(conn).await
        })??;
        if is_name.is_some() {
            return Err(taken());
        }
        let inserted: Result<(), sqlx::Error> = query!(&mut *tx, |conn| {
            sqlx::query("INSERT INTO model_aliases (alias, model_id, position) VALUES ($1, $2, $3)")
                .bind(alias)
                .bind(model.uuid())
                .bind(position as i64)
                .execute(conn)
                .await
                .map(|_| ())
        })?;
        inserted.map_err(|error| StoreError::unique(error, KIND, &[("alias", "aliases", alias)]))?;
    }
    Ok(())
}

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, id: ModelId) -> StoreError {
    match get(tx, id).await {
        Ok(model) => StoreError::VersionMismatch { kind: KIND, current: model.version },
        Err(error) => error,
    }
}
