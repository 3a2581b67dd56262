//! How much of a request body is text, for estimates of tokens.

/// An unbroken run of base64 of this length is media and no text.
pub(super) const MEDIA_RUN_BYTES: usize = 4 * 1024;
/// Media may begin with a data URL's head, or a few words.
pub(super) const PREFIX_BYTES: usize = 256;
/// What one piece of media counts as, in bytes of text: 1,500 tokens, about a large image at the vendors' rates.
const MEDIA_AS_TEXT_BYTES: u64 = 6_000;

/// The bytes of media in it, with the quote behind each, and what they count as.
///
/// Base64 holds neither quotes nor white space, so media is the whole of what stands between two quotes. Of shorter runs nothing
/// needs to be known: where the last quote of a window stands, a longer one may begin.
pub(super) fn runs(body: &[u8]) -> (u64, u64) {
    let mut sum = (0, 0);
    let mut rest = body;
    while let Some(window) = rest.get(..MEDIA_RUN_BYTES) {
        if let Some(quote) = memchr::memrchr(b'"', window) {
            rest = &rest[quote + 1..];
            continue;
        }
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        let (not_text, as_text) = self::run(run);
        sum = (sum.0 + not_text, sum.1 + as_text);
        rest = behind.get(1..).unwrap_or_default();
    }
    sum
}

/// The same of what stands between two quotes, at least [`MEDIA_RUN_BYTES`] of it.
fn run(run: &[u8]) -> (u64, u64) {
    let data = &run[PREFIX_BYTES..];
    if memchr::memchr(b' ', data).is_none() && data.is_ascii() { dense_run(run) } else { (0, 0) }
}

/// The same of a run that is known to be ASCII without spaces behind its beginning: prose between pieces of base64 is still
/// prose. Letter by letter only samples are looked at.
pub(super) fn dense_run(run: &[u8]) -> (u64, u64) {
    /// Looked at without leaving off in between, so that many bytes are compared by one instruction.
    const PIECE: usize = 256;
    const SAMPLED: usize = 16;
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    let mut samples = run[PREFIX_BYTES..].chunks(PIECE).step_by(SAMPLED);
    let is_base64 = samples.all(|piece| piece.iter().fold(true, |all, byte| all & is_one(byte)));
    if is_base64 { (run.len() as u64 + 1, MEDIA_AS_TEXT_BYTES) } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::members;

    fn text_bytes(body: &str) -> u64 {
        members(body.as_bytes()).unwrap().text_bytes
    }

    #[test]
    fn prose_counts_in_full_and_an_image_as_one() {
        assert_eq!(text_bytes(r#"{"model":"m"}"#), 13);
        let data = "QUJD".repeat(250_000);
        let words = "some words of a long text ".repeat(1_000);
        let hidden = format!("{0}{words}{0}{words}{0}", "A".repeat(1_000));
        for text in [&words, &hidden] {
            let body = format!(r#"{{"content":"{text}"}}"#);
            assert_eq!(text_bytes(&body), body.len() as u64);
            let escaped = format!(r#"{{"arguments":"{{\"text\":\"{text}\"}}"}}"#);
            assert_eq!(text_bytes(&escaped), escaped.len() as u64);
        }
        for (before, behind) in [
            (r#"{"data":""#, r#""}"#),
            (r#"{"data":""#, r#"","b":1}"#),
            (r#"{"url":"data:image/png;base64,"#, r#""}"#),
            (r#"{"text":"This is it: data:image/png;base64,"#, r#""}"#),
            (r#"{"arguments":"{\"image\":\""#, r#"\",\"and\":\"more words\"}"}"#),
        ] {
            let around =
                before.rfind('"').map_or(0, |quote| quote + 1) + behind.find('"').map_or(0, |quote| behind.len() - quote - 1);
            assert_eq!(text_bytes(&format!("{before}{data}{behind}")), around as u64 + MEDIA_AS_TEXT_BYTES, "{before}");
        }
        assert_eq!(text_bytes(&format!(r#"{{"data":"{}"}}"#, "Q\\/JD".repeat(250_000))), 10 + MEDIA_AS_TEXT_BYTES);
        for text in ["一二三四", "1,2;3,4\\n", "path/to/file.rs\\n"] {
            let body = format!(r#"{{"x":"{}"}}"#, text.repeat(2_000));
            assert_eq!(text_bytes(&body), body.len() as u64, "{text}");
        }
    }
}
