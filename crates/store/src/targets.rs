//! Targets: where a model or a route is served from. They are written with their owner, as a whole.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{ModelId, RouteId, TargetId, UpstreamId};
use uuid::Uuid;

use crate::routing::{Capabilities, RoutingPolicy, TargetCost};
use crate::{StoreError, Tx, check, query};

/// Targets of one model or route at most.
pub const MAX_TARGETS: usize = 100;
/// A weight is at most this, so that a sum of weights stays far from overflow.
pub const MAX_WEIGHT: u32 = 1_000_000;
pub const MAX_PRIORITY: u32 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub id: TargetId,
    #[serde(flatten)]
    pub settings: TargetSettings,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    pub upstream_id: UpstreamId,
    /// The name the model has there.
    pub upstream_model: String,
    /// Share among targets of the same priority; 0 takes none.
    pub weight: u32,
    /// 1 is tried first.
    pub priority: u32,
    /// The arm of the split it serves; none serves all of them.
    #[serde(default)]
    pub arm: Option<String>,
    /// Charged by the price of this public model, in place of the one that was asked for.
    #[serde(default)]
    pub price_model: Option<String>,
    #[serde(default)]
    pub cost: Option<TargetCost>,
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// Whose targets they are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    Model(ModelId),
    Route(RouteId),
}

macro_rules! target_columns {
    () => {
        "id, model_id, route_id, upstream_id, upstream_model, weight, priority, arm, price_model, cost, capabilities"
    };
}
pub(crate) use target_columns;

#[derive(Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct TargetRow {
    id: Uuid,
    pub model_id: Option<Uuid>,
    pub route_id: Option<Uuid>,
    upstream_id: Uuid,
    upstream_model: String,
    weight: i64,
    priority: i64,
    arm: Option<String>,
    price_model: Option<String>,
    cost: Option<Json<TargetCost>>,
    capabilities: Json<Capabilities>,
}

impl TargetSettings {
    /// A target of weight 1 and priority 1.
    pub fn at(upstream_id: UpstreamId, upstream_model: impl Into<String>) -> Self {
        Self {
            upstream_id,
            upstream_model: upstream_model.into(),
            weight: 1,
            priority: 1,
            arm: None,
            price_model: None,
            cost: None,
            capabilities: Capabilities::default(),
        }
    }
}

impl TryFrom<TargetRow> for Target {
    type Error = StoreError;

    fn try_from(row: TargetRow) -> Result<Self, StoreError> {
        let narrow = |value: i64| u32::try_from(value).map_err(|e| StoreError::corrupt("targets", e));
        Ok(Self {
            id: TargetId::from_uuid(row.id),
            settings: TargetSettings {
                upstream_id: UpstreamId::from_uuid(row.upstream_id),
                upstream_model: row.upstream_model,
                weight: narrow(row.weight)?,
                priority: narrow(row.priority)?,
                arm: row.arm,
                price_model: row.price_model,
                cost: row.cost.map(|Json(cost)| cost),
                capabilities: row.capabilities.0,
            },
        })
    }
}

impl Owner {
    fn model(self) -> Option<Uuid> {
        match self {
            Self::Model(id) => Some(id.uuid()),
            Self::Route(_) => None,
        }
    }

    fn route(self) -> Option<Uuid> {
        match self {
            Self::Model(_) => None,
            Self::Route(id) => Some(id.uuid()),
        }
    }
}

