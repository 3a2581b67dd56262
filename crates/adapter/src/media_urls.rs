//! Media that a request names by URL, for upstreams that take them only inline.
//!
//! What is fetched, from where and how much, is the caller's to decide; here the request says what it names
//! ([`media_urls`]) and takes what was fetched in its own dialect ([`inline_media`]).

use serde_json::{Map, Value, json};
use tallygate_types::Dialect;

use crate::failure::BadRequest;
use crate::media::{base64_of, data_url, media_type_of_name};

/// What a part is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Image,
    Document,
}

/// Something a request names by URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaUrl {
    /// Where in the client's body.
    pub param: String,
    pub url: String,
    pub kind: MediaKind,
}

/// What stood at a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedMedia {
    pub url: String,
    /// By what the bytes themselves tell.
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// What an upstream fetches itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TakesUrls {
    pub images: bool,
    pub documents: bool,
}

impl TakesUrls {
    /// By the dialects of both sides and the upstream's address. A body that passes untouched passes its URLs too, but clouds
    /// that serve Anthropic's models under its protocol fetch nothing.
    pub fn of(client: Dialect, upstream: Dialect, base_url: &str) -> Self {
        const CLOUDS: [&str; 3] = ["bedrock", "vertex", "aiplatform.googleapis.com"];
        let is_cloud = upstream == Dialect::Anthropic && {
            let address = base_url.to_ascii_lowercase();
            CLOUDS.iter().any(|cloud| address.contains(cloud))
        };
        match upstream {
            Dialect::Anthropic => Self { images: !is_cloud, documents: !is_cloud },
            _ if client == upstream => Self { images: true, documents: true },
            Dialect::OpenaiChat => Self { images: true, documents: false },
            Dialect::OpenaiResponses => Self { images: true, documents: true },
            // Only some of its models fetch public URLs, and none says why it did not.
            Dialect::Gemini => Self { images: false, documents: false },
        }
    }

    const fn takes(self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Image => self.images,
            MediaKind::Document => self.documents,
        }
    }

    pub const fn takes_all(self) -> bool {
        self.images && self.documents
    }
}

/// Whether a body may name media by URL at all: a look that costs little and is never wrong about a "no" that matters, since
/// what it overlooks is said to the upstream as the client said it.
pub fn may_name_media(body: &[u8]) -> bool {
    const FIELDS: [&[u8]; 5] = [b"image_url", b"file_url", b"\"url\"", b"ile_uri\"", b"ileUri\""];
    let has = |needle: &[u8]| memchr::memmem::find(body, needle).is_some();
    has(b"http") && (FIELDS.iter().any(|field| has(field)) || has(b"file_data"))
}

/// What a request names by URL and an upstream does not fetch. A body that is not JSON names nothing; others will say so.
pub fn media_urls(client: Dialect, body: &[u8], takes: TakesUrls) -> Vec<MediaUrl> {
    let mut found = Vec::new();
    if let Ok(mut body) = serde_json::from_slice(body) {
        walk(client, &mut body, &mut |part, param| {
            if let Some((at, url, kind)) = named(client, part)
                && !takes.takes(kind)
            {
                found.push(MediaUrl { param: format!("{param}.{at}"), url, kind });
            }
        });
    }
    found
}

/// The body with what was fetched in place of its URLs; others stay.
pub fn inline_media(client: Dialect, body: &[u8], fetched: &[FetchedMedia]) -> Result<Vec<u8>, BadRequest> {
    let mut body = serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not valid: {error}.")))?;
    walk(client, &mut body, &mut |part, _| {
        if let Some((_, url, _)) = named(client, part)
            && let Some(media) = fetched.iter().find(|media| media.url == url)
        {
            put(client, part, media);
        }
    });
    Ok(body.to_string().into_bytes())
}

type Part = Map<String, Value>;

/// Calls `visit` with every part of a message, of an instruction or of a tool's result, and its path. What a model or a tool
/// wrote as free JSON (arguments, structured results) is no part, whatever it looks like.
fn walk(client: Dialect, body: &mut Value, visit: &mut impl FnMut(&mut Part, &str)) {
    let (list, contents): (_, &[&str]) = match client {
        Dialect::OpenaiChat | Dialect::Anthropic => ("messages", &["content"]),
        Dialect::OpenaiResponses => ("input", &["content", "output"]),
        Dialect::Gemini => ("contents", &["parts"]),
    };
    for (i, message) in body.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
        for content in contents {
            parts(message.get_mut(content), &format!("{list}[{i}].{content}"), visit);
        }
    }
}

