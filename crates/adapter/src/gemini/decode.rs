//! Gemini → [`ir`]: requests and whole answers.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::parts::{self, Meaning};
use super::wire::{
    Candidate as WireCandidate, Content, FunctionResponse, GenerateContent, GenerateContentResponse, GenerationConfig,
    GroundingMetadata, ThinkingConfig, Tool as WireTool, ToolConfig,
};
use super::{citations, error, finish, ids, native, schema, usage};
use crate::failure::{AnswerFailure, BadRequest, InvalidAnswer};
use crate::ir::{
    Candidate, Citation, Effort, Extensions, FinishReason, FunctionTool, OutputFormat, Part, PartKind, ReasoningControl,
    ReasoningMode, Request, Response, Role, ServiceTier, Tool, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json_text;
use crate::loss::LossReport;

const DIALECT: Dialect = Dialect::Gemini;
/// Scope of ids minted for a history: they need to be unique within it only.
const HISTORY: &str = "history";
/// Most calls of one model turn: results are paired with them by search.
const MAX_OPEN_CALLS: usize = 1024;
/// Whether thoughts may be shown, among what the answer's encoder is told.
pub(super) const INCLUDE_THOUGHTS: &str = "includeThoughts";

pub(crate) fn request(body: &[u8], loss: &mut LossReport) -> Result<Request, BadRequest> {
    let wire: GenerateContent =
        json_text::read(body).map_err(|error| BadRequest::malformed(format!("The request body is not valid: {error}.")))?;
    for (field, is_set) in
        [("cachedContent", wire.cached_content.is_some()), ("continuationToken", wire.continuation_token.is_some())]
    {
        if is_set {
            return Err(BadRequest::unsupported(
                field,
                format!(
                    "`{field}` names state kept by Google, and this model is served by another provider. Send the contents instead."
                ),
            ));
        }
    }
    let mut request = Request { include_usage: true, ..Request::default() };
    if let Some(instruction) = wire.system_instruction {
        for part in instruction.parts {
            match part.text {
                Some(text) if !text.is_empty() => request.system.push(Part::text(text)),
                Some(_) => {}
                None => loss.dropped("systemInstruction.parts", "only text can be an instruction"),
            }
        }
    }
    let mut history = History { turns: Vec::new(), calls: Vec::new(), loss: &mut *loss };
    for (i, content) in wire.contents.into_iter().enumerate() {
        history.content(content, i)?;
    }
    request.turns = history.turns;
    if request.turns.is_empty() {
        return Err(BadRequest::invalid("contents", "`contents` is missing or empty; send at least one content with a part."));
    }
    for (i, tool) in wire.tools.into_iter().enumerate() {
        read_tool(tool, i, &mut request, loss)?;
    }
    if let Some(config) = wire.tool_config {
        request.tool_choice = tool_choice(&config, &mut request.tools, loss)?;
        let path = |(name, value)| (format!("toolConfig.{name}"), value);
        request.extensions.extend(DIALECT, native::camel_cased(config.rest).into_iter().map(path).collect());
    }
    request.service_tier = wire.service_tier.as_deref().and_then(service_tier);
    if let Some(config) = wire.generation_config {
        generation_config(config, &mut request, loss)?;
    }
    let shows_thoughts = request.reasoning.as_ref().and_then(|control| control.visible).unwrap_or(false);
    request.echo.insert(INCLUDE_THOUGHTS.into(), shows_thoughts.into());
    request.extensions.extend(DIALECT, native::camel_cased(wire.rest));
    Ok(request)
}

/// Contents on their way to turns.
struct History<'a> {
    turns: Vec<Turn>,
    /// Calls of the last model turn that have no result yet: id and name.
    calls: Vec<(String, String)>,
    loss: &'a mut LossReport,
}

