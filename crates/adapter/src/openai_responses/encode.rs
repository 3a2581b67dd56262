//! [`ir`](crate::ir) → Responses: requests. Whole answers are the end of a stream nobody watched.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::stream::Encoder;
use super::wire::{
    CallOutput, Content, CreateResponse, CustomEntry, CustomToolCall, FilePart, Format, FunctionCall, FunctionEntry, ImagePart,
    Input, InputAudio, Item, JsonSchemaFormat, Message, MessageContent, OutputText, ReasoningItem, ReasoningOptions, RefusalPart,
    TextOptions, TextPart, ToolEntry,
};
use crate::context::ResponseContext;
use crate::dispatch::Encode as _;
use crate::failure::BadRequest;
use crate::ir::{
    Document, Effort, Media, Object, OutputFormat, Part, PartKind, ReasoningControl, ReasoningMode, Request, Response, Role,
    ServiceTier, Source, Tool, ToolChoice, ToolKind, ToolResult, Vendor,
};
use crate::loss::LossReport;
use crate::{media, replay};

/// OpenAI refuses a smaller `max_output_tokens`.
const MIN_OUTPUT_TOKENS: u64 = 16;
/// `metadata`: at most this many entries, with strings for values.
const MAX_METADATA: usize = 16;
const DIALECT: Dialect = Dialect::OpenaiResponses;

pub(crate) fn path(_model: &str, _stream: bool) -> String {
    "/v1/responses".into()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut encoder = Encoder::silent(context.clone());
    for event in replay::events(response) {
        encoder.event(&event, &mut Vec::new());
    }
    encoder.into_body()
}

