//! What the running data plane shows of itself: why a request would go where it goes, what is in flight, which limits a key
//! falls under, and how upstreams and credentials stand. Shapes only; the data plane fills them, the admin API and the command
//! line show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ApiKeyId, CredentialId, Dialect, Pico, RequestId, RouteId, TargetId, TenantId, Timestamp, UpstreamId};

/// A request that is not made, to ask where it would go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainRequest {
    /// As a client would write it: a public name or an alias.
    pub model: String,
    pub tenant: Option<TenantId>,
    /// Its tenant, project and tags count as the request's own.
    pub key: Option<ApiKeyId>,
    /// In place of the key's.
    pub project: Option<String>,
    /// Beside the key's.
    pub tags: Vec<String>,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub input_tokens: Option<u64>,
    pub has_images: bool,
    pub has_documents: bool,
    pub has_tools: bool,
    /// What the conversation is known by: an agent's session, a Responses conversation.
    pub conversation: Option<String>,
    pub prompt_cache_key: Option<String>,
    /// The end user the body names.
    pub user: Option<String>,
}

/// Why a request goes where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The model as it was asked for.
    pub requested: String,
    /// The public model that leads to.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub model: Option<String>,
    /// Every rule that was held against the request, in order, to the first that matched.
    pub rules: Vec<RuleTried>,
    /// The route that decides; none: the model's own targets.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub route: Option<RouteNamed>,
    /// The arm of a split, and by what.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub arm: Option<ArmTaken>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub affinity: Option<AffinityTaken>,
    pub strategy: String,
    /// The attempts, in the order they would be made.
    pub steps: Vec<ExplainedStep>,
    pub passed_over: Vec<PassedOver>,
    /// What the client would be told where no step is left.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub refusal: Option<ExplainedRefusal>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RouteNamed {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: RouteId,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleTried {
    pub route: RouteNamed,
    pub position: u32,
    pub matched: bool,
    /// The condition that failed, or that all of them hold.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArmTaken {
    pub name: String,
    /// What the unit is: `user`, `key`, `tenant`, `conversation`, `header:x-name`.
    pub by: String,
    /// Where the unit was found, or why the key stands in for it.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AffinityTaken {
    /// `pin`, `reasoning`, `prompt_cache_key`, `conversation`, `session`, `prefix`.
    pub kind: String,
    /// Whether the first step is where the session belongs.
    pub held: bool,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExplainedStep {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub target: TargetId,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub upstream: UpstreamId,
    pub upstream_name: String,
    pub upstream_model: String,
    /// Runs on the installation's own machines.
    pub local: bool,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = true))]
    pub credential: Option<CredentialId>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub credential_name: Option<String>,
    pub weight: u32,
    pub priority: u32,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub arm: Option<String>,
    /// `ready` or `probe`.
    pub readiness: String,
    pub in_flight: u32,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub latency_ms: Option<u64>,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub spent_today: Pico,
    /// What decided this place in the order.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PassedOver {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub target: TargetId,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub upstream: UpstreamId,
    pub upstream_name: String,
    pub upstream_model: String,
    /// None: the whole target was passed over.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = true))]
    pub credential: Option<CredentialId>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub credential_name: Option<String>,
    /// `other_arm`, `no_weight`, `capability`, `cooling`, `exhausted`, `auth_failed`, `retired`, `at_cap`, `circuit_open`,
    /// `beyond_attempts`.
    pub why: String,
    /// The same for people, with figures.
    pub reason: String,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required = true))]
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExplainedRefusal {
    pub status: u16,
    pub code: String,
    pub message: String,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub retry_after_seconds: Option<u64>,
}

/// How far a request in flight has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Admitted; nothing is asked yet.
    Waiting,
    Connecting,
    /// Asked; the first content has not come.
    FirstToken,
    Streaming,
}

/// A request in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveRequest {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub request_id: RequestId,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub tenant: TenantId,
    pub tenant_name: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub key: ApiKeyId,
    pub key_name: String,
    /// The public model.
    pub model: String,
    /// Of the attempt that runs now.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = true))]
    pub upstream: Option<UpstreamId>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub upstream_name: Option<String>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub upstream_model: Option<String>,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = true))]
    pub credential: Option<CredentialId>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub credential_name: Option<String>,
    /// 1 is the first.
    pub attempt: u32,
    pub phase: Phase,
    pub streamed: bool,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub accepted_at: Timestamp,
    pub bytes_out: u64,
    /// As far as the upstream has told or they were counted.
    pub output_tokens: u64,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub client_dialect: Dialect,
}

/// How a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    Active,
    /// Left alone for a while: it was refused for its rate, or failed.
    Cooling,
    /// Its quota or money at the vendor is used up.
    Exhausted,
    /// The vendor does not know the key or forbids it.
    AuthFailed,
    /// Its successor has taken over.
    Retired,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CredentialStanding {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub credential: CredentialId,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub upstream: UpstreamId,
    pub name: String,
    pub state: CredentialState,
    /// When the state ends or is tried again by itself.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required = true))]
    pub until: Option<Timestamp>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reason: Option<String>,
    pub in_flight: u32,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub latency_ms: Option<u64>,
    /// As the vendor's headers last told.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub requests_left: Option<u64>,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub tokens_left: Option<u64>,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub spent_today: Pico,
    /// In a row.
    pub failures: u32,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_error: Option<String>,
}

/// A circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    Closed,
    Open,
    /// One try is let through to see.
    HalfOpen,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpstreamStanding {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub upstream: UpstreamId,
    pub name: String,
    pub circuit: Circuit,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required = true))]
    pub until: Option<Timestamp>,
    pub in_flight: u32,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub latency_ms: Option<u64>,
    /// Retries the budget has left now.
    pub retry_budget_left: u64,
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_error: Option<String>,
}

/// What a limit bounds, in the order in which limits are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    Tenant,
    Project,
    Key,
    /// A public model, for one tenant.
    Model,
    /// Whom a tenant's request names as its end user.
    EndUser,
}

/// What there is so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitDimension {
    /// A minute.
    Requests,
    /// A minute.
    Tokens,
    /// Requests in flight.
    Concurrency,
}

/// What set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    Tenant,
    Project,
    Key,
    /// The tenant's limits of the model.
    ModelRule,
    /// The tenant's limits of each end user.
    EndUserRule,
    /// The installation, where nothing else does.
    Default,
}

/// One limit that the requests of a key fall under, and where it stands in the process that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EffectiveLimit {
    pub scope: LimitScope,
    /// The name of the tenant, project, key or model, or what the end user is called by. None: each end user has it for
    /// themselves.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub subject: Option<String>,
    pub dimension: LimitDimension,
    pub limit: u64,
    /// Of a rate what was admitted in the last minute, of places those that are taken. It may be more than the limit: one that
    /// was lowered, or tokens that turned out to be more than was estimated.
    pub used: u64,
    pub remaining: u64,
    /// When all of a rate can be had again if nothing more comes. None: all of it can be had now, or it is no rate.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, required = true))]
    pub resets_at: Option<Timestamp>,
    pub source: LimitSource,
}

impl LimitScope {
    pub const ALL: [Self; 5] = [Self::Tenant, Self::Project, Self::Key, Self::Model, Self::EndUser];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Project => "project",
            Self::Key => "key",
            Self::Model => "model",
            Self::EndUser => "end_user",
        }
    }
}

impl LimitDimension {
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Concurrency];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
        }
    }
}
