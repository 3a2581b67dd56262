//! A day of usage for the demo: made from a fixed seed, shaped like a working day, priced like real calls.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tallygate_billing::{AttemptRecord, BeginRecord, Endpoint, Outcome, PriceVersion, Spender, UsageRecord, UsageSource, budget};
use tallygate_store::{KeyEntry, ModelEntry, TargetEntry};
use tallygate_types::{Dialect, RequestId, Timestamp, Usage, UsageClass};

const SEED: u64 = 20_261_122;
const HOURS: u64 = 24;
const SECONDS_PER_HOUR: u64 = 3_600;
/// Calls in the quietest hour, and what the busiest adds.
const NIGHT_CALLS: u64 = 12;
const DAY_CALLS: u64 = 70;
/// One call in so many fails at its upstream; one in so many is refused for its rate.
const UPSTREAM_ERROR_ONE_IN: u32 = 60;
const RATE_LIMITED_ONE_IN: u32 = 90;
const HTTP_OK: u16 = 200;

/// A model with the price that applies to it.
pub type Priced = (Arc<ModelEntry>, Arc<PriceVersion>);

/// The records of the 24 hours before `now`, oldest first.
pub fn records(now: Timestamp, keys: &[Arc<KeyEntry>], models: &[Priced]) -> Vec<UsageRecord> {
    if keys.is_empty() || models.is_empty() {
        return Vec::new();
    }
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut records = Vec::new();
    for hour in 0..HOURS {
        for _ in 0..calls_in(hour) {
            let seconds_ago = (HOURS - hour) * SECONDS_PER_HOUR - rng.random_range(1..SECONDS_PER_HOUR);
            let accepted_at = Timestamp::from_micros(now.micros() - Duration::from_secs(seconds_ago).as_micros() as i64);
            // The first key and model are the busiest, as in most installations.
            let key = &keys[skewed(&mut rng, keys.len())];
            let (model, price) = &models[skewed(&mut rng, models.len())];
            records.extend(model.targets.first().map(|target| call(&mut rng, accepted_at, key, model, target, price)));
        }
    }
    records.sort_by_key(|record| record.accepted_at);
    records
}

/// A triangle with its top in the middle of the day.
const fn calls_in(hour: u64) -> u64 {
    let from_noon = hour.abs_diff(HOURS / 2);
    NIGHT_CALLS + DAY_CALLS * (HOURS / 2 - from_noon) / (HOURS / 2)
}

fn skewed(rng: &mut StdRng, len: usize) -> usize {
    rng.random_range(0..len).min(rng.random_range(0..len))
}

fn call(
    rng: &mut StdRng,
    accepted_at: Timestamp,
    key: &KeyEntry,
    model: &ModelEntry,
    target: &TargetEntry,
    price: &Arc<PriceVersion>,
) -> UsageRecord {
    let dialect = target.upstream.dialect;
    let first_byte = Duration::from_millis(rng.random_range(120..900));
    let duration = first_byte + Duration::from_millis(rng.random_range(200..9_000));
    let credential_id = target.upstream.credentials.first().map(|credential| credential.id);
    let begin = BeginRecord {
        request_id: RequestId::generate(),
        attempt: 1,
        accepted_at,
        tenant_id: key.tenant.id,
        key_id: key.id,
        end_user: None,
        endpoint: endpoint(dialect),
        client_dialect: dialect,
        upstream_dialect: Some(dialect),
        model_id: Some(model.id),
        model: model.name.clone(),
        upstream_model: Some(target.upstream_model.clone()),
        upstream_id: Some(target.upstream.id),
        upstream: Some(target.upstream.name.clone()),
        credential_id,
        stream: rng.random_ratio(3, 5),
        input_estimate: Usage::default(),
        price: Some(Arc::clone(price)),
        reserved: tallygate_types::Pico::ZERO,
        bytes_in: rng.random_range(300..20_000),
        trace_id: None,
        route: None,
        arm: None,
        affinity: None,
        budgets: budget::draws(Spender { key, model: &model.name, end_user: None }, price.currency, accepted_at),
    };
    let mut record = UsageRecord::from_begin(&begin, accepted_at.saturating_add(duration));
    record.overhead_us = rng.random_range(90..900);
    if rng.random_ratio(1, RATE_LIMITED_ONE_IN) {
        return refused(record);
    }
    let failed = rng.random_ratio(1, UPSTREAM_ERROR_ONE_IN);
    record.attempts.push(AttemptRecord {
        upstream: target.upstream.name.clone(),
        credential_id,
        status: Some(if failed { 503 } else { HTTP_OK }),
        outcome: if failed { "overloaded" } else { "ok" }.into(),
        reason: None,
        started_at: accepted_at,
        duration_us: duration.as_micros() as u64,
        cost: None,
    });
    if failed {
        record.outcome = Outcome::UpstreamError;
        record.status = 503;
        record.error_code = Some("upstream_unavailable".into());
        return record;
    }
    record.first_byte_at = Some(accepted_at.saturating_add(first_byte));
    record.returned_model = record.upstream_model.as_deref().map(str::to_owned);
    record.finish_reason = Some("stop".into());
    record.usage = usage(rng, dialect);
    record.usage_source = UsageSource::Provider;
    record.bytes_out = record.usage.output_total() * 4 + 400;
    // The demo's prices cover every class that `usage` makes.
    record.charge = price.charge(&record.usage).map(|charge| charge.total).unwrap_or_default();
    record
}

fn refused(mut record: UsageRecord) -> UsageRecord {
    record.attempt = 0;
    record.finished_at = record.accepted_at;
    record.outcome = Outcome::RateLimited;
    record.status = 429;
    record.error_code = Some("rate_limit_exceeded".into());
    record.upstream_id = None;
    record.upstream = None;
    record.upstream_model = None;
    record.upstream_dialect = None;
    record.credential_id = None;
    record
}

fn usage(rng: &mut StdRng, dialect: Dialect) -> Usage {
    let input = rng.random_range(80..6_000);
    let cached = if rng.random_ratio(2, 5) { input / 2 } else { 0 };
    let mut usage = Usage::default()
        .with(UsageClass::InputUncached, input - cached)
        .with(UsageClass::InputCacheRead, cached)
        .with(UsageClass::OutputText, rng.random_range(20..1_500));
    if matches!(dialect, Dialect::OpenaiResponses | Dialect::Gemini) {
        usage.set(UsageClass::OutputReasoning, rng.random_range(0..800));
    }
    if dialect == Dialect::Anthropic && cached == 0 {
        usage.set(UsageClass::InputCacheWrite5m, input / 4);
    }
    usage
}

const fn endpoint(dialect: Dialect) -> Endpoint {
    match dialect {
        Dialect::OpenaiChat => Endpoint::ChatCompletions,
        Dialect::OpenaiResponses => Endpoint::Responses,
        Dialect::Anthropic => Endpoint::Messages,
        Dialect::Gemini => Endpoint::GenerateContent,
    }
}
