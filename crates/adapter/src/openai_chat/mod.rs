//! OpenAI Chat Completions (`POST /v1/chat/completions`), and what the many compatible servers make of it.

pub(crate) mod decode;
mod decode_message;
pub(crate) mod encode;
mod encode_message;
pub(crate) mod error;
pub(crate) mod stream;
mod stream_encode;
pub(crate) mod usage;
pub(crate) mod wire;
