//! What it adds to a request that its key is authenticated, its limits are asked and its budgets set aside, with 10,000 tenants and
//! 100,000 keys loaded and all in use. Keys come in no order, so that nothing of theirs is in a cache.
//!
//! `cargo bench -p tallygate-gateway --bench admission`. The bar is 3 µs for all of it: `everything` less `nothing`. Each part is
//! told alone too; `nothing` is what it takes to pick a key's text.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use tallygate_billing::{Budgets, Spender};
use tallygate_gateway::limits::{Holders, MemoryLimiter, Permit, Purpose, Scope, ScopeKind, Scopes, Subject};
use tallygate_store::{
    Budget, BudgetEntry, BudgetPeriod, KeyDigester, KeyEntry, KeyShape, Limits, SecretBytes32, Snapshot, TenantEntry, key_shape,
};
use tallygate_types::{Currency, IdMap, Pico, Timestamp};

const TENANTS: usize = 10_000;
const KEYS_PER_TENANT: usize = 10;
const TOKENS: u64 = 500;
/// Of a budget that does not end, a request's reservation and its cost.
const BUDGET: Pico = Pico::new(1 << 100);
const RESERVED: Pico = Pico::new(90_000_000_000);
const COST: Pico = Pico::new(30_000_000_000);
const START: i64 = 1_700_000_000_000_000;

const WIDE: Limits =
    Limits { requests_per_minute: Some(4_000_000_000), tokens_per_minute: Some(1 << 60), concurrency: Some(1_000) };

fn main() {
    divan::main();
}

/// Made once: it takes longer than what is measured.
static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    digester: KeyDigester,
    snapshot: Snapshot,
    /// The text of each key.
    texts: Vec<String>,
    holders: Holders,
    budgets: Budgets,
    turn: AtomicU64,
}

impl World {
    fn new() -> Self {
        let digester = KeyDigester::new(&SecretBytes32::new([7; 32]));
        let tenant = |at: usize| {
            let named = TenantEntry::named(format!("tenant {at}"));
            let budget = Budget { amount: BUDGET, currency: Currency::USD, period: BudgetPeriod::Month };
            let budgets = Some(Arc::new(vec![BudgetEntry::of_tenant(named.id, budget)]));
            Arc::new(TenantEntry { limits: WIDE, budgets, ..named })
        };
        let tenants: Vec<_> = (0..TENANTS).map(tenant).collect();
        let texts: Vec<_> = (0..TENANTS * KEYS_PER_TENANT).map(|at| text(at as u64)).collect();
        let key = |(at, text): (usize, &String)| {
            let tenant = Arc::clone(&tenants[at / KEYS_PER_TENANT]);
            (digester.digest(text), Arc::new(KeyEntry { limits: WIDE, ..KeyEntry::named(format!("key {at}"), tenant) }))
        };
        let keys: IdMap<_, _> = texts.iter().enumerate().map(key).collect();
        let tenants = tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect();
        let snapshot = Snapshot { version: 1, keys, tenants, ..Snapshot::default() };
        let budgets = Budgets::alone(Timestamp::from_micros(START));
        let world = Self { digester, snapshot, texts, holders: Holders::default(), budgets, turn: AtomicU64::new(0) };
        // Everybody has been here before.
        for text in &world.texts {
            let key = world.authenticate(text);
            world.limit(key, Timestamp::from_micros(START));
            world.reserve(key, Timestamp::from_micros(START));
        }
        world
    }

    /// The next request: whose, and when. A tenth of a millisecond after the one before.
    fn next(&self) -> (&str, Timestamp) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = mixed(turn) as usize % self.texts.len();
        (&self.texts[at], Timestamp::from_micros(START + turn as i64 * 100))
    }

    fn authenticate(&self, text: &str) -> &KeyEntry {
        assert!(key_shape(text) == KeyShape::Issued, "a key of ours");
        &self.snapshot.keys[&self.digester.digest(text)]
    }

    /// From admission to the end: of the tenant and of the key.
    fn limit(&self, key: &KeyEntry, now: Timestamp) {
        let (tenant, of_key) = (self.holders.tenant(&key.tenant), self.holders.key(key));
        let scope =
            |kind, holder| Scope { kind, subject: "", id: Subject::Name, holder, limits: &WIDE, default_concurrency: None };
        let mut scopes = Scopes::new(scope(ScopeKind::Tenant, &tenant));
        scopes.push(scope(ScopeKind::Key, &of_key));
        let permit = MemoryLimiter.take(scopes.as_slice(), Purpose::Generating, TOKENS, now);
        let mut permit: Box<dyn Permit> = permit.expect("the limits are wide");
        permit.dispatched();
        permit.settle(TOKENS / 2, now);
    }

    /// Set aside, and settled.
    fn reserve(&self, key: &KeyEntry, now: Timestamp) {
        let spender = Spender { key, model: "smart", end_user: None };
        let reservation = self.budgets.reserve(spender, RESERVED, Currency::USD, now).expect("the budget is large");
        black_box(&reservation);
        reservation.settle(COST);
    }
}

/// An issued key's form: the prefix, 51 characters, and the sum of both.
fn text(number: u64) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |at: u64| char::from(BASE62[(mixed(number << 6 | at) % 62) as usize]);
    let mut key: String = "sk-tg1_".chars().chain((0..51).map(digit)).collect();
    let mut rest = crc32fast::hash(key.as_bytes());
    let mut sum = [b'0'; 6];
    for slot in sum.iter_mut().rev() {
        *slot = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    key.extend(sum.map(char::from));
    key
}

/// SplitMix64: neighbours become strangers.
const fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[divan::bench]
fn nothing(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| {
        let (text, now) = world.next();
        // As whoever reads the header does.
        black_box((text.as_bytes().last().copied(), now))
    });
}

#[divan::bench]
fn authentication(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| black_box(world.authenticate(world.next().0).expires_at));
}

/// With authentication, without which nobody knows whose limits they are.
#[divan::bench]
fn authentication_and_limits(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| {
        let (text, now) = world.next();
        world.limit(world.authenticate(text), now);
    });
}

#[divan::bench]
fn authentication_and_budget(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| {
        let (text, now) = world.next();
        world.reserve(world.authenticate(text), now);
    });
}

#[divan::bench]
fn everything(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| {
        let (text, now) = world.next();
        let key = world.authenticate(text);
        world.limit(key, now);
        world.reserve(key, now);
    });
}
