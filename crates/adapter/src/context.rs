//! What an answer needs to know of the request it answers.

use std::collections::BTreeMap;

use tallygate_types::Timestamp;

use crate::ir::{ClientTool, Object};

/// Handed to the encoders of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseContext {
    /// Our request id: the source of every id we must mint, so that the same request always gets the same ids.
    pub response_id: String,
    /// The name the client asked for; answers carry it instead of the upstream's.
    pub client_model: String,
    pub created_at: Timestamp,
    /// Chat streams: send the usage chunk.
    pub include_usage: bool,
    /// Chat: answer in the old `function_call` shape.
    pub legacy_functions: bool,
    /// The client can receive reasoning text.
    pub expose_reasoning: bool,
    /// Gemini without `alt=sse`: the stream is one JSON array.
    pub json_array: bool,
    /// Input in tokens by the size of the request: what is said where the upstream counts nothing, in a dialect whose answers
    /// must have a usage. `None` in the others.
    pub input_estimate: Option<u64>,
    /// What the dialect repeats of the request ([`ir::Request::echo`](crate::ir::Request::echo)).
    pub echo: Object,
    /// Tools the client knows as more than a function ([`ir::Request::client_tools`](crate::ir::Request::client_tools)).
    pub client_tools: BTreeMap<String, ClientTool>,
    /// The client sends signed reasoning back as it got it.
    pub carries_reasoning: bool,
    /// Number of the first event we say ourselves (Responses numbers its events; some may have passed before).
    pub first_sequence: u64,
}

impl ResponseContext {
    /// For answers in which nothing of ours is written.
    pub(crate) fn unused() -> Self {
        Self {
            response_id: String::new(),
            client_model: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            include_usage: false,
            legacy_functions: false,
            expose_reasoning: false,
            json_array: false,
            input_estimate: None,
            echo: Object::new(),
            client_tools: BTreeMap::new(),
            carries_reasoning: false,
            first_sequence: 0,
        }
    }
}