fn parts(list: Option<&mut Value>, path: &str, visit: &mut impl FnMut(&mut Part, &str)) {
    for (i, part) in list.and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
        let Value::Object(part) = part else { continue };
        let path = format!("{path}[{i}]");
        visit(part, &path);
        if part.get("type").is_some_and(|kind| kind == "tool_result") {
            for (j, inner) in part.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
                if let Value::Object(inner) = inner {
                    visit(inner, &format!("{path}.content[{j}]"));
                }
            }
        }
    }
}

/// The URL a part names, the path to it, and what it is.
fn named(client: Dialect, part: &Part) -> Option<(String, String, MediaKind)> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).filter(|text| is_http(text)).map(str::to_owned);
    let kind_of = |url: &str| {
        if media_type_of_name(url) == Some("application/pdf") { MediaKind::Document } else { MediaKind::Image }
    };
    if client == Dialect::Gemini {
        let field = ["fileData", "file_data"].into_iter().find(|field| part.contains_key(*field))?;
        let data = &part[field];
        let uri = ["fileUri", "file_uri"].into_iter().find(|uri| data.get(uri).is_some())?;
        let url = text(data.get(uri)).filter(|url| !url.contains("generativelanguage.googleapis.com/"))?;
        let said = data.get("mimeType").or_else(|| data.get("mime_type")).and_then(Value::as_str);
        let kind = match said.or_else(|| media_type_of_name(&url))?.split('/').next()? {
            "image" => MediaKind::Image,
            "application" | "text" => MediaKind::Document,
            _ => return None,
        };
        return Some((format!("{field}.{uri}"), url, kind));
    }
    match part.get("type")?.as_str()? {
        "image_url" | "input_image" => {
            let image = part.get("image_url")?;
            if image.is_object() {
                let url = text(image.get("url"))?;
                return Some(("image_url.url".into(), url.clone(), kind_of(&url)));
            }
            let url = text(Some(image))?;
            Some(("image_url".into(), url.clone(), kind_of(&url)))
        }
        "file" => Some(("file.file_data".into(), text(part.get("file")?.get("file_data"))?, MediaKind::Document)),
        "input_file" => Some(("file_url".into(), text(part.get("file_url"))?, MediaKind::Document)),
        kind @ ("image" | "document") => {
            let source = part.get("source").filter(|source| source["type"] == "url")?;
            let kind = if kind == "image" { MediaKind::Image } else { MediaKind::Document };
            Some(("source.url".into(), text(source.get("url"))?, kind))
        }
        _ => None,
    }
}

fn is_http(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))
}

/// Writes what was fetched into the part that named it.
fn put(client: Dialect, part: &mut Part, media: &FetchedMedia) {
    let base64 = base64_of(&media.bytes);
    if client == Dialect::Gemini {
        let name = part.shift_remove("fileData").or_else(|| part.shift_remove("file_data"));
        let mut data = json!({ "mimeType": media.media_type, "data": base64 });
        if let Some(name) = name.as_ref().and_then(|file| file.get("displayName").or_else(|| file.get("display_name"))) {
            data["displayName"] = name.clone();
        }
        part.insert("inlineData".into(), data);
        return;
    }
    let data = || Value::from(data_url(&media.media_type, &base64));
    match part.get("type").and_then(Value::as_str) {
        Some("image_url" | "input_image") => match part.get_mut("image_url") {
            Some(Value::Object(image)) => drop(image.insert("url".into(), data())),
            _ => drop(part.insert("image_url".into(), data())),
        },
        Some("file") => {
            if let Some(Value::Object(file)) = part.get_mut("file") {
                file.entry("filename").or_insert_with(|| file_name(&media.url).into());
                file.insert("file_data".into(), data());
            }
        }
        Some("input_file") => {
            part.shift_remove("file_url");
            part.entry("filename").or_insert_with(|| file_name(&media.url).into());
            part.insert("file_data".into(), data());
        }
        Some("image" | "document") => {
            let text = media.media_type.starts_with("text/").then(|| String::from_utf8(media.bytes.clone()).ok()).flatten();
            let source = match text {
                Some(text) => json!({ "type": "text", "media_type": "text/plain", "data": text }),
                None => json!({ "type": "base64", "media_type": media.media_type, "data": base64 }),
            };
            part.insert("source".into(), source);
        }
        _ => {}
    }
}

