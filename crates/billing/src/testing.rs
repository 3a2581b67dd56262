//! Records for tests: the same number gives the same record.

use std::sync::Arc;
use std::time::Duration;

use tallygate_store::BudgetPeriod;
use tallygate_types::{
    ApiKeyId, BudgetId, CredentialId, Currency, Dialect, ModelId, Pico, PriceVersionId, RequestId, TenantId, Timestamp,
    UnitPrice, UpstreamId, Usage, UsageClass,
};
use uuid::Uuid;

use crate::budget::{Draw, Draws};
use crate::price::{ClassPrices, PriceVersion};
use crate::record::{AttemptRecord, BeginRecord, Endpoint, UsageRecord, UsageSource};

pub const INPUT_PICO: i128 = 3_000_000;
pub const OUTPUT_PICO: i128 = 15_000_000;
/// 2026-11-10T12:00:00Z
pub const NOON: Timestamp = Timestamp::from_micros(1_794_312_000_000_000);

pub fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(1))
}

pub fn key() -> ApiKeyId {
    ApiKeyId::from_uuid(Uuid::from_u128(2))
}

pub fn model() -> ModelId {
    ModelId::from_uuid(Uuid::from_u128(3))
}

/// Three dollars a million in, fifteen out.
pub fn price() -> Arc<PriceVersion> {
    let unit = |pico: i128| UnitPrice::new(pico as i64).unwrap();
    Arc::new(PriceVersion {
        id: PriceVersionId::from_uuid(Uuid::from_u128(4)),
        model_id: model(),
        currency: Currency::USD,
        valid_from: Timestamp::UNIX_EPOCH,
        prices: ClassPrices::default()
            .with(UsageClass::InputUncached, unit(INPUT_PICO))
            .with(UsageClass::OutputText, unit(OUTPUT_PICO)),
        source: None,
        created_at: Timestamp::UNIX_EPOCH,
        created_by: "test".into(),
    })
}

pub fn begin(n: u32, input_estimate: u64, reserved: Pico) -> BeginRecord {
    BeginRecord {
        request_id: RequestId::from_uuid(Uuid::from_u128(0x1000_0000 + u128::from(n))),
        attempt: 1,
        accepted_at: NOON.saturating_add(Duration::from_secs(u64::from(n))),
        tenant_id: tenant(),
        key_id: key(),
        end_user: Some(format!("user-{n}")),
        endpoint: Endpoint::Messages,
        client_dialect: Dialect::Anthropic,
        upstream_dialect: Some(Dialect::Anthropic),
        model_id: Some(model()),
        model: "smart".into(),
        upstream_model: Some("claude-sonnet-5-5".into()),
        upstream_id: Some(UpstreamId::from_uuid(Uuid::from_u128(5))),
        upstream: Some("anthropic-main".into()),
        credential_id: Some(CredentialId::from_uuid(Uuid::from_u128(6))),
        stream: true,
        input_estimate: Usage::default().with(UsageClass::InputUncached, input_estimate),
        price: Some(price()),
        reserved,
        bytes_in: 400,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        route: Some("beta".into()),
        arm: Some("b".into()),
        affinity: Some("session".into()),
        budgets: draws(),
    }
}

pub fn draws() -> Draws {
    let draw = |budget, subject: &str| Draw {
        budget: BudgetId::from_uuid(Uuid::from_u128(budget)),
        subject: subject.into(),
        period: BudgetPeriod::Month,
        since: Timestamp::from_micros(1_793_491_200_000_000),
        until: Timestamp::from_micros(1_796_083_200_000_000),
    };
    Draws::new(vec![draw(7, ""), draw(8, "user")])
}

pub fn begin_of(record: &UsageRecord) -> BeginRecord {
    let n = (record.request_id.uuid().as_u128() - 0x1000_0000) as u32;
    begin(n, 100, record.reserved)
}

/// `100 + n` tokens in, `10 + n` out, a second after the one before.
pub fn record(n: u32) -> UsageRecord {
    let begin = begin(n, 100, Pico::new(1_000_000_000_000));
    let first_byte_at = begin.accepted_at.saturating_add(Duration::from_millis(200));
    let mut record = UsageRecord::from_begin(&begin, begin.accepted_at.saturating_add(Duration::from_millis(900)));
    record.first_byte_at = Some(first_byte_at);
    record.usage =
        Usage::default().with(UsageClass::InputUncached, 100 + u64::from(n)).with(UsageClass::OutputText, 10 + u64::from(n));
    record.usage_source = UsageSource::Provider;
    record.raw_usage = Some(r#"{"input_tokens":100}"#.into());
    record.charge = price().charge(&record.usage).unwrap().total;
    record.finish_reason = Some("end_turn".into());
    record.returned_model = Some("claude-sonnet-5-5-20261001".into());
    record.overhead_us = 120;
    record.bytes_out = 512;
    record.attempts = vec![AttemptRecord {
        upstream: "anthropic-main".into(),
        credential_id: begin.credential_id,
        status: Some(200),
        outcome: "ok".into(),
        reason: None,
        started_at: begin.accepted_at,
        duration_us: 900_000,
        cost: None,
    }];
    record
}
