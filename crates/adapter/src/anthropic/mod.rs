//! Anthropic Messages (`POST /v1/messages`).

pub(crate) mod blocks;
mod carrier;
pub(crate) mod decode;
pub(crate) mod encode;
mod encode_answer;
mod encode_turns;
pub(crate) mod error;
mod follow;
mod hosted;
mod plain_answer;
mod schema;
pub(crate) mod stream;
mod stream_encode;
mod strip;
mod structured;
mod taxonomy;
mod thinking;
mod tools;
pub(crate) mod usage;
pub(crate) mod wire;

pub(crate) use follow::follow;
pub(crate) use strip::strip;
