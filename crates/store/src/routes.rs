//! Routes: rules that decide where requests go before the models' own targets. The first that matches, by position, decides.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{RouteId, Timestamp};
use uuid::Uuid;

use crate::routing::{RouteMatch, RoutingPolicy};
use crate::targets::{self, Owner, Target, TargetRow, TargetSettings, target_columns};
use crate::upstreams::Status;
use crate::{DbTime, ManagedBy, Source, StoreError, Tx, check, query};

const KIND: &str = "route";
/// Routes of an installation at most: every request is held against them in turn.
pub const MAX_ROUTES: i64 = 1_000;
pub const MAX_POSITION: u32 = 1_000_000;
/// Between the last route and a new one, so that others fit between them.
const POSITION_STEP: i64 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    pub id: RouteId,
    pub name: String,
    /// Lower is tried first; the older of two at the same.
    pub position: u32,
    pub status: Status,
    pub matches: RouteMatch,
    pub routing: RoutingPolicy,
    pub targets: Vec<Target>,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a route can be set; targets are replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    pub name: String,
    /// `None` puts a new route after all others, and leaves one there is where it is.
    pub position: Option<u32>,
    pub status: Status,
    #[serde(default)]
    pub matches: RouteMatch,
    #[serde(default)]
    pub routing: RoutingPolicy,
    pub targets: Vec<TargetSettings>,
}

