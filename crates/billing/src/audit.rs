//! Who changed what, when. An event is written in the transaction of the change itself, so that there is no change without
//! one, and each carries the hash of the one before, so that none can be altered or taken out unseen.

use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use tallygate_store::{Cursor, DbTime, Engine, Page, PageRequest, Source, StoreError, TenantScope, Tx, query};
use tallygate_types::{AuditEventId, TenantId, Timestamp, UserId};
use uuid::Uuid;

use crate::redact::redact;
use crate::sql::{Bind, Filter, bind_all, clean};

/// Serialises the writers of the chain on PostgreSQL (`pg_advisory_xact_lock`); the digits spell "audit".
const CHAIN_LOCK: i64 = 0x61_7564_6974;
/// Rows hashed at a time by [`verify`].
const VERIFY_ROWS: i64 = 1_000;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `user`, `cli`, `file` or `system`.
    pub kind: String,
    pub id: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
}

/// An event to record.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    pub actor: Actor,
    /// Object and verb: `tenant.create`, `api_key.revoke`.
    pub action: String,
    pub target_kind: String,
    pub target_id: Option<String>,
    pub target_name: Option<String>,
    /// The tenant it concerns, whose users may see it.
    pub tenant: Option<TenantId>,
    /// Already without secrets; what a field's name calls a secret is cut out all the same.
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub request_id: Option<String>,
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub reason: Option<String>,
}

/// An event as recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditRow {
    /// Its place in the trail.
    pub seq: i64,
    pub id: AuditEventId,
    pub at: Timestamp,
    pub actor: Actor,
    pub action: String,
    pub target_kind: String,
    pub target_id: Option<String>,
    pub target_name: Option<String>,
    pub tenant_id: Option<TenantId>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub request_id: Option<String>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub reason: Option<String>,
}

/// Which events a list shows.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub tenant: Option<TenantId>,
    pub actor_id: Option<String>,
    pub action: Option<String>,
    pub target_kind: Option<String>,
    pub target_id: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Verification {
    Whole {
        events: u64,
    },
    /// From this event on the trail is not what was written.
    Broken {
        seq: i64,
    },
}

impl Actor {
    pub fn user(id: UserId, name: impl Into<String>, role: impl Into<String>) -> Self {
        Self { kind: "user".into(), id: Some(id.to_string()), name: Some(name.into()), role: Some(role.into()) }
    }

    /// The command line, run on the machine itself.
    pub fn cli() -> Self {
        Self { kind: "cli".into(), id: None, name: None, role: None }
    }

    /// A part of the program: `seed`, `config file`, …
    pub fn system(name: impl Into<String>) -> Self {
        Self { kind: "system".into(), id: None, name: Some(name.into()), role: None }
    }
}