pub(crate) fn request(request: &Request, loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    if request.candidates.is_some_and(|candidates| candidates > 1) {
        return Err(BadRequest::unsupported_value(
            "n",
            "The upstream of this model gives one answer a request; leave `n` out or send 1.",
        ));
    }
    if !request.modalities.is_empty() {
        return Err(BadRequest::unsupported_value("modalities", "The upstream of this model answers in text only."));
    }
    let mut items = Vec::new();
    for turn in &request.turns {
        match turn.role {
            Role::User => user_turn(&turn.parts, &mut items, loss)?,
            Role::Assistant => assistant_turn(&turn.parts, &mut items, loss),
            Role::System => items.push(message("system", plain_texts(&turn.parts, loss))),
            Role::Developer => items.push(message("developer", plain_texts(&turn.parts, loss))),
        }
        if turn.name.is_some() {
            loss.dropped("messages.name", "the Responses API has no names of speakers");
        }
    }
    let instructions = join_texts(&request.system);
    let mut wire = CreateResponse {
        model: request.model.clone(),
        input: Some(Input::Items(items)),
        instructions: (!instructions.is_empty()).then_some(Input::Text(instructions)),
        stream: request.stream.then_some(true),
        parallel_tool_calls: request.parallel_tool_calls,
        max_output_tokens: request.max_output_tokens.map(|tokens| tokens.max(MIN_OUTPUT_TOKENS)),
        temperature: request.sampling.temperature,
        top_p: request.sampling.top_p,
        reasoning: request.reasoning.as_ref().and_then(|control| reasoning_options(control, loss)),
        text: text_options(request),
        metadata: metadata(&request.metadata, loss),
        service_tier: request.service_tier.as_ref().and_then(|tier| service_tier(tier, loss)),
        store: Some(false),
        user: request.user.clone(),
        prompt_cache_key: request.prompt_cache_key.clone(),
        ..CreateResponse::default()
    };
    if request.max_output_tokens.is_some_and(|tokens| tokens < MIN_OUTPUT_TOKENS) {
        loss.approximated("max_output_tokens", "raised to 16, the least the Responses API takes");
    }
    let tools = request.tools.iter().enumerate().map(|(i, tool)| tool_entry(tool, i, loss)).collect::<Result<Vec<_>, _>>()?;
    if tools.is_empty() {
        // Without tools there is nothing to choose between.
        wire.parallel_tool_calls = None;
    } else {
        wire.tool_choice = request.tool_choice.as_ref().map(|choice| tool_choice(choice, &request.tools));
        wire.tools = Some(tools);
    }
    let mut include = Vec::new();
    if request.logprobs {
        include.push("message.output_text.logprobs".to_owned());
        wire.top_logprobs = request.top_logprobs;
    }
    if wire.reasoning.is_some() {
        // Nothing is stored, so reasoning comes back to the model only if the client can carry it.
        include.push("reasoning.encrypted_content".to_owned());
    }
    wire.include = (!include.is_empty()).then_some(include);
    report_unsayable(request, loss);
    if let Some(own) = request.extensions.own(DIALECT) {
        wire.rest.extend(own.iter().filter(|(name, _)| !name.contains('.')).map(|(name, value)| (name.clone(), value.clone())));
    }
    serde_json::to_vec(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn report_unsayable(request: &Request, loss: &mut LossReport) {
    let sampling = &request.sampling;
    let absent = [
        ("stop", !request.stop.is_empty()),
        ("top_k", sampling.top_k.is_some()),
        ("seed", sampling.seed.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("logit_bias", !sampling.logit_bias.is_empty()),
        ("store", request.store == Some(true)),
    ];
    for (field, is_said) in absent {
        if is_said {
            loss.dropped(field, "the Responses API has no such field");
        }
    }
    let parts = || request.system.iter().chain(request.turns.iter().flat_map(|turn| &turn.parts));
    if request.cache.is_some() || parts().any(|part| part.cache.is_some()) {
        loss.dropped("cache_control", "OpenAI caches prompts by itself");
    }
    for (_, field, _) in request.extensions.foreign(DIALECT) {
        loss.dropped(field.clone(), "known to another provider only");
    }
    for (_, field, _) in parts().flat_map(|part| part.extensions.foreign(DIALECT)) {
        loss.dropped(field.clone(), "known to another provider only");
    }
}

fn value(item: &impl serde::Serialize) -> Value {
    serde_json::to_value(item).unwrap_or_default()
}

/// A lone text is said as a string, which every server of this API takes.
fn message(role: &str, content: Vec<Value>) -> Value {
    let lone = match content.as_slice() {
        [part] if matches!(part["type"].as_str(), Some("input_text" | "output_text")) => part["text"].as_str().map(str::to_owned),
        _ => None,
    };
    let content = lone.map_or(MessageContent::Parts(content), MessageContent::Text);
    value(&Item::Message(Message { role: role.into(), content, ..Message::default() }))
}

fn input_text(text: &str) -> Value {
    value(&Content::InputText(TextPart { text: text.to_owned(), rest: Object::new() }))
}

fn join_texts(parts: &[Part]) -> String {
    parts.iter().filter_map(Part::as_text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn plain_texts(parts: &[Part], loss: &mut LossReport) -> Vec<Value> {
    if parts.iter().any(|part| part.as_text().is_none()) {
        loss.dropped("messages.content", "system messages hold text only");
    }
    parts.iter().filter_map(Part::as_text).map(input_text).collect()
}

fn user_turn(parts: &[Part], items: &mut Vec<Value>, loss: &mut LossReport) -> Result<(), BadRequest> {
    let mut content = Vec::new();
    for part in parts {
        if let PartKind::ToolResult(result) = &part.kind {
            if !content.is_empty() {
                items.push(message("user", std::mem::take(&mut content)));
            }
            items.push(tool_output(result, loss)?);
        } else {
            input_content(part, &mut content, loss)?;
        }
    }
    if !content.is_empty() {
        items.push(message("user", content));
    }
    Ok(())
}

fn input_content(part: &Part, content: &mut Vec<Value>, loss: &mut LossReport) -> Result<(), BadRequest> {
    match &part.kind {
        PartKind::Text(text) => content.push(input_text(&text.text)),
        PartKind::Refusal(text) => content.push(input_text(text)),
        PartKind::Image(image) => content.push(input_image(image)?),
        PartKind::Document(document) => input_document(document, content, loss)?,
        PartKind::Audio(audio) => content.push(input_audio(audio)?),
        PartKind::Video(_) => return Err(unsupported_media("Video")),
        PartKind::Extension { kind, .. } => loss.dropped(kind.clone(), "known to another provider only"),
        PartKind::Reasoning(_) | PartKind::ToolCall(_) | PartKind::ToolResult(_) => {
            loss.dropped("messages.content", "a part that has no place in a user's message");
        }
    }
    Ok(())
}

fn unsupported_media(what: &str) -> BadRequest {
    BadRequest::unsupported_value("messages.content", format!("{what} cannot be sent to the upstream of this model."))
}

fn foreign_file() -> BadRequest {
    BadRequest::unsupported_value(
        "messages.content.file_id",
        "A file stored with one provider cannot be read by another. Send the file's data or a URL.",
    )
}

fn input_image(image: &Media) -> Result<Value, BadRequest> {
    let mut wire = ImagePart { detail: Some(image.detail.clone().unwrap_or_else(|| "auto".into())), ..ImagePart::default() };
    match &image.source {
        Source::Data { media_type, base64 } => wire.image_url = Some(media::data_url(media_type, base64)),
        Source::Url { url, .. } => wire.image_url = Some(url.clone()),
        Source::File { vendor: Vendor::OpenAi, id, .. } => wire.file_id = Some(id.clone()),
        Source::File { .. } => return Err(foreign_file()),
        Source::Text(_) | Source::Parts(_) => return Err(unsupported_media("An image made of text")),
    }
    Ok(value(&Content::InputImage(wire)))
}

fn input_document(document: &Document, content: &mut Vec<Value>, loss: &mut LossReport) -> Result<(), BadRequest> {
    if document.citations {
        loss.dropped("documents.citations", "the Responses API cites no documents of the prompt");
    }
    if let Some(context) = &document.context {
        content.push(input_text(context));
    }
    let mut wire = FilePart::default();
    match &document.source {
        Source::Text(text) => {
            content.push(input_text(text));
            return Ok(());
        }
        Source::Parts(parts) => return parts.iter().try_for_each(|part| input_content(part, content, loss)),
        Source::Data { media_type, base64 } if media_type.starts_with("text/") => match media::text_of(base64) {
            Some(text) => {
                content.push(input_text(&text));
                return Ok(());
            }
            None => return Err(BadRequest::invalid("messages.content", "A text document is not base64 of UTF-8 text.")),
        },
        Source::Data { media_type, base64 } => {
            let extension = if media_type == "application/pdf" { "pdf" } else { "bin" };
            wire.filename = Some(document.title.clone().unwrap_or_else(|| format!("document.{extension}")));
            wire.file_data = Some(media::data_url(media_type, base64));
        }
        Source::Url { url, .. } => wire.file_url = Some(url.clone()),
        Source::File { vendor: Vendor::OpenAi, id, .. } => wire.file_id = Some(id.clone()),
        Source::File { .. } => return Err(foreign_file()),
    }
    content.push(value(&Content::InputFile(wire)));
    Ok(())
}

fn input_audio(audio: &Media) -> Result<Value, BadRequest> {
    let format = match &audio.source {
        Source::Data { media_type, .. } if media_type == "audio/wav" => "wav",
        Source::Data { media_type, .. } if media_type == "audio/mpeg" => "mp3",
        _ => return Err(unsupported_media("Audio other than inline WAV or MP3")),
    };
    let Source::Data { base64, .. } = &audio.source else { return Err(unsupported_media("Audio by reference")) };
    let input_audio = InputAudio { data: base64.clone(), format: format.into() };
    Ok(value(&Content::InputAudio(super::wire::AudioPart { input_audio, rest: Object::new() })))
}

fn tool_output(result: &ToolResult, loss: &mut LossReport) -> Result<Value, BadRequest> {
    if result.is_error {
        loss.approximated("tool_result.is_error", "the Responses API has no such flag; the text tells");
    }
    let is_text = result.content.iter().all(|part| part.as_text().is_some());
    let output = if is_text {
        MessageContent::Text(result.content.iter().filter_map(Part::as_text).collect::<Vec<_>>().join("\n"))
    } else {
        let mut content = Vec::new();
        result.content.iter().try_for_each(|part| input_content(part, &mut content, loss))?;
        MessageContent::Parts(content)
    };
    let output = CallOutput { call_id: Some(result.call_id.clone()), output, ..CallOutput::default() };
    Ok(value(&match result.kind {
        ToolKind::Function => Item::FunctionCallOutput(output),
        ToolKind::Custom => Item::CustomToolCallOutput(output),
    }))
}

/// Texts that follow each other are one: citations cut them, and citations are not said.
fn assistant_text(text: &str, content: &mut Vec<Value>) {
    if let Some(Value::String(so_far)) =
        content.last_mut().filter(|last| last["type"] == "output_text").map(|last| &mut last["text"])
    {
        so_far.push_str(text);
    } else if !text.is_empty() {
        content.push(value(&Content::OutputText(OutputText { text: text.to_owned(), ..OutputText::default() })));
    }
}

fn assistant_turn(parts: &[Part], items: &mut Vec<Value>, loss: &mut LossReport) {
    let mut content = Vec::new();
    for part in parts {
        let item = match &part.kind {
            PartKind::Text(text) => {
                assistant_text(&text.text, &mut content);
                continue;
            }
            PartKind::Refusal(text) => {
                content.push(value(&Content::Refusal(RefusalPart { refusal: text.clone(), rest: Object::new() })));
                continue;
            }
            PartKind::ToolCall(call) => match call.kind {
                ToolKind::Function => Item::FunctionCall(FunctionCall {
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                    ..FunctionCall::default()
                }),
                ToolKind::Custom => Item::CustomToolCall(CustomToolCall {
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    input: call.arguments.clone(),
                    ..CustomToolCall::default()
                }),
            },
            PartKind::Reasoning(reasoning) => match (&reasoning.id, &reasoning.signature) {
                // The id helps where there is one; without a store the encrypted content is what counts.
                (id, Some(signature)) if signature.vendor == Vendor::OpenAi => {
                    let summary = Content::SummaryText(TextPart { text: reasoning.text.clone(), rest: Object::new() });
                    Item::Reasoning(ReasoningItem {
                        id: id.clone(),
                        summary: (!reasoning.text.is_empty()).then_some(summary).into_iter().collect(),
                        encrypted_content: Some(signature.data.clone()),
                        ..ReasoningItem::default()
                    })
                }
                _ => {
                    loss.dropped("reasoning", "earlier reasoning goes back only to the provider that signed it");
                    continue;
                }
            },
            PartKind::Extension { dialect: DIALECT, kind, value: Value::Object(fields) } => {
                let mut fields = fields.clone();
                fields.shift_remove("type");
                Item::Other { kind: kind.clone(), fields }
            }
            PartKind::Extension { kind, .. } => {
                loss.dropped(kind.clone(), "known to another provider only");
                continue;
            }
            PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::Document(_) | PartKind::ToolResult(_) => {
                loss.dropped("messages.content", "media in a model's own turn cannot be replayed");
                continue;
            }
        };
        if part.signature.as_ref().is_some_and(|signature| signature.vendor != Vendor::OpenAi) {
            loss.dropped("reasoning", "earlier reasoning goes back only to the provider that signed it");
        }
        if !content.is_empty() {
            items.push(message("assistant", std::mem::take(&mut content)));
        }
        items.push(value(&item));
    }
    if !content.is_empty() {
        items.push(message("assistant", content));
    }
}

fn tool_entry(tool: &Tool, i: usize, loss: &mut LossReport) -> Result<Value, BadRequest> {
    Ok(match tool {
        Tool::Function(function) => {
            if function.cache.is_some() {
                loss.dropped("cache_control", "OpenAI caches prompts by itself");
            }
            for (_, field, _) in function.extensions.foreign(DIALECT) {
                loss.dropped(format!("tools.{field}"), "known to another provider only");
            }
            value(&ToolEntry::Function(FunctionEntry {
                name: function.name.clone(),
                description: function.description.clone(),
                parameters: Some(function.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }))),
                // Left out it would mean: strict if the schema allows.
                strict: Some(function.strict.unwrap_or(false)),
                rest: Object::new(),
            }))
        }
        Tool::Custom { name, description, format } => value(&ToolEntry::Custom(CustomEntry {
            name: name.clone(),
            description: description.clone(),
            format: format.clone(),
            rest: Object::new(),
        })),
        Tool::Builtin { dialect: DIALECT, value, .. } => value.clone(),
        Tool::Builtin { kind, .. } => {
            return Err(BadRequest::unsupported_value(
                format!("tools[{i}]"),
                format!("The tool `{kind}` is run by its vendor and the upstream of this model does not have it. Remove it."),
            ));
        }
    })
}

fn tool_choice(choice: &ToolChoice, tools: &[Tool]) -> Value {
    let named = |name: &str| {
        let is_custom = tools.iter().any(|tool| matches!(tool, Tool::Custom { name: custom, .. } if custom == name));
        json!({ "type": if is_custom { "custom" } else { "function" }, "name": name })
    };
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { names, required } => json!({
            "type": "allowed_tools",
            "mode": if *required { "required" } else { "auto" },
            "tools": names.iter().map(|name| named(name)).collect::<Vec<_>>(),
        }),
    }
}

/// A budget in tokens has no equivalent but the nearest effort.
fn reasoning_options(control: &ReasoningControl, loss: &mut LossReport) -> Option<ReasoningOptions> {
    const LOW_BUDGET: u64 = 1024;
    const MEDIUM_BUDGET: u64 = 8192;
    let effort = control.effort.or_else(|| match (control.mode, control.budget_tokens) {
        (Some(ReasoningMode::Disabled), _) => Some(Effort::None),
        (_, Some(budget)) => {
            loss.approximated("reasoning.budget_tokens", "said as the nearest effort");
            Some(match budget {
                0 => Effort::None,
                budget if budget <= LOW_BUDGET => Effort::Low,
                budget if budget <= MEDIUM_BUDGET => Effort::Medium,
                _ => Effort::High,
            })
        }
        _ => None,
    });
    let summary = control.summary.clone().or_else(|| (control.visible == Some(true)).then(|| "auto".into()));
    let options = ReasoningOptions { effort: effort.map(|effort| effort.as_str().to_owned()), summary, rest: Object::new() };
    (options != ReasoningOptions::default()).then_some(options)
}

fn text_options(request: &Request) -> Option<TextOptions> {
    let format = request.output.as_ref().map(|output| match output {
        OutputFormat::Text => Format::Text(Object::new()),
        OutputFormat::JsonObject => Format::JsonObject(Object::new()),
        OutputFormat::JsonSchema { name, description, schema, strict } => Format::JsonSchema(JsonSchemaFormat {
            name: name.clone().unwrap_or_else(|| "response".into()),
            schema: schema.clone(),
            description: description.clone(),
            strict: *strict,
            rest: Object::new(),
        }),
    });
    let options = TextOptions { format, verbosity: request.verbosity.clone(), rest: Object::new() };
    (options != TextOptions::default()).then_some(options)
}

fn metadata(metadata: &Object, loss: &mut LossReport) -> Option<Object> {
    let kept: Object =
        metadata.iter().filter(|(_, value)| value.is_string()).take(MAX_METADATA).map(|(k, v)| (k.clone(), v.clone())).collect();
    if kept.len() < metadata.len() {
        loss.dropped("metadata", "at most 16 entries with strings for values");
    }
    (!kept.is_empty()).then_some(kept)
}

fn service_tier(tier: &ServiceTier, loss: &mut LossReport) -> Option<String> {
    Some(
        match tier {
            ServiceTier::Auto => "auto",
            ServiceTier::Default => "default",
            ServiceTier::Flex => "flex",
            ServiceTier::Priority => "priority",
            ServiceTier::Other(word) => {
                loss.dropped("service_tier", format!("`{word}` is not known to OpenAI"));
                return None;
            }
        }
        .to_owned(),
    )
}