impl History<'_> {
    fn content(&mut self, content: Content, i: usize) -> Result<(), BadRequest> {
        let role = match content.role.as_deref().unwrap_or("user") {
            "model" | "assistant" => Role::Assistant,
            // `function` is the historic role of results, `system` is tolerated by some SDKs' servers.
            _ => Role::User,
        };
        if role == Role::Assistant && !matches!(self.turns.last(), Some(turn) if turn.role == Role::Assistant) {
            self.calls.clear();
        }
        let (mut results, mut others) = (Vec::new(), Vec::new());
        for (j, mut part) in content.parts.into_iter().enumerate() {
            let path = format!("contents[{i}].parts[{j}]");
            if let Some(response) = part.function_response.take() {
                if self.is_answered(&results, &response) {
                    self.loss.dropped(path, "the same result stands before it");
                    continue;
                }
                results.push(self.result(response, &path)?);
                continue;
            }
            let read = parts::read(part);
            for field in &read.unread {
                self.loss.dropped(format!("{path}.{field}"), "known to Google only");
            }
            if read.is_reworded {
                self.loss.approximated(&*path, "code that Google ran was said as text");
            }
            match &read.meaning {
                Meaning::BrokenMedia => {
                    return Err(BadRequest::invalid(&path, format!("`{path}.inlineData.data` is not base64.")));
                }
                Meaning::Nothing => continue,
                Meaning::Part(PartKind::Reasoning(_)) if role == Role::User => {
                    self.loss.dropped(path, "a thought in a user's content");
                    continue;
                }
                Meaning::Call { .. } | Meaning::Part(_) => {}
            }
            let calls = &mut self.calls;
            let name = if let Meaning::Call { name, .. } = &read.meaning { name.clone() } else { String::new() };
            let part = read.into_part(|id| {
                let id = id.unwrap_or_else(|| ids::mint(HISTORY, i, j));
                calls.push((id.clone(), name));
                id
            });
            match part {
                Some(part) if role == Role::Assistant => append(&mut others, part),
                part => others.extend(part),
            }
        }
        if self.calls.len() > MAX_OPEN_CALLS {
            let path = format!("contents[{i}]");
            return Err(BadRequest::invalid(
                &path,
                format!("`{path}` brings more than {MAX_OPEN_CALLS} function calls without a result."),
            ));
        }
        // Results first, as everywhere in the form between.
        results.append(&mut others);
        if let Some(last) = self.turns.last_mut().filter(|last| role == Role::Assistant && last.role == role) {
            // An SDK's history holds each chunk of a stream as a content of its own.
            for part in results {
                append(&mut last.parts, part);
            }
        } else if !results.is_empty() {
            self.turns.push(Turn::new(role, results).said_at(format!("contents[{i}]")));
        }
        Ok(())
    }

    /// Whether a result came already: Gemini CLI sends those of a resumed session twice.
    fn is_answered(&self, results: &[Part], response: &FunctionResponse) -> bool {
        let Some(id) = response.id.as_deref().filter(|id| !id.is_empty()) else { return false };
        let answers = |part: &Part| matches!(&part.kind, PartKind::ToolResult(result) if result.call_id == id);
        results.iter().any(answers) && !self.calls.iter().any(|(call, _)| call == id)
    }

    /// Pairs a result with its call: by id, then by name in order of occurrence, then by position.
    fn result(&mut self, response: FunctionResponse, path: &str) -> Result<Part, BadRequest> {
        let id = response.id.filter(|id| !id.is_empty());
        for field in native::camel_cased(response.rest).keys() {
            self.loss.dropped(format!("{path}.functionResponse.{field}"), "known to Google only");
        }
        let at = id
            .and_then(|id| self.calls.iter().position(|(call, _)| *call == id))
            .or_else(|| self.calls.iter().position(|(_, name)| *name == response.name))
            .or_else(|| (!self.calls.is_empty()).then_some(0));
        let Some(at) = at else {
            return Err(BadRequest::invalid(
                format!("{path}.functionResponse"),
                format!("`{path}.functionResponse` answers no function call of the model's turn before it."),
            ));
        };
        let (call_id, name) = self.calls.remove(at);
        let (text, is_error) = parts::result_text(&response.response.unwrap_or_else(|| json!({})));
        let mut content = vec![Part::text(text)];
        for (k, part) in response.parts.into_iter().enumerate() {
            let read = parts::read(part);
            for field in &read.unread {
                self.loss.dropped(format!("{path}.functionResponse.parts[{k}].{field}"), "known to Google only");
            }
            if let Meaning::BrokenMedia = read.meaning {
                let path = format!("{path}.functionResponse.parts[{k}]");
                return Err(BadRequest::invalid(&path, format!("`{path}.inlineData.data` is not base64.")));
            }
            content.extend(read.into_part(Option::unwrap_or_default));
        }
        let name = Some(if response.name.is_empty() { name } else { response.name });
        Ok(Part::new(PartKind::ToolResult(ToolResult { call_id, name, content, is_error, kind: ToolKind::Function })))
    }
}

