//! The openai_chat dialect.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod stream;
pub(crate) mod usage;
pub(crate) mod wire;
