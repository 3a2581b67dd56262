//! Data URLs and media types.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::ir::Source;

/// `data:` URLs become data, everything else stays a URL. `None`: a data URL that cannot be read.
pub(crate) fn source_of(url: &str) -> Option<Source> {
    let Some(rest) = strip_scheme(url) else {
        return Some(Source::Url { url: url.to_owned(), media_type: None });
    };
    let (head, payload) = rest.split_once(',')?;
    let mut parameters = head.split(';').map(str::trim);
    let media_type = parameters.next().unwrap_or_default().to_ascii_lowercase();
    let base64 = if parameters.any(|parameter| parameter.eq_ignore_ascii_case("base64")) {
        standard_base64(payload)?.into_owned()
    } else {
        STANDARD.encode(percent_decoded(payload))
    };
    let media_type = sniffed(&base64).map_or_else(|| self::media_type(&media_type), str::to_owned);
    Some(Source::Data { media_type, base64 })
}

pub(crate) fn data_url(media_type: &str, base64: &str) -> String {
    format!("data:{media_type};base64,{base64}")
}

/// The bytes of base64 in any of its spellings.
pub(crate) fn bytes_of(base64: &str) -> Option<Vec<u8>> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(base64).ok())
}

pub(crate) fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64 of the bytes of both: the first may end in the middle of a group.
pub(crate) fn joined_base64(head: &str, tail: &str) -> String {
    let mut bytes = bytes_of(head).unwrap_or_default();
    bytes.extend(bytes_of(tail).unwrap_or_default());
    STANDARD.encode(bytes)
}

/// The bytes as text, if they are text.
pub(crate) fn text_of(base64: &str) -> Option<String> {
    String::from_utf8(bytes_of(base64)?).ok()
}

/// Brings base64 to the standard alphabet with padding and without white space; `None` if it is no base64. Large media
/// are not decoded for it.
pub(crate) fn standard_base64(text: &str) -> Option<Cow<'_, str>> {
    let is_standard = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let body = text.trim_end_matches('=');
    if text.len().is_multiple_of(4) && text.len() - body.len() <= 2 && body.bytes().all(is_standard) {
        return Some(Cow::Borrowed(text));
    }
    let mut standard = String::with_capacity(text.len() + 2);
    for byte in text.bytes() {
        match byte {
            b'-' => standard.push('+'),
            b'_' => standard.push('/'),
            b'=' | b' ' | b'\t' | b'\r' | b'\n' => {}
            byte if is_standard(byte) => standard.push(char::from(byte)),
            _ => return None,
        }
    }
    match standard.len() % 4 {
        0 => {}
        1 => return None,
        2 => standard.push_str("=="),
        _ => standard.push('='),
    }
    Some(Cow::Owned(standard))
}

/// A media type in lower case, without parameters, by its registered name.
pub(crate) fn media_type(text: &str) -> String {
    let bare = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match bare.as_str() {
        "image/jpg" => "image/jpeg".to_owned(),
        "audio/mp3" => "audio/mpeg".to_owned(),
        "audio/x-wav" | "audio/wave" => "audio/wav".to_owned(),
        "" => "application/octet-stream".to_owned(),
        _ => bare,
    }
}

/// What a file name or the path of a URL tells of its content.
pub(crate) fn media_type_of_name(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next().unwrap_or(name);
    let extension = path.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase();
    Some(match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => return None,
    })
}

/// The image type the bytes themselves tell: vendors verify it and clients often declare another.
fn sniffed(base64: &str) -> Option<&'static str> {
    const HEAD_CHARS: usize = 16;
    let head = STANDARD.decode(base64.get(..HEAD_CHARS).unwrap_or(base64)).ok()?;
    match head.as_slice() {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        _ => None,
    }
}

/// The type of sound its first bytes tell.
pub(crate) fn audio_type(base64: &str) -> Option<&'static str> {
    const HEAD_CHARS: usize = 16;
    let head = STANDARD.decode(base64.get(..HEAD_CHARS).unwrap_or(base64)).ok()?;
    match head.as_slice() {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => Some("audio/wav"),
        [b'I', b'D', b'3', ..] | [0xff, 0xf2 | 0xf3 | 0xfa | 0xfb, ..] => Some("audio/mpeg"),
        [b'f', b'L', b'a', b'C', ..] => Some("audio/flac"),
        [b'O', b'g', b'g', b'S', ..] => Some("audio/ogg"),
        [0xff, 0xf0 | 0xf1 | 0xf8 | 0xf9, ..] => Some("audio/aac"),
        _ => None,
    }
}

fn strip_scheme(url: &str) -> Option<&str> {
    let head = url.get(..5)?;
    head.eq_ignore_ascii_case("data:").then(|| &url[5..])
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (b'%', Some(value)) = (byte, hex) {
            bytes.push(value);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_are_read_with_parameters_and_their_type_is_checked() {
        let data = |media_type: &str, base64: &str| Some(Source::Data { media_type: media_type.into(), base64: base64.into() });
        assert_eq!(source_of("data:image/png;charset=utf-8;base64,iVBO Rw0K"), data("image/png", "iVBORw0K"));
        assert_eq!(source_of("DATA:image/png;base64,/9j/4AAQSkZJRgABAQ=="), data("image/jpeg", "/9j/4AAQSkZJRgABAQ=="));
        assert_eq!(source_of("data:text/plain,a%20b"), data("text/plain", "YSBi"));
        assert_eq!(source_of("data:image/JPG;base64,AAAA"), data("image/jpeg", "AAAA"));
        assert_eq!(source_of("data:oops"), None);
        assert_eq!(source_of("data:image/png;base64,a*b="), None);
        assert_eq!(source_of("https://x/y.png"), Some(Source::Url { url: "https://x/y.png".into(), media_type: None }));
    }

    #[test]
    fn base64_of_any_alphabet_becomes_standard() {
        assert_eq!(standard_base64("aGk=").as_deref(), Some("aGk="));
        assert_eq!(standard_base64("_-8").as_deref(), Some("/+8="));
        assert_eq!(standard_base64("aG\nk=\n").as_deref(), Some("aGk="));
        assert_eq!(standard_base64("a"), None);
        assert_eq!(standard_base64("a*=="), None);
    }

    #[test]
    fn types_are_named_as_registered_and_told_by_file_names() {
        assert_eq!(media_type("image/JPG; q=1"), "image/jpeg");
        assert_eq!(media_type_of_name("https://example.com/a/b.PNG?x=1"), Some("image/png"));
        assert_eq!(media_type_of_name("https://example.com/a/b"), None);
    }
}