fn read_tool(tool: WireTool, i: usize, request: &mut Request, loss: &mut LossReport) -> Result<(), BadRequest> {
    for (j, function) in tool.function_declarations.into_iter().enumerate() {
        if function.name.is_empty() {
            let path = format!("tools[{i}].functionDeclarations[{j}].name");
            return Err(BadRequest::invalid(&path, format!("`{path}` is missing.")));
        }
        for field in native::camel_cased(function.rest).keys() {
            loss.dropped(format!("tools.functionDeclarations.{field}"), "known to Google only");
        }
        let parameters = function.parameters_json_schema.or_else(|| function.parameters.as_ref().map(schema::to_json_schema));
        request.tools.push(Tool::Function(FunctionTool {
            name: function.name,
            description: function.description.filter(|text| !text.is_empty()),
            parameters,
            ..FunctionTool::default()
        }));
    }
    for (kind, value) in native::camel_cased(tool.rest) {
        request.tools.push(Tool::Builtin { dialect: DIALECT, value: json!({ (&*kind): value }), kind });
    }
    Ok(())
}

fn tool_choice(config: &ToolConfig, tools: &mut [Tool], loss: &mut LossReport) -> Result<Option<ToolChoice>, BadRequest> {
    let Some(config) = &config.function_calling_config else { return Ok(None) };
    for field in config.rest.keys() {
        loss.dropped(format!("toolConfig.functionCallingConfig.{}", native::camel_case(field)), "known to Google only");
    }
    let names = config.allowed_function_names.clone();
    let mode = config.mode.as_deref().unwrap_or("AUTO").to_ascii_uppercase();
    Ok(Some(match mode.as_str() {
        "AUTO" | "MODE_UNSPECIFIED" => ToolChoice::Auto,
        "NONE" => ToolChoice::None,
        "ANY" if names.len() == 1 => ToolChoice::Named(names.into_iter().next().unwrap_or_default()),
        "ANY" if names.is_empty() => ToolChoice::Required,
        "ANY" => ToolChoice::Allowed { names, required: true },
        "VALIDATED" => {
            for tool in tools {
                // Arguments are held to the schema, where the schema is one that can be: a strict tool is the nearest.
                if let Tool::Function(function) = tool
                    && function.parameters.as_ref().is_some_and(is_strict_already)
                {
                    function.strict = Some(true);
                }
            }
            if names.is_empty() { ToolChoice::Auto } else { ToolChoice::Allowed { names, required: false } }
        }
        other => {
            return Err(BadRequest::invalid(
                "toolConfig.functionCallingConfig.mode",
                format!("`{other}` is not known; use AUTO, ANY, NONE or VALIDATED."),
            ));
        }
    }))
}

/// OpenAI's rule for `strict` at the top: closed, and every property required.
fn is_strict_already(schema: &Value) -> bool {
    let required = schema["required"].as_array().map_or(0, Vec::len);
    schema["additionalProperties"] == false && schema["properties"].as_object().is_some_and(|all| all.len() == required)
}

fn service_tier(word: &str) -> Option<ServiceTier> {
    match word.to_ascii_lowercase().as_str() {
        "" | "unspecified" => None,
        "standard" => Some(ServiceTier::Default),
        "flex" => Some(ServiceTier::Flex),
        "priority" => Some(ServiceTier::Priority),
        other => Some(ServiceTier::Other(other.to_owned())),
    }
}

fn unsigned(value: Option<i64>, path: &str) -> Result<Option<u64>, BadRequest> {
    value
        .map(|value| u64::try_from(value).map_err(|_| BadRequest::invalid(path, format!("`{path}` must not be negative."))))
        .transpose()
}

fn generation_config(config: GenerationConfig, request: &mut Request, loss: &mut LossReport) -> Result<(), BadRequest> {
    let path = |field: &str| format!("generationConfig.{field}");
    request.sampling.temperature = config.temperature;
    request.sampling.top_p = config.top_p;
    request.sampling.top_k = unsigned(config.top_k, &path("topK"))?;
    request.sampling.seed = config.seed;
    request.sampling.presence_penalty = config.presence_penalty;
    request.sampling.frequency_penalty = config.frequency_penalty;
    request.max_output_tokens = unsigned(config.max_output_tokens, &path("maxOutputTokens"))?.filter(|tokens| *tokens > 0);
    request.candidates =
        unsigned(config.candidate_count, &path("candidateCount"))?.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    request.stop = config.stop_sequences;
    request.logprobs = config.response_logprobs == Some(true);
    request.top_logprobs = unsigned(config.logprobs, &path("logprobs"))?.and_then(|n| u32::try_from(n).ok());
    request.modalities =
        config.response_modalities.iter().map(|word| word.to_ascii_lowercase()).filter(|word| word != "text").collect();
    request.output =
        output_format(config.response_mime_type.as_deref(), config.response_schema.as_ref(), config.response_json_schema)?;
    if let Some(thinking) = config.thinking_config {
        request.reasoning = Some(reasoning(&thinking, loss)?);
    }
    let rest = native::camel_cased(config.rest);
    if rest.contains_key("responseFormat") {
        return Err(BadRequest::unsupported(
            path("responseFormat"),
            "The upstream of this model is not Google's; say the output format with `responseMimeType` and `responseJsonSchema`.",
        ));
    }
    request.extensions.extend(DIALECT, rest.into_iter().map(|(name, value)| (path(&name), value)).collect());
    Ok(())
}

