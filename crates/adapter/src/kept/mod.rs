//! Requests of the Responses API that refer to what was kept of earlier ones, and what is to be kept of an answer.
//!
//! Who keeps what, and where, is the caller's business. Here a request says what it refers to ([`asked`]), is filled up with
//! what was kept ([`fill_in`]), and a finished answer is found in its stream ([`terminal`]).

mod items;
mod references;
mod terminal;

pub use items::{Filled, KeptResponse, deleted, fill_in, find_item, input_page};
pub use references::{Asked, Handles, Reference, asked, response_of_item, without_foreign_reasoning};
pub use terminal::{Terminal, id_of, not_kept, terminal};

pub(crate) use references::sealed_handle;

/// The beginning of every id of a response.
pub const RESPONSE_PREFIX: &str = "resp_";
