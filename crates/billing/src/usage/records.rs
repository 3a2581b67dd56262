//! Single calls.

use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use tallygate_store::{Cursor, DbTime, Page, PageRequest, Source, StoreError, TenantScope, query};
use tallygate_types::{
    ApiKeyId, CredentialId, Currency, ModelId, Pico, PriceVersionId, RequestId, TenantId, Timestamp, UpstreamId, Usage,
    UsageClass,
};
use uuid::Uuid;

use super::CALLS_OF_PERSON;
use crate::csv_text::{self, safe};
use crate::price::{Charge, ClassPrices};
use crate::prices::read_currency;
use crate::record::{AttemptRecord, Endpoint, Outcome, UsageSource};
use crate::refusals::RefusedBy;
use crate::sql::{Bind, Filter, bind_all, count};
use crate::sums::ClassColumns;

const TABLE: &str = "usage_records";

/// A call as the database keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredUsage {
    pub request_id: RequestId,
    pub attempt: u32,
    pub accepted_at: Timestamp,
    pub first_byte_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub tenant_id: TenantId,
    pub key_id: ApiKeyId,
    pub end_user: Option<String>,
    pub endpoint: Endpoint,
    pub client_dialect: String,
    pub upstream_dialect: Option<String>,
    pub model_id: Option<ModelId>,
    pub model: String,
    pub upstream_model: Option<String>,
    pub returned_model: Option<String>,
    pub upstream_id: Option<UpstreamId>,
    pub upstream: Option<String>,
    pub credential_id: Option<CredentialId>,
    pub attempts: Vec<AttemptRecord>,
    pub stream: bool,
    pub outcome: Outcome,
    pub status: u16,
    pub error_code: Option<String>,
    pub finish_reason: Option<String>,
    pub usage: Usage,
    pub usage_source: UsageSource,
    pub estimator: Option<String>,
    pub raw_usage: Option<String>,
    pub price_version_id: Option<PriceVersionId>,
    /// The prices the charge was made with.
    pub prices: Option<ClassPrices>,
    pub charge: Pico,
    pub currency: Option<Currency>,
    pub reserved: Pico,
    pub upstream_request_id: Option<String>,
    pub loss: Option<String>,
    pub overhead_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub trace_id: Option<String>,
    pub route: Option<String>,
    pub arm: Option<String>,
    pub affinity: Option<String>,
    /// In `currency`; below zero where writing the cache cost more than reading it saved.
    pub cache_saved: Pico,
    /// Of a request that was refused.
    pub refused_by: Option<RefusedBy>,
}

/// A call and how its charge came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageDetail {
    #[serde(flatten)]
    pub record: StoredUsage,
    /// What the kept prices make of the usage; the charge itself, unless the call was not charged.
    pub breakdown: Option<Charge>,
}

/// Which calls a list shows.
#[derive(Debug, Clone, Default)]
pub struct UsageFilter {
    pub tenant: Option<TenantId>,
    pub key: Option<ApiKeyId>,
    /// The name the client asked for.
    pub model: Option<String>,
    pub upstream: Option<UpstreamId>,
    pub outcome: Option<Outcome>,
    pub status: Option<u16>,
    /// Anything but success and the client's leaving.
    pub errors_only: bool,
    /// What was refused before any upstream was asked.
    pub refused_only: bool,
    pub usage_source: Option<UsageSource>,
    pub end_user: Option<String>,
    /// The name of a route.
    pub route: Option<String>,
    /// The arm of a split.
    pub arm: Option<String>,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
}

/// The cells of [`StoredUsage::csv_cells`].
pub const CSV_HEADER: [&str; 37] = [
    "request_id",
    "attempt",
    "accepted_at",
    "finished_at",
    "tenant_id",
    "key_id",
    "end_user",
    "endpoint",
    "client_dialect",
    "model",
    "upstream",
    "upstream_model",
    "stream",
    "outcome",
    "status",
    "error_code",
    "finish_reason",
    "input_uncached",
    "input_cache_read",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "input_audio",
    "input_audio_cached",
    "input_image",
    "input_video",
    "output_text",
    "output_reasoning",
    "output_audio",
    "output_image",
    "usage_source",
    "price_version_id",
    "charge",
    "currency",
    "first_byte_ms",
    "duration_ms",
    "upstream_request_id",
    "trace_id",
];

