//! The data plane: from an accepted connection to a metered answer.
//!
//! [`serve`] runs the accept loop; `stack.rs` lists the layers a request passes, one a line. Configuration is read from a
//! [`Snapshot`](tallygate_store::Snapshot) in memory, usage is written to the journal, and nothing here waits for a database, but
//! for what a request of the Responses API refers to by id ([`Shelf`]).
//!
//! What this crate never does: speak SQL, translate between dialects (that is the adapter's), know a user or a role, log a
//! secret or a body.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tallygate_gateway::{DataPlane, Drained, Parts, serve};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example(parts: Parts) -> std::io::Result<()> {
//! let plane = DataPlane::new(parts);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let shutdown = CancellationToken::new(); // cancel it to drain, `plane.stop` to end the drain early
//! assert_eq!(serve(listener, Arc::clone(&plane), shutdown).await, Drained::Complete);
//! # Ok(())
//! # }
//! ```

mod access;
mod alarm;
mod bad_keys;
mod body;
mod boxed;
mod caller;
mod config;
mod connection;
mod exchange;
mod facts;
#[allow(dead_code, reason = "the exchange takes leases from it next")]
mod health;
mod in_flight;
mod kept;
mod layers;
pub mod limits;
mod media;
mod memory;
pub mod metrics;
mod nudge;
mod once;
mod overload;
mod path;
mod plane;
mod policy;
mod refusal;
mod routing;
mod serve;
mod settle;
mod short;
mod stack;
mod stall;
mod upstream;

pub use access::{ACCESS_TARGET, AccessLine, AccessLog, TracedAccess};
pub use config::{GatewayConfig, MediaBounds, MemoryBounds, Outbound};
pub use health::HealthBounds;
pub use kept::{NoShelf, Shelf};
pub use media::is_public;
pub use metrics::Metrics;
pub use plane::{DataPlane, Parts};
#[doc(hidden)]
pub use routing::bench;
pub use serve::{Drained, serve};
pub use upstream::{Proxy, ProxyError, ProxyStanding, is_metadata};