fn output_format(
    mime_type: Option<&str>,
    open_api: Option<&Value>,
    json_schema: Option<Value>,
) -> Result<Option<OutputFormat>, BadRequest> {
    let schema = json_schema.or_else(|| open_api.map(schema::to_json_schema));
    match mime_type.unwrap_or(if schema.is_some() { "application/json" } else { "" }) {
        "" => Ok(None),
        "text/plain" => Ok(Some(OutputFormat::Text)),
        "application/json" => Ok(Some(match schema {
            Some(schema) => OutputFormat::JsonSchema {
                name: None,
                description: None,
                strict: is_strict_already(&schema).then_some(true),
                schema,
            },
            None => OutputFormat::JsonObject,
        })),
        other => Err(BadRequest::unsupported_value(
            "generationConfig.responseMimeType",
            format!("`{other}` cannot be asked of the upstream of this model; use text/plain or application/json."),
        )),
    }
}

fn reasoning(thinking: &ThinkingConfig, loss: &mut LossReport) -> Result<ReasoningControl, BadRequest> {
    for field in thinking.rest.keys() {
        loss.dropped(format!("generationConfig.thinkingConfig.{}", native::camel_case(field)), "known to Google only");
    }
    let mut control = ReasoningControl { visible: thinking.include_thoughts, ..ReasoningControl::default() };
    match (thinking.thinking_level.as_deref(), thinking.thinking_budget) {
        (Some(_), Some(_)) => {
            return Err(BadRequest::invalid(
                "generationConfig.thinkingConfig",
                "`thinkingLevel` and `thinkingBudget` exclude each other; send one of them.",
            ));
        }
        (Some(level), None) => {
            control.effort = Effort::parse(&level.to_ascii_lowercase());
            if control.effort.is_none() && !level.eq_ignore_ascii_case("THINKING_LEVEL_UNSPECIFIED") {
                loss.dropped("generationConfig.thinkingConfig.thinkingLevel", format!("`{level}` is not a known level"));
            }
        }
        (None, Some(0)) => control.mode = Some(ReasoningMode::Disabled),
        (None, Some(budget)) => match u64::try_from(budget) {
            Ok(budget) => {
                control.mode = Some(ReasoningMode::Budget);
                control.budget_tokens = Some(budget);
            }
            Err(_) => control.mode = Some(ReasoningMode::Adaptive),
        },
        (None, None) => {}
    }
    Ok(control)
}

pub(crate) fn response(body: &[u8]) -> Result<Response, AnswerFailure> {
    let wire: GenerateContentResponse =
        json_text::read(body).map_err(|error| InvalidAnswer(format!("no GenerateContentResponse: {error}")))?;
    if let Some(error) = &wire.error {
        return Err(AnswerFailure::Upstream(error::in_stream(error)));
    }
    let scope = wire.response_id.clone().unwrap_or_default();
    let candidates = if wire.candidates.is_empty() {
        vec![blocked(&wire).ok_or_else(|| InvalidAnswer("it has neither candidates nor a reason why".into()))?]
    } else {
        wire.candidates.into_iter().map(|candidate| read_candidate(candidate, &scope)).collect()
    };
    Ok(Response {
        id: wire.response_id,
        model: wire.model_version,
        candidates,
        usage: wire.usage_metadata.as_ref().and_then(usage::decode),
        service_tier: None,
        extensions: Extensions::default(),
    })
}

