//! What a decision costs: nanoseconds and allocations of one plan, health aside.
//!
//! `cargo bench -p tallygate-gateway --bench plan`. The bar is 300 ns for one target with one credential, and no allocation
//! but the list of attempts.

use divan::{AllocProfiler, Bencher, black_box};
use tallygate_gateway::bench::Planner;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Targets and credentials of each.
#[divan::bench(args = [(1, 1), (1, 5), (3, 1), (10, 5)])]
fn in_turn(bencher: Bencher, (targets, credentials): (usize, usize)) {
    let planner = Planner::new(targets, credentials);
    bencher.bench_local(|| black_box(planner.plan(None)));
}

#[divan::bench(args = [(1, 1), (1, 5), (3, 1), (10, 5)])]
fn of_a_session(bencher: Bencher, (targets, credentials): (usize, usize)) {
    let planner = Planner::new(targets, credentials);
    bencher.bench_local(|| black_box(planner.plan(black_box(Some("thread-1")))));
}
