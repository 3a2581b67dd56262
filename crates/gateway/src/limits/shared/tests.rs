//! Against a real server, whose clock the tests set.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use secrecy::ExposeSecret as _;
use tallygate_store::Limits;
use tallygate_types::{Clock as _, ManualClock, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::limits::{Exceeded, Holder, Levels, Permit, ScopeKind, Subject};
use crate::metrics::Metrics;

/// In place of the server's own.
const CLOCK: &str = "local now = tonumber(redis.call('GET', 'now'))\n";
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A server of a test's own, on a socket in a folder.
struct Server {
    child: Child,
    folder: TempDir,
    clock: Arc<ManualClock>,
    line: Option<MultiplexedConnection>,
}

impl Server {
    /// `None`: none is installed.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { child: Self::spawn(&folder)?, folder, clock: Arc::new(ManualClock::new(START)), line: None };
        server.is_ready().await;
        Some(server)
    }

    fn spawn(folder: &TempDir) -> Option<Child> {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(folder.path().join("redis"));
        let spawned = command.current_dir(folder.path()).stdout(Stdio::null()).spawn();
        if spawned.is_err() {
            eprintln!("skipped: redis-server is not installed");
        }
        spawned.ok()
    }

    fn url(&self) -> SecretString {
        format!("unix://{}", self.folder.path().join("redis").display()).into()
    }

    async fn is_ready(&mut self) {
        let client = redis::Client::open(self.url().expose_secret()).unwrap();
        for _ in 0..500 {
            if let Ok(line) = client.get_multiplexed_async_connection().await {
                self.line = Some(line);
                return self.advance(Duration::ZERO).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not come up");
    }

    async fn command(&self, words: &[&str]) {
        let mut line = self.line.clone().unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query_async::<redis::Value>(&mut line).await.unwrap();
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.command(&["SET", "now", &self.clock.now().micros().to_string()]).await;
    }

    /// All is gone but the time.
    async fn flush(&self) {
        self.command(&["FLUSHALL"]).await;
        self.advance(Duration::from_millis(1)).await;
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(name).arg(self.child.id().to_string()).status().unwrap().success());
    }

    fn limiter(&self, on_failure: OnFailure) -> SharedLimiter {
        let metrics = SharedLimitMetrics::new(Metrics::new().unwrap().registry()).unwrap();
        SharedLimiter::with_link(Link::with_clock(&self.url(), CLOCK).unwrap(), on_failure, metrics)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A process that shares its limits.
struct Replica {
    limiter: SharedLimiter,
    tenant: Arc<Holder>,
    clock: Arc<ManualClock>,
}

const fn limits(requests: Option<u32>, tokens: Option<u64>, concurrency: Option<u32>) -> Limits {
    Limits { requests_per_minute: requests, tokens_per_minute: tokens, concurrency }
}

fn tenant_scope<'a>(holder: &'a Arc<Holder>, limits: &'a Limits) -> Scope<'a> {
    let id = Subject::Id(Uuid::from_u128(7));
    Scope { kind: ScopeKind::Tenant, subject: "acme", id, holder, limits, default_concurrency: None }
}

async fn answer(asked: Asked) -> Answer {
    match asked {
        Asked::Now(answer) => answer,
        Asked::Later(answer) => answer.await,
    }
}

fn exceeded(answer: Answer) -> Box<Exceeded> {
    match answer {
        Err(Declined::Exceeded(exceeded)) => exceeded,
        Err(Declined::Unknown) => panic!("unknown"),
        Ok(_) => panic!("admitted"),
    }
}

impl Replica {
    async fn of(server: &Server, on_failure: OnFailure) -> Self {
        let limiter = server.limiter(on_failure);
        limiter.meet().await;
        Self { limiter, tenant: Arc::default(), clock: Arc::clone(&server.clock) }
    }

    async fn ask(&self, limits: &Limits, tokens: u64) -> Answer {
        let now = self.clock.now();
        answer(self.limiter.admit(&[tenant_scope(&self.tenant, limits)], Purpose::Generating, tokens, now)).await
    }

    async fn sent(&self, limits: &Limits, tokens: u64) -> Box<dyn Permit> {
        let mut permit = self.ask(limits, tokens).await.unwrap();
        permit.dispatched();
        permit
    }

    /// Of so many asked.
    async fn admitted(&self, limits: &Limits, of: u32) -> u32 {
        let mut admitted = 0;
        for _ in 0..of {
            if let Ok(mut permit) = self.ask(limits, 0).await {
                permit.dispatched();
                admitted += 1;
            }
        }
        admitted
    }

    /// What the task does all the time.
    async fn work(&self) {
        self.limiter.0.beat().await;
        self.limiter.0.run_errands().await;
    }

    fn stance(&self) -> Stance {
        self.limiter.0.standing.stance(Instant::now())
    }
}

async fn three(server: &Server, on_failure: OnFailure) -> [Replica; 3] {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(Replica::of(server, on_failure).await);
    }
    // Each has met the others.
    for replica in &all {
        replica.work().await;
    }
    all.try_into().ok().unwrap()
}

#[tokio::test]
async fn a_rate_is_of_all_replicas_together_and_what_they_did_not_use_is_anybodys() {
    let Some(server) = Server::start().await else { return };
    let [a, b, c] = three(&server, OnFailure::Share).await;
    let limits = limits(Some(10), Some(1_000), None);
    assert_eq!(a.admitted(&limits, 6).await, 6);
    assert_eq!(b.sent(&limits, 400).await.levels().requests.unwrap().remaining, 3);
    let mut last = c.sent(&limits, 500).await;
    let refused = exceeded(a.ask(&limits, 200).await);
    assert_eq!((refused.scope, &*refused.subject, refused.dimension), (ScopeKind::Tenant, "acme", Dimension::Tokens));
    assert_eq!((refused.limit, refused.used, refused.retry_after), (1_000, 900, Duration::from_millis(60_500)));

    last.settle(100, server.clock.now());
    c.work().await;
    let unused = a.ask(&limits, 200).await.unwrap();
    assert_eq!(unused.levels().tokens.unwrap().remaining, 300);
    drop(unused);
    a.work().await;
    assert_eq!(b.admitted(&limits, 10).await, 2);

    server.advance(Duration::from_millis(60_500)).await;
    assert_eq!(c.admitted(&limits, 20).await, 10);
}

#[tokio::test]
async fn places_are_of_all_replicas_together_and_those_of_a_dead_one_come_free() {
    let Some(server) = Server::start().await else { return };
    let [a, b, c] = three(&server, OnFailure::Share).await;
    let limits = limits(None, None, Some(3));
    let (one, _two) = (a.ask(&limits, 0).await.unwrap(), b.ask(&limits, 0).await.unwrap());
    let of_dead = c.ask(&limits, 0).await.unwrap();
    let refused = exceeded(a.ask(&limits, 0).await);
    assert_eq!((refused.dimension, refused.limit, refused.used), (Dimension::Concurrency, 3, 3));
    drop(one);
    a.work().await;
    let _one = c.ask(&limits, 0).await.unwrap();
    assert_eq!(exceeded(b.ask(&limits, 0).await).used, 3);

    // Those that live tell of what they hold.
    server.advance(HELD_FOR / 2).await;
    for replica in [&b, &c] {
        replica.limiter.0.is_to_tell.store(true, Ordering::Release);
        replica.work().await;
    }
    server.advance(HELD_FOR / 2).await;
    assert_eq!(exceeded(a.ask(&limits, 0).await).used, 3);
    // Nobody tells of the places of `c` any more.
    std::mem::forget((of_dead, c));
    b.limiter.0.is_to_tell.store(true, Ordering::Release);
    b.work().await;
    server.advance(HELD_FOR / 2).await;
    let _kept = (a.ask(&limits, 0).await.unwrap(), a.ask(&limits, 0).await.unwrap());
    assert_eq!(exceeded(a.ask(&limits, 0).await).used, 3);
}

#[tokio::test]
async fn a_flush_is_seen_by_the_first_that_asks_and_each_keeps_to_its_share_until_a_minute_has_passed() {
    let Some(server) = Server::start().await else { return };
    let all = three(&server, OnFailure::Share).await;
    let limits = limits(Some(10), None, None);
    assert_eq!(all[0].admitted(&limits, 2).await, 2);
    server.flush().await;
    let mut admitted = 0;
    for replica in &all {
        admitted += replica.admitted(&limits, 10).await;
        let Stance::Mending { rates: true, places: true, crew } = replica.stance() else { panic!("{:?}", replica.stance()) };
        assert_eq!(crew.count, 3);
    }
    // Whoever had admitted two before the flush admits two less after it.
    assert_eq!(admitted, 8);
}

#[tokio::test]
async fn places_that_were_flushed_are_told_again() {
    let Some(server) = Server::start().await else { return };
    let [a, b, c] = three(&server, OnFailure::Open).await;
    let limits = limits(None, None, Some(3));
    let _held = (a.ask(&limits, 0).await.unwrap(), b.ask(&limits, 0).await.unwrap());
    server.flush().await;
    for replica in [&a, &b, &c] {
        replica.work().await;
    }
    let _held = c.ask(&limits, 0).await.unwrap();
    assert_eq!(exceeded(c.ask(&limits, 0).await).used, 3);
}

#[tokio::test]
async fn without_the_server_each_has_its_share_or_all_or_nothing_and_nobody_waits() {
    let Some(server) = Server::start().await else { return };
    let rates = limits(Some(9), None, None);
    let (share, open, closed) = (
        three(&server, OnFailure::Share).await,
        Replica::of(&server, OnFailure::Open).await,
        Replica::of(&server, OnFailure::Closed).await,
    );
    for replica in &share {
        replica.work().await;
    }
    server.signal("-KILL");
    for replica in &share {
        // Five processes are there.
        let admitted = replica.admitted(&rates, 10).await;
        assert!((1..=2).contains(&admitted), "{admitted}");
        assert!(matches!(replica.stance(), Stance::Alone(Crew { count: 5, .. })), "{:?}", replica.stance());
    }
    assert_eq!(open.admitted(&rates, 20).await, 9);
    assert!(matches!(closed.ask(&rates, 0).await, Err(Declined::Unknown)));
    // Whoever has no limits is not concerned.
    assert!(closed.ask(&Limits::default(), 0).await.is_ok());
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_deadline_and_soon_nothing() {
    let Some(server) = Server::start().await else { return };
    let replica = Replica::of(&server, OnFailure::Open).await;
    let rates = limits(Some(1_000), None, None);
    assert_eq!(replica.admitted(&rates, 3).await, 3);
    server.signal("-STOP");
    let began = Instant::now();
    let mut waits = Vec::new();
    while replica.stance() == Stance::Shared {
        let asked = Instant::now();
        assert!(replica.ask(&rates, 0).await.is_ok());
        waits.push(asked.elapsed());
    }
    assert!(waits.iter().all(|wait| *wait < 2 * LOOK * LOOKS), "{waits:?}");
    assert!(waits.len() <= 4 && began.elapsed() < Duration::from_secs(2), "{waits:?}");
    // Nothing is asked any more.
    let now = replica.clock.now();
    let asked = replica.limiter.admit(&[tenant_scope(&replica.tenant, &rates)], Purpose::Generating, 0, now);
    assert!(matches!(asked, Asked::Now(Ok(_))));

    server.signal("-CONT");
    for _ in 0..100 {
        replica.work().await;
        if !matches!(replica.stance(), Stance::Alone(_)) {
            break;
        }
    }
    assert!(matches!(replica.stance(), Stance::Mending { .. }), "{:?}", replica.stance());
}

#[tokio::test]
async fn a_question_that_is_late_is_counted_once() {
    let Some(server) = Server::start().await else { return };
    let replica = Replica::of(&server, OnFailure::Share).await;
    let rates = limits(Some(10), None, None);
    let before = replica.sent(&rates, 0).await;
    server.signal("-STOP");
    let late = replica.sent(&rates, 0).await;
    assert_eq!(replica.stance(), Stance::Shared);
    server.signal("-CONT");
    // The server takes up what is on its line before what comes now.
    assert_eq!(replica.sent(&rates, 0).await.levels().requests.unwrap().remaining, 7);
    drop((before, late));
    replica.work().await;
    assert_eq!(replica.admitted(&rates, 10).await, 7);
}

#[tokio::test]
async fn a_look_shows_what_all_have_used_and_takes_nothing() {
    let Some(server) = Server::start().await else { return };
    let [a, b, _] = three(&server, OnFailure::Share).await;
    let limits = limits(Some(10), Some(1_000), Some(5));
    let _held = (a.sent(&limits, 300).await, b.sent(&limits, 200).await);
    let row = |dimension, limit, id| Row {
        limit: EffectiveLimit {
            scope: ScopeKind::Tenant,
            subject: Some("acme".to_owned()),
            dimension,
            limit,
            used: 1,
            remaining: limit - 1,
            resets_at: None,
            source: tallygate_types::live::LimitSource::Tenant,
        },
        id,
    };
    let id = Subject::Id(Uuid::from_u128(7));
    let all = [
        (Dimension::Concurrency, 7, None),
        (Dimension::Concurrency, 5, Some(id)),
        (Dimension::Requests, 10, Some(id)),
        (Dimension::Tokens, 1_000, Some(id)),
    ];
    let mut rows = all.map(|(dimension, limit, id)| row(dimension, limit, id));
    for _ in 0..2 {
        b.limiter.look(TenantId::from_uuid(Uuid::from_u128(7)), &mut rows, server.clock.now()).await;
        assert_eq!(rows.each_ref().map(|row| (row.limit.used, row.limit.remaining)), [(1, 6), (2, 3), (2, 8), (500, 500)]);
        assert_eq!(rows.each_ref().map(|row| row.limit.resets_at.is_some()), [false, false, true, true]);
    }
}

/// What happens to the limits of a tenant and its key.
#[derive(Debug, Clone)]
enum Event {
    Pause(Duration),
    Ask {
        tokens: u64,
    },
    /// The request that is so manieth of those that run ends, sent or not.
    End {
        which: usize,
        used: u64,
        is_sent: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..900_u64).prop_map(|millis| Event::Pause(Duration::from_millis(millis))),
        1 => (0..70_000_u64).prop_map(|millis| Event::Pause(Duration::from_millis(millis))),
        6 => (0..120_u64).prop_map(|tokens| Event::Ask { tokens }),
        3 => (any::<usize>(), 0..200_u64, any::<bool>()).prop_map(|(which, used, is_sent)| Event::End { which, used, is_sent }),
    ]
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let (requests, tokens) = (proptest::option::of(0..12_u32), proptest::option::of(0..700_u64));
    (requests, tokens, proptest::option::of(0..8_u32)).prop_map(|(requests, tokens, places)| limits(requests, tokens, places))
}

/// What is said of a request, by memory and by the server.
#[derive(Debug, PartialEq)]
struct Said {
    levels: Levels,
    exceeded: Option<Box<Exceeded>>,
}

/// Plays the events through memory and through the server, and compares every answer.
async fn play(limiter: &SharedLimiter, server: &Server, case: u128, tenant: Limits, key: Limits, events: Vec<Event>) {
    let shared = &limiter.0;
    let holders: [Arc<Holder>; 2] = Default::default();
    let mut running: Vec<(Box<dyn Permit>, SharedPermit)> = Vec::new();
    for event in events {
        match event {
            Event::Pause(pause) => server.advance(pause).await,
            Event::Ask { tokens } => {
                let now = server.clock.now();
                let id = Subject::Id(Uuid::from_u128(case));
                let scopes = [
                    Scope { id, ..tenant_scope(&holders[0], &tenant) },
                    Scope { kind: ScopeKind::Key, id, ..tenant_scope(&holders[1], &key) },
                ];
                let of_memory = MemoryLimiter.take(&scopes, Purpose::Generating, tokens, now);
                let wanted = Wanted::of(&scopes, Purpose::Generating, tokens, now);
                let mut place = shared.place(&wanted);
                let name = place.name();
                let told = shared.link.ask::<Vec<i64>>(Script::Admit, |cmd| wanted.put(cmd, &name)).await.unwrap();
                let told = wanted.read(&told).unwrap();
                let of_server = Said {
                    levels: told.refused.as_ref().map_or(told.levels, |exceeded| exceeded.levels),
                    exceeded: told.refused.clone(),
                };
                let said = match &of_memory {
                    Ok(permit) => Said { levels: permit.levels(), exceeded: None },
                    Err(exceeded) => Said { levels: exceeded.levels, exceeded: Some(exceeded.clone()) },
                };
                assert_eq!(of_server, said);
                if let Ok(permit) = of_memory {
                    place.hold();
                    // Nothing of this process is asked beside.
                    let own = MemoryLimiter.take(&[], Purpose::Generating, 0, now).unwrap();
                    let (shared, rates, levels) = (Arc::clone(shared), wanted.rates(), told.levels);
                    let of_server =
                        SharedPermit { shared, own, _place: place, rates, cell: Some(told.cell), levels, is_dispatched: false };
                    running.push((permit, of_server));
                }
            }
            Event::End { which, used, is_sent } if !running.is_empty() => {
                let (mut of_memory, mut of_server) = running.swap_remove(which % running.len());
                if is_sent {
                    of_memory.dispatched();
                    of_memory.settle(used, server.clock.now());
                    of_server.dispatched();
                    of_server.settle(used, server.clock.now());
                }
            }
            Event::End { .. } => {}
        }
        // That places which nobody tells of come free is not what is compared.
        shared.is_to_tell.store(true, Ordering::Release);
        shared.run_errands().await;
    }
}

#[test]
fn the_server_counts_as_memory_does_whatever_happens() {
    let runtime = Runtime::new().unwrap();
    let Some(server) = runtime.block_on(Server::start()) else { return };
    let limiter = server.limiter(OnFailure::Share);
    runtime.block_on(limiter.meet());
    let (mut runner, next) =
        (TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() }), AtomicU64::new(1));
    let cases = (some_limits(), some_limits(), proptest::collection::vec(event(), 1..120));
    runner
        .run(&cases, |(tenant, key, events)| {
            let case = u128::from(next.fetch_add(1, Ordering::Relaxed));
            runtime.block_on(play(&limiter, &server, case, tenant, key, events));
            Ok(())
        })
        .unwrap();
}
