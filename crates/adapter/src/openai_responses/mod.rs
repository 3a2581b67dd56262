//! OpenAI Responses (`POST /v1/responses`), for the stateless part of it: what a gateway that stores no conversation can keep.

pub(crate) mod carrier;
mod controls;
pub(crate) mod decode;
pub(crate) mod encode;
mod encode_turns;
pub(crate) mod error;
mod history;
mod parts;
mod search;
pub(crate) mod stream;
mod strip;
mod substitutes;
pub(crate) mod tools;
pub(crate) mod usage;
pub(crate) mod wire;

pub(crate) use crate::hop::never as follow;
pub(crate) use strip::strip;