#[derive(sqlx::FromRow)]
struct Row {
    request_id: Uuid,
    attempt: i64,
    accepted_at: DbTime,
    first_byte_at: Option<DbTime>,
    finished_at: DbTime,
    tenant_id: Uuid,
    key_id: Uuid,
    end_user: Option<String>,
    endpoint: String,
    client_dialect: String,
    upstream_dialect: Option<String>,
    model_id: Option<Uuid>,
    model: String,
    upstream_model: Option<String>,
    returned_model: Option<String>,
    upstream_id: Option<Uuid>,
    upstream: Option<String>,
    credential_id: Option<Uuid>,
    attempts: Json<Vec<AttemptRecord>>,
    stream: bool,
    outcome: String,
    status: i64,
    error_code: Option<String>,
    finish_reason: Option<String>,
    #[sqlx(flatten)]
    usage: ClassColumns,
    usage_source: String,
    estimator: Option<String>,
    raw_usage: Option<String>,
    price_version_id: Option<Uuid>,
    prices: Option<Json<ClassPrices>>,
    charge: i64,
    currency: Option<String>,
    reserved: i64,
    upstream_request_id: Option<String>,
    loss: Option<String>,
    overhead_us: i64,
    bytes_in: i64,
    bytes_out: i64,
    trace_id: Option<String>,
    route: Option<String>,
    arm: Option<String>,
    affinity: Option<String>,
    cache_saved: i64,
    refused_by: Option<String>,
}

impl TryFrom<Row> for StoredUsage {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt { table: TABLE, reason: error.to_string() };
        Ok(Self {
            request_id: RequestId::from_uuid(row.request_id),
            attempt: u32::try_from(row.attempt).map_err(|e| corrupt(&e))?,
            accepted_at: row.accepted_at.0,
            first_byte_at: row.first_byte_at.map(|at| at.0),
            finished_at: row.finished_at.0,
            tenant_id: TenantId::from_uuid(row.tenant_id),
            key_id: ApiKeyId::from_uuid(row.key_id),
            end_user: row.end_user,
            endpoint: row.endpoint.parse().map_err(|e| corrupt(&e))?,
            client_dialect: row.client_dialect,
            upstream_dialect: row.upstream_dialect,
            model_id: row.model_id.map(ModelId::from_uuid),
            model: row.model,
            upstream_model: row.upstream_model,
            returned_model: row.returned_model,
            upstream_id: row.upstream_id.map(UpstreamId::from_uuid),
            upstream: row.upstream,
            credential_id: row.credential_id.map(CredentialId::from_uuid),
            attempts: row.attempts.0,
            stream: row.stream,
            outcome: row.outcome.parse().map_err(|e| corrupt(&e))?,
            status: u16::try_from(row.status).map_err(|e| corrupt(&e))?,
            error_code: row.error_code,
            finish_reason: row.finish_reason,
            usage: row.usage.usage(),
            usage_source: row.usage_source.parse().map_err(|e| corrupt(&e))?,
            estimator: row.estimator,
            raw_usage: row.raw_usage,
            price_version_id: row.price_version_id.map(PriceVersionId::from_uuid),
            prices: row.prices.map(|prices| prices.0),
            charge: Pico::new(row.charge.into()),
            currency: row.currency.map(|text| read_currency(TABLE, &text)).transpose()?,
            reserved: Pico::new(row.reserved.into()),
            upstream_request_id: row.upstream_request_id,
            loss: row.loss,
            overhead_us: count(row.overhead_us),
            bytes_in: count(row.bytes_in),
            bytes_out: count(row.bytes_out),
            trace_id: row.trace_id,
            route: row.route,
            arm: row.arm,
            affinity: row.affinity,
            cache_saved: Pico::new(row.cache_saved.into()),
            refused_by: row.refused_by.map(|by| serde_json::from_str(&by)).transpose().map_err(|e| corrupt(&e))?,
        })
    }
}

impl StoredUsage {
    /// The call as a line of an export, under [`CSV_HEADER`]; no cell of it is a formula.
    pub fn csv_cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.as_deref().map_or_else(String::new, safe);
        let ms = |at: Timestamp| at.since(self.accepted_at).as_millis().to_string();
        let mut cells = vec![
            self.request_id.to_string(),
            self.attempt.to_string(),
            self.accepted_at.to_string(),
            self.finished_at.to_string(),
            self.tenant_id.to_string(),
            self.key_id.to_string(),
            text(&self.end_user),
            self.endpoint.to_string(),
            self.client_dialect.clone(),
            safe(&self.model),
            text(&self.upstream),
            text(&self.upstream_model),
            self.stream.to_string(),
            self.outcome.to_string(),
            self.status.to_string(),
            text(&self.error_code),
            text(&self.finish_reason),
        ];
        cells.extend(UsageClass::ALL.map(|class| self.usage.get(class).to_string()));
        cells.extend([
            self.usage_source.to_string(),
            self.price_version_id.map_or_else(String::new, |id| id.to_string()),
            self.charge.to_string(),
            self.currency.map_or_else(String::new, |currency| currency.to_string()),
            self.first_byte_at.map_or_else(String::new, ms),
            ms(self.finished_at),
            text(&self.upstream_request_id),
            text(&self.trace_id),
        ]);
        cells
    }
}

