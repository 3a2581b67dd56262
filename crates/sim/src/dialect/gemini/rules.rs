//! What Gemini refuses: unknown fields, the order of turns, and calls that lost their thought signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{field, parts};
use crate::conversation::{Returned, canonical};
use crate::dialect::{Problem, check_fields};
use crate::families;
use crate::seal::{self, Digest, Kind, Seal};

/// Taken instead of a real signature, as they are or in base64.
const SENTINELS: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];
const MAX_NAME_BYTES: usize = 128;
/// Every field of a request, in its one spelling.
const FIELDS: &[&str] = &[
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "generationConfig",
    "cachedContent",
    "serviceTier",
    "store",
    "labels",
    "continuationToken",
    "modelArmorConfig",
    "model",
];
const CONFIG_FIELDS: &[&str] = &[
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseFormat",
    "responseModalities",
    "thinkingConfig",
    "mediaResolution",
    "speechConfig",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "audioTranscriptionConfig",
    "translationConfig",
    "audioTimestamp",
    "routingConfig",
    "modelSelectionConfig",
    "enableAffectiveDialog",
];
/// Keywords of JSON Schema that the typed form does not know.
const NOT_IN_SCHEMA: &[&str] =
    &["$schema", "$ref", "$defs", "definitions", "additionalProperties", "const", "oneOf", "allOf", "not", "patternProperties"];

fn refuse(text: impl Into<String>) -> Problem {
    Problem::invalid(text, "contents")
}

/// Fields of `value` under either spelling.
fn check_names(value: &Value, known: &[&str], place: &str) -> Result<(), Problem> {
    let spelled: Vec<String> = known.iter().map(|name| snake(name)).collect();
    let both: Vec<&str> = known.iter().copied().chain(spelled.iter().map(String::as_str)).collect();
    let at = if place.is_empty() { String::new() } else { format!(" at '{place}'") };
    check_fields(value, &both, |name| {
        refuse(format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."))
    })
}

fn snake(camel: &str) -> String {
    camel.chars().flat_map(|c| if c.is_ascii_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect()
}

/// Checks a request whose `contents` are a list, and tells which signatures came back.
pub(super) fn check(body: &Value, contents: &[Value], model: &str) -> Result<Returned, Problem> {
    let config = field(body, "generationConfig", "generation_config");
    if families::gemini(model).knows_its_fields {
        check_names(body, FIELDS, "")?;
        check_names(config, CONFIG_FIELDS, "generation_config")?;
    }
    let thinking = field(config, "thinkingConfig", "thinking_config");
    let has = |camel, snake| !field(thinking, camel, snake).is_null();
    if has("thinkingBudget", "thinking_budget") && has("thinkingLevel", "thinking_level") {
        return Err(refuse("You can only set only one of thinking budget and thinking level."));
    }
    check_tools(body)?;
    for (at, content) in contents.iter().enumerate() {
        check_content(at, content)?;
    }
    let turns = merged(contents);
    check_order(&turns)?;
    check_signatures(&turns, model)
}

/// Contents of one role that follow each other are one turn: the vendor's own SDK sends each chunk of a stream as one.
pub(super) fn merged(contents: &[Value]) -> Vec<Value> {
    let mut turns: Vec<Value> = Vec::new();
    for content in contents {
        let same = turns.last().is_some_and(|last| (last["role"] == "model") == (content["role"] == "model"));
        match turns.last_mut().and_then(|last| last["parts"].as_array_mut()).filter(|_| same) {
            Some(known) => known.extend_from_slice(parts(content)),
            None => turns.push(content.clone()),
        }
    }
    turns
}

fn check_tools(body: &Value) -> Result<(), Problem> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names: Vec<&str> = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        if tool.as_object().is_some_and(serde_json::Map::is_empty) {
            return Err(refuse(format!(
                "* GenerateContentRequest.tools[{at}].tool_type: required one_of 'tool_type' must have one initialized field"
            )));
        }
        let declarations = field(tool, "functionDeclarations", "function_declarations");
        for (index, function) in declarations.as_array().into_iter().flatten().enumerate() {
            let place = format!("tools[{at}].function_declarations[{index}]");
            let name = function["name"].as_str().unwrap_or_default();
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
            if !begins || !plain || name.len() > MAX_NAME_BYTES {
                let text = format!(
                    "* GenerateContentRequest.{place}.name: Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of {MAX_NAME_BYTES}."
                );
                return Err(refuse(text));
            }
            if names.contains(&name) {
                return Err(refuse(format!("Duplicate function declaration found: {name}")));
            }
            names.push(name);
            check_schema(&function["parameters"], &format!("{place}.parameters"))?;
        }
    }
    let config = field(field(body, "toolConfig", "tool_config"), "functionCallingConfig", "function_calling_config");
    if config.is_object() && names.is_empty() {
        return Err(refuse("Function calling config is set without function_declarations."));
    }
    Ok(())
}

/// The typed schema knows a part of JSON Schema only.
fn check_schema(schema: &Value, place: &str) -> Result<(), Problem> {
    let Some(fields) = schema.as_object() else { return Ok(()) };
    if let Some(unknown) = fields.keys().find(|key| NOT_IN_SCHEMA.contains(&key.as_str())) {
        return Err(refuse(format!(
            "Invalid JSON payload received. Unknown name \"{unknown}\" at '{place}': Cannot find field."
        )));
    }
    if schema["type"].is_array() {
        return Err(refuse(format!("Invalid value at '{place}.type': Proto field is not repeating, cannot start list.")));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_schema(property, &format!("{place}.properties[{name}]"))?;
    }
    check_schema(&schema["items"], &format!("{place}.items"))
}