/// Checks targets beside the policy that chooses among them: every arm has somewhere to go, and no target waits for an arm
/// there is not.
pub(crate) fn check(targets: &[TargetSettings], routing: &RoutingPolicy) -> Result<(), StoreError> {
    if targets.len() > MAX_TARGETS {
        return Err(StoreError::invalid("targets", format!("must be at most {MAX_TARGETS}")));
    }
    let arms: HashSet<&str> = routing.arm_names().collect();
    let mut places = HashSet::new();
    for target in targets {
        check::name("targets.upstream_model", &target.upstream_model)?;
        if target.weight > MAX_WEIGHT {
            return Err(StoreError::invalid("targets.weight", format!("must be at most {MAX_WEIGHT}")));
        }
        if !(1..=MAX_PRIORITY).contains(&target.priority) {
            return Err(StoreError::invalid("targets.priority", format!("must be between 1 and {MAX_PRIORITY}")));
        }
        if let Some(arm) = target.arm.as_deref()
            && !arms.contains(arm)
        {
            let reason = format!("`{arm}` is not an arm of the split; name one of split.arms, or leave it out to serve all");
            return Err(StoreError::invalid("targets.arm", reason));
        }
        if let Some(model) = &target.price_model {
            check::name("targets.price_model", model)?;
        }
        if let Some(cost) = &target.cost {
            cost.check()?;
        }
        if target.capabilities.context_tokens.is_some_and(|tokens| tokens == 0 || i64::try_from(tokens).is_err()) {
            return Err(StoreError::invalid("targets.capabilities.context_tokens", "must be at least 1"));
        }
        if !places.insert((target.upstream_id, target.upstream_model.as_str(), target.arm.as_deref())) {
            return Err(StoreError::invalid("targets", format!("`{}` stands twice at the same upstream", target.upstream_model)));
        }
    }
    let serves = |arm: &str| targets.iter().any(|target| target.arm.as_deref().is_none_or(|named| named == arm));
    match routing.arm_names().find(|arm| !serves(arm)) {
        Some(arm) => Err(StoreError::invalid("targets.arm", format!("no target serves the arm `{arm}`"))),
        None => Ok(()),
    }
}

/// Puts these targets in the place of those stored. A target that stays where it was keeps its id.
pub(crate) async fn replace(tx: &mut Tx, owner: Owner, wanted: &[TargetSettings]) -> Result<Vec<Target>, StoreError> {
    let stored: Vec<TargetRow> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!("SELECT ", target_columns!(), " FROM targets WHERE model_id = $1 OR route_id = $2"))
            .bind(owner.model())
            .bind(owner.route())
            .fetch_all(conn)
            .await
    })??;
    let ids: HashMap<_, _> = stored.into_iter().map(|row| ((row.upstream_id, row.upstream_model, row.arm), row.id)).collect();
    query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM targets WHERE model_id = $1 OR route_id = $2")
            .bind(owner.model())
            .bind(owner.route())
            .execute(conn)
            .await
            .map(|_| ())
    })??;
    let mut targets = Vec::with_capacity(wanted.len());
    for (position, target) in wanted.iter().enumerate() {
        crate::upstreams::get(&mut *tx, target.upstream_id).await?;
        let known = ids.get(&(target.upstream_id.uuid(), target.upstream_model.clone(), target.arm.clone()));
        let id = known.map_or_else(TargetId::generate, |id| TargetId::from_uuid(*id));
        query!(&mut *tx, |conn| {
            sqlx::query(concat!(
                "INSERT INTO targets (",
                target_columns!(),
                ", position) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
            ))
            .bind(id.uuid())
            .bind(owner.model())
            .bind(owner.route())
            .bind(target.upstream_id.uuid())
            .bind(&target.upstream_model)
            .bind(i64::from(target.weight))
            .bind(i64::from(target.priority))
            .bind(&target.arm)
            .bind(&target.price_model)
            .bind(target.cost.map(Json))
            .bind(Json(target.capabilities))
            .bind(position as i64)
            .execute(conn)
            .await
            .map(|_| ())
        })??;
        targets.push(Target { id, settings: target.clone() });
    }
    targets.sort_by_key(|target| target.settings.priority);
    Ok(targets)
}

/// Refuses targets that are charged by the price of a model there is none of. Looked at after the write, so that a model may
/// name itself, and a file its models in any order.
pub(crate) async fn check_price_models(tx: &mut Tx) -> Result<(), StoreError> {
    let unknown: Option<String> = query!(&mut *tx, |conn| {
        sqlx::query_scalar(
            "SELECT price_model FROM targets t WHERE price_model IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM models m WHERE m.name = t.price_model) ORDER BY 1 LIMIT 1",
        )
        .fetch_optional(conn)
        .await
    })??;
    match unknown {
        Some(model) => {
            let reason = format!("there is no model `{model}`, whose price targets are to be charged by");
            Err(StoreError::invalid("targets.price_model", reason))
        }
        None => Ok(()),
    }
}
