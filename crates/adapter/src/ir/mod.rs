//! The form between the dialects: a superset of what the four protocols can say.
//!
//! A decoder fills what its dialect said and leaves the rest at its default; an encoder says what its dialect can say and
//! reports the rest to a [`LossReport`](crate::LossReport). What only one vendor knows travels in [`Extensions`], tagged
//! with the dialect it came from, so that an encoder of the same dialect can say it again and another can report it.
//!
//! Conventions every decoder keeps:
//! - System and developer text *before* the first other message is in [`Request::system`]; later ones are turns of their own.
//! - Tool results are [`PartKind::ToolResult`] parts of a [`Role::User`] turn, before its other parts.
//! - Arguments of a tool call are the JSON *text* the model wrote ([`ToolCall::arguments`]), `{}` when there are none.
//! - Neighbouring turns of one role are allowed; encoders that need alternation merge them.

mod part;
mod request;
mod response;
mod stream;

pub use part::{
    CacheHint, CacheTtl, Citation, Document, Media, Part, PartKind, Reasoning, Signature, Source, Text, ToolCall, ToolKind,
    ToolResult, Vendor,
};
pub use request::{
    ClientTool, Effort, Extensions, FunctionTool, OutputFormat, ReasoningControl, ReasoningMode, Request, Role, Sampling,
    ServiceTier, Tool, ToolChoice, Turn,
};
pub use response::{Candidate, FinishReason, Response, UsageReport};
pub use stream::{Delta, PartStart, StreamEvent};

/// A JSON object that keeps the order of its keys.
pub type Object = serde_json::Map<String, serde_json::Value>;
