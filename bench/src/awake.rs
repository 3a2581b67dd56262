//! Keeps the load and the provider from falling asleep between two requests, and the cores from halting.
//!
//! On one machine a peer that sleeps is woken by whoever sends to it, and on a virtual one that costs the sender 10 µs a time: as
//! much as nginx needs for a whole request. Over a network it would be the peer's own interrupt. Where a gateway is to be saturated,
//! or where many streams have a piece at once, the fastest leave their peers no time to sleep and would not pay it, and the others
//! would pay it for each answer.
//!
//! A virtual core that has nothing to do is given back to the host, and what it takes to have it again, 10 to 50 µs as the host's
//! other guests allow, is counted as the work of whoever is woken. A process of the lowest priority keeps it.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Notify;

/// After the last sign of work one may sleep: at the rates of an open loop all do, as they would on machines of their own.
const AWAKE_FOR: Duration = Duration::from_micros(300);

pub struct Awake {
    start: Instant,
    /// Of the last sign of work, in microseconds since the start.
    last_us: AtomicU64,
    is_asleep: AtomicBool,
    call: Notify,
}

impl Awake {
    pub fn new() -> Self {
        Self { start: Instant::now(), last_us: AtomicU64::new(0), is_asleep: AtomicBool::new(false), call: Notify::new() }
    }

    /// There is work.
    pub fn touch(&self) {
        self.last_us.store(self.now_us(), Ordering::Relaxed);
        if self.is_asleep.load(Ordering::Relaxed) {
            self.call.notify_one();
        }
    }

    /// Looks for more for a while after each piece of work, instead of waiting to be woken.
    pub async fn stay(&self) {
        loop {
            if self.now_us().saturating_sub(self.last_us.load(Ordering::Relaxed)) < AWAKE_FOR.as_micros() as u64 {
                give_way().await;
            } else {
                self.is_asleep.store(true, Ordering::Relaxed);
                self.call.notified().await;
                self.is_asleep.store(false, Ordering::Relaxed);
            }
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Until standard input ends, so that it ends with whoever started it.
pub fn spin() -> Result<()> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let ended = std::io::stdin().read_to_end(&mut Vec::new());
        is_over.store(true, Ordering::Relaxed);
        ended
    })?;
    Ok(())
}

/// Never sleeps.
pub async fn always() {
    loop {
        give_way().await;
    }
}

/// Lets the core's other processes run, and this one's other tasks.
async fn give_way() {
    std::thread::yield_now();
    tokio::task::yield_now().await;
}
