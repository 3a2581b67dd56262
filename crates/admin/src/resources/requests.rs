//! `/requests`: every call, with what it used and what it cost. People of a tenant see those of theirs and nothing of upstreams.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_billing::usage::{self, StoredUsage, UsageDetail, UsageFilter};
use tallygate_billing::{AttemptRecord, Word};
use tallygate_types::{ApiKeyId, CredentialId, Currency, ModelId, PriceVersionId, RequestId, TenantId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::names::Names;
use crate::AppState;
use crate::auth::{Permission, Principal, Scope};
use crate::form::{Dialect, Money, Usage, millis};
use crate::http_form::{Page, Params, Path, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::RequestsRead), routes!(list_requests))
        .add(Access::Needs(Permission::RequestsRead), routes!(get_request))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// The request could not be accepted as it was.
    ClientError,
    RateLimited,
    QuotaExceeded,
    UpstreamError,
    Timeout,
    /// The client hung up.
    ClientGone,
    /// An administrator ended it.
    Cancelled,
    Internal,
    /// The gateway stopped in the middle; usage is from the last checkpoint.
    Crash,
}

/// Where the token counts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider said so.
    Provider,
    /// Estimated from what was delivered.
    Estimated,
    /// From the last checkpoint before a crash.
    Crash,
    /// Nothing was used.
    None,
}

/// A call, as a row of the list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestSummary {
    #[schema(value_type = String, example = "req_01935000000070008000000000000010")]
    pub id: RequestId,
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// The tenant's name today; null if it is gone.
    #[schema(required = true)]
    pub tenant: Option<String>,
    #[schema(value_type = String)]
    pub key_id: ApiKeyId,
    /// The key's name today.
    #[schema(required = true)]
    pub key: Option<String>,
    /// The user the caller named.
    #[schema(required = true)]
    pub end_user: Option<String>,
    #[schema(example = "chat_completions")]
    pub endpoint: String,
    pub client_dialect: Dialect,
    #[schema(required = true)]
    pub upstream_dialect: Option<Dialect>,
    /// The model asked for.
    pub model: String,
    #[schema(value_type = Option<String>, required = true)]
    pub model_id: Option<ModelId>,
    /// The model sent to the upstream.
    #[schema(required = true)]
    pub upstream_model: Option<String>,
    /// The model the upstream says it answered with.
    #[schema(required = true)]
    pub returned_model: Option<String>,
    #[schema(value_type = Option<String>, required = true)]
    pub upstream_id: Option<UpstreamId>,
    #[schema(required = true)]
    pub upstream: Option<String>,
    /// How many times an upstream was asked; 0 for people of tenants, who see nothing of upstreams.
    pub attempts: u32,
    pub stream: bool,
    pub outcome: Outcome,
    /// The HTTP status the client got.
    pub status: u16,
    #[schema(required = true)]
    pub error_code: Option<String>,
    #[schema(required = true)]
    pub finish_reason: Option<String>,
    /// From accepting the request to the first byte of the answer.
    #[schema(required = true)]
    pub first_byte_ms: Option<u64>,
    pub duration_ms: u64,
    /// What the gateway itself added.
    pub overhead_us: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub usage_source: UsageSource,
    /// What the tenant is charged; null if nothing could be charged, or without the permission `money.read`.
    #[schema(required = true)]
    pub charge: Option<Money>,
}

/// One attempt at one upstream.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Attempt {
    pub upstream: String,
    #[schema(value_type = Option<String>, required = true)]
    pub credential_id: Option<CredentialId>,
    /// The status the upstream answered.
    #[schema(required = true)]
    pub status: Option<u16>,
    #[schema(example = "rate_limited")]
    pub outcome: String,
    #[schema(required = true)]
    pub reason: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    pub duration_us: u64,
}

/// One product of the sum a charge is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChargeLine {
    /// The class of tokens.
    #[schema(example = "output_reasoning")]
    pub class: String,
    /// The class whose price applied.
    #[schema(example = "output_text")]
    pub priced_as: String,
    pub tokens: u64,
    /// Money per million tokens.
    #[schema(example = "15")]
    pub price_per_million: String,
    pub amount: Money,
}

