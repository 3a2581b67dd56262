//! Gemini `generateContent` and `streamGenerateContent`.

mod citations;
pub(crate) mod decode;
pub(crate) mod encode;
mod encode_config;
mod encode_tools;
pub(crate) mod error;
mod finish;
mod follow;
mod history;
mod ids;
mod native;
mod parts;
pub(crate) mod schema;
mod signature;
pub(crate) mod stream;
mod strip;
mod taxonomy;
pub(crate) mod usage;
pub(crate) mod wire;

pub(crate) use follow::follow;
pub(crate) use strip::strip;
