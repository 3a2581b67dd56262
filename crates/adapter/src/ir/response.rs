//! A whole answer.

use serde_json::Value;
use tallygate_types::Usage;

use super::{Extensions, Part, ServiceTier};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Response {
    /// The upstream's id, as it wrote it.
    pub id: Option<String>,
    /// The model that answered, as the upstream names it.
    pub model: Option<String>,
    pub candidates: Vec<Candidate>,
    pub usage: Option<UsageReport>,
    pub service_tier: Option<ServiceTier>,
    pub extensions: Extensions,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub index: u32,
    pub parts: Vec<Part>,
    pub finish: FinishReason,
    /// The provider's own word, for the usage record.
    pub raw_finish: Option<String>,
    /// The stop sequence that ended it, where the provider says so.
    pub stop_sequence: Option<String>,
    /// Why it was refused or filtered, in the provider's words.
    pub explanation: Option<String>,
    /// OpenAI's `logprobs` object of a choice.
    pub logprobs: Option<Value>,
}

/// Decoders say `ToolUse` whenever a finished answer holds a client tool call, whatever word the provider used for a normal end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    Stop,
    StopSequence,
    Length,
    /// The context window was full.
    ContextWindow,
    ToolUse,
    /// The model declined.
    Refusal,
    /// A filter of the provider cut or blocked it.
    ContentFilter,
    /// The provider wants to be asked again to go on (Anthropic `pause_turn`).
    Pause,
    /// The model wrote a call the provider could not read (Gemini `MALFORMED_FUNCTION_CALL`).
    MalformedToolCall,
    /// The provider misses a signature in the history (Gemini `MISSING_THOUGHT_SIGNATURE`).
    MissingSignature,
    Unknown,
}

/// What the provider says was used.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UsageReport {
    /// Disjoint classes.
    pub usage: Usage,
    /// The provider's own JSON object.
    pub raw: String,
}

impl Candidate {
    pub fn new(index: u32, parts: Vec<Part>, finish: FinishReason) -> Self {
        Self { index, parts, finish, raw_finish: None, stop_sequence: None, explanation: None, logprobs: None }
    }
}
