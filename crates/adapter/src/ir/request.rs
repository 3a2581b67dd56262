//! What a client asks for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tallygate_types::Dialect;

use super::{CacheHint, Object, Part};

/// A request in no dialect. `None` and empty mean: the client did not say, the upstream's default applies.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    pub model: String,
    pub stream: bool,
    /// The client wants usage reported in the stream (chat's `stream_options.include_usage`; always true elsewhere).
    pub include_usage: bool,
    /// Text parts said before the first turn.
    pub system: Vec<Part>,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// `Some(false)`: at most one tool call an answer.
    pub parallel_tool_calls: Option<bool>,
    /// The client spoke OpenAI's old `functions` and must be answered in that shape.
    pub legacy_functions: bool,
    pub sampling: Sampling,
    pub stop: Vec<String>,
    /// Cap on output, reasoning included.
    pub max_output_tokens: Option<u64>,
    pub output: Option<OutputFormat>,
    /// OpenAI's `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// Output modalities other than text that were asked for, lower case (`audio`, `image`).
    pub modalities: Vec<String>,
    pub reasoning: Option<ReasoningControl>,
    /// How many answers; `None` is one.
    pub candidates: Option<u32>,
    pub logprobs: bool,
    pub top_logprobs: Option<u32>,
    /// The tenant's end user, as the client wrote it: it may be a mail address. Encoders hash it (`crate::ident`).
    pub user: Option<String>,
    pub metadata: Object,
    pub service_tier: Option<ServiceTier>,
    pub store: Option<bool>,
    pub prompt_cache_key: Option<String>,
    /// A breakpoint after the last part that can take one (Anthropic's top-level `cache_control`).
    pub cache: Option<CacheHint>,
    /// Fields only one dialect knows, unknown ones included.
    pub extensions: Extensions,
    /// What the client's dialect must repeat in its answers (OpenAI Responses echoes most of the request), filled by its decoder.
    pub echo: Object,
    /// Tools that the client's dialect knows as more than a function, by the flat name they travel under: filled by its
    /// decoder, needed again where the calls are said to the client.
    pub client_tools: BTreeMap<String, ClientTool>,
    /// The client asked for signed reasoning, and will send it back as it got it.
    pub carries_reasoning: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub role: Role,
    /// OpenAI's `name` of a message.
    pub name: Option<String>,
    pub parts: Vec<Part>,
    /// Where the client said it, as a dotted path in its body; empty: not known ([`Turn::path`]).
    pub said_at: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// System text in the middle of a conversation.
    System,
    /// As `System`, in OpenAI's newer word.
    Developer,
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Tool {
    Function(FunctionTool),
    /// Free-text tool; `format` is OpenAI's grammar object.
    Custom {
        name: String,
        description: Option<String>,
        format: Option<Value>,
    },
    /// A tool the vendor defines or runs (`web_search_20250305`, `googleSearch`, `code_interpreter`, …), kept whole.
    Builtin {
        dialect: Dialect,
        kind: String,
        value: Value,
    },
}

/// How a client knows a tool that travels as a plain function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTool {
    /// Under a name in a namespace.
    Namespaced { namespace: String, name: String },
    /// As one of its dialect's own kinds of tool that the client runs, by its `type` (`local_shell`, `apply_patch`, …).
    Typed(String),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct FunctionTool {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema; `None`: no parameters.
    pub parameters: Option<Value>,
    pub strict: Option<bool>,
    pub cache: Option<CacheHint>,
    pub extensions: Extensions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    Required,
    Named(String),
    /// Only these tools; `required` tells whether one must be called.
    Allowed {
        names: Vec<String>,
        required: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub seed: Option<i64>,
    pub logit_bias: Object,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OutputFormat {
    Text,
    JsonObject,
    JsonSchema { name: Option<String>, description: Option<String>, schema: Value, strict: Option<bool> },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReasoningControl {
    pub mode: Option<ReasoningMode>,
    pub effort: Option<Effort>,
    pub budget_tokens: Option<u64>,
    /// Whether reasoning (or its summary) should be shown.
    pub visible: Option<bool>,
    /// OpenAI's `auto`, `concise`, `detailed`.
    pub summary: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasoningMode {
    /// The model decides how much (Anthropic `adaptive`, Gemini budget −1).
    Adaptive,
    /// Bounded by `budget_tokens`.
    Budget,
    Disabled,
    /// Anthropic's `between_tools`.
    BetweenTools,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceTier {
    Auto,
    Default,
    Flex,
    Priority,
    Other(String),
}

/// Fields by the dialect they came from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extensions(BTreeMap<Dialect, Object>);

impl Turn {
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, name: None, parts, said_at: String::new() }
    }

    /// Remembers where the client said it: refusals and losses name that place.
    #[must_use]
    pub fn said_at(mut self, path: impl Into<String>) -> Self {
        self.said_at = path.into();
        self
    }

    /// The place in the client's body; where that is not known, the turn's own position.
    pub fn path(&self, position: usize) -> String {
        if self.said_at.is_empty() { format!("messages[{position}]") } else { self.said_at.clone() }
    }
}

impl Tool {
    /// The name a call would use; `None` for a vendor's own tool.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Function(function) => Some(&function.name),
            Self::Custom { name, .. } => Some(name),
            Self::Builtin { .. } => None,
        }
    }
}

impl Effort {
    pub const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}

impl Extensions {
    /// Fields of one dialect; nothing is kept for an empty map.
    pub fn of(dialect: Dialect, fields: Object) -> Self {
        let mut extensions = Self::default();
        extensions.extend(dialect, fields);
        extensions
    }

    pub fn extend(&mut self, dialect: Dialect, fields: Object) {
        if !fields.is_empty() {
            self.0.entry(dialect).or_default().extend(fields);
        }
    }

    pub fn insert(&mut self, dialect: Dialect, field: impl Into<String>, value: Value) {
        self.0.entry(dialect).or_default().insert(field.into(), value);
    }

    pub fn get(&self, dialect: Dialect, field: &str) -> Option<&Value> {
        self.0.get(&dialect)?.get(field)
    }

    /// What `dialect` itself said.
    pub fn own(&self, dialect: Dialect) -> Option<&Object> {
        self.0.get(&dialect)
    }

    /// What other dialects said: an encoder of `dialect` reports these.
    pub fn foreign(&self, dialect: Dialect) -> impl Iterator<Item = (Dialect, &String, &Value)> {
        self.0
            .iter()
            .filter(move |(source, _)| **source != dialect)
            .flat_map(|(source, fields)| fields.iter().map(move |(field, value)| (*source, field, value)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
