//! What keeps itself in order while a store is open, so that no caller can forget it.

use std::sync::Arc;
use std::time::Duration;

use tallygate_types::Timestamp;
use tokio::time::sleep;

use crate::store::{Core, begin};
use crate::{Db, StoreError, credentials, pins, responses, retention, sessions, setup, standing, throttle};

const INTERVAL: Duration = Duration::from_hours(1);
/// Ended sessions can be looked at this long.
const SESSIONS_KEPT: Duration = Duration::from_hours(30 * 24);

/// Rows of one DELETE of expired ones, so that the writer is never held long; stored responses are large.
const RESPONSES_AT_ONCE: i64 = 1_000;
const PINS_AT_ONCE: i64 = 5_000;

/// Runs until aborted. Every replica does it; each step is harmless twice.
pub(crate) async fn keep(db: Db, core: Arc<Core>) {
    loop {
        sleep(INTERVAL).await;
        if let Err(error) = tidy(&db, &core).await {
            tracing::warn!(%error, "housekeeping failed; it is tried again in an hour");
        }
    }
}

pub(crate) async fn tidy(db: &Db, core: &Arc<Core>) -> Result<(), StoreError> {
    retention::make_partitions(db, core.clock.now()).await?;
    let mut tx = begin(db, core).await?;
    let now = tx.now();
    let kept_since = Timestamp::from_micros(now.micros().saturating_sub(SESSIONS_KEPT.as_micros() as i64));
    let sessions = sessions::purge(&mut tx, kept_since).await?;
    let throttled = throttle::purge(&mut tx).await?;
    let tokens = setup::purge(&mut tx, kept_since).await?;
    let retired = credentials::disable_retired(&mut tx).await?;
    let standings = standing::purge(&mut tx).await?;
    tx.commit().await?;
    let mut expired = 0;
    // A transaction a chunk, so that the writer is free between them.
    loop {
        let mut tx = begin(db, core).await?;
        let removed = (responses::purge(&mut tx, RESPONSES_AT_ONCE).await?, pins::purge(&mut tx, PINS_AT_ONCE).await?);
        tx.commit().await?;
        expired += removed.0 + removed.1;
        if removed.0 < RESPONSES_AT_ONCE.unsigned_abs() && removed.1 < PINS_AT_ONCE.unsigned_abs() {
            break;
        }
    }
    tracing::debug!(sessions, throttled, tokens, retired, standings, expired, "housekeeping done");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::{NewPin, Pin};
    use crate::responses::{NewResponse, ResponseSettings, ResponsesMode};
    use crate::tenants::{self, TenantSettings};
    use crate::testing::TestStore;
    use crate::throttle::Subject;

    #[tokio::test]
    async fn tidying_makes_the_coming_days_and_removes_what_is_over() {
        for store in [Some(TestStore::sqlite().await), TestStore::postgres().await].into_iter().flatten() {
            let mut tx = store.begin().await.unwrap();
            setup::issue(&mut tx).await.unwrap();
            throttle::note_failure(&mut tx, &Subject::Account("ada@example.com".into())).await.unwrap();
            let stored = ResponseSettings { mode: ResponsesMode::Stored, ..ResponseSettings::default() };
            let settings = TenantSettings { responses: stored, ..TenantSettings::named("acme") };
            let acme = tenants::create(&mut tx, &settings).await.unwrap().id;
            let beta = tenants::create(&mut tx, &TenantSettings::named("beta")).await.unwrap().id;
            tx.commit().await.unwrap();
            let response = NewResponse { id: "resp_1", previous_id: None, input: "[]", response: "{}" };
            responses::keep(&store, acme, &stored, &response).await.unwrap();
            responses::keep(&store, beta, &stored, &response).await.unwrap();
            tidy(store.db(), store.core()).await.unwrap();
            assert_eq!(responses::held(store.db(), acme).await.unwrap(), (1, 4));
            assert_eq!(responses::held(store.db(), beta).await.unwrap(), (0, 0), "a tenant who wants nothing kept");
            let pin = Pin { upstream: tallygate_types::UpstreamId::generate(), credential: None };
            pins::remember(&store, &[NewPin { tenant: acme, id: "resp_2".into(), pin }]).await.unwrap();
            store.clock.advance(Duration::from_hours(40 * 24));
            tidy(store.db(), store.core()).await.unwrap();
            assert_eq!(responses::held(store.db(), acme).await.unwrap(), (0, 0));
            assert_eq!(pins::count(store.db(), acme).await.unwrap(), 0);
            let mut tx = store.begin().await.unwrap();
            assert_eq!(throttle::purge(&mut tx).await.unwrap(), 0);
            assert_eq!(setup::purge(&mut tx, store.clock().now()).await.unwrap(), 0);
            if let Db::Pg(pool) = store.db() {
                let days: Vec<String> = sqlx::query_scalar(
                    "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE i.inhparent = 'usage_records'::regclass AND c.relname LIKE 'usage_records_2%' ORDER BY 1",
                )
                .fetch_all(pool)
                .await
                .unwrap();
                assert_eq!(
                    (days.len(), days[0].as_str(), days[15].as_str()),
                    (16, "usage_records_20261122", "usage_records_20270108")
                );
            }
        }
    }
}
