//! Usage records leave after the configured time, looked for once a day.

use std::sync::Arc;
use std::time::Duration;

use tallygate_store::{Store, StoreError, retention};
use tallygate_types::Timestamp;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_hours(24);
/// After the start, which has better things to do.
const FIRST_LOOK: Duration = Duration::from_mins(5);

/// Runs until `stop`; every replica does it, and what one has removed the others do not find.
pub async fn keep(store: Arc<Store>, usage_days: u32, stop: CancellationToken) {
    let mut wait = FIRST_LOOK;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = INTERVAL;
        match drop_old(&store, usage_days).await {
            Ok(removed) => tracing::info!(removed, usage_days, "old usage records were looked for"),
            Err(error) => tracing::warn!(%error, "old usage records could not be removed; it is tried again in a day"),
        }
    }
}

async fn drop_old(store: &Store, usage_days: u32) -> Result<u64, StoreError> {
    let kept = Duration::from_hours(24) * usage_days;
    let now = store.clock().now().micros();
    let before = now.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
    retention::drop_usage_before(store, Timestamp::from_micros(before)).await
}
