//! Content parts.

use super::encode::cache_breakpoint;
use super::encode_message::Writer;
use super::wire::{Content, ContentPart, File, ImageUrl, InputAudio};
use crate::failure::BadRequest;
use crate::ir::{Document, Media, Part, PartKind, Source, Vendor};
use crate::media;

impl Writer<'_> {
    /// One text is a plain string; `None` when nothing is left.
    pub fn content(&mut self, parts: &[Part], path: &str) -> Result<Option<Content>, BadRequest> {
        let mut encoded = Vec::with_capacity(parts.len());
        for part in parts {
            encoded.extend(self.part(part, path)?);
        }
        if let [only] = encoded.as_slice()
            && let ContentPart { text: Some(text), prompt_cache_breakpoint: None, .. } = only
        {
            return Ok(Some(Content::Text(text.clone())));
        }
        Ok((!encoded.is_empty()).then_some(Content::Parts(encoded)))
    }

    fn part(&mut self, part: &Part, path: &str) -> Result<Vec<ContentPart>, BadRequest> {
        let mut encoded = match &part.kind {
            PartKind::Text(text) if text.text.is_empty() => Vec::new(),
            PartKind::Text(text) => vec![text_part(text.text.clone())],
            PartKind::Refusal(text) => vec![text_part(text.clone())],
            PartKind::Image(image) => vec![image_part(image, path)?],
            PartKind::Audio(audio) => vec![audio_part(audio, self.model.first_party, path)?],
            PartKind::Document(document) => self.document(document, path)?,
            PartKind::Video(_) => {
                return Err(BadRequest::unsupported_value(
                    path,
                    "The upstream of this model takes no video. Send images instead.",
                ));
            }
            PartKind::Extension { kind, .. } => {
                self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only");
                Vec::new()
            }
            PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Reasoning(_) => Vec::new(),
        };
        if let Some(last) = encoded.last_mut() {
            last.prompt_cache_breakpoint = cache_breakpoint(part.cache, self.model);
        }
        Ok(encoded)
    }

    fn document(&mut self, document: &Document, path: &str) -> Result<Vec<ContentPart>, BadRequest> {
        if document.citations {
            self.loss.dropped(format!("{path}.citations"), "no citations into documents");
        }
        if let Some(text) = plain_text(document) {
            self.loss.approximated(format!("{path}.document"), "sent as text");
            return Ok(vec![text_part(text)]);
        }
        match &document.source {
            Source::Data { media_type, base64 } => {
                let is_pdf = media_type == "application/pdf";
                let filename = document.title.clone().unwrap_or_else(|| if is_pdf { "document.pdf" } else { "document" }.into());
                let file = File { filename: Some(filename), file_data: Some(media::data_url(media_type, base64)), file_id: None };
                Ok(vec![ContentPart { kind: "file".into(), file: Some(file), ..ContentPart::default() }])
            }
            Source::Parts(parts) => {
                self.loss.approximated(format!("{path}.document"), "sent as its parts");
                let mut encoded = Vec::new();
                let heading = heading(document);
                if !heading.is_empty() {
                    encoded.push(text_part(heading));
                }
                for part in parts {
                    encoded.extend(self.part(part, path)?);
                }
                Ok(encoded)
            }
            Source::File { vendor: Vendor::OpenAi, id, .. } => {
                let file = File { file_id: Some(id.clone()), ..File::default() };
                Ok(vec![ContentPart { kind: "file".into(), file: Some(file), ..ContentPart::default() }])
            }
            Source::Url { .. } | Source::File { .. } | Source::Text(_) => Err(foreign_file(path)),
        }
    }
}

/// Title and context, where they are said.
fn heading(document: &Document) -> String {
    let lines: Vec<&str> = document.title.iter().chain(&document.context).map(String::as_str).collect();
    if lines.is_empty() { String::new() } else { format!("{}\n\n", lines.join("\n")) }
}

/// A document that is nothing but text.
pub(super) fn plain_text(document: &Document) -> Option<String> {
    let text = match &document.source {
        Source::Text(text) => text.clone(),
        Source::Data { media_type, base64 } if media_type.starts_with("text/") => media::text_of(base64)?,
        Source::Parts(parts) => parts.iter().map(Part::as_text).collect::<Option<Vec<_>>>()?.join("\n"),
        _ => return None,
    };
    Some(format!("{}{text}", heading(document)))
}

fn foreign_file(path: &str) -> BadRequest {
    BadRequest::unsupported_value(
        path,
        "The upstream of this model cannot fetch this file. Send its content as base64 data instead of a URL or a file id.",
    )
}

pub(super) fn text_part(text: String) -> ContentPart {
    ContentPart { kind: "text".into(), text: Some(text), ..ContentPart::default() }
}

fn image_part(image: &Media, path: &str) -> Result<ContentPart, BadRequest> {
    let url = match &image.source {
        Source::Data { media_type, base64 } => media::data_url(media_type, base64),
        Source::Url { url, .. } => url.clone(),
        _ => return Err(foreign_file(path)),
    };
    let image_url = Some(ImageUrl::Object { url, detail: image.detail.clone() });
    Ok(ContentPart { kind: "image_url".into(), image_url, ..ContentPart::default() })
}

fn audio_part(audio: &Media, is_first_party: bool, path: &str) -> Result<ContentPart, BadRequest> {
    match &audio.source {
        Source::Data { media_type, base64 } => {
            let format = match media_type.trim_start_matches("audio/") {
                "mpeg" => "mp3",
                "x-wav" | "wave" => "wav",
                other => other,
            };
            if is_first_party && !matches!(format, "wav" | "mp3") {
                return Err(BadRequest::unsupported_value(
                    path,
                    format!("OpenAI takes audio as wav or mp3, not as {media_type}. Convert it first."),
                ));
            }
            let input_audio = Some(InputAudio { data: base64.clone(), format: format.to_owned() });
            Ok(ContentPart { kind: "input_audio".into(), input_audio, ..ContentPart::default() })
        }
        _ => Err(foreign_file(path)),
    }
}
