//! How models and routes choose, as the API carries it: policies, matches and targets.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tallygate_store::targets::TargetSettings;
use tallygate_store::{routing, targets, upstreams};
use tallygate_types::{Pico, TargetId, UnitPrice, UpstreamId};
use utoipa::ToSchema;

use super::names::if_there;
use crate::AppState;
use crate::problem::{Problem, Result};

/// How one is chosen among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By weight, exact over a cycle.
    #[default]
    Weighted,
    /// In turn, whatever the weights.
    RoundRobin,
    /// The less busy of two drawn by weight.
    LeastInFlight,
    /// The faster of two drawn by weight.
    Latency,
    /// The cheapest.
    Cost,
}

/// Whether a conversation stays where its prompt is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    #[default]
    Auto,
    Off,
}

/// How targets are chosen among; what is absent is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    pub strategy: Strategy,
    pub affinity: Affinity,
    #[schema(required = true)]
    pub split: Option<Split>,
    #[schema(required = true)]
    pub hedge: Option<Hedge>,
}

/// An A/B test: which arm a unit belongs to is a hash of it, the same on all replicas and after restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// What sticks to an arm: `user`, `key`, `tenant`, `conversation` or `header:x-name`.
    #[schema(example = "user")]
    pub by: String,
    #[schema(min_items = 1, max_items = 16)]
    pub arms: Vec<Arm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    #[schema(max_length = 64)]
    pub name: String,
    /// Share among the arms; 0 takes none.
    #[schema(maximum = 1_000_000)]
    pub weight: u32,
}

/// Ask a second target where the first has not begun to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    #[schema(minimum = 1)]
    pub after_ms: u64,
    /// Of a hundred requests at most.
    #[serde(default = "hedge_percent")]
    #[schema(minimum = 1, maximum = 100, default = 5, required = false)]
    pub max_percent: u32,
    /// What all second tries of a day may cost; null does not bound.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "5.00")]
    pub daily_spend: Option<Pico>,
}

/// What a route applies to. Every condition that is set must hold; an empty list is no condition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteMatch {
    /// Public names, exact or `prefix*`.
    pub models: Vec<String>,
    /// Names or ids of tenants.
    pub tenants: Vec<String>,
    /// Projects of keys.
    pub projects: Vec<String>,
    /// Any of these, of the key or of `x-tallygate-tags`.
    pub tags: Vec<String>,
    /// All of these, by name in lower case; the value exact or `prefix*`.
    pub headers: BTreeMap<String, String>,
    #[schema(required = true)]
    pub min_input_tokens: Option<u64>,
    #[schema(required = true)]
    pub max_input_tokens: Option<u64>,
}

/// What a target can take; null is not known, and taken to be able.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    #[schema(required = true, minimum = 1)]
    pub context_tokens: Option<u64>,
    #[schema(required = true)]
    pub images: Option<bool>,
    #[schema(required = true)]
    pub documents: Option<bool>,
    #[schema(required = true)]
    pub tools: Option<bool>,
}

/// Money per million tokens, to compare targets by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetCost {
    #[schema(example = "3.00")]
    pub input: String,
    #[schema(example = "15.00")]
    pub output: String,
}

/// One place a model or a route is served from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Target {
    #[schema(value_type = String)]
    pub id: TargetId,
    #[schema(value_type = String)]
    pub upstream_id: UpstreamId,
    /// The name of the upstream.
    pub upstream: String,
    /// The model's name there.
    pub upstream_model: String,
    /// The share of requests among the targets of one priority.
    pub weight: u32,
    /// Lower is tried first.
    pub priority: u32,
    /// The arm of the split it serves; null serves all of them.
    #[schema(required = true)]
    pub arm: Option<String>,
    /// Charged by the price of this public model, in place of the one that was asked for.
    #[schema(required = true)]
    pub price_model: Option<String>,
    /// What it costs, for the strategy `cost`; null takes the price of the model.
    #[schema(required = true)]
    pub cost: Option<TargetCost>,
    pub capabilities: Capabilities,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    #[schema(value_type = String)]
    pub upstream_id: UpstreamId,
    /// The model's name at the upstream.
    pub upstream_model: String,
    /// The share among targets of the same priority; 0 takes none, 1 if absent.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub weight: Option<u32>,
    /// Lower is tried first; 1 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    pub priority: Option<u32>,
    /// The arm of the split it serves; absent serves all of them.
    pub arm: Option<String>,
    /// Charge by the price of this public model.
    pub price_model: Option<String>,
    pub cost: Option<TargetCost>,
    pub capabilities: Option<Capabilities>,
}

const fn hedge_percent() -> u32 {
    routing::DEFAULT_HEDGE_PERCENT
}

