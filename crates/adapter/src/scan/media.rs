//! How much of a request body is text, for estimates of tokens.

/// An unbroken run of base64 of this length is media and no text.
pub(super) const MEDIA_RUN_BYTES: usize = 4 * 1024;
/// What one piece of media counts as, in bytes of text: 1,500 tokens, about a large image at the vendors' rates.
const MEDIA_AS_TEXT_BYTES: u64 = 6_000;

/// The bytes of `body` as text: a long run of base64 counts as one piece of media, however large it is.
pub(crate) fn text_bytes(body: &[u8]) -> u64 {
    let (not_text, as_text) = runs(body);
    body.len() as u64 - not_text + as_text
}

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
pub(super) fn run(run: &[u8]) -> (u64, u64) {
    if is_base64(run) { (run.len() as u64 + 1, MEDIA_AS_TEXT_BYTES) } else { (0, 0) }
}

/// Looks at all of it but the short beginning, which a data URL has: prose between pieces of base64 is still prose, and no prose
/// is without spaces and marks, or else is not ASCII. Letter by letter only samples are looked at.
fn is_base64(run: &[u8]) -> bool {
    const PREFIX: usize = 256;
    /// Looked at without leaving off in between, so that many bytes are compared by one instruction.
    const PIECE: usize = 256;
    const SAMPLED: usize = 16;
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    let data = &run[PREFIX..];
    data.chunks(PIECE).step_by(SAMPLED).all(|piece| piece.iter().fold(true, |all, byte| all & is_one(byte)))
        && memchr::memchr3(b' ', b',', b'.', data).is_none()
        && data.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_counts_in_full_and_an_image_as_one() {
        assert_eq!(text_bytes(br#"{"model":"m"}"#), 13);
        let prose = format!(r#"{{"content":"{}"}}"#, "some words of a long text ".repeat(1_000));
        assert_eq!(text_bytes(prose.as_bytes()), prose.len() as u64);
        let image = format!(r#"{{"data":"{}"}}"#, "QUJD".repeat(250_000));
        assert_eq!(text_bytes(image.as_bytes()), 9 + MEDIA_AS_TEXT_BYTES + 1);
        let hidden = format!(r#"{{"data":"{0}{prose}{0}{prose}{0}"}}"#, "A".repeat(1_000), prose = "some words ".repeat(1_000));
        assert_eq!(text_bytes(hidden.as_bytes()), hidden.len() as u64);
        let url = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "QUJD".repeat(250_000));
        assert_eq!(text_bytes(url.as_bytes()), 8 + MEDIA_AS_TEXT_BYTES + 1);
        for text in ["一二三四", "1,2;3,4\\n", "path/to/file.rs\\n"] {
            let body = format!(r#"{{"x":"{}"}}"#, text.repeat(2_000));
            assert_eq!(text_bytes(body.as_bytes()), body.len() as u64, "{text}");
        }
    }
}