macro_rules! columns {
    () => {
        "id, name, position, status, matches, routing, managed_by, version, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    position: i64,
    status: String,
    matches: Json<RouteMatch>,
    routing: Json<RoutingPolicy>,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl RouteSettings {
    /// An active route for everything, after all others.
    pub fn named(name: impl Into<String>, targets: Vec<TargetSettings>) -> Self {
        Self {
            name: name.into(),
            position: None,
            status: Status::Active,
            matches: RouteMatch::default(),
            routing: RoutingPolicy::default(),
            targets,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        check::name("name", &self.name)?;
        if self.position.is_some_and(|position| position > MAX_POSITION) {
            return Err(StoreError::invalid("position", format!("must be at most {MAX_POSITION}")));
        }
        if self.targets.is_empty() {
            return Err(StoreError::invalid("targets", "a route needs a target; to pass its requests by, disable it"));
        }
        self.matches.check()?;
        self.routing.check()?;
        targets::check(&self.targets, &self.routing)
    }
}

impl Route {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> RouteSettings {
        RouteSettings {
            name: self.name.clone(),
            position: Some(self.position),
            status: self.status,
            matches: self.matches.clone(),
            routing: self.routing.clone(),
            targets: self.targets.iter().map(|target| target.settings.clone()).collect(),
        }
    }

    fn read(row: Row, targets: Vec<Target>) -> Result<Self, StoreError> {
        Ok(Self {
            id: RouteId::from_uuid(row.id),
            name: row.name,
            position: u32::try_from(row.position).map_err(|e| StoreError::corrupt("routes", e))?,
            status: Status::read(&row.status)?,
            matches: row.matches.0,
            routing: row.routing.0,
            targets,
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub async fn create(tx: &mut Tx, settings: &RouteSettings) -> Result<Route, StoreError> {
    let route = insert(tx, settings, ManagedBy::Api).await?;
    targets::check_price_models(tx).await?;
    Ok(route)
}

pub(crate) async fn insert(tx: &mut Tx, settings: &RouteSettings, managed_by: ManagedBy) -> Result<Route, StoreError> {
    settings.check()?;
    let (count, last): (i64, i64) = query!(&mut *tx, |conn| {
        sqlx::query_as("SELECT count(*), COALESCE(max(position), 0) FROM routes").fetch_one(conn).await
    })??;
    if count >= MAX_ROUTES {
        return Err(StoreError::invalid("name", format!("there are {MAX_ROUTES} routes already, which is the most")));
    }
    let position = settings.position.map_or_else(|| (last + POSITION_STEP).min(i64::from(MAX_POSITION)), i64::from);
    let (id, now) = (RouteId::generate(), tx.db_now());
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO routes (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8) RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(&settings.name)
        .bind(position)
        .bind(settings.status.as_str())
        .bind(Json(&settings.matches))
        .bind(Json(&settings.routing))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    let row = row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))?;
    let targets = targets::replace(tx, Owner::Route(id), &settings.targets).await?;
    tx.touch_config();
    Route::read(row, targets)
}

pub async fn get(source: impl Source, id: RouteId) -> Result<Route, StoreError> {
    read(source, Some(id.uuid()), None).await?.pop().ok_or_else(|| StoreError::not_found(KIND, id))
}

pub async fn find_by_name(source: impl Source, name: &str) -> Result<Option<Route>, StoreError> {
    Ok(read(source, None, Some(name)).await?.pop())
}

/// All routes, in the order they are tried.
pub async fn list(source: impl Source) -> Result<Vec<Route>, StoreError> {
    read(source, None, None).await
}

async fn read(source: impl Source, id: Option<Uuid>, name: Option<&str>) -> Result<Vec<Route>, StoreError> {
    let (rows, targets): (Vec<Row>, Vec<TargetRow>) = query!(source, |conn| {
        async {
            let rows: Vec<Row> = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM routes WHERE ($1 IS NULL OR id = $1) AND ($2 IS NULL OR name = $2) ORDER BY position, id"
            ))
            .bind(id)
            .bind(name)
            .fetch_all(&mut *conn)
            .await?;
            let one = (id.is_some() || name.is_some()).then(|| rows.first().map_or(Uuid::nil(), |row| row.id));
            let targets = sqlx::query_as(concat!(
                "SELECT ",
                target_columns!(),
                " FROM targets WHERE route_id IS NOT NULL AND ($1 IS NULL OR route_id = $1) ORDER BY priority, position"
            ))
            .bind(one)
            .fetch_all(&mut *conn)
            .await?;
            Ok::<_, sqlx::Error>((rows, targets))
        }
        .await
    })??;
    let mut of_route: HashMap<Uuid, Vec<Target>> = HashMap::new();
    for row in targets {
        let Some(route) = row.route_id else { continue };
        of_route.entry(route).or_default().push(row.try_into()?);
    }
    rows.into_iter()
        .map(|row| {
            let targets = of_route.remove(&row.id).unwrap_or_default();
            Route::read(row, targets)
        })
        .collect()
}

/// Sets everything anew, targets as a whole, if the route still has the version the caller read. A target that stays where it
/// was keeps its id.
pub async fn update(tx: &mut Tx, id: RouteId, expected_version: i64, settings: &RouteSettings) -> Result<Route, StoreError> {
    let route = replace(tx, id, expected_version, settings, None).await?;
    targets::check_price_models(tx).await?;
    Ok(route)
}

pub(crate) async fn replace(
    tx: &mut Tx,
    id: RouteId,
    expected_version: i64,
    settings: &RouteSettings,
    managed_by: Option<ManagedBy>,
) -> Result<Route, StoreError> {
    settings.check()?;
    let now = tx.db_now();
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE routes SET name = $3, position = COALESCE($4, position), status = $5, matches = $6, routing = $7,
             managed_by = COALESCE($8, managed_by), version = version + 1, updated_at = $9
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&settings.name)
        .bind(settings.position.map(i64::from))
        .bind(settings.status.as_str())
        .bind(Json(&settings.matches))
        .bind(Json(&settings.routing))
        .bind(managed_by.map(ManagedBy::as_str))
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    match row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))? {
        Some(row) => {
            let targets = targets::replace(tx, Owner::Route(id), &settings.targets).await?;
            tx.touch_config();
            Route::read(row, targets)
        }
        None => Err(stale(tx, id).await),
    }
}

pub async fn delete(tx: &mut Tx, id: RouteId, expected_version: i64) -> Result<(), StoreError> {
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM routes WHERE id = $1 AND version = $2")
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

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, id: RouteId) -> StoreError {
    match get(tx, id).await {
        Ok(route) => StoreError::VersionMismatch { kind: KIND, current: route.version },
        Err(error) => error,
    }
}
