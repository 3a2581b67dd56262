//! How many of each resource there are: for an overview, and for bounds on what people of tenants make.

use serde::Serialize;
use tallygate_types::TenantId;

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

/// Counts of what a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenantCounts {
    /// Keys that are not revoked.
    pub api_keys: u64,
    pub projects: u64,
    pub users: u64,
}

/// Counts what a tenant has, as of one moment.
pub async fn counts_of_tenant(source: impl Source, tenant: TenantId) -> Result<TenantCounts, StoreError> {
    let (api_keys, projects, users): (i64, i64, i64) = query!(source, |conn| {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND status = 'active'),
                    (SELECT count(*) FROM projects WHERE tenant_id = $1), (SELECT count(*) FROM users WHERE tenant_id = $1)",
        )
        .bind(tenant.uuid())
        .fetch_one(conn)
        .await
    })??;
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    Ok(TenantCounts { api_keys: count(api_keys), projects: count(projects), users: count(users) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::{self, ProjectSettings};
    use crate::tenants::{self, TenantSettings};
    use crate::testing::TestStore;

    #[tokio::test]
    async fn what_is_configured_is_counted() {
        let store = TestStore::sqlite().await;
        let mut tx = store.begin().await.unwrap();
        let acme = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
        projects::create(&mut tx, acme.id, &ProjectSettings::named("web")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(counts(&store.shared()).await.unwrap(), Counts { tenants: 1, ..Counts::default() });
        let of_acme = counts_of_tenant(&store.shared(), acme.id).await.unwrap();
        assert_eq!(of_acme, TenantCounts { projects: 1, ..TenantCounts::default() });
        let of_nobody = counts_of_tenant(&store.shared(), TenantId::generate()).await.unwrap();
        assert_eq!(of_nobody, TenantCounts::default());
    }
}
