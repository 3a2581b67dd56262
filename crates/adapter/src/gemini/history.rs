//! Turns of the form between as Gemini's contents: roles alternate, every call has its result, signatures stand where
//! Google's validator looks for them.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::parts::result_object;
use super::signature::{self, SENTINEL};
use super::wire::{Blob, Content, FileData, FunctionCall, FunctionResponse, Part as WirePart};
use crate::failure::BadRequest;
use crate::ir::{Document, Media, Object, Part, PartKind, Request, Role, Source, ToolCall, ToolKind, ToolResult, Vendor};
use crate::loss::LossReport;
use crate::media;
use crate::names::FREE_TEXT_FIELD;
use crate::profile::GeminiModel;

const DIALECT: Dialect = Dialect::Gemini;
/// Most calls of one model turn: results are paired with them by search.
const MAX_OPEN_CALLS: usize = 1024;
const NO_RESULT: &str = "no result provided";

/// System instruction and contents.
pub(super) fn contents(
    request: &Request,
    family: &GeminiModel,
    loss: &mut LossReport,
) -> Result<(Option<Content>, Vec<Content>), BadRequest> {
    let mut writer = Writer { family, loss, contents: Vec::new(), unanswered: Vec::new(), path: String::new() };
    let mut system = writer.system(&request.system);
    for (position, turn) in request.turns.iter().enumerate() {
        writer.path = turn.path(position);
        match turn.role {
            Role::System | Role::Developer => {
                writer.loss.approximated("messages", "a system message in mid-conversation was moved to the front");
                let parts = writer.system(&turn.parts);
                system.extend(parts);
            }
            Role::User => writer.user(&turn.parts)?,
            Role::Assistant => writer.model(&turn.parts)?,
        }
        if turn.name.is_some() {
            writer.loss.dropped("messages.name", "Gemini has no names of speakers");
        }
    }
    writer.end();
    let mut contents = writer.contents;
    if contents.is_empty()
        && let Some(last) = system.pop()
    {
        // There must be a content; a conversation of system text alone ends with the last of it.
        contents.push(Content { role: Some("user".into()), parts: vec![last], ..Content::default() });
    }
    if contents.is_empty() {
        return Err(BadRequest::invalid("messages", "The conversation is empty; send at least one message with content."));
    }
    if family.needs_signatures {
        sign(&mut contents);
    }
    let instruction = (!system.is_empty()).then(|| Content { role: None, parts: system, ..Content::default() });
    Ok((instruction, contents))
}

/// The first call of each step of the current turn (since the user last spoke) must be signed.
fn sign(contents: &mut [Content]) {
    let is_spoken = |content: &Content| {
        content.role.as_deref() == Some("user") && content.parts.iter().any(|part| part.function_response.is_none())
    };
    let current = contents.iter().rposition(is_spoken).map_or(0, |last| last + 1);
    for content in contents[current..].iter_mut().filter(|content| content.role.as_deref() == Some("model")) {
        if let Some(first) = content.parts.iter_mut().find(|part| part.function_call.is_some()) {
            first.thought_signature.get_or_insert_with(|| SENTINEL.to_owned());
        }
    }
}

struct Writer<'a> {
    family: &'a GeminiModel,
    loss: &'a mut LossReport,
    contents: Vec<Content>,
    /// Calls of the model's last content, in order: id and name.
    unanswered: Vec<(String, String)>,
    /// Where the client said the turn in work.
    path: String,
}

