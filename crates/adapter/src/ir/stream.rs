//! A streamed answer.

use serde_json::Value;

use super::{Citation, FinishReason, Part, Signature, ToolKind, UsageReport};

/// One step of a streamed answer.
///
/// Grammar a decoder keeps: `Start` first and once; for each candidate parts numbered 0, 1, 2 … each with one `PartStart`,
/// any `PartDelta`, one `PartEnd`; then one `Finish`; after all candidates one `End`. `Usage` may come anywhere after
/// `Start`, any number of times, each replacing the one before. Parts of one candidate may overlap only if they are tool
/// calls (OpenAI chat interleaves them); encoders that must not interleave queue.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    Start {
        id: Option<String>,
        model: Option<String>,
    },
    PartStart {
        candidate: u32,
        part: u32,
        start: PartStart,
    },
    PartDelta {
        candidate: u32,
        part: u32,
        delta: Delta,
    },
    PartEnd {
        candidate: u32,
        part: u32,
    },
    Finish {
        candidate: u32,
        reason: FinishReason,
        raw: Option<String>,
        stop_sequence: Option<String>,
        explanation: Option<String>,
    },
    Usage(UsageReport),
    /// The upstream is alive.
    Ping,
    /// The terminal event of the upstream was seen.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PartStart {
    Text,
    Reasoning {
        id: Option<String>,
        is_summary: bool,
    },
    Refusal,
    ToolCall {
        id: String,
        name: String,
        kind: ToolKind,
    },
    /// A part that comes whole (an image, redacted reasoning, a vendor block): no delta follows, only `PartEnd`.
    Whole(Box<Part>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Of a text, reasoning or refusal part.
    Text(String),
    /// A fragment of the arguments' JSON text (or of a custom tool's free text).
    Arguments(String),
    /// The whole signature of the part; at most one.
    Signature(Signature),
    Citation(Citation),
    /// OpenAI's `logprobs` of a chunk.
    Logprobs(Value),
}