/// The calls a caller may see, the newest first.
pub async fn list(
    source: impl Source,
    scope: TenantScope,
    filter: &UsageFilter,
    page: &PageRequest,
) -> Result<Page<StoredUsage>, StoreError> {
    let mut conditions = Filter::default();
    in_scope(&mut conditions, scope);
    conditions.and_uuid("tenant_id = ?", filter.tenant.map(TenantId::uuid));
    conditions.and_uuid("key_id = ?", filter.key.map(ApiKeyId::uuid));
    conditions.and_text("model = ?", filter.model.as_deref());
    conditions.and_uuid("upstream_id = ?", filter.upstream.map(UpstreamId::uuid));
    conditions.and_text("outcome = ?", filter.outcome.map(Outcome::as_str));
    if let Some(status) = filter.status {
        conditions.and("status = ?", [Bind::Int(status.into())]);
    }
    if filter.errors_only {
        conditions.and("outcome NOT IN ('ok', 'client_gone')", []);
    }
    if filter.refused_only {
        conditions.and("refused_by IS NOT NULL", []);
    }
    conditions.and_text("usage_source = ?", filter.usage_source.map(UsageSource::as_str));
    conditions.and_text("end_user = ?", filter.end_user.as_deref());
    conditions.and_text("route = ?", filter.route.as_deref());
    conditions.and_text("arm = ?", filter.arm.as_deref());
    conditions.and_time("accepted_at >= ?", filter.from);
    conditions.and_time("accepted_at < ?", filter.to);
    if let Some(cursor) = &page.after {
        let (at, id) = read_cursor(cursor)?;
        conditions.and("(accepted_at, request_id) < (?, ?)", [Bind::Time(DbTime(at)), Bind::Uuid(id)]);
    }
    let limit = conditions.push(Bind::Int(page.fetch_rows()));
    let sql = format!("SELECT * FROM usage_records{} ORDER BY accepted_at DESC, request_id DESC LIMIT {limit}", conditions.sql());
    let rows: Vec<Row> = query!(source, |conn| bind_all!(sqlx::query_as(AssertSqlSafe(sql)), conditions).fetch_all(conn).await)??;
    let rows = rows.into_iter().map(StoredUsage::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(rows, page, |row| Cursor::new(format!("{}.{}", row.accepted_at.micros(), row.request_id.uuid().as_simple()))))
}

/// One call with the breakdown of its charge.
pub async fn get(source: impl Source, scope: TenantScope, id: RequestId) -> Result<UsageDetail, StoreError> {
    let mut conditions = Filter::default();
    conditions.and_uuid("request_id = ?", Some(id.uuid()));
    in_scope(&mut conditions, scope);
    let sql = format!("SELECT * FROM usage_records{} ORDER BY attempt DESC LIMIT 1", conditions.sql());
    let row: Option<Row> =
        query!(source, |conn| bind_all!(sqlx::query_as(AssertSqlSafe(sql)), conditions).fetch_optional(conn).await)??;
    let record: StoredUsage = row.ok_or_else(|| StoreError::NotFound { kind: "request", id: id.to_string() })?.try_into()?;
    let breakdown = record.prices.and_then(|prices| prices.charge(&record.usage).ok());
    Ok(UsageDetail { record, breakdown })
}

/// Calls as CSV; with the header for the first page of an export.
pub fn to_csv<'a>(records: impl IntoIterator<Item = &'a StoredUsage>, with_header: bool) -> String {
    let header = with_header.then(|| CSV_HEADER.map(str::to_owned).to_vec());
    csv_text::write(header.into_iter().chain(records.into_iter().map(StoredUsage::csv_cells)))
}

fn in_scope(conditions: &mut Filter, scope: TenantScope) {
    conditions.and_uuid("tenant_id = ?", scope.tenant());
    conditions.and_uuid(CALLS_OF_PERSON, scope.person());
}

fn read_cursor(cursor: &Cursor) -> Result<(Timestamp, Uuid), StoreError> {
    let parts = cursor
        .as_str()
        .split_once('.')
        .and_then(|(at, id)| Some((Timestamp::from_micros(at.parse().ok()?), Uuid::try_parse(id).ok()?)));
    parts.ok_or_else(|| StoreError::Invalid {
        field: "after",
        reason: "not a cursor of this list; pass on `next_cursor` as it came".into(),
    })
}
