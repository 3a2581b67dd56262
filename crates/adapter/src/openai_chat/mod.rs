//! OpenAI Chat Completions (`POST /v1/chat/completions`), and what the many compatible servers make of it.

mod carriers;
pub(crate) mod controls;
pub(crate) mod decode;
mod decode_message;
mod decode_part;
pub(crate) mod encode;
mod encode_answer;
mod encode_message;
mod encode_part;
pub(crate) mod error;
mod plain_request;
pub(crate) mod stream;
mod stream_encode;
mod strip;
mod taxonomy;
pub(crate) mod usage;
pub(crate) mod wire;
mod wire_answer;

pub(crate) use crate::hop::never as follow;
pub(crate) use strip::strip;
