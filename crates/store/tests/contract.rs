//! What every engine must do alike: one suite, run on SQLite and on PostgreSQL.

mod contract {
    pub mod config;
    pub mod declared;
    pub mod engine;
    pub mod login;
    pub mod responses;
    pub mod routes;
    pub mod schema;
    pub mod snapshot;
    pub mod tenancy;
}

/// Each test runs once an engine, on a database of its own.
#[macro_export]
macro_rules! contract {
    ($(async fn $name:ident($store:ident: &TestStore) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "one list of imports for all tests of the file")]
            use super::*;
            use tallygate_store::testing::TestStore;

            async fn on($store: &TestStore) $body

            #[tokio::test]
            async fn sqlite() {
                on(&TestStore::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(store) = TestStore::postgres().await {
                    on(&store).await;
                }
            }
        }
    )*};
}
