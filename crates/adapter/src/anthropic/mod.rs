//! Anthropic Messages (`POST /v1/messages`).

pub(crate) mod blocks;
pub(crate) mod decode;
pub(crate) mod encode;
mod encode_turns;
pub(crate) mod error;
pub(crate) mod stream;
mod stream_encode;
mod thinking;
pub(crate) mod usage;
pub(crate) mod wire;
