use bytes::Bytes;
use tallygate_adapter::{Call, NoMemory, PastReasoning, Profiles, peek, prepare};
use tallygate_types::{Dialect, Timestamp};

use super::*;
use crate::metrics::Metrics;

const DAY: Duration = Duration::from_hours(24);
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn bounds() -> MemoryBounds {
    MemoryBounds { max_bytes: 10_000, max_bytes_per_tenant: 4_000, max_entry_bytes: 2_000, max_entries: 100, lifetime: DAY }
}

fn keepsakes(bounds: MemoryBounds) -> Keepsakes {
    Keepsakes::new(bounds, Metrics::new().unwrap().memory.clone())
}

/// What a Gemini answer with one call, signed in `bytes` bytes, leaves behind.
fn left_behind(id: &str, bytes: usize) -> (String, Keepsake) {
    let body = Bytes::from_static(br#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#);
    let seen = peek(Dialect::OpenaiChat, &body).unwrap();
    let call = Call {
        client: Dialect::OpenaiChat,
        upstream: Dialect::Gemini,
        speaks_responses: false,
        client_model: "smart",
        upstream_model: "gemini-3-pro",
        stream: false,
        peek: &seen,
        strict: false,
        response_id: "r",
        created_at: START,
        client_query: "",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    };
    let signature = "s".repeat(bytes);
    let answer = format!(
        r#"{{"candidates":[{{"content":{{"role":"model","parts":[{{"functionCall":{{"name":"f"}},"thoughtSignature":"{signature}"}}]}},"finishReason":"STOP"}}]}}"#
    );
    let left = prepare(&call, &body, &[]).unwrap().session.answer(answer.into()).unwrap().keepsakes;
    let (_, keepsake) = left.into_iter().find(|(key, _)| !key.starts_with("signature:")).unwrap();
    (id.to_owned(), keepsake)
}

fn knows(store: &Keepsakes, tenant: TenantId, id: &str, now: Timestamp) -> bool {
    store.of(tenant, now).recall(id).is_some()
}

#[test]
fn a_tenant_reads_only_what_was_left_for_it() {
    let store = keepsakes(bounds());
    let (ours, theirs) = (TenantId::generate(), TenantId::generate());
    store.keep(ours, vec![left_behind("call_1", 10)], START);
    assert!(knows(&store, ours, "call_1", START));
    assert!(!knows(&store, theirs, "call_1", START));
    assert_eq!((store.metrics.hits.get(), store.metrics.misses.get()), (1, 1));
}

#[test]
fn what_is_not_used_for_its_lifetime_is_gone() {
    let store = keepsakes(bounds());
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    store.keep(tenant, vec![left_behind("used", 10), left_behind("unused", 10)], START);
    let later = START.saturating_add(DAY / 2);
    assert!(knows(&store, tenant, "used", later));
    let end = START.saturating_add(DAY);
    assert!(knows(&store, tenant, "used", end));
    assert!(!knows(&store, tenant, "unused", end));
    // What nobody asks for again goes when anybody keeps something.
    store.keep(other, vec![left_behind("new", 10)], end.saturating_add(2 * DAY));
    assert_eq!(store.metrics.entries.get(), 1);
    assert_eq!(store.lock().by_tenant.len(), 1);
}

#[test]
fn a_full_drawer_gives_its_own_oldest_and_nobody_elses() {
    let store = keepsakes(bounds());
    let (greedy, modest) = (TenantId::generate(), TenantId::generate());
    store.keep(modest, vec![left_behind("modest", 500)], START);
    for number in 0..100 {
        store.keep(greedy, vec![left_behind(&format!("call_{number}"), 1_000)], START);
    }
    assert!(knows(&store, modest, "modest", START));
    assert!(knows(&store, greedy, "call_99", START));
    assert!(!knows(&store, greedy, "call_0", START));
    assert!(store.lock().by_tenant[&greedy].bytes <= 4_000);
}

#[test]
fn all_drawers_together_are_bounded_in_bytes_and_entries() {
    let store = keepsakes(bounds());
    let tenants: Vec<TenantId> = (0..8).map(|_| TenantId::generate()).collect();
    for number in 0..20 {
        for tenant in &tenants {
            store.keep(*tenant, vec![left_behind(&format!("call_{number}"), 800)], START);
            assert!(store.lock().bytes <= 10_000);
        }
    }
    let store = keepsakes(MemoryBounds { max_entries: 10, ..bounds() });
    for number in 0..50 {
        store.keep(tenants[0], vec![left_behind(&format!("call_{number}"), 1)], START);
        assert!(store.lock().entries <= 10);
    }
    assert_eq!(store.metrics.entries.get(), i64::try_from(store.lock().entries).unwrap());
}

#[test]
fn case_b52_signatures_of_200_kb_are_kept_within_bounded_memory() {
    let store = keepsakes(MemoryBounds::default());
    let tenant = TenantId::generate();
    for number in 0..200 {
        store.keep(tenant, vec![left_behind(&format!("call_{number}"), 200 * 1024)], START);
    }
    let bytes = store.lock().bytes;
    assert!(bytes <= MemoryBounds::default().max_bytes_per_tenant && bytes > 200 * 1024, "{bytes}");
    assert!(knows(&store, tenant, "call_199", START) && !knows(&store, tenant, "call_0", START));
    assert_eq!(store.metrics.bytes.get(), i64::try_from(bytes).unwrap());
    // One that is larger than any real one is not kept at all.
    store.keep(tenant, vec![left_behind("huge", 3 * 1024 * 1024)], START);
    assert!(!knows(&store, tenant, "huge", START));
    assert_eq!(store.metrics.refused.get(), 1);
}
