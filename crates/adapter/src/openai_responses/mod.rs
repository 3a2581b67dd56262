//! The openai_responses dialect.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod stream;
pub(crate) mod usage;
pub(crate) mod wire;
