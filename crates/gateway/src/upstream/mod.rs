//! The upstream side of the wire: connections, request headers, and what is known of the credentials' health.

mod ask;
mod client;
pub mod codex;
mod dial;
mod door;
mod handshake;
mod headers;
mod pool;
mod proxy;
mod through;
mod wire;

pub use ask::{Asking, ask};
pub use client::Unanswered;
pub use dial::{DialError, chain, is_metadata};
pub use door::{Door, NoDoor, ToSend};
pub use headers::AskedWith;
pub use pool::Pool;
pub use proxy::{Proxy, ProxyError, ProxyStanding};
pub use wire::AnswerBody;
