//! Responses → [`ir`]: requests and whole answers.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::history::History;
use super::parts::{self, ReasoningMeaning};
use super::wire::{CreateResponse, Format, Input, Item, Message, ResponseBody, TextOptions, ToolEntry};
use super::{error, tools, usage};
use crate::failure::{AnswerFailure, BadRequest, InvalidAnswer};
use crate::ir::{
    Candidate, Effort, Extensions, FinishReason, Object, OutputFormat, Part, PartKind, ReasoningControl, Request, Response, Role,
    ServiceTier, Turn,
};
use crate::json_text;
use crate::loss::LossReport;

const LOGPROBS: &str = "message.output_text.logprobs";
const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";

pub(crate) fn request(body: &[u8], loss: &mut LossReport) -> Result<Request, BadRequest> {
    let mut wire: CreateResponse =
        json_text::read(body).map_err(|error| BadRequest::malformed(format!("The request body is not valid: {error}.")))?;
    refuse_stored_state(&wire)?;
    if wire.store == Some(true) {
        loss.dropped("store", "answers are not stored for this model");
    }
    let mut request = Request {
        model: wire.model.clone(),
        stream: wire.stream.unwrap_or(false),
        include_usage: true,
        parallel_tool_calls: wire.parallel_tool_calls,
        max_output_tokens: wire.max_output_tokens,
        user: wire.safety_identifier.clone().or_else(|| wire.user.clone()),
        metadata: wire.metadata.clone().unwrap_or_default(),
        service_tier: wire.service_tier.as_deref().map(service_tier),
        prompt_cache_key: wire.prompt_cache_key.clone(),
        ..Request::default()
    };
    request.sampling.temperature = wire.temperature;
    request.sampling.top_p = wire.top_p;

    let includes = wire.include.take().unwrap_or_default();
    for include in &includes {
        match include.as_str() {
            LOGPROBS => request.logprobs = true,
            ENCRYPTED_REASONING => request.carries_reasoning = true,
            other => loss.dropped(format!("include.{other}"), "the upstream has no such output"),
        }
    }
    request.top_logprobs = wire.top_logprobs.filter(|_| request.logprobs);
    if let Some(options) = &mut wire.reasoning {
        request.reasoning = Some(reasoning_control(options.effort.as_deref(), options.summary.as_deref(), loss));
        request.extensions.extend(Dialect::OpenaiResponses, prefixed("reasoning", &options.rest));
    }
    if let Some(text) = &wire.text {
        request.output = output_format(text)?;
        request.verbosity.clone_from(&text.verbosity);
    }
    for (i, value) in wire.tools.iter().flatten().enumerate() {
        tools::declare(value, &format!("tools[{i}]"), &mut request, loss)?;
    }
    request.echo = echo(&wire)?;

    if let Some(instructions) = wire.instructions.take() {
        let Input::Text(text) = instructions else {
            return Err(BadRequest::invalid("instructions", "`instructions` must be a string."));
        };
        request.system.push(Part::text(text));
    }
    match wire.input.take() {
        None => return Err(BadRequest::invalid("input", "`input` is missing; send a string or a list of items.")),
        Some(Input::Text(text)) => request.turns.push(Turn::new(Role::User, vec![Part::text(text)])),
        Some(Input::Items(items)) => {
            let mut history = History::new(&mut request, loss);
            for (i, value) in items.into_iter().enumerate() {
                history.item(value, &format!("input[{i}]"))?;
            }
            history.finish();
        }
    }
    // Items may have added tools.
    request.tool_choice = match &wire.tool_choice {
        Some(choice) => tools::choose(choice, &request, loss)?,
        None => None,
    };
    report_unsayable(&wire, loss);
    // What has no place in the form between is reported by the encoder, as any field of ours it cannot say.
    let rest = std::mem::take(&mut wire.rest);
    request.extensions.extend(Dialect::OpenaiResponses, rest.into_iter().filter(|(name, value)| !is_idle(name, value)).collect());
    Ok(request)
}

/// Fields that refer to state kept by the server. Ignoring them would lose the conversation.
fn refuse_stored_state(wire: &CreateResponse) -> Result<(), BadRequest> {
    let refusals = [
        ("previous_response_id", wire.previous_response_id.is_some(), "Send the earlier items in `input` instead."),
        ("conversation", wire.conversation.is_some(), "Send the earlier items in `input` instead."),
        ("background", wire.background == Some(true), "Send the request without `background` and wait for the answer."),
        ("prompt", wire.prompt.is_some(), "Send the prompt's text in `input`."),
    ];
    for (field, is_set, advice) in refusals {
        if is_set {
            return Err(BadRequest::unsupported(
                field,
                format!("`{field}` needs an upstream that stores responses, and the upstream of this model does not. {advice}"),
            ));
        }
    }
    Ok(())
}

