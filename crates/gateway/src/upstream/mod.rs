//! The upstream side of the wire: connections, request headers, and what is known of the credentials' health.

mod ask;
pub mod codex;
mod dial;
mod headers;
mod health;
mod pool;

pub use ask::{Asking, ask};
pub use dial::{ProxyError, is_metadata};
pub use headers::{AskedWith, request_headers};
pub use health::Health;
pub use pool::{Client, Pool};
