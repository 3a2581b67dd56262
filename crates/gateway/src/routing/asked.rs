//! What a decision reads of the request.

use std::cell::OnceCell;

use http::HeaderMap;
use tallygate_adapter::media_urls::MediaKind;
use tallygate_adapter::{Peek, prompt};
use tallygate_store::TargetEntry;
use tallygate_store::pins::Pin;
use tallygate_types::{ApiKeyId, Dialect, TenantId};

use super::tariff::Tariffs;

/// Beside the tags of the key, `a,b`.
pub const TAGS: &str = "x-tallygate-tags";
/// The end user, where the body names none.
pub const USER: &str = "x-tallygate-user";

/// See the module. What costs a look into the body is looked up when a rule or a target makes it matter.
pub struct Asked<'a> {
    /// As the client wrote it.
    pub requested: &'a str,
    pub tenant: TenantId,
    pub key: ApiKeyId,
    pub project: Option<&'a str>,
    pub tags: &'a [String],
    pub headers: &'a HeaderMap,
    /// Estimated.
    pub input_tokens: u64,
    /// As far as the client asks for a maximum.
    pub output_tokens: u64,
    /// What it is taken to use, for comparing costs.
    pub expected_output_tokens: u64,
    pub user: Option<&'a str>,
    pub prompt_cache_key: Option<&'a str>,
    pub conversation: Option<&'a str>,
    pub has_tools: bool,
    pub media: Media<'a>,
    /// What the conversation begins with, where it may be told by that.
    pub prompt: Option<Prompt<'a>>,
    /// The one account that keeps what the request refers to.
    pub pin: Option<Pin>,
    /// The account that sealed the latest reasoning in it.
    pub sealed_by: Option<Pin>,
    pub max_attempts: usize,
    pub tariffs: &'a Tariffs,
}

/// A body that is a prompt.
#[derive(Clone, Copy)]
pub struct Prompt<'a> {
    pub dialect: Dialect,
    pub body: &'a [u8],
    pub peek: &'a Peek,
}

/// What else than text there is.
pub enum Media<'a> {
    Said { images: bool, documents: bool },
    In { body: &'a [u8], images: OnceCell<bool>, documents: OnceCell<bool> },
}

impl<'a> Media<'a> {
    pub const fn of(body: &'a [u8]) -> Self {
        Self::In { body, images: OnceCell::new(), documents: OnceCell::new() }
    }

    pub fn has(&self, kind: MediaKind) -> bool {
        match (self, kind) {
            (Self::Said { images, .. }, MediaKind::Image) => *images,
            (Self::Said { documents, .. }, MediaKind::Document) => *documents,
            (Self::In { body, images, .. }, MediaKind::Image) => *images.get_or_init(|| prompt::carries(body, kind)),
            (Self::In { body, documents, .. }, MediaKind::Document) => *documents.get_or_init(|| prompt::carries(body, kind)),
        }
    }
}

impl<'a> Asked<'a> {
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
    }

    /// The tags of the key and those of the request.
    pub fn has_tag(&self, wanted: &str) -> bool {
        self.tags.iter().any(|tag| tag == wanted)
            || self.header(TAGS).is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == wanted))
    }

    pub fn end_user(&self) -> Option<&'a str> {
        self.user.filter(|user| !user.is_empty()).or_else(|| self.header(USER))
    }

    /// Whether there is a price by which an answer of this target can be charged.
    pub fn can_sell(&self, target: &TargetEntry) -> bool {
        self.tariffs.can_sell(target)
    }
}