/// Fields that only OpenAI's own servers can act on, and that lose nothing of the conversation.
fn report_unsayable(wire: &CreateResponse, loss: &mut LossReport) {
    if wire.truncation.as_deref().is_some_and(|truncation| truncation != "disabled") {
        loss.dropped("truncation", "input that is too long is refused by the upstream, not cut");
    }
    if wire.max_tool_calls.is_some() {
        loss.dropped("max_tool_calls", "it counts calls of tools that OpenAI runs");
    }
    if wire.prompt_cache_retention.is_some() {
        loss.dropped("prompt_cache_retention", "the upstream has no such field");
    }
}

/// Values that say what would happen anyway.
fn is_idle(name: &str, value: &Value) -> bool {
    // Nothing is padded in translated streams; the client's wish not to be is granted, the other is harmless.
    value.is_null() || name == "stream_options" || (name == "background_options")
}

fn prefixed(prefix: &str, fields: &Object) -> Object {
    fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (format!("{prefix}.{name}"), value.clone())).collect()
}

fn service_tier(word: &str) -> ServiceTier {
    match word {
        "auto" => ServiceTier::Auto,
        "default" => ServiceTier::Default,
        "flex" => ServiceTier::Flex,
        "priority" | "fast" => ServiceTier::Priority,
        other => ServiceTier::Other(other.to_owned()),
    }
}

fn reasoning_control(effort: Option<&str>, summary: Option<&str>, loss: &mut LossReport) -> ReasoningControl {
    let known = effort.and_then(Effort::parse);
    if let (Some(word), None) = (effort, known) {
        loss.dropped("reasoning.effort", format!("`{word}` is not a known effort"));
    }
    ReasoningControl {
        effort: known,
        visible: summary.map(|_| true),
        summary: summary.map(str::to_owned),
        ..ReasoningControl::default()
    }
}

pub(super) fn output_format(text: &TextOptions) -> Result<Option<OutputFormat>, BadRequest> {
    Ok(match &text.format {
        None => None,
        Some(Format::Text(_)) => Some(OutputFormat::Text),
        Some(Format::JsonObject(_)) => Some(OutputFormat::JsonObject),
        Some(Format::JsonSchema(format)) => Some(OutputFormat::JsonSchema {
            name: Some(format.name.clone()),
            description: format.description.clone(),
            schema: format.schema.clone(),
            strict: format.strict,
        }),
        Some(Format::Other { kind, .. }) => {
            return Err(BadRequest::unsupported_value(
                "text.format.type",
                format!("`{kind}` is not known; use `text`, `json_object` or `json_schema`."),
            ));
        }
    })
}

/// What a response repeats of its request, in the form OpenAI's document demands.
fn echo(wire: &CreateResponse) -> Result<Object, BadRequest> {
    let mut tools = Vec::new();
    for (i, value) in wire.tools.iter().flatten().enumerate() {
        let entry: ToolEntry = typed(value.clone(), &format!("tools[{i}]"))?;
        // Written again, a function has `strict` and `parameters`, null if need be.
        tools.push(serde_json::to_value(entry).unwrap_or_default());
    }
    let instructions = match &wire.instructions {
        Some(Input::Text(text)) => Value::from(text.as_str()),
        _ => Value::Null,
    };
    let mut text = json!({ "format": { "type": "text" } });
    if let Some(options) = &wire.text {
        if let Some(format) = &options.format {
            text["format"] = serde_json::to_value(format).unwrap_or_default();
        }
        if let Some(verbosity) = &options.verbosity {
            text["verbosity"] = verbosity.as_str().into();
        }
    }
    let reasoning = wire.reasoning.as_ref();
    let mut echo = json!({
        "instructions": instructions,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "metadata": wire.metadata.clone().unwrap_or_default(),
        "parallel_tool_calls": wire.parallel_tool_calls.unwrap_or(true),
        "prompt_cache_key": wire.prompt_cache_key,
        "reasoning": {
            "effort": reasoning.and_then(|reasoning| reasoning.effort.clone()),
            "summary": reasoning.and_then(|reasoning| reasoning.summary.clone()),
        },
        "safety_identifier": wire.safety_identifier,
        "temperature": wire.temperature.unwrap_or(1.0),
        "text": text,
        "tool_choice": wire.tool_choice.clone().unwrap_or_else(|| "auto".into()),
        "tools": tools,
        "top_logprobs": wire.top_logprobs.unwrap_or(0),
        "top_p": wire.top_p.unwrap_or(1.0),
        "truncation": "disabled",
    });
    for (field, value) in [("user", &wire.user), ("prompt_cache_retention", &wire.prompt_cache_retention)] {
        if let Some(value) = value {
            echo[field] = value.as_str().into();
        }
    }
    match echo {
        Value::Object(echo) => Ok(echo),
        _ => Ok(Object::new()),
    }
}