impl AuditEvent {
    pub fn new(actor: Actor, action: impl Into<String>, target_kind: impl Into<String>, target_id: impl ToString) -> Self {
        Self {
            actor,
            action: action.into(),
            target_kind: target_kind.into(),
            target_id: Some(target_id.to_string()),
            target_name: None,
            tenant: None,
            before: None,
            after: None,
            request_id: None,
            ip: None,
            user_agent: None,
            reason: None,
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    id: Uuid,
    at: DbTime,
    actor_kind: String,
    actor_id: Option<String>,
    actor_name: Option<String>,
    actor_role: Option<String>,
    action: String,
    target_kind: String,
    target_id: Option<String>,
    target_name: Option<String>,
    tenant_id: Option<Uuid>,
    before: Option<Json<Value>>,
    after: Option<Json<Value>>,
    request_id: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    reason: Option<String>,
    previous_hash: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
}

const COLUMNS: &str = "seq, id, at, actor_kind, actor_id, actor_name, actor_role, action, target_kind, target_id, target_name,
    tenant_id, before, after, request_id, ip, user_agent, reason, previous_hash, hash";

impl From<Row> for AuditRow {
    fn from(row: Row) -> Self {
        Self {
            seq: row.seq,
            id: AuditEventId::from_uuid(row.id),
            at: row.at.0,
            actor: Actor { kind: row.actor_kind, id: row.actor_id, name: row.actor_name, role: row.actor_role },
            action: row.action,
            target_kind: row.target_kind,
            target_id: row.target_id,
            target_name: row.target_name,
            tenant_id: row.tenant_id.map(TenantId::from_uuid),
            before: row.before.map(|json| json.0),
            after: row.after.map(|json| json.0),
            request_id: row.request_id,
            ip: row.ip,
            user_agent: row.user_agent,
            reason: row.reason,
        }
    }
}

/// Records `event` in the transaction of the change it tells of.
pub async fn record(tx: &mut Tx, event: AuditEvent) -> Result<AuditEventId, StoreError> {
    if tx.engine() == Engine::Postgres {
        // SQLite has one writer; here two transactions could follow the same event.
        query!(&mut *tx, |conn| {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CHAIN_LOCK).execute(conn).await.map(|_| ())
        })??;
    }
    let last: Option<(i64, Option<Vec<u8>>)> = query!(&mut *tx, |conn| {
        sqlx::query_as("SELECT seq, hash FROM audit_events ORDER BY seq DESC LIMIT 1").fetch_optional(conn).await
    })??;
    let previous_hash = last.and_then(|(_, hash)| hash);
    let text = |text: Option<String>| text.map(|text| clean(&text).into_owned());
    let value = |value: Option<Value>| value.map(|value| clean_json(redact(value)));
    let row = AuditRow {
        seq: 0,
        id: AuditEventId::generate(),
        at: tx.now(),
        actor: event.actor,
        action: event.action,
        target_kind: event.target_kind,
        target_id: text(event.target_id),
        target_name: text(event.target_name),
        tenant_id: event.tenant,
        before: value(event.before),
        after: value(event.after),
        request_id: text(event.request_id),
        ip: event.ip.map(|ip| ip.to_string()),
        user_agent: text(event.user_agent),
        reason: text(event.reason),
    };
    let hash = chain(previous_hash.as_deref(), &row);
    query!(&mut *tx, |conn| {
        sqlx::query(
            "INSERT INTO audit_events (id, at, actor_kind, actor_id, actor_name, actor_role, action, target_kind, target_id,
                target_name, tenant_id, before, after, request_id, ip, user_agent, reason, previous_hash, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        )
        .bind(row.id.uuid())
        .bind(DbTime(row.at))
        .bind(&row.actor.kind)
        .bind(&row.actor.id)
        .bind(&row.actor.name)
        .bind(&row.actor.role)
        .bind(&row.action)
        .bind(&row.target_kind)
        .bind(&row.target_id)
        .bind(&row.target_name)
        .bind(row.tenant_id.map(TenantId::uuid))
        .bind(row.before.as_ref().map(Json))
        .bind(row.after.as_ref().map(Json))
        .bind(&row.request_id)
        .bind(&row.ip)
        .bind(&row.user_agent)
        .bind(&row.reason)
        .bind(&previous_hash)
        .bind(&hash)
        .execute(conn)
        .await
        .map(|_| ())
    })??;
    Ok(row.id)
}

/// The events a caller may see, the newest first.
pub async fn list(
    source: impl Source,
    scope: TenantScope,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Page<AuditRow>, StoreError> {
    let mut conditions = Filter::default();
    conditions.and_uuid("tenant_id = ?", scope.tenant());
    // The trail is a tenant's as a whole; of a person's part of it nothing is known.
    if scope.person().is_some() {
        conditions.and("1 = 0", []);
    }
    conditions.and_uuid("tenant_id = ?", filter.tenant.map(TenantId::uuid));
    conditions.and_text("actor_id = ?", filter.actor_id.as_deref());
    conditions.and_text("action = ?", filter.action.as_deref());
    conditions.and_text("target_kind = ?", filter.target_kind.as_deref());
    conditions.and_text("target_id = ?", filter.target_id.as_deref());
    conditions.and_time("at >= ?", filter.from);
    conditions.and_time("at < ?", filter.to);
    if let Some(cursor) = &page.after {
        let before = cursor.as_str().parse().map_err(|_| bad_cursor())?;
        conditions.and("seq < ?", [Bind::Int(before)]);
    }
    let limit = conditions.push(Bind::Int(page.fetch_rows()));
    let sql = format!("SELECT {COLUMNS} FROM audit_events{} ORDER BY seq DESC LIMIT {limit}", conditions.sql());
    let rows: Vec<Row> = query!(source, |conn| bind_all!(sqlx::query_as(AssertSqlSafe(sql)), conditions).fetch_all(conn).await)??;
    Ok(Page::cut(rows.into_iter().map(AuditRow::from).collect(), page, |row| Cursor::new(row.seq.to_string())))
}

/// Walks the whole trail and recomputes its chain.
pub async fn verify(db: &tallygate_store::Db) -> Result<Verification, StoreError> {
    let (mut after, mut events, mut previous) = (i64::MIN, 0_u64, None::<Vec<u8>>);
    loop {
        let sql = format!("SELECT {COLUMNS} FROM audit_events WHERE seq > $1 ORDER BY seq LIMIT $2");
        let rows: Vec<Row> =
            query!(db, |conn| sqlx::query_as(AssertSqlSafe(sql)).bind(after).bind(VERIFY_ROWS).fetch_all(conn).await)??;
        if rows.is_empty() {
            return Ok(Verification::Whole { events });
        }
        for row in rows {
            let (seq, hash, claimed) = (row.seq, row.hash.clone(), row.previous_hash.clone());
            let expected = chain(previous.as_deref(), &row.into());
            if claimed != previous || hash.as_deref() != Some(&expected) {
                return Ok(Verification::Broken { seq });
            }
            (after, events, previous) = (seq, events + 1, hash);
        }
    }
}

fn bad_cursor() -> StoreError {
    StoreError::Invalid { field: "after", reason: "not a cursor of this list; pass on `next_cursor` as it came".into() }
}

/// The hash of an event and all before it. `seq` is the database's and stays out.
fn chain(previous: Option<&[u8]>, row: &AuditRow) -> Vec<u8> {
    let content = json!([
        row.id.to_string(),
        row.at.micros(),
        row.actor.kind,
        row.actor.id,
        row.actor.name,
        row.actor.role,
        row.action,
        row.target_kind,
        row.target_id,
        row.target_name,
        row.tenant_id.map(|id| id.to_string()),
        row.before.clone().map(sorted),
        row.after.clone().map(sorted),
        row.request_id,
        row.ip,
        row.user_agent,
        row.reason,
    ]);
    let mut context = Context::new(&SHA256);
    context.update(previous.unwrap_or_default());
    context.update(content.to_string().as_bytes());
    context.finish().as_ref().to_vec()
}

/// The same value with its fields in order, since PostgreSQL keeps them in one of its own.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        value => value,
    }
}

/// PostgreSQL holds no NUL in JSON either.
fn clean_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(clean_json).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (clean(&name).into_owned(), clean_json(value))).collect())
        }
        value => value,
    }
}
