//! The database of Tallygate: one set of queries over PostgreSQL and SQLite.
//!
//! It keeps tenants, issued keys, upstreams with their sealed secrets, models, users and sessions, and it hands the data
//! plane a [`Snapshot`] of the configuration whenever it changes. Prices, usage and the audit trail belong to the billing
//! crate, which reaches its own tables through [`Db`], [`Tx`] and [`query!`].
//!
//! A module a resource. Reading takes a [`Source`] (`&Store`, `&Db` or `&mut Tx`); writing takes `&mut Tx`, so that a change
//! and its audit row commit together. Every write of configuration bumps the version the change feed carries; an update
//! names the version it was made from, and fails with [`StoreError::VersionMismatch`] if that is no longer the one stored.
//!
//! What this crate never does: hand out a secret it was given (only a fingerprint), price anything, speak HTTP.
//!
//! ```
//! # use std::sync::Arc;
//! # use tallygate_store::{Secrets, Store, StoreError, TenantScope, tenants::{self, TenantSettings}};
//! # use tallygate_types::SystemClock;
//! # async fn example(folder: &std::path::Path) -> Result<(), StoreError> {
//! let url = format!("sqlite:{}", folder.join("tallygate.db").display());
//! let store = Store::open(&url, Secrets::generate()?, Arc::new(SystemClock)).await?;
//! store.migrate().await?;
//!
//! let mut tx = store.begin().await?;
//! let acme = tenants::create(&mut tx, &TenantSettings::named("acme")).await?;
//! let version = tx.commit().await?; // the data plane hears of it
//!
//! assert_eq!(tenants::get(&store, TenantScope::All, acme.id).await?, acme);
//! assert_eq!(store.snapshot().await?.version, version);
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # tokio::runtime::Runtime::new().unwrap().block_on(example(folder.path())).unwrap();
//! ```

pub mod admin_tokens;
mod assembly;
mod billing_terms;
pub mod budgets;
mod check;
mod counts;
pub mod credentials;
mod db;
pub mod declared;
mod error;
mod feed;
mod housekeeping;
mod key_format;
pub mod keys;
mod limits;
mod made;
mod many;
mod migrate;
pub mod models;
mod page;
pub mod pins;
pub mod projects;
mod proxies;
pub mod responses;
pub mod retention;
pub mod routes;
pub mod routing;
mod rows;
mod rows_text;
mod secrets;
pub mod sessions;
pub mod setup;
pub mod snapshot;
pub mod standing;
mod store;
pub mod targets;
pub mod tenants;
#[cfg(feature = "test-support")]
pub mod testing;
pub mod throttle;
mod tx;
pub mod upstreams;
pub mod users;
mod value;

pub use billing_terms::{BillingMode, BillingTerms};
pub use counts::{Counts, TenantCounts, counts, counts_of_tenant};
pub use db::{Conn, Db, Engine, Held, Place, Source};
pub use error::StoreError;
pub use key_format::{KEY_PREFIX, KeyShape, MAX_KEY_CHARS, MIN_DECLARED_KEY_CHARS, key_shape};
pub use limits::{Budget, BudgetPeriod, Limits, ManagedBy, TenantScope};
pub use made::Made;
pub use many::ManyRows;
pub use page::{Cursor, DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS, Page, PageRequest};
pub use proxies::{MAX_PROXIES, ProxyPool};
pub use rows::Rows;
pub use secrets::{KeyDigest, KeyDigester, SecretBytes32, Secrets};
pub use snapshot::{
    BalanceEntry, BudgetEntry, CredentialEntry, KeyEntry, KeyTerms, ModelEntry, ProjectEntry, RouteEntry, Snapshot, TargetEntry,
    TenantBounds, TenantEntry, UpstreamEntry,
};
pub use store::Store;
pub use tx::Tx;
pub use value::{DbTime, SplitAmount};