pub(super) fn typed<T: DeserializeOwned>(value: Value, path: &str) -> Result<T, BadRequest> {
    serde_json::from_value(value).map_err(|error| BadRequest::invalid(path, format!("`{path}`: {error}.")))
}

pub(crate) fn response(body: &[u8]) -> Result<Response, AnswerFailure> {
    let wire: ResponseBody = json_text::read(body).map_err(|error| InvalidAnswer(format!("no response object: {error}")))?;
    if let Some(failure) = wire.error.as_ref().filter(|error| error.is_object()).map(error::in_stream) {
        return Err(AnswerFailure::Upstream(failure));
    }
    match wire.status.as_deref() {
        // Asked for by nobody: background requests are refused.
        Some(status @ ("queued" | "in_progress")) => {
            return Err(
                InvalidAnswer(format!("the upstream answers in the background, and its answer is still `{status}`")).into()
            );
        }
        Some(status @ ("failed" | "cancelled")) => {
            return Err(InvalidAnswer(format!("the response has the status `{status}`")).into());
        }
        _ => {}
    }
    if wire.id.is_none() && wire.status.is_none() && wire.output.is_empty() {
        return Err(InvalidAnswer("a response object has `id`, `status` and `output`; this has none of them".into()).into());
    }
    let mut parts = Vec::new();
    let mut logprobs = Vec::new();
    for item in wire.output.iter().cloned() {
        output_item(item, &mut parts, &mut logprobs);
    }
    let (finish, raw) = finish(&wire, &parts);
    let mut candidate = Candidate::new(0, parts, finish);
    candidate.raw_finish = raw;
    candidate.logprobs = (!logprobs.is_empty()).then(|| json!({ "content": logprobs, "refusal": null }));
    Ok(Response {
        usage: wire.usage.as_ref().and_then(usage::decode),
        service_tier: wire.service_tier.as_deref().map(service_tier),
        id: wire.id,
        model: wire.model,
        candidates: vec![candidate],
        extensions: Extensions::default(),
    })
}

/// One finished item of `output`.
pub(super) fn output_item(item: Item, parts: &mut Vec<Part>, logprobs: &mut Vec<Value>) {
    match item {
        Item::Message(mut message) => {
            if let super::wire::MessageContent::Parts(content) = &mut message.content {
                for value in content.iter_mut() {
                    if let Some(Value::Array(list)) = value.get_mut("logprobs").map(Value::take) {
                        logprobs.extend(list);
                    }
                }
            }
            // A part of a kind we do not know is the vendor's own; the text beside it still counts.
            parts.extend(known_content(message));
        }
        Item::Reasoning(item) => match parts::reasoning(item) {
            ReasoningMeaning::Part(part) => parts.push(part),
            // Only the gateway writes such items, and its own answers are not decoded.
            ReasoningMeaning::SignatureOfNext(_) | ReasoningMeaning::SignatureOfPrevious(_) => {}
        },
        item => parts.push(parts::call(item)),
    }
}

fn known_content(message: Message) -> Vec<Part> {
    use super::wire::MessageContent;
    match message.content {
        MessageContent::Parts(list) => list
            .into_iter()
            .filter_map(|value| parts::content(MessageContent::Parts(vec![value]), "output").ok())
            .flatten()
            .collect(),
        content => parts::content(content, "output").unwrap_or_default(),
    }
}

/// How a finished response ended.
pub(super) fn finish(wire: &ResponseBody, parts: &[Part]) -> (FinishReason, Option<String>) {
    let status = wire.status.as_deref().unwrap_or("completed");
    let reason = wire.incomplete_details.as_ref().and_then(|details| details.reason.as_deref());
    let has = |wanted: fn(&PartKind) -> bool| parts.iter().any(|part| wanted(&part.kind));
    let finish = match (status, reason) {
        ("incomplete", Some("max_output_tokens")) => FinishReason::Length,
        ("incomplete", Some("content_filter")) => FinishReason::ContentFilter,
        ("incomplete", _) => FinishReason::Unknown,
        _ if has(|kind| matches!(kind, PartKind::ToolCall(_))) => FinishReason::ToolUse,
        _ if has(|kind| matches!(kind, PartKind::Refusal(_))) => FinishReason::Refusal,
        _ => FinishReason::Stop,
    };
    (finish, Some(reason.unwrap_or(status).to_owned()))
}