fn check_content(at: usize, content: &Value) -> Result<(), Problem> {
    check_names(content, &["role", "parts"], &format!("contents[{at}]"))?;
    if !matches!(content["role"].as_str(), None | Some("user" | "model" | "function")) {
        return Err(refuse("Please use a valid role: user, model."));
    }
    let list = parts(content);
    if list.is_empty() {
        return Err(refuse(format!("* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.")));
    }
    for (index, part) in list.iter().enumerate() {
        let place = format!("GenerateContentRequest.contents[{at}].parts[{index}]");
        let data = [
            ("text", "text"),
            ("inlineData", "inline_data"),
            ("fileData", "file_data"),
            ("functionCall", "function_call"),
            ("functionResponse", "function_response"),
            ("executableCode", "executable_code"),
            ("codeExecutionResult", "code_execution_result"),
            ("toolCall", "tool_call"),
            ("toolResponse", "tool_response"),
        ];
        let count = data.iter().filter(|(camel, snake)| !field(part, camel, snake).is_null()).count();
        if count != 1 {
            return Err(refuse(format!("* {place}.data: required oneof field 'data' must have one initialized field")));
        }
        let response = field(part, "functionResponse", "function_response");
        if response.is_object() && !response["response"].is_object() {
            return Err(refuse(format!("* {place}.function_response.response: must be an object")));
        }
    }
    Ok(())
}

/// Calls stand after a user's turn or after results, and results after their calls, one for each.
fn check_order(contents: &[Value]) -> Result<(), Problem> {
    // Google's own agent sends the results of a resumed session twice.
    let count = |content: &Value, camel, snake| {
        let named: Vec<&Value> =
            parts(content).iter().map(|part| field(part, camel, snake)).filter(|named| named.is_object()).collect();
        let is_new = |at: usize| named[at]["id"].is_null() || !named[..at].contains(&named[at]);
        (0..named.len()).filter(|at| is_new(*at)).count()
    };
    let is_model = |content: &Value| content["role"] == "model";
    for (at, content) in contents.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &contents[before]);
        let calls = count(content, "functionCall", "function_call");
        let results = count(content, "functionResponse", "function_response");
        if calls > 0 && before.is_none_or(is_model) {
            return Err(refuse(
                "Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
            ));
        }
        let asked = before.map_or(0, |before| count(before, "functionCall", "function_call"));
        if results > 0 && asked == 0 {
            return Err(refuse("Please ensure that function response turn comes immediately after a function call turn."));
        }
        if results != asked {
            return Err(refuse(
                "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
            ));
        }
        let Some(before) = before.filter(|_| results > 0) else { continue };
        let names = |content: &Value, camel, snake| {
            let mut names: Vec<String> =
                parts(content).iter().filter_map(|part| field(part, camel, snake)["name"].as_str().map(str::to_owned)).collect();
            names.sort();
            names.dedup();
            names
        };
        if names(before, "functionCall", "function_call") != names(content, "functionResponse", "function_response") {
            return Err(refuse("Please ensure that each function response has the name of its function call."));
        }
    }
    let open = contents.last().is_some_and(|last| count(last, "functionCall", "function_call") > 0);
    if open {
        return Err(refuse(
            "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
        ));
    }
    Ok(())
}

/// What a call's signature stands on.
pub(super) fn call_digest(name: &str, arguments: &Value) -> Digest {
    seal::digest(format!("{name} {}", canonical(arguments)).as_bytes())
}

/// Every signature that came back is genuine and in its place, and no step of the current turn lacks its own.
fn check_signatures(contents: &[Value], model: &str) -> Result<Returned, Problem> {
    let is_spoken = |content: &Value| content["role"] != "model" && parts(content).iter().any(|part| part["text"].is_string());
    let turn = contents.iter().rposition(is_spoken).unwrap_or(0);
    let needed = families::gemini(model).needs_signatures;
    let mut returned = Returned::default();
    for (at, content) in contents.iter().enumerate().filter(|(_, content)| content["role"] == "model") {
        let mut is_first = true;
        for (index, part) in parts(content).iter().enumerate() {
            let call = field(part, "functionCall", "function_call");
            let signature = field(part, "thoughtSignature", "thought_signature").as_str().filter(|text| !text.is_empty());
            let sentinel = signature.is_some_and(is_sentinel);
            if let Some(signature) = signature.filter(|_| !sentinel) {
                check_signature(signature, part, call, model)?;
            }
            if !call.is_object() {
                continue;
            }
            let first = std::mem::take(&mut is_first);
            if at <= turn || !first {
                continue;
            }
            match signature {
                Some(_) if sentinel => returned.sentinels += 1,
                Some(_) => returned.kept += 1,
                None if needed => {
                    let name = call["name"].as_str().unwrap_or_default();
                    return Err(refuse(format!(
                        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:{name}` , position {index}."
                    )));
                }
                None => returned.missing += 1,
            }
        }
    }
    Ok(returned)
}

fn is_sentinel(signature: &str) -> bool {
    SENTINELS.iter().any(|sentinel| signature == *sentinel || signature == STANDARD.encode(sentinel))
}

fn check_signature(signature: &str, part: &Value, call: &Value, model: &str) -> Result<(), Problem> {
    let genuine = if call.is_object() {
        let args = if call["args"].is_null() { serde_json::json!({}) } else { call["args"].clone() };
        let content = call_digest(call["name"].as_str().unwrap_or_default(), &args);
        Seal::open(signature, Kind::GeminiCall).is_some_and(|seal| seal.model == model && seal.content == content)
    } else {
        part["text"].is_string() && Seal::open(signature, Kind::GeminiText).is_some_and(|seal| seal.model == model)
    };
    if genuine { Ok(()) } else { Err(refuse("Corrupted thought signature.")) }
}
