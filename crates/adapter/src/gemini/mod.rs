//! Gemini `generateContent` and `streamGenerateContent`.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod error;
mod finish;
mod history;
mod ids;
mod parts;
mod schema;
mod signature;
pub(crate) mod stream;
pub(crate) mod usage;
pub(crate) mod wire;
