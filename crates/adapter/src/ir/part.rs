//! What a turn or a candidate is made of.

use serde_json::Value;
use tallygate_types::Dialect;

use super::Extensions;

/// One piece of a turn, in the order it was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub kind: PartKind,
    /// The client asked for a cache breakpoint after this part.
    pub cache: Option<CacheHint>,
    /// A vendor's opaque proof that rides on this part (Gemini thought signatures on text and calls).
    /// A reasoning part keeps its own in [`Reasoning::signature`].
    pub signature: Option<Signature>,
    /// Fields only one dialect knows.
    pub extensions: Extensions,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PartKind {
    Text(Text),
    Image(Media),
    Audio(Media),
    Video(Media),
    Document(Document),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    Reasoning(Reasoning),
    /// The model declined; the text says so.
    Refusal(String),
    /// A block only one vendor knows (server tool calls and their results, compaction, …), kept whole.
    Extension {
        dialect: Dialect,
        kind: String,
        value: Value,
    },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    pub text: String,
    pub citations: Vec<Citation>,
}

/// Where a statement comes from. Offsets count characters of the part's text, end exclusive.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Citation {
    pub start: Option<u64>,
    pub end: Option<u64>,
    pub url: Option<String>,
    pub title: Option<String>,
    pub cited_text: Option<String>,
    /// The vendor's own object, for an encoder of the same dialect.
    pub raw: Option<(Dialect, Value)>,
}

/// An image, a sound or a film.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    pub source: Source,
    /// OpenAI's `detail` (`auto`, `low`, `high`, `original`).
    pub detail: Option<String>,
    pub filename: Option<String>,
    /// A transcript, where a vendor gives one with generated audio.
    pub transcript: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub source: Source,
    /// Title or file name.
    pub title: Option<String>,
    pub context: Option<String>,
    /// The client wants citations into this document.
    pub citations: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Standard base64 without white space; the media type is lower case without parameters (`image/png`).
    Data {
        media_type: String,
        base64: String,
    },
    Url {
        url: String,
        media_type: Option<String>,
    },
    /// Plain text given as a document.
    Text(String),
    /// A document made of parts.
    Parts(Vec<Part>),
    /// An id in a vendor's own file store: means nothing to another vendor.
    File {
        vendor: Vendor,
        id: String,
        media_type: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolKind {
    /// Arguments are a JSON object.
    #[default]
    Function,
    /// Free text (OpenAI custom tools): `arguments` is that text as it is.
    Custom,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// What the result refers to (OpenAI `call_…`, Anthropic `toolu_…`). Decoders of dialects without ids mint one.
    pub id: String,
    pub name: String,
    /// JSON text as written by the model (it may be cut off when the finish reason is `Length`); for a custom tool, free text.
    pub arguments: String,
    pub kind: ToolKind,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    pub call_id: String,
    /// The tool's name, where the dialect says it (Gemini needs it; others are looked up by `call_id`).
    pub name: Option<String>,
    pub content: Vec<Part>,
    pub is_error: bool,
    pub kind: ToolKind,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reasoning {
    /// The vendor's id of the item (OpenAI Responses `rs_…`).
    pub id: Option<String>,
    /// What may be shown; empty when hidden. Several summary parts are joined by a blank line.
    pub text: String,
    /// `text` is a summary, not the reasoning itself.
    pub is_summary: bool,
    /// The whole reasoning is inside the signature (`redacted_thinking`): there is no text.
    pub is_redacted: bool,
    pub signature: Option<Signature>,
}

/// Opaque, never forged, never sent to another vendor than the one that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub vendor: Vendor,
    pub data: String,
}

/// Who made a signature or keeps a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vendor {
    OpenAi,
    Anthropic,
    Google,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheHint {
    pub ttl: CacheTtl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheTtl {
    /// The vendor's ordinary one (Anthropic five minutes, OpenAI thirty).
    #[default]
    Short,
    /// Anthropic's longest.
    Hour,
    /// OpenAI's longest: twelve hours.
    HalfDay,
}

impl Part {
    pub fn new(kind: PartKind) -> Self {
        Self { kind, cache: None, signature: None, extensions: Extensions::default() }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(PartKind::Text(Text { text: text.into(), citations: Vec::new() }))
    }

    pub fn refusal(text: impl Into<String>) -> Self {
        Self::new(PartKind::Refusal(text.into()))
    }

    pub fn tool_call(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self::new(PartKind::ToolCall(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            kind: ToolKind::Function,
        }))
    }

    /// The text of a text part.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            PartKind::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    pub fn is_tool_result(&self) -> bool {
        matches!(self.kind, PartKind::ToolResult(_))
    }
}

impl Media {
    pub fn new(source: Source) -> Self {
        Self { source, detail: None, filename: None, transcript: None }
    }
}

impl Vendor {
    pub const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenaiChat | Dialect::OpenaiResponses => Self::OpenAi,
            Dialect::Anthropic => Self::Anthropic,
            Dialect::Gemini => Self::Google,
        }
    }
}
