//! The whole data plane on a loopback port, between real sockets.

mod cases;
mod continuations;
mod conveniences;
mod counting;
mod dialects;
mod embeddings;
mod failover;
mod forwarding;
mod hedging;
mod lifecycle;
mod limits;
mod live;
mod media;
mod models;
mod once;
mod pinned;
mod plain;
mod proxies;
mod refusals;
mod retries;
mod rig;
mod signatures;
mod stored;
mod timeouts;
mod upstream;
mod upstream_words;
