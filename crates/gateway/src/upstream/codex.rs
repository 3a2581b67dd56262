//! The headers in which Codex and OpenAI's servers keep a turn together. They go to servers of the same protocol and to no
//! other vendor's.

use http::{HeaderMap, HeaderName, HeaderValue};
use tallygate_types::Dialect;

const PREFIX: &str = "x-codex-";
/// What Codex sends beside the headers with its prefix.
const ASKED: [&str; 6] =
    ["session-id", "session_id", "thread-id", "originator", "x-openai-subagent", "x-responsesapi-include-timing-metrics"];
/// What Codex reads of an answer. Limits are left out: they are those of the operator's account.
const ANSWERED: [&str; 3] = ["x-codex-turn-state", "openai-model", "x-reasoning-included"];

type Pairs = Vec<(HeaderName, HeaderValue)>;

/// Of a client's header what goes on.
pub fn asked(client: Dialect, headers: &HeaderMap) -> Pairs {
    if client != Dialect::OpenaiResponses {
        return Pairs::new();
    }
    picked(headers, |name| name.starts_with(PREFIX) || ASKED.contains(&name))
}

/// Of an upstream's header what goes back.
pub fn answered(upstream: Dialect, client: Dialect, headers: &HeaderMap) -> Pairs {
    if (upstream, client) != (Dialect::OpenaiResponses, Dialect::OpenaiResponses) {
        return Pairs::new();
    }
    picked(headers, |name| ANSWERED.contains(&name))
}

fn picked(headers: &HeaderMap, is_wanted: impl Fn(&str) -> bool) -> Pairs {
    headers.iter().filter(|(name, _)| is_wanted(name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}
