//! Where a call goes.

use tallygate_types::Dialect;

/// Joins an upstream's base URL and a path of ours (`/v1/messages`, `/v1beta/models/x:generateContent?alt=sse`).
///
/// `base_url` works with and without a version: `https://host`, `https://host/v1/`, `https://host/v1beta/openai` and
/// `https://host/v1/projects/p/locations/l/publishers/google` all do. Where the base already has a version segment,
/// the one of `path` is left out.
pub fn join_url(base_url: &str, _dialect: Dialect, path: &str) -> String {
    let base = base_url.trim_end_matches('/');
    let host_at = base.find("://").map_or(0, |at| at + 3);
    let base_has_version = base[host_at..].split('/').skip(1).any(is_version);
    let mut rest = path.trim_start_matches('/');
    if base_has_version
        && let Some((first, tail)) = rest.split_once('/')
        && is_version(first)
    {
        rest = tail;
    }
    format!("{base}/{rest}")
}

/// Whether a chat upstream at `base_url` serves the Responses API too: OpenAI's own servers and those it runs at Azure do.
pub fn serves_responses(base_url: &str) -> bool {
    // By bytes: it is asked for each request.
    let url = base_url.as_bytes();
    let host_at = url.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let authority = url[host_at..].split(|byte| matches!(byte, b'/' | b'?' | b'#')).next().unwrap_or_default();
    let address = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let host = address.split(|byte| *byte == b':').next().unwrap_or_default();
    let ends = |end: &[u8]| host.len().checked_sub(end.len()).is_some_and(|start| host[start..].eq_ignore_ascii_case(end));
    host.eq_ignore_ascii_case(b"api.openai.com") || ends(b".api.openai.com") || ends(b".openai.azure.com")
}

/// `v1`, `v1beta`, `v1beta1`, `v1alpha`, `v2`.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else { return false };
    let word = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    word.len() < rest.len() && matches!(word.trim_end_matches(|c: char| c.is_ascii_digit()), "" | "alpha" | "beta")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_openais_own_hosts_serve_both_of_its_dialects() {
        for (base, both) in [
            ("https://api.openai.com/v1", true),
            ("https://EU.api.openai.com:443", true),
            ("https://mine.openai.azure.com/openai/v1", true),
            ("https://openai.com.example.com/v1", false),
            ("http://127.0.0.1:8000/api.openai.com", false),
            ("https://api.openai.com@example.com", false),
            ("", false),
        ] {
            assert_eq!(serves_responses(base), both, "{base}");
        }
    }

    #[test]
    fn the_version_appears_once() {
        for (base, path, url) in [
            ("https://api.openai.com", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1/", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
            ("http://127.0.0.1:8000/proxy", "/v1/messages", "http://127.0.0.1:8000/proxy/v1/messages"),
            ("https://v1.example.com", "/v1/messages", "https://v1.example.com/v1/messages"),
            ("https://g.com/v1beta/openai", "/v1/chat/completions", "https://g.com/v1beta/openai/chat/completions"),
            ("https://g.com/v1beta", "/v1beta/models/m:generateContent", "https://g.com/v1beta/models/m:generateContent"),
            (
                "https://g.com",
                "/v1beta/models/m:generateContent?alt=sse",
                "https://g.com/v1beta/models/m:generateContent?alt=sse",
            ),
            (
                "https://g.com/v1/projects/p/publishers/google",
                "/v1beta/models/m:x",
                "https://g.com/v1/projects/p/publishers/google/models/m:x",
            ),
        ] {
            assert_eq!(join_url(base, Dialect::OpenaiChat, path), url);
        }
        assert!(!is_version("v") && !is_version("vertex") && is_version("v1beta1"));
    }
}