/// The targets as the store takes them; each names an upstream there is.
pub async fn known_targets(state: &AppState, targets: Vec<NewTarget>) -> Result<Vec<TargetSettings>> {
    let mut known = Vec::with_capacity(targets.len());
    for (index, target) in targets.into_iter().enumerate() {
        if if_there(upstreams::get(&state.store, target.upstream_id).await)?.is_none() {
            let reason = format!("There is no upstream `{}`.", target.upstream_id);
            return Err(Problem::invalid_field(&format!("/targets/{index}/upstream_id"), "unknown", reason));
        }
        known.push(TargetSettings {
            weight: target.weight.unwrap_or(1),
            priority: target.priority.unwrap_or(1),
            arm: target.arm,
            price_model: target.price_model,
            cost: target.cost.map(|cost| cost.parse(&format!("/targets/{index}/cost"))).transpose()?,
            capabilities: target.capabilities.unwrap_or_default().into(),
            ..TargetSettings::at(target.upstream_id, target.upstream_model)
        });
    }
    Ok(known)
}

/// The names of the upstreams the targets stand at.
pub async fn upstream_names<'a>(
    state: &AppState,
    targets: impl IntoIterator<Item = &'a TargetSettings>,
) -> Result<HashMap<UpstreamId, String>> {
    let wanted: HashSet<UpstreamId> = targets.into_iter().map(|target| target.upstream_id).collect();
    let mut names = HashMap::with_capacity(wanted.len());
    for id in wanted {
        names.insert(id, upstreams::get(&state.store, id).await?.name);
    }
    Ok(names)
}

impl Target {
    pub fn read(row: targets::Target, names: &HashMap<UpstreamId, String>) -> Self {
        let settings = row.settings;
        Self {
            id: row.id,
            upstream_id: settings.upstream_id,
            upstream: names.get(&settings.upstream_id).cloned().unwrap_or_default(),
            upstream_model: settings.upstream_model,
            weight: settings.weight,
            priority: settings.priority,
            arm: settings.arm,
            price_model: settings.price_model,
            cost: settings.cost.map(Into::into),
            capabilities: settings.capabilities.into(),
        }
    }
}

impl TargetCost {
    fn parse(&self, pointer: &str) -> Result<routing::TargetCost> {
        let per_token = |field: &str, text: &str| match UnitPrice::parse_per_million(text) {
            Ok(price) => Ok(Pico::new(i128::from(price.get()))),
            Err(error) => Err(Problem::invalid_field(&format!("{pointer}/{field}"), "not_a_price", error.to_string())),
        };
        Ok(routing::TargetCost { input: per_token("input", &self.input)?, output: per_token("output", &self.output)? })
    }
}

impl From<routing::TargetCost> for TargetCost {
    fn from(cost: routing::TargetCost) -> Self {
        let per_million = |cost: Pico| cost.to_i64().and_then(UnitPrice::new).unwrap_or(UnitPrice::ZERO).to_per_million();
        Self { input: per_million(cost.input), output: per_million(cost.output) }
    }
}

impl Routing {
    /// The policy as the store takes it; the store checks the rest.
    pub fn parse(self, pointer: &str) -> Result<routing::RoutingPolicy> {
        let split = match self.split {
            None => None,
            Some(split) => Some(routing::Split {
                by: split.by.parse().map_err(|error| Problem::within(error, pointer))?,
                arms: split.arms.into_iter().map(|arm| routing::Arm { name: arm.name, weight: arm.weight }).collect(),
            }),
        };
        let hedge = self.hedge.map(|hedge| routing::Hedge {
            after_ms: hedge.after_ms,
            max_percent: hedge.max_percent,
            daily_spend: hedge.daily_spend,
        });
        Ok(routing::RoutingPolicy { strategy: self.strategy.into(), affinity: self.affinity.into(), split, hedge })
    }
}

impl From<routing::RoutingPolicy> for Routing {
    fn from(policy: routing::RoutingPolicy) -> Self {
        let arm = |arm: routing::Arm| Arm { name: arm.name, weight: arm.weight };
        let split = policy.split.map(|split| Split { by: split.by.to_string(), arms: split.arms.into_iter().map(arm).collect() });
        let hedge = policy.hedge.map(|hedge| Hedge {
            after_ms: hedge.after_ms,
            max_percent: hedge.max_percent,
            daily_spend: hedge.daily_spend,
        });
        Self { strategy: policy.strategy.into(), affinity: policy.affinity.into(), split, hedge }
    }
}

macro_rules! same_fields {
    ($name:ident: $($field:ident)+) => {
        impl From<routing::$name> for $name {
            fn from(theirs: routing::$name) -> Self {
                Self { $($field: theirs.$field,)+ }
            }
        }

        impl From<$name> for routing::$name {
            fn from(ours: $name) -> Self {
                Self { $($field: ours.$field,)+ }
            }
        }
    };
}

same_fields!(RouteMatch: models tenants projects tags headers min_input_tokens max_input_tokens);
same_fields!(Capabilities: context_tokens images documents tools);

macro_rules! same_names {
    ($name:ident: $($variant:ident)+) => {
        impl From<routing::$name> for $name {
            fn from(theirs: routing::$name) -> Self {
                match theirs { $(routing::$name::$variant => Self::$variant,)+ }
            }
        }

        impl From<$name> for routing::$name {
            fn from(ours: $name) -> Self {
                match ours { $($name::$variant => Self::$variant,)+ }
            }
        }
    };
}

same_names!(Strategy: Weighted RoundRobin LeastInFlight Latency Cost);
same_names!(Affinity: Auto Off);
