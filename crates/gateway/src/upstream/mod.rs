//! The upstream side of the wire: connections, request headers, and what is known of the credentials' health.

mod ask;
pub mod codex;
mod dial;
mod handshake;
mod headers;
mod pool;
mod proxy;
mod through;

pub use ask::{Asking, ask};
pub use dial::{DialError, chain, is_metadata};
pub use headers::{AskedWith, request_headers};
pub use pool::{Client, Pool};
pub use proxy::{Proxy, ProxyError, ProxyStanding};
