//! How many of each resource there are, for an overview.

use serde::Serialize;

use crate::{Source, StoreError, query};

/// Counts of what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    pub tenants: u64,
    /// Keys that are not revoked.
    pub api_keys: u64,
    pub upstreams: u64,
    pub models: u64,
}

/// Counts what is configured, as of one moment.
pub async fn counts(source: impl Source) -> Result<Counts, StoreError> {
    let (tenants, api_keys, upstreams, models): (i64, i64, i64, i64) = query!(source, |conn| {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM api_keys WHERE status = 'active'),
                    (SELECT count(*) FROM upstreams), (SELECT count(*) FROM models)",
        )
        .fetch_one(conn)
        .await
    })??;
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    Ok(Counts { tenants: count(tenants), api_keys: count(api_keys), upstreams: count(upstreams), models: count(models) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::{self, TenantSettings};
    use crate::testing::TestStore;

    #[tokio::test]
    async fn what_is_configured_is_counted() {
        let store = TestStore::sqlite().await;
        let mut tx = store.begin().await.unwrap();
        tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(counts(&store.shared()).await.unwrap(), Counts { tenants: 1, ..Counts::default() });
    }
}
