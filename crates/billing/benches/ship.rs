//! What it takes to bring the records of small requests of many tenants from the journal to SQLite:
//! `cargo bench -p tallygate-billing --bench ship [-- RECORDS]`.
//!
//! The thread `shipper` is what the product's thread of that name does; under
//! `valgrind --tool=callgrind --separate-threads=yes` its instructions are told apart from those of the database's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tallygate_billing::{
    AttemptRecord, BeginRecord, ClassPrices, Draws, Endpoint, Journal, JournalConfig, PriceVersion, Shipper, UsageRecord,
    UsageSource,
};
use tallygate_store::testing::TestStore;
use tallygate_types::{
    ApiKeyId, CredentialId, Currency, Dialect, ModelId, Pico, PriceVersionId, RequestId, TenantId, Timestamp, UnitPrice,
    UpstreamId, Usage, UsageClass,
};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: u32 = 20_000;
const TENANTS: u32 = 10_000;
const DEADLINE: Duration = Duration::from_mins(10);
/// 2026-11-10T12:00:00Z
const NOON: Timestamp = Timestamp::from_micros(1_794_312_000_000_000);

fn main() {
    let records = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(RECORDS);
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).expect("open the journal");
    let price = price();
    let written_at = Instant::now();
    for n in 0..records {
        let begin = begin(n, &price);
        journal.begin(&begin).expect("write a BEGIN");
        journal.end(&record(n, begin)).expect("write an END");
    }
    println!("{:.2} us a record to write both of it", written_at.elapsed().as_secs_f64() * 1e6 / f64::from(records));
    let ship = std::thread::Builder::new().name("shipper".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = TestStore::sqlite().await;
            let shipper = Shipper::new(store.shared(), journal);
            let shipped_at = Instant::now();
            shipper.flush(DEADLINE).await.expect("ship them all");
            println!("{:.2} us a record to ship it", shipped_at.elapsed().as_secs_f64() * 1e6 / f64::from(records));
            assert_eq!(shipper.metrics().shipped_total, u64::from(records));
        });
    });
    ship.expect("start the thread").join().expect("ship");
}

fn price() -> Arc<PriceVersion> {
    let per_million = |text| UnitPrice::parse_per_million(text).expect("a price");
    Arc::new(PriceVersion {
        id: PriceVersionId::from_uuid(id(4, 0)),
        model_id: ModelId::from_uuid(id(3, 0)),
        currency: Currency::USD,
        valid_from: NOON,
        prices: ClassPrices::default()
            .with(UsageClass::InputUncached, per_million("3.00"))
            .with(UsageClass::InputCacheRead, per_million("0.30"))
            .with(UsageClass::OutputText, per_million("15.00")),
        source: None,
        created_at: NOON,
        created_by: "file".into(),
    })
}

/// As it comes from a generator of ids: kind and time before, the rest at random.
fn id(kind: u128, n: u32) -> Uuid {
    Uuid::from_u128(0x01a2_0805_0000_7000_8000_0000_0000_0000 | kind << 80 | u128::from(n.wrapping_mul(0x9E37_79B1)))
}

fn begin(n: u32, price: &Arc<PriceVersion>) -> BeginRecord {
    let tenant = n.wrapping_mul(7_919) % TENANTS;
    BeginRecord {
        request_id: RequestId::from_uuid(id(9, n)),
        attempt: 1,
        accepted_at: NOON.saturating_add(Duration::from_micros(25 * u64::from(n))),
        tenant_id: TenantId::from_uuid(id(1, tenant)),
        key_id: ApiKeyId::from_uuid(id(2, tenant)),
        end_user: None,
        endpoint: Endpoint::ChatCompletions,
        client_dialect: Dialect::OpenaiChat,
        upstream_dialect: Some(Dialect::OpenaiChat),
        model_id: Some(ModelId::from_uuid(id(3, 0))),
        model: "bench-json".into(),
        upstream_model: Some("up-json".into()),
        upstream_id: Some(UpstreamId::from_uuid(id(5, 0))),
        upstream: Some("chat".into()),
        credential_id: Some(CredentialId::from_uuid(id(6, 0))),
        stream: false,
        input_estimate: Usage::default().with(UsageClass::InputUncached, 65),
        price: Some(Arc::clone(price)),
        reserved: Pico::new(4_100_000_000),
        bytes_in: 258,
        trace_id: None,
        route: None,
        arm: None,
        affinity: None,
        budgets: Draws::default(),
    }
}

fn record(n: u32, begin: BeginRecord) -> UsageRecord {
    let finished_at = begin.accepted_at.saturating_add(Duration::from_millis(2));
    let mut record = begin.into_record(finished_at);
    record.first_byte_at = Some(finished_at);
    record.usage = Usage::default().with(UsageClass::InputUncached, 48).with(UsageClass::OutputText, 100 + u64::from(n % 50));
    record.usage_source = UsageSource::Provider;
    record.raw_usage = Some(r#"{"prompt_tokens":48,"completion_tokens":100,"total_tokens":148}"#.into());
    if let Some(price) = &record.price {
        record.charge = price.charge(&record.usage).expect("a charge").total;
    }
    record.finish_reason = Some("stop".into());
    record.returned_model = Some("up-json".into());
    record.upstream_request_id = Some(format!("chatcmpl-bench{n:020}"));
    record.overhead_us = 30;
    record.bytes_out = 377;
    record.attempts = vec![AttemptRecord {
        upstream: "chat".into(),
        credential_id: record.credential_id,
        status: Some(200),
        outcome: "ok".into(),
        reason: None,
        started_at: record.accepted_at,
        duration_us: 1_900,
        cost: None,
    }];
    record
}