/// A call with everything that is known of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestDetail {
    #[serde(flatten)]
    pub summary: RequestSummary,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub first_byte_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    pub usage: Usage,
    /// The provider's own usage object, as JSON text.
    #[schema(required = true)]
    pub raw_usage: Option<String>,
    /// What estimated the tokens, where the provider did not count them.
    #[schema(required = true)]
    pub estimator: Option<String>,
    /// Named `attempts_detail` because `attempts` counts them.
    pub attempts_detail: Vec<Attempt>,
    /// The charge line by line; empty without the permission `money.read`.
    pub charge_lines: Vec<ChargeLine>,
    #[schema(value_type = Option<String>, required = true)]
    pub price_version_id: Option<PriceVersionId>,
    /// What was held back from the budget while the request ran.
    #[schema(required = true)]
    pub reserved: Option<Money>,
    #[schema(value_type = Option<String>, required = true)]
    pub credential_id: Option<CredentialId>,
    /// The id the upstream gave the request.
    #[schema(required = true)]
    pub upstream_request_id: Option<String>,
    /// What could not be translated faithfully.
    #[schema(required = true)]
    pub loss: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    #[schema(required = true)]
    pub trace_id: Option<String>,
    /// The route that decided; null: the model's own targets.
    #[schema(required = true)]
    pub route: Option<String>,
    /// The arm of the split it belongs to.
    #[schema(required = true)]
    pub arm: Option<String>,
    /// What its session was known by (`pin`, `reasoning`, `prompt_cache_key`, `conversation`, `session`, `prefix`), with
    /// `:moved` behind it where it was served elsewhere than it belongs; null: nothing told of one.
    #[schema(required = true, example = "prompt_cache_key")]
    pub affinity: Option<String>,
    /// What the provider's prompt cache saved against uncached input, less what writing it cost more; may be below zero.
    /// Null without the permission `money.read`.
    #[schema(required = true)]
    pub cache_saved: Option<Money>,
    /// Why it was refused before any upstream was asked; null if it was not.
    #[schema(required = true)]
    pub refused_by: Option<RefusedBy>,
}

/// What a refused request ran into, and how that stood.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefusedBy {
    /// The code the client was told, or its reason where that says more.
    #[schema(example = "rate_limit_exceeded")]
    pub code: String,
    /// What the client was told.
    pub message: String,
    /// In plain words, for whoever asks why.
    #[schema(
        example = "API key `ci` reached its 60 requests a minute at 2026-11-23T12:03:10Z; there is room again at 2026-11-23T12:04:02Z."
    )]
    pub explanation: String,
    /// `tenant`, `project`, `key`, `model` or `end_user`; null where no limit was in the way.
    #[schema(required = true)]
    pub scope: Option<String>,
    /// Whose limit it is, by name.
    #[schema(required = true)]
    pub subject: Option<String>,
    /// `requests`, `tokens`, `concurrency` or `spend`.
    #[schema(required = true)]
    pub dimension: Option<String>,
    /// Of `spend` an amount of money.
    #[schema(required = true, example = "60")]
    pub limit: Option<String>,
    #[schema(required = true, example = "60")]
    pub used: Option<String>,
    #[schema(value_type = Option<String>, required = true)]
    pub currency: Option<Currency>,
    /// Of a budget: `day`, `month` or `total`; `balance` of money paid in advance.
    #[schema(required = true)]
    pub period: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub resets_at: Option<Timestamp>,
    /// So many more of the same key were refused like it within a second, and have no record of their own.
    pub more: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRequests {
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    #[param(value_type = Option<String>)]
    key_id: Option<ApiKeyId>,
    /// The model asked for.
    model: Option<String>,
    /// Only for the platform's staff.
    #[param(value_type = Option<String>)]
    upstream_id: Option<UpstreamId>,
    #[param(inline)]
    outcome: Option<Outcome>,
    /// The HTTP status the client got.
    status: Option<u16>,
    /// Only calls that failed, but not those whose client left.
    errors_only: Option<bool>,
    /// Only calls that were refused before any upstream was asked.
    refused_only: Option<bool>,
    #[param(inline)]
    usage_source: Option<UsageSource>,
    /// The user the caller named.
    end_user: Option<String>,
    /// The name of the route that decided. Only for the platform's staff.
    route: Option<String>,
    /// The arm of a split. Only for the platform's staff.
    arm: Option<String>,
    /// Accepted at or after.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Accepted before.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists calls, newest first. A call appears when it has ended, usually within a second.
#[utoipa::path(get, path = "/admin/v1/requests", tag = "requests", params(ListRequests),
    responses((status = 200, body = Page<RequestSummary>)))]
