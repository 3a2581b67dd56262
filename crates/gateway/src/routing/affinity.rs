//! Where a session belongs, so that the cache of its prompt stays warm.
//!
//! In this order: an account that keeps what is referred to (a pin), one that sealed the reasoning, OpenAI's
//! `prompt_cache_key`, the id of a conversation, an agent's session, the beginning of the prompt. All but the first two are
//! hashed: rendezvous hashing over (session, target) and then (session, credential) says where the session belongs.

use tallygate_adapter::prompt::beginning;
use tallygate_types::{CredentialId, TargetId};

use super::asked::Asked;
use super::hash::{of_parts, xxh64};
use super::plan::Step;
use super::view::View;

/// No agent's id is longer; a longer one is cut.
const MAX_ID_BYTES: usize = 512;
/// Below it no provider caches a prompt: OpenAI's and Anthropic's smallest.
pub const CACHED_TOKENS: u64 = 1_024;

/// Headers by which agents name their session. Codex of old wrote underscores.
const SESSIONS: [&str; 8] = [
    "x-tallygate-session",
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "conversation_id",
    "x-session-affinity",
    "x-opencode-session",
    "x-session-id",
];

/// What a session is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pin,
    Reasoning,
    PromptCacheKey,
    Conversation,
    Session,
    Prefix,
}

/// A conversation, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub kind: Kind,
    pub hash: u64,
}

/// Where a session belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub kind: Kind,
    pub target: TargetId,
    pub credential: Option<CredentialId>,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Reasoning => "reasoning",
            Self::PromptCacheKey => "prompt_cache_key",
            Self::Conversation => "conversation",
            Self::Session => "session",
            Self::Prefix => "prefix",
        }
    }

    /// For the record of a request whose session had to move.
    pub const fn moved(self) -> &'static str {
        match self {
            Self::Pin => "pin:moved",
            Self::Reasoning => "reasoning:moved",
            Self::PromptCacheKey => "prompt_cache_key:moved",
            Self::Conversation => "conversation:moved",
            Self::Session => "session:moved",
            Self::Prefix => "prefix:moved",
        }
    }
}

impl Held {
    pub fn by(kind: Kind, step: &Step<'_>) -> Self {
        Self { kind, target: step.target.id, credential: step.credential.map(|credential| credential.id) }
    }

    /// Whether the step goes where the session belongs.
    pub fn is_home(&self, step: &Step<'_>) -> bool {
        (self.target, self.credential) == (step.target.id, step.credential.map(|credential| credential.id))
    }

    /// As it stands in the usage record of a request that this step answered.
    pub fn told(&self, step: &Step<'_>) -> &'static str {
        if self.is_home(step) { self.kind.as_str() } else { self.kind.moved() }
    }
}

/// The session of a request.
///
/// A prompt without an id is known by its beginning. A short first turn that was asked before in the same words is no
/// conversation that goes on but another call with the same words; no provider has cached it, and it goes as the strategy says.
pub fn session(asked: &Asked<'_>, view: &impl View) -> Option<Session> {
    let named = |kind: Kind, id: &str| {
        let id = &id.as_bytes()[..id.len().min(MAX_ID_BYTES)];
        Session { kind, hash: of_parts(&[asked.tenant.uuid().as_bytes(), kind.as_str().as_bytes(), id]) }
    };
    if let Some(key) = asked.prompt_cache_key.filter(|key| !key.is_empty()) {
        return Some(named(Kind::PromptCacheKey, key));
    }
    if let Some(id) = asked.conversation.filter(|id| !id.is_empty()) {
        return Some(named(Kind::Conversation, id));
    }
    if let Some(id) = SESSIONS.iter().find_map(|name| asked.header(name)) {
        return Some(named(Kind::Session, id));
    }
    if let Some(id) = asked.user.and_then(claude_code_session).filter(|id| !id.is_empty()) {
        return Some(named(Kind::Session, id));
    }
    let prompt = asked.prompt?;
    let mut hash = of_parts(&[asked.tenant.uuid().as_bytes(), Kind::Prefix.as_str().as_bytes(), asked.requested.as_bytes()]);
    let goes_on = beginning(prompt.dialect, prompt.body, prompt.peek, |piece| hash = xxh64(piece, hash));
    // Noted also where it is of no moment, so that a later one of the same words is known.
    let is_repeated = !goes_on && view.is_repeated(hash);
    (goes_on || asked.input_tokens >= CACHED_TOKENS || !is_repeated).then_some(Session { kind: Kind::Prefix, hash })
}

/// The session that Claude Code writes into `metadata.user_id`: a JSON text since 2026-03, `user_…_account_…_session_…` before.
fn claude_code_session(user: &str) -> Option<&str> {
    if user.starts_with('{') {
        let (_, rest) = user.split_once("\"session_id\"")?;
        let (id, _) = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
        return Some(id);
    }
    let (account, id) = user.rsplit_once("_session_")?;
    (account.starts_with("user_") && account.contains("_account_")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_code_names_its_session_in_two_ways_and_other_users_are_none() {
        for user in [
            "user_0123abcd_account__session_57a121ec-f78c-48c3-a745-e3036a3ecc33",
            r#"{"device_id":"d","account_uuid":"","session_id":"57a121ec-f78c-48c3-a745-e3036a3ecc33"}"#,
            r#"{"session_id" : "57a121ec-f78c-48c3-a745-e3036a3ecc33"}"#,
        ] {
            assert_eq!(claude_code_session(user), Some("57a121ec-f78c-48c3-a745-e3036a3ecc33"), "{user}");
        }
        for user in ["user_123", "", "{\"session_id\":7}", "my_session_1", "{}"] {
            assert_eq!(claude_code_session(user), None, "{user}");
        }
    }
}