/// The prompt was refused: there is no candidate, but an answer all the same.
pub(super) fn blocked(wire: &GenerateContentResponse) -> Option<Candidate> {
    let feedback = wire.prompt_feedback.as_ref()?;
    let reason = feedback.block_reason.clone()?;
    let said = feedback.block_reason_message.clone().filter(|text| !text.is_empty());
    let explanation = said.unwrap_or_else(|| format!("Blocked by Gemini: {reason}"));
    let mut candidate = Candidate::new(0, vec![Part::refusal(explanation.clone())], FinishReason::ContentFilter);
    candidate.raw_finish = Some(reason);
    candidate.explanation = Some(explanation);
    Some(candidate)
}

fn read_candidate(wire: WireCandidate, scope: &str) -> Candidate {
    let index = wire.index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
    let mut calls = 0;
    let mut read: Vec<Part> = Vec::new();
    // Where each text of the wire lies in the parts.
    let mut places: Vec<(usize, usize, usize)> = Vec::new();
    for (position, part) in wire.content.map(|content| content.parts).unwrap_or_default().into_iter().enumerate() {
        let mut part = parts::read(part);
        if let Meaning::Nothing = part.meaning {
            // A signature on an empty last part belongs to the text before it.
            if let (Some(last), Some(signature)) = (read.last_mut(), part.signature.take()) {
                last.signature.get_or_insert(signature);
            }
            continue;
        }
        let part = part.into_part(|_| {
            calls += 1;
            ids::mint(scope, index as usize, calls - 1)
        });
        let Some(part) = part else { continue };
        let is_text = part.as_text().is_some();
        let said = part.as_text().map_or(0, str::len);
        append(&mut read, part);
        if is_text && let Some(whole) = read.last().and_then(Part::as_text) {
            places.push((position, read.len() - 1, whole.len() - said));
        }
    }
    for (part, citation) in cited(wire.grounding_metadata.as_ref(), wire.citation_metadata.as_ref(), &places, &read) {
        if let PartKind::Text(text) = &mut read[part].kind {
            text.citations.push(citation);
        }
    }
    let raw = wire.finish_reason.unwrap_or_default();
    let mut candidate = Candidate::new(index, Vec::new(), finish::read(&raw, calls > 0, !read.is_empty()));
    candidate.parts = read;
    candidate.raw_finish = (!raw.is_empty()).then_some(raw);
    candidate.explanation =
        wire.finish_message.filter(|_| candidate.finish != FinishReason::ToolUse && candidate.finish != FinishReason::Stop);
    candidate.logprobs = wire.logprobs_result.as_ref().and_then(logprobs);
    candidate
}

/// The citations, each with the part it belongs to.
fn cited(
    grounding: Option<&GroundingMetadata>,
    sources: Option<&Value>,
    places: &[(usize, usize, usize)],
    parts: &[Part],
) -> Vec<(usize, Citation)> {
    let piece = |(position, part, start): &(usize, usize, usize)| {
        let text = parts[*part].as_text().unwrap_or_default();
        citations::Piece { position: *position, part: *part, start: *start, text }
    };
    let pieces: Vec<citations::Piece<'_>> = places.iter().map(piece).collect();
    citations::read(grounding, sources, &pieces)
}

/// Neighbouring texts of one kind are one part, as in a stream.
fn append(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), &part.kind) {
        (Some(Part { kind: PartKind::Text(last), signature, .. }), PartKind::Text(text)) => {
            last.text.push_str(&text.text);
            if signature.is_none() {
                *signature = part.signature;
            }
        }
        // A signature ends a thought.
        (Some(Part { kind: PartKind::Reasoning(last), .. }), PartKind::Reasoning(thought)) if last.signature.is_none() => {
            last.text.push_str(&thought.text);
            last.signature.clone_from(&thought.signature);
        }
        _ => parts.push(part),
    }
}

/// Google's `logprobsResult` in OpenAI's form.
pub(super) fn logprobs(result: &Value) -> Option<Value> {
    let entry = |value: &Value| {
        let token = value["token"].as_str().unwrap_or_default();
        json!({ "token": token, "logprob": value["logProbability"].as_f64(), "bytes": token.as_bytes() })
    };
    let tops = result["topCandidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chosen = result["chosenCandidates"].as_array()?;
    let content: Vec<Value> = chosen
        .iter()
        .enumerate()
        .map(|(i, chosen)| {
            let mut whole = entry(chosen);
            let top = tops.get(i).and_then(|top| top["candidates"].as_array()).into_iter().flatten();
            whole["top_logprobs"] = top.map(entry).collect();
            whole
        })
        .collect();
    Some(json!({ "content": content, "refusal": null }))
}