async fn list_requests(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    Params(query): Params<ListRequests>,
) -> Result<axum::Json<Page<RequestSummary>>> {
    let of_routing =
        [("upstream_id", query.upstream_id.is_some()), ("route", query.route.is_some()), ("arm", query.arm.is_some())];
    scope.check_staff_parameters(&of_routing)?;
    let page = page_request(query.limit, query.after)?;
    let filter = UsageFilter {
        tenant: query.tenant_id,
        key: query.key_id,
        model: query.model,
        upstream: query.upstream_id,
        outcome: query.outcome.map(Into::into),
        status: query.status,
        errors_only: query.errors_only.unwrap_or(false),
        refused_only: query.refused_only.unwrap_or(false),
        usage_source: query.usage_source.map(Into::into),
        end_user: query.end_user,
        route: query.route,
        arm: query.arm,
        from: query.from,
        to: query.to,
    };
    let page = usage::list(&state.store, scope.rows(), &filter, &page).await?;
    let names = Names::of(&state, scope, page.data.iter().map(|record| (record.tenant_id, record.key_id))).await?;
    let sees_money = principal.may(Permission::MoneyRead);
    let next = page.next.map(|cursor| cursor.to_string());
    let data = page.data.into_iter().map(|record| RequestSummary::read(&shown(record, scope), &names, sees_money));
    let data = data.collect::<Result<_>>()?;
    Ok(axum::Json(Page::new(data, next)))
}

/// Reads one call: attempts, tokens by class and the arithmetic of its charge.
#[utoipa::path(get, path = "/admin/v1/requests/{id}", tag = "requests", params(("id" = String, Path)),
    responses((status = 200, body = RequestDetail)))]
async fn get_request(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    Path(id): Path<RequestId>,
) -> Result<axum::Json<RequestDetail>> {
    let UsageDetail { record, breakdown } = usage::get(&state.store, scope.rows(), id).await?;
    let names = Names::of(&state, scope, [(record.tenant_id, record.key_id)]).await?;
    let record = shown(record, scope);
    let sees_money = principal.may(Permission::MoneyRead);
    let summary = RequestSummary::read(&record, &names, sees_money)?;
    let currency = record.currency.filter(|_| sees_money);
    let lines = match (breakdown, currency) {
        (Some(charge), Some(currency)) => charge.lines.iter().map(|line| ChargeLine::read(line, currency)).collect(),
        _ => Vec::new(),
    };
    Ok(axum::Json(RequestDetail {
        summary,
        first_byte_at: record.first_byte_at,
        finished_at: record.finished_at,
        usage: Usage::from(&record.usage),
        raw_usage: record.raw_usage,
        estimator: record.estimator,
        attempts_detail: record.attempts.into_iter().map(Into::into).collect(),
        charge_lines: lines,
        price_version_id: record.price_version_id,
        reserved: currency.map(|currency| Money::new(record.reserved, currency)),
        credential_id: record.credential_id,
        upstream_request_id: record.upstream_request_id,
        loss: record.loss,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        trace_id: record.trace_id,
        route: record.route,
        arm: record.arm,
        affinity: record.affinity,
        cache_saved: currency.map(|currency| Money::new(record.cache_saved, currency)),
        refused_by: record.refused_by.map(|by| RefusedBy::read(by, record.finished_at, sees_money)),
    }))
}

/// The record as the caller may see it: to whom a request was sent, and why there, is the operator's.
fn shown(record: StoredUsage, scope: Scope) -> StoredUsage {
    if scope.is_platform() {
        return record;
    }
    StoredUsage {
        upstream_dialect: None,
        upstream_model: None,
        returned_model: None,
        upstream_id: None,
        upstream: None,
        credential_id: None,
        attempts: Vec::new(),
        raw_usage: None,
        upstream_request_id: None,
        route: None,
        arm: None,
        affinity: None,
        ..record
    }
}

impl RequestSummary {
    fn read(record: &StoredUsage, names: &Names, sees_money: bool) -> Result<Self> {
        let dialect = |text: &str| text.parse::<tallygate_types::Dialect>().map(Dialect::from).map_err(Problem::internal);
        Ok(Self {
            id: record.request_id,
            accepted_at: record.accepted_at,
            tenant_id: record.tenant_id,
            tenant: names.tenants.get(&record.tenant_id).cloned(),
            key_id: record.key_id,
            key: names.keys.get(&record.key_id).cloned(),
            end_user: record.end_user.clone(),
            endpoint: record.endpoint.to_string(),
            client_dialect: dialect(&record.client_dialect)?,
            upstream_dialect: record.upstream_dialect.as_deref().map(dialect).transpose()?,
            model: record.model.clone(),
            model_id: record.model_id,
            upstream_model: record.upstream_model.clone(),
            returned_model: record.returned_model.clone(),
            upstream_id: record.upstream_id,
            upstream: record.upstream.clone(),
            attempts: u32::try_from(record.attempts.len()).unwrap_or(u32::MAX),
            stream: record.stream,
            outcome: record.outcome.into(),
            status: record.status,
            error_code: record.error_code.clone(),
            finish_reason: record.finish_reason.clone(),
            first_byte_ms: record.first_byte_at.map(|at| millis(at.since(record.accepted_at))),
            duration_ms: millis(record.finished_at.since(record.accepted_at)),
            overhead_us: record.overhead_us,
            input_tokens: record.usage.input_total(),
            output_tokens: record.usage.output_total(),
            usage_source: record.usage_source.into(),
            charge: record.currency.filter(|_| sees_money).map(|currency| Money::new(record.charge, currency)),
        })
    }
}