impl Writer<'_> {
    fn system(&mut self, parts: &[Part]) -> Vec<WirePart> {
        if parts.iter().any(|part| part.as_text().is_none()) {
            self.loss.dropped("system", "only text can be an instruction");
        }
        parts.iter().filter_map(Part::as_text).filter(|text| !text.is_empty()).map(text).collect()
    }

    fn push(&mut self, role: &str, parts: Vec<WirePart>) {
        if parts.is_empty() {
            return;
        }
        match self.contents.last_mut() {
            Some(last) if last.role.as_deref() == Some(role) => last.parts.extend(parts),
            _ => self.contents.push(Content { role: Some(role.to_owned()), parts, ..Content::default() }),
        }
    }

    fn user(&mut self, parts: &[Part]) -> Result<(), BadRequest> {
        let mut results: Vec<&ToolResult> = Vec::new();
        let mut others = Vec::new();
        for part in parts {
            match &part.kind {
                PartKind::ToolResult(result) => results.push(result),
                _ => others.push(part),
            }
        }
        let (mut answers, mut media_of_results) = (Vec::new(), Vec::new());
        // In the order of the calls, each with its result: Google refuses any other number.
        let is_last_word = !others.is_empty();
        let mut still_open = Vec::new();
        for (id, name) in std::mem::take(&mut self.unanswered) {
            match results.iter().position(|result| result.call_id == id) {
                Some(at) => answers.push(self.answer(results.remove(at), &name, &mut media_of_results)?),
                None => still_open.push((id, name)),
            }
        }
        if let Some(surplus) = results.first() {
            return Err(BadRequest::invalid(
                &*self.path,
                format!("The result of `{}` answers no call of the assistant's message before it.", surplus.call_id),
            ));
        }
        if is_last_word {
            self.give_up(&mut still_open, &mut answers);
        }
        self.unanswered = still_open;
        answers.append(&mut media_of_results);
        for part in others {
            answers.extend(self.part(part)?);
        }
        self.push("user", answers);
        Ok(())
    }

    /// A call whose result never came gets one that says so.
    fn give_up(&mut self, open: &mut Vec<(String, String)>, answers: &mut Vec<WirePart>) {
        for (id, name) in open.drain(..) {
            self.loss.approximated("messages", "a tool call without a result was answered with an error");
            let response = json!({ "error": NO_RESULT });
            let function_response =
                FunctionResponse { id: Some(id), name, response: Some(response), ..FunctionResponse::default() };
            answers.push(WirePart { function_response: Some(function_response), ..WirePart::default() });
        }
    }

    fn answer(&mut self, result: &ToolResult, name: &str, beside: &mut Vec<WirePart>) -> Result<WirePart, BadRequest> {
        let texts: Vec<&str> = result.content.iter().filter_map(Part::as_text).collect();
        let response = Value::Object(result_object(&texts.join("\n"), result.is_error));
        let mut parts = Vec::new();
        for part in result.content.iter().filter(|part| part.as_text().is_none()) {
            parts.extend(self.part(part)?);
        }
        if !self.family.media_in_results && !parts.is_empty() {
            self.loss.approximated("tool_result.content", "media of a tool's result stand beside it");
            beside.append(&mut parts);
        }
        let function_response = FunctionResponse {
            id: Some(result.call_id.clone()),
            name: name.to_owned(),
            response: Some(response),
            parts,
            ..FunctionResponse::default()
        };
        Ok(WirePart { function_response: Some(function_response), ..WirePart::default() })
    }

    fn model(&mut self, parts: &[Part]) -> Result<(), BadRequest> {
        // The model goes on although calls are open: they are answered first.
        if !self.unanswered.is_empty() && matches!(self.contents.last(), Some(last) if last.role.as_deref() == Some("user")) {
            let mut open = std::mem::take(&mut self.unanswered);
            let mut answers = Vec::new();
            self.give_up(&mut open, &mut answers);
            self.push("user", answers);
        }
        let mut written = Vec::new();
        for part in parts {
            if let PartKind::ToolCall(call) = &part.kind {
                self.unanswered.push((call.id.clone(), call.name.clone()));
            }
            written.extend(self.part(part)?);
        }
        if self.unanswered.len() > MAX_OPEN_CALLS {
            return Err(BadRequest::invalid(
                "messages",
                format!("A turn has more than {MAX_OPEN_CALLS} tool calls without a result."),
            ));
        }
        self.push("model", written);
        Ok(())
    }

    /// What the conversation may end with: not with a call, and on newer models not with the model's own words.
    fn end(&mut self) {
        let mut open = std::mem::take(&mut self.unanswered);
        let mut answers = Vec::new();
        self.give_up(&mut open, &mut answers);
        self.push("user", answers);
        let is_prefilled = self.contents.last().is_some_and(|last| last.role.as_deref() == Some("model"));
        if is_prefilled && !self.family.prefill {
            self.loss.approximated("messages", "this model does not continue an assistant's turn: a user's turn was added");
            self.push("user", vec![text("Continue.")]);
        }
    }

    /// The signature a part may carry to Google.
    fn signature(&mut self, part: &Part) -> Option<String> {
        let signature = part.signature.as_ref()?;
        if signature.vendor == Vendor::Google {
            return Some(signature::write(signature));
        }
        self.loss.dropped("reasoning", "earlier reasoning goes back only to the provider that signed it");
        None
    }

    fn part(&mut self, part: &Part) -> Result<Option<WirePart>, BadRequest> {
        for (_, field, _) in part.extensions.foreign(DIALECT) {
            self.loss.dropped(field.clone(), "known to another provider only");
        }
        let rest = part.extensions.own(DIALECT).cloned().unwrap_or_default();
        let mut wire = match &part.kind {
            PartKind::Text(content) if content.text.is_empty() && part.signature.is_none() => return Ok(None),
            PartKind::Text(content) => text(&content.text),
            PartKind::Refusal(refusal) => text(refusal),
            PartKind::Image(image) => self.media(image, "image/jpeg")?,
            PartKind::Audio(audio) => self.media(audio, "audio/wav")?,
            PartKind::Video(video) => self.media(video, "video/mp4")?,
            PartKind::Document(document) => self.document(document)?,
            PartKind::ToolCall(call) => self.call(call),
            PartKind::Reasoning(reasoning) => match &reasoning.signature {
                Some(signature) if signature.vendor == Vendor::Google && !reasoning.text.is_empty() => WirePart {
                    thought: Some(true),
                    text: Some(reasoning.text.clone()),
                    thought_signature: Some(signature::write(signature)),
                    ..WirePart::default()
                },
                _ => {
                    self.loss.dropped("reasoning", "earlier reasoning goes back only to the provider that signed it");
                    return Ok(None);
                }
            },
            PartKind::Extension { dialect: DIALECT, value, .. } => serde_json::from_value(value.clone()).unwrap_or_default(),
            PartKind::Extension { kind, .. } => {
                self.loss.dropped(kind.clone(), "known to another provider only");
                return Ok(None);
            }
            PartKind::ToolResult(_) => {
                return Err(BadRequest::invalid("messages", "A tool's result may not stand inside another message's content."));
            }
        };
        if wire.thought_signature.is_none() {
            wire.thought_signature = self.signature(part);
        }
        wire.rest.extend(rest);
        Ok(Some(wire))
    }

    fn call(&mut self, call: &ToolCall) -> WirePart {
        let args = match (call.kind, serde_json::from_str::<Value>(&call.arguments)) {
            (ToolKind::Custom, _) => one(FREE_TEXT_FIELD, &call.arguments),
            (ToolKind::Function, Ok(Value::Object(args))) => args,
            (ToolKind::Function, _) => {
                self.loss.approximated("tool_calls.arguments", "arguments that are no JSON object were sent as text");
                one("_raw", &call.arguments)
            }
        };
        let function_call =
            FunctionCall { id: Some(call.id.clone()), name: call.name.clone(), args: Some(args), ..FunctionCall::default() };
        WirePart { function_call: Some(function_call), ..WirePart::default() }
    }

    fn media(&mut self, media: &Media, assumed: &str) -> Result<WirePart, BadRequest> {
        let mut part = self.source(&media.source, assumed)?;
        let level = match media.detail.as_deref() {
            Some("low") => Some("MEDIA_RESOLUTION_LOW"),
            Some("high") => Some("MEDIA_RESOLUTION_HIGH"),
            Some("original") => Some("MEDIA_RESOLUTION_ULTRA_HIGH"),
            _ => None,
        };
        match level {
            Some(level) if self.family.part_resolution => {
                part.rest.insert("mediaResolution".into(), json!({ "level": level }));
            }
            Some(_) => self.loss.dropped("image.detail", "this model sets the resolution of a request, not of an image"),
            None => {}
        }
        Ok(part)
    }

    fn document(&mut self, document: &Document) -> Result<WirePart, BadRequest> {
        if document.citations {
            self.loss.dropped("document.citations", "Gemini cites no documents of the prompt");
        }
        match &document.source {
            Source::Text(content) => Ok(text(&headed(document, content))),
            Source::Parts(parts) => {
                if parts.iter().any(|part| part.as_text().is_none()) {
                    self.loss.dropped("document.source.content", "only the text of a composed document was sent");
                }
                let content = parts.iter().filter_map(Part::as_text).collect::<Vec<_>>().join("\n");
                Ok(text(&headed(document, &content)))
            }
            // Its name would be `displayName`, which is Vertex's; the Developer API refuses it.
            source => self.source(source, "application/pdf"),
        }
    }

    fn source(&mut self, source: &Source, assumed: &str) -> Result<WirePart, BadRequest> {
        Ok(match source {
            Source::Data { media_type, base64 } => {
                let Some(data) = media::standard_base64(base64) else {
                    return Err(BadRequest::invalid(
                        &*self.path,
                        format!("The data of a part of `{}` is not base64.", self.path),
                    ));
                };
                let blob = Blob { mime_type: media::media_type(media_type), data: data.into_owned(), ..Blob::default() };
                WirePart { inline_data: Some(blob), ..WirePart::default() }
            }
            Source::Url { url, media_type } => {
                let known = media_type.clone().or_else(|| media::media_type_of_name(url).map(str::to_owned));
                if known.is_none() {
                    self.loss.approximated("url", format!("the type of what stands there was taken to be {assumed}"));
                }
                file(url, Some(known.unwrap_or_else(|| assumed.to_owned())))
            }
            Source::File { vendor: Vendor::Google, id, media_type } => file(id, media_type.clone()),
            Source::File { .. } => {
                return Err(BadRequest::unsupported_value(
                    "messages.content.file_id",
                    "A file stored with one provider cannot be read by another. Send the file's data or a URL.",
                ));
            }
            Source::Text(content) => text(content),
            Source::Parts(_) => {
                return Err(BadRequest::unsupported_value("messages.content", "Media made of parts cannot be sent."));
            }
        })
    }
}

/// A document's text under its title.
fn headed(document: &Document, content: &str) -> String {
    let lines: Vec<&str> = document.title.iter().chain(&document.context).map(String::as_str).collect();
    if lines.is_empty() { content.to_owned() } else { format!("{}\n\n{content}", lines.join("\n")) }
}

pub(super) fn text(content: &str) -> WirePart {
    WirePart { text: Some(content.to_owned()), ..WirePart::default() }
}

fn file(uri: &str, mime_type: Option<String>) -> WirePart {
    let file_data = FileData { file_uri: uri.to_owned(), mime_type, ..FileData::default() };
    WirePart { file_data: Some(file_data), ..WirePart::default() }
}

fn one(name: &str, value: &str) -> Object {
    let mut object = Object::new();
    object.insert(name.into(), value.into());
    object
}
