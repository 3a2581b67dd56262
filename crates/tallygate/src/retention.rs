//! What leaves the database by itself, looked for once a day: usage records after the configured time, windows of budgets and what
//! was told of them when nobody asks for them any more.

use std::sync::Arc;
use std::time::Duration;

use tallygate_billing::{alerts, budget};
use tallygate_store::{Store, retention};
use tallygate_types::Timestamp;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_hours(24);
/// After the start, which has better things to do.
const FIRST_LOOK: Duration = Duration::from_mins(5);
/// Days for which it can be looked up what was spent of a budget, and what was told of it: more than a year, to compare with.
const WINDOW_DAYS: u32 = 400;

/// Runs until `stop`; every replica does it, and what one has removed the others do not find.
pub async fn keep(store: Arc<Store>, usage_days: Option<u32>, stop: CancellationToken) {
    let mut wait = FIRST_LOOK;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = INTERVAL;
        if let Some(usage_days) = usage_days {
            match retention::drop_usage_before(&store, days_ago(&store, usage_days)).await {
                Ok(removed) => tracing::info!(removed, usage_days, "old usage records were looked for"),
                Err(error) => tracing::warn!(%error, "old usage records could not be removed; it is tried again in a day"),
            }
        }
        match budget::drop_ended_before(&store, days_ago(&store, WINDOW_DAYS)).await {
            Ok(removed) => tracing::debug!(removed, "old windows of budgets were looked for"),
            Err(error) => tracing::warn!(%error, "old windows of budgets could not be removed; it is tried again in a day"),
        }
        match alerts::drop_made_before(&store, days_ago(&store, WINDOW_DAYS)).await {
            Ok(removed) => tracing::debug!(removed, "old notifications were looked for"),
            Err(error) => tracing::warn!(%error, "old notifications could not be removed; it is tried again in a day"),
        }
    }
}

fn days_ago(store: &Store, days: u32) -> Timestamp {
    let span = Duration::from_hours(24) * days;
    let now = store.clock().now().micros();
    Timestamp::from_micros(now.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}