impl RefusedBy {
    /// Amounts are of the tenant's own budget; without the permission to see money they are left out.
    fn read(by: tallygate_billing::RefusedBy, at: Timestamp, sees_money: bool) -> Self {
        let is_hidden = by.dimension.as_deref() == Some("spend") && !sees_money;
        let explanation = explain(&by, at, is_hidden);
        Self {
            explanation,
            code: by.code.into_owned(),
            message: if is_hidden { String::new() } else { by.message },
            scope: by.scope.map(Word::into_owned),
            subject: by.subject,
            dimension: by.dimension.map(Word::into_owned),
            limit: by.limit.filter(|_| !is_hidden),
            used: by.used.filter(|_| !is_hidden),
            currency: by.currency.filter(|_| !is_hidden),
            period: by.period.map(Word::into_owned),
            resets_at: by.resets_at,
            more: by.more,
        }
    }
}

fn explain(by: &tallygate_billing::RefusedBy, at: Timestamp, hides_money: bool) -> String {
    let (Some(scope), Some(dimension)) = (by.scope.as_deref(), by.dimension.as_deref()) else {
        return if by.message.is_empty() { format!("Refused with `{}`.", by.code) } else { by.message.clone() };
    };
    let kind = match scope {
        "tenant" => "Tenant",
        "project" => "Project",
        "key" => "API key",
        "model" => "Model",
        _ => "End user",
    };
    let whose = by.subject.as_ref().map_or_else(|| kind.to_owned(), |name| format!("{kind} `{name}`"));
    let (limit, used) = (by.limit.as_deref().unwrap_or("?"), by.used.as_deref().unwrap_or("?"));
    let reached = match dimension {
        "requests" => format!("{whose} reached its {limit} requests a minute at {at}"),
        "tokens" => format!("{whose} reached its {limit} tokens a minute at {at} ({used} were used)"),
        "concurrency" => format!("{whose} had its {limit} requests running at {at}"),
        _ => {
            let of = match by.period.as_deref() {
                Some("day") => "daily budget",
                Some("month") => "monthly budget",
                Some("balance") => "prepaid balance",
                _ => "budget",
            };
            match by.currency.filter(|_| !hides_money) {
                Some(currency) => {
                    format!(
                        "{whose} had {used} {currency} of its {of} of {limit} {currency} spent or reserved at {at}, and the rest did not cover the request"
                    )
                }
                None => format!("The rest of the {of} of {whose} did not cover the request at {at}"),
            }
        }
    };
    match by.resets_at {
        Some(resets_at) => format!("{reached}; there is room again at {resets_at}."),
        None => format!("{reached}."),
    }
}

impl ChargeLine {
    fn read(line: &tallygate_billing::ChargeLine, currency: Currency) -> Self {
        Self {
            class: line.class.to_string(),
            priced_as: line.priced_as.to_string(),
            tokens: line.tokens,
            price_per_million: line.unit_price.to_per_million(),
            amount: Money::new(line.amount, currency),
        }
    }
}

impl From<AttemptRecord> for Attempt {
    fn from(record: AttemptRecord) -> Self {
        Self {
            upstream: record.upstream.to_string(),
            credential_id: record.credential_id,
            status: record.status,
            outcome: record.outcome.into_owned(),
            reason: record.reason.map(Word::into_owned),
            started_at: record.started_at,
            duration_us: record.duration_us,
        }
    }
}

macro_rules! same_names {
    ($ours:ident, $theirs:path: $($variant:ident)+) => {
        impl From<$theirs> for $ours {
            fn from(value: $theirs) -> Self {
                match value { $(<$theirs>::$variant => Self::$variant,)+ }
            }
        }

        impl From<$ours> for $theirs {
            fn from(value: $ours) -> Self {
                match value { $($ours::$variant => Self::$variant,)+ }
            }
        }
    };
}

same_names!(Outcome, tallygate_billing::Outcome:
    Ok ClientError RateLimited QuotaExceeded UpstreamError Timeout ClientGone Cancelled Internal Crash);
same_names!(UsageSource, tallygate_billing::UsageSource: Provider Estimated Crash None);
