//! Endpoints that pass to an upstream of OpenAI's protocol as they are: nothing is translated, everything is metered.

/// An endpoint that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plain {
    /// The endpoint before chat: a prompt, and text after it.
    Completions,
    Moderations,
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Transcriptions,
    Translations,
    Speech,
    Rerank,
}

impl Plain {
    pub const ALL: [Self; 9] = [
        Self::Completions,
        Self::Moderations,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Transcriptions,
        Self::Translations,
        Self::Speech,
        Self::Rerank,
    ];

    /// The path after the version.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Moderations => "moderations",
            Self::ImageGenerations => "images/generations",
            Self::ImageEdits => "images/edits",
            Self::ImageVariations => "images/variations",
            Self::Transcriptions => "audio/transcriptions",
            Self::Translations => "audio/translations",
            Self::Speech => "audio/speech",
            Self::Rerank => "rerank",
        }
    }

    /// The endpoint at a path without its version, if one of these is meant.
    pub fn at(segments: &[&str]) -> Option<Self> {
        Self::ALL.into_iter().find(|plain| plain.path().split('/').eq(segments.iter().copied()))
    }

    /// The name in usage records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Moderations => "moderations",
            Self::ImageGenerations | Self::ImageEdits | Self::ImageVariations => "images",
            Self::Transcriptions | Self::Translations | Self::Speech => "audio",
            Self::Rerank => "rerank",
        }
    }
}