/// The last segment of a URL's path.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.splitn(4, '/').nth(3).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if name.is_empty() { "document".to_owned() } else { name.to_owned() }
}

/// The type that the bytes themselves tell, of those that models read; `None` for others. Text tells nothing of itself: it is
/// believed to be what its server says, if it is text.
pub fn sniffed_media_type(bytes: &[u8], said: Option<&str>) -> Option<&'static str> {
    const PDF_HEAD_BYTES: usize = 1024;
    match bytes {
        [0xff, 0xd8, 0xff, ..] => return Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => return Some("image/png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => return Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => return Some("image/webp"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', b'i', b'c' | b'x', ..] => return Some("image/heic"),
        _ => {}
    }
    // Readers accept a PDF whose head does not stand at the very beginning.
    if memchr::memmem::find(&bytes[..bytes.len().min(PDF_HEAD_BYTES)], b"%PDF-").is_some() {
        return Some("application/pdf");
    }
    let said = crate::media::media_type(said?);
    let is_text = ["text/plain", "text/markdown", "text/csv", "application/json"].contains(&said.as_str());
    (is_text && std::str::from_utf8(bytes).is_ok()).then_some("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: TakesUrls = TakesUrls { images: false, documents: false };

    fn urls(client: Dialect, body: &Value, takes: TakesUrls) -> Vec<(String, MediaKind)> {
        media_urls(client, body.to_string().as_bytes(), takes).into_iter().map(|media| (media.param, media.kind)).collect()
    }

    #[test]
    fn every_dialect_names_its_media_by_the_path_in_its_body() {
        use MediaKind::{Document, Image};
        let (png, pdf) = ("https://example.com/a.png", "HTTPS://example.com/b.pdf?x=1");
        for (client, body, expected) in [
            (
                Dialect::OpenaiChat,
                json!({"messages": [{"role": "user", "content": "text"}, {"role": "user", "content": [
                    {"type": "text", "text": png}, {"type": "image_url", "image_url": {"url": png}}, {"type": "image_url", "image_url": png},
                    {"type": "image_url", "image_url": {"url": pdf}}, {"type": "file", "file": {"file_data": pdf}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}]}),
                vec![
                    ("messages[1].content[1].image_url.url", Image),
                    ("messages[1].content[2].image_url", Image),
                    ("messages[1].content[3].image_url.url", Document),
                    ("messages[1].content[4].file.file_data", Document),
                ],
            ),
            (
                Dialect::OpenaiResponses,
                json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": png}, {"type": "input_file", "file_url": pdf}]},
                    {"type": "function_call_output", "output": [{"type": "input_image", "image_url": png}]}]}),
                vec![
                    ("input[0].content[0].image_url", Image),
                    ("input[0].content[1].file_url", Document),
                    ("input[1].output[0].image_url", Image),
                ],
            ),
            (
                Dialect::Anthropic,
                json!({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": pdf}},
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url", "url": png}}]},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"type": "image", "source": {"type": "url", "url": png}}}]}]}),
                vec![("messages[0].content[0].source.url", Document), ("messages[0].content[1].content[0].source.url", Image)],
            ),
            (
                Dialect::Gemini,
                json!({"contents": [{"parts": [{"fileData": {"fileUri": png}}, {"file_data": {"file_uri": "https://x/y", "mime_type": "application/pdf"}},
                    {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a", "mimeType": "image/png"}},
                    {"fileData": {"fileUri": "gs://b/a.png"}}, {"fileData": {"fileUri": "https://x/a.mp4"}}]}]}),
                vec![("contents[0].parts[0].fileData.fileUri", Image), ("contents[0].parts[1].file_data.file_uri", Document)],
            ),
        ] {
            assert!(may_name_media(body.to_string().as_bytes()));
            let expected: Vec<_> = expected.into_iter().map(|(param, kind)| (param.to_owned(), kind)).collect();
            assert_eq!(urls(client, &body, NOTHING), expected, "{client}");
            let only_images: Vec<_> = expected.iter().filter(|(_, kind)| *kind == Image).cloned().collect();
            assert_eq!(urls(client, &body, TakesUrls { images: false, documents: true }), only_images, "{client}");
        }
    }

    #[test]
    fn what_was_fetched_stands_in_the_part_in_the_clients_own_words() {
        let (png, pdf, txt) = ("https://example.com/a.png", "https://example.com/x/b.pdf?v=1", "https://example.com/c.txt");
        let fetched =
            |url: &str, media_type: &str| FetchedMedia { url: url.into(), media_type: media_type.into(), bytes: b"hi".to_vec() };
        let fetched = [fetched(png, "image/png"), fetched(pdf, "application/pdf"), fetched(txt, "text/plain")];
        for (client, list, content, before, after) in [
            (
                Dialect::OpenaiChat,
                "messages",
                "content",
                json!({"type": "image_url", "image_url": {"url": png, "detail": "low"}}),
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}),
            ),
            (
                Dialect::OpenaiChat,
                "messages",
                "content",
                json!({"type": "file", "file": {"file_data": pdf}}),
                json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "b.pdf"}}),
            ),
            (
                Dialect::OpenaiResponses,
                "input",
                "content",
                json!({"type": "input_image", "image_url": png, "detail": "auto"}),
                json!({"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}),
            ),
            (
                Dialect::OpenaiResponses,
                "input",
                "content",
                json!({"type": "input_file", "file_url": pdf}),
                json!({"type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,aGk="}),
            ),
            (
                Dialect::Anthropic,
                "messages",
                "content",
                json!({"type": "image", "source": {"type": "url", "url": png}, "cache_control": {"type": "ephemeral"}}),
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}, "cache_control": {"type": "ephemeral"}}),
            ),
            (
                Dialect::Anthropic,
                "messages",
                "content",
                json!({"type": "document", "source": {"type": "url", "url": txt}}),
                json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}),
            ),
            (
                Dialect::Gemini,
                "contents",
                "parts",
                json!({"file_data": {"file_uri": pdf, "mime_type": "application/pdf", "display_name": "d"}}),
                json!({"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "d"}}),
            ),
        ] {
            let body = |part: &Value| json!({"model": "m", list: [{"role": "user", content: [part]}]});
            let inlined = inline_media(client, body(&before).to_string().as_bytes(), &fetched).unwrap();
            assert_eq!(String::from_utf8(inlined).unwrap(), body(&after).to_string());
        }
    }

    #[test]
    fn clouds_that_serve_anthropics_models_fetch_nothing_and_gemini_little() {
        let all = TakesUrls { images: true, documents: true };
        for (client, upstream, url, expected) in [
            (Dialect::OpenaiChat, Dialect::Anthropic, "https://api.anthropic.com", all),
            (Dialect::OpenaiChat, Dialect::Anthropic, "https://bedrock-runtime.us-east-1.amazonaws.com", NOTHING),
            (Dialect::Anthropic, Dialect::Anthropic, "https://us-east5-aiplatform.googleapis.com/v1", NOTHING),
            (Dialect::Gemini, Dialect::Gemini, "https://generativelanguage.googleapis.com", all),
            (Dialect::OpenaiChat, Dialect::Gemini, "https://generativelanguage.googleapis.com", NOTHING),
            (Dialect::Anthropic, Dialect::OpenaiChat, "https://api.openai.com/v1", TakesUrls { images: true, documents: false }),
            (Dialect::Anthropic, Dialect::OpenaiResponses, "https://api.openai.com/v1", all),
        ] {
            assert_eq!(TakesUrls::of(client, upstream, url), expected, "{client} {upstream} {url}");
        }
    }

    #[test]
    fn the_bytes_tell_what_they_are() {
        for (bytes, said, expected) in [
            (&b"\x89PNG\r\n\x1a\nrest"[..], Some("text/html"), Some("image/png")),
            (b"\xff\xd8\xff\xe0", None, Some("image/jpeg")),
            (b"GIF89a", None, Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", None, Some("image/webp")),
            (b"\0\0\0\x18ftypheic", None, Some("image/heic")),
            (b"\xef\xbb\xbf\n%PDF-1.7", None, Some("application/pdf")),
            (b"a,b", Some("text/csv; charset=utf-8"), Some("text/plain")),
            (b"<html>", Some("text/html"), None),
            (b"<svg/>", Some("image/svg+xml"), None),
            (b"\xff\xfe", Some("text/plain"), None),
            (b"hello", None, None),
            (b"", Some("image/png"), None),
        ] {
            assert_eq!(sniffed_media_type(bytes, said), expected, "{bytes:?}");
        }
    }
}
