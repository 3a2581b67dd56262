//! What it costs to ask all limits of a request, with 10,000 tenants and 100,000 keys that are all in use.
//!
//! `cargo bench -p tallygate-gateway --bench limits`. The bar is 3 µs.

use std::collections::BTreeMap;
use std::sync::Arc;

use divan::Bencher;
use tallygate_gateway::limits::{Holder, Holders, MemoryLimiter, Permit, Purpose, Scope, ScopeKind, Scopes, Subject};
use tallygate_store::{KeyEntry, KeyTerms, Limits, ProjectEntry, TenantBounds, TenantEntry};
use tallygate_types::{ProjectId, Timestamp};

const TENANTS: usize = 10_000;
const KEYS_PER_TENANT: usize = 10;
const END_USERS_PER_TENANT: usize = 5;
const TOKENS: u64 = 500;
/// Keys that follow each other are far apart, as in real traffic.
const STRIDE: usize = 7_919;

fn main() {
    divan::main();
}

const WIDE: Limits =
    Limits { requests_per_minute: Some(4_000_000_000), tokens_per_minute: Some(1 << 60), concurrency: Some(1_000) };

fn keys() -> Vec<KeyEntry> {
    let tenant = |at: usize| {
        let bounds = TenantBounds { models: BTreeMap::from([("smart".to_owned(), WIDE)]), end_users: WIDE };
        let named = TenantEntry::named(format!("tenant {at}"));
        Arc::new(TenantEntry { limits: WIDE, bounds: Some(Arc::new(bounds)), ..named })
    };
    let of_tenant = |tenant: Arc<TenantEntry>| {
        let project = Arc::new(ProjectEntry { limits: WIDE, ..ProjectEntry::named("web", ProjectId::generate()) });
        let terms = Arc::new(KeyTerms { project: Some(project), ..KeyTerms::default() });
        let key = move |at: usize| KeyEntry {
            limits: WIDE,
            terms: Some(Arc::clone(&terms)),
            ..KeyEntry::named(format!("key {at}"), Arc::clone(&tenant))
        };
        (0..KEYS_PER_TENANT).map(key)
    };
    (0..TENANTS).map(tenant).flat_map(of_tenant).collect()
}

/// Requests of one key after the other, a tenth of a millisecond apart.
struct Traffic {
    keys: Vec<KeyEntry>,
    holders: Holders,
    next: usize,
}

impl Traffic {
    fn new() -> Self {
        let mut traffic = Self { keys: keys(), holders: Holders::default(), next: 0 };
        // Everybody has been here before.
        (0..traffic.keys.len()).for_each(|_| traffic.five_scopes());
        traffic
    }

    fn turn(&mut self) -> (usize, Timestamp) {
        self.next += 1;
        let now = Timestamp::from_micros(1_700_000_000_000_000 + self.next as i64 * 100);
        (self.next.wrapping_mul(STRIDE) % self.keys.len(), now)
    }

    /// A tenant and its key.
    fn two_scopes(&mut self) {
        let (at, now) = self.turn();
        let key = &self.keys[at];
        let (tenant, of_key) = (self.holders.tenant(&key.tenant), self.holders.key(key));
        let mut scopes = Scopes::new(scope(ScopeKind::Tenant, &tenant));
        scopes.push(scope(ScopeKind::Key, &of_key));
        serve(&scopes, now);
    }

    /// And its project, a model of the tenant and an end user.
    fn five_scopes(&mut self) {
        let (at, now) = self.turn();
        let (key, end_user) = (&self.keys[at], format!("user {}", at % END_USERS_PER_TENANT));
        let (tenant, of_key) = (self.holders.tenant(&key.tenant), self.holders.key(key));
        let project = key.project().map(|project| self.holders.project(project)).unwrap_or_default();
        let model = self.holders.named(key.tenant.id, ScopeKind::Model, "smart", now);
        let end_user = self.holders.named(key.tenant.id, ScopeKind::EndUser, &end_user, now);
        let mut scopes = Scopes::new(scope(ScopeKind::Tenant, &tenant));
        scopes.push(scope(ScopeKind::Project, &project));
        scopes.push(scope(ScopeKind::Key, &of_key));
        scopes.push(scope(ScopeKind::Model, &model));
        scopes.push(scope(ScopeKind::EndUser, &end_user));
        serve(&scopes, now);
    }
}

fn scope(kind: ScopeKind, holder: &Arc<Holder>) -> Scope<'_> {
    Scope { kind, subject: "", id: Subject::Name, holder, limits: &WIDE, default_concurrency: None }
}

/// From admission to the end.
fn serve(scopes: &Scopes<'_>, now: Timestamp) {
    let permit = MemoryLimiter.take(scopes.as_slice(), Purpose::Generating, TOKENS, now);
    let mut permit: Box<dyn Permit> = permit.expect("the limits are wide");
    permit.dispatched();
    permit.settle(TOKENS / 2, now);
}

#[divan::bench]
fn a_tenant_and_a_key(bencher: Bencher<'_, '_>) {
    let mut traffic = Traffic::new();
    bencher.bench_local(|| traffic.two_scopes());
}

#[divan::bench]
fn all_five_scopes(bencher: Bencher<'_, '_>) {
    let mut traffic = Traffic::new();
    bencher.bench_local(|| traffic.five_scopes());
}
