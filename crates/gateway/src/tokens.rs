//! How much of a request body is text, for estimates of tokens.

/// An unbroken run of base64 of this length is media and no text.
const MEDIA_RUN_BYTES: usize = 4 * 1024;
/// What one piece of media counts as, in bytes of text: 1,500 tokens, about a large image at the vendors' rates.
const MEDIA_AS_TEXT_BYTES: u64 = 6_000;

/// The bytes of `body` as text: a long run of base64 counts as one piece of media, however large it is.
///
/// Base64 holds neither quotes nor white space, so media is the whole of what stands between two quotes. Of shorter runs nothing
/// needs to be known: where the last quote of a window stands, a longer one may begin.
pub fn text_bytes(body: &[u8]) -> u64 {
    let mut text = body.len() as u64;
    let mut rest = body;
    while let Some(window) = rest.get(..MEDIA_RUN_BYTES) {
        if let Some(quote) = memchr::memrchr(b'"', window) {
            rest = &rest[quote + 1..];
            continue;
        }
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        if is_base64(run) {
            text = text - run.len() as u64 - 1 + MEDIA_AS_TEXT_BYTES;
        }
        rest = behind.get(1..).unwrap_or_default();
    }
    text
}

/// Looks at all of it but the short beginning, which a data URL has: prose between pieces of base64 is still prose.
fn is_base64(run: &[u8]) -> bool {
    const PREFIX: usize = 256;
    /// Looked at without leaving off in between, so that many bytes are compared by one instruction.
    const PIECE: usize = 256;
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    run[PREFIX..].chunks(PIECE).all(|piece| piece.iter().fold(true, |all, byte| all & is_one(byte)))
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
    }
}
