//! Gives freed memory back to the system while nothing happens.
//!
//! The allocator looks for pages it may give back only when it hands out a page or takes one back. After a start, or after a wave
//! of streams, nobody does either: what was freed would count as the process's for as long as it idles.

use std::hint::black_box;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The allocator holds what was freed for a second, in case it is wanted again.
const INTERVAL: Duration = Duration::from_secs(2);
/// Large enough for pages of its own; it is never touched, so it costs two calls and no memory.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Runs until `stop`.
pub async fn run(stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES))),
        }
    }
}
