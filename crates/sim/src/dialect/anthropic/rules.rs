//! What Anthropic refuses: emptiness, order, tools, thinking and its signatures.

use serde_json::Value;

use super::blocks;
use crate::conversation::{Returned, canonical};
use crate::dialect::{Problem, check_fields, is_plain_name};
use crate::families::{self, Claude};
use crate::seal::{self, Digest, Kind, Seal};

/// Breakpoints of one request at most.
const MAX_BREAKPOINTS: usize = 4;
const LEAST_BUDGET_TOKENS: u64 = 1024;
const MAX_NAME_BYTES: usize = 128;
/// The block of Claude Code's system prompt that changes with every request and is no part of the conversation.
const BILLING_BLOCK: &str = "x-anthropic-billing-header:";
const FIELDS: &[&str] = &[
    "model",
    "messages",
    "max_tokens",
    "system",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
    "metadata",
    "service_tier",
    "speed",
    "cache_control",
    "container",
    "inference_geo",
    "diagnostics",
    "mcp_servers",
    "context_management",
    "compaction",
    "fallbacks",
    "fallback_credit_token",
    "thread",
    "billing_policy",
];

fn refuse(text: impl Into<String>) -> Problem {
    Problem::invalid(text, "messages")
}

/// Checks a request whose `messages` are a list, and tells which reasoning came back.
pub(super) fn check(body: &Value, messages: &[Value]) -> Result<Returned, Problem> {
    let model = body["model"].as_str().unwrap_or_default();
    let claude = families::claude(model);
    if claude.knows_its_fields {
        check_fields(body, FIELDS, |field| refuse(format!("{field}: Extra inputs are not permitted")))?;
    }
    check_controls(body, &claude)?;
    check_system(&body["system"])?;
    for (at, message) in messages.iter().enumerate() {
        check_content(at, message, claude.knows_its_fields)?;
    }
    check_tool_answers(messages)?;
    check_tools(body, messages)?;
    check_breakpoints(body)?;
    check_last(messages, &claude)?;
    check_thinking(body, messages, model, &claude)
}

fn check_controls(body: &Value, claude: &Claude) -> Result<(), Problem> {
    let set = |field: &str| body.get(field).is_some_and(|value| !value.is_null());
    for field in ["temperature", "top_p", "top_k"] {
        if set(field) && !claude.sampling {
            return Err(refuse(format!("`{field}` is deprecated for this model.")));
        }
    }
    let thinking = &body["thinking"];
    let kind = thinking["type"].as_str();
    let taken = match kind {
        Some("enabled") => claude.takes_budgets,
        Some("adaptive") => claude.takes_adaptive,
        Some("disabled") => claude.takes_disabled,
        Some("between_tools") => claude.between_tools,
        Some(other) => return Err(refuse(format!("thinking.type: Input tag '{other}' found using 'type' does not match"))),
        None if thinking.is_object() => return Err(refuse("thinking.type: Field required")),
        None => true,
    };
    if !taken {
        let kind = kind.unwrap_or_default();
        return Err(refuse(format!("\"thinking.type.{kind}\" is not supported for this model.")));
    }
    let forced = matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool"));
    if forced && !claude.forced_tools {
        return Err(refuse("tool_choice: this model does not support forced tool use; use `auto` or `none`."));
    }
    if kind == Some("enabled") {
        let most = body["max_tokens"].as_u64().unwrap_or_default();
        match thinking["budget_tokens"].as_u64() {
            None => return Err(refuse("thinking.enabled.budget_tokens: Field required")),
            Some(budget) if budget < LEAST_BUDGET_TOKENS => {
                let text =
                    format!("thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET_TOKENS}");
                return Err(refuse(text));
            }
            Some(budget) if budget >= most => {
                return Err(refuse("`max_tokens` must be greater than `thinking.budget_tokens`."));
            }
            Some(_) => {}
        }
        if forced {
            return Err(refuse("Thinking may not be enabled when tool_choice forces tool use."));
        }
        if body["temperature"].as_f64().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
            return Err(refuse("`temperature` may only be set to 1 when thinking is enabled."));
        }
        if set("top_k") || body["top_p"].as_f64().is_some_and(|value| value < 0.95) {
            return Err(refuse("`top_k` must be unset and `top_p` at least 0.95 when thinking is enabled."));
        }
    }
    Ok(())
}

fn check_tools(body: &Value, messages: &[Value]) -> Result<(), Problem> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names: Vec<&str> = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let Some(name) = tool["name"].as_str() else { continue };
        let is_custom = tool["type"].is_null() || tool["type"] == "custom";
        if is_custom && !is_plain_name(name, MAX_NAME_BYTES) {
            let text = format!("tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'");
            return Err(refuse(text));
        }
        if names.contains(&name) {
            return Err(refuse("tools: Tool names must be unique."));
        }
        names.push(name);
        if tool.get("description").is_some_and(Value::is_null) {
            return Err(refuse(format!("tools.{at}.custom.description: Input should be a valid string")));
        }
        let schema = &tool["input_schema"];
        if is_custom && schema["type"] != "object" {
            return Err(refuse(format!("tools.{at}.custom.input_schema.type: Field required")));
        }
        if let Some(key) = ["anyOf", "oneOf", "allOf"].into_iter().find(|key| schema.get(key).is_some()) {
            let text = format!("tools.{at}.custom.input_schema: input_schema does not support {key} at the top level");
            return Err(refuse(text));
        }
    }
    let choice = &body["tool_choice"];
    if choice.is_object() && tools.is_empty() {
        return Err(refuse("tool_choice may only be specified while providing tools."));
    }
    if choice["type"] == "none" && choice.get("disable_parallel_tool_use").is_some() {
        return Err(refuse("tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted"));
    }
    let uses_tools =
        |message: &Value| ["tool_use", "tool_result"].iter().any(|kind| blocks(&message["content"], kind).next().is_some());
    if tools.is_empty() && messages.iter().any(uses_tools) {
        return Err(refuse("Requests which have `tool_use` or `tool_result` blocks in messages must define tools."));
    }
    Ok(())
}

fn check_system(system: &Value) -> Result<(), Problem> {
    let blank = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty() && text.trim().is_empty());
    let empty = |block: &Value| block["text"] == "";
    if system.as_array().is_some_and(|blocks| blocks.iter().any(empty)) {
        return Err(refuse("system: text content blocks must be non-empty"));
    }
    if blank(system)
        || system.as_array().is_some_and(|blocks| !blocks.is_empty() && blocks.iter().all(|block| blank(&block["text"])))
    {
        return Err(refuse("system: text content blocks must contain non-whitespace text"));
    }
    Ok(())
}

/// Kind of a block, and the fields it may have besides `type` and `cache_control`.
const BLOCKS: &[(&str, &[&str])] = &[
    ("text", &["text", "citations"]),
    ("thinking", &["thinking", "signature"]),
    ("redacted_thinking", &["data"]),
    ("tool_use", &["id", "name", "input", "caller", "toolset_name"]),
    ("tool_result", &["tool_use_id", "content", "is_error", "toolset_name"]),
    ("image", &["source", "transformations"]),
];

/// Emptiness, fields and places of one message's blocks.
fn check_content(at: usize, message: &Value, knows_fields: bool) -> Result<(), Problem> {
    if knows_fields {
        check_fields(message, &["role", "content"], |field| {
            refuse(format!("messages.{at}.{field}: Extra inputs are not permitted"))
        })?;
    }
    let role = message["role"].as_str().unwrap_or_default();
    if !matches!(role, "user" | "assistant" | "system") {
        return Err(refuse(format!("messages.{at}.role: Input should be 'user', 'assistant' or 'system'")));
    }
    let content = &message["content"];
    if role == "user" && (content == "" || content.as_array().is_some_and(Vec::is_empty)) {
        return Err(refuse(format!("messages.{at}: user messages must have non-empty content")));
    }
    let blank = |text: &Value| text.as_str().is_some_and(|text| text.trim().is_empty());
    let list = content.as_array().map_or(&[][..], Vec::as_slice);
    let all_blank = !list.is_empty() && list.iter().all(|block| block["type"] == "text" && blank(&block["text"]));
    if list.iter().any(|block| block["type"] == "text" && block["text"] == "") {
        return Err(refuse("messages: text content blocks must be non-empty"));
    }
    if all_blank || (content != "" && blank(content)) {
        return Err(refuse("messages: text content blocks must contain non-whitespace text"));
    }
    for (index, block) in list.iter().enumerate() {
        let place = format!("messages.{at}.content.{index}");
        let kind = block["type"].as_str().unwrap_or_default();
        let Some((_, known)) = BLOCKS.iter().find(|(name, _)| *name == kind) else { continue };
        let is_thinking = matches!(kind, "thinking" | "redacted_thinking");
        let mut known = known.to_vec();
        known.push("type");
        if !is_thinking {
            known.push("cache_control");
        }
        if knows_fields {
            check_fields(block, &known, |field| refuse(format!("{place}.{kind}.{field}: Extra inputs are not permitted")))?;
        }
        if (is_thinking || kind == "tool_use") && role != "assistant" {
            return Err(refuse(format!("{place}: `{kind}` blocks can only be in `assistant` messages")));
        }
        if kind == "tool_result" && role != "user" {
            return Err(refuse(format!("{place}: `tool_result` blocks can only be in `user` messages")));
        }
        let required: &[&str] = match kind {
            "thinking" => &["thinking", "signature"],
            "redacted_thinking" => &["data"],
            "tool_use" => &["id", "name", "input"],
            "tool_result" => &["tool_use_id"],
            _ => &[],
        };
        if let Some(missing) = required.iter().find(|field| block[**field].is_null()) {
            return Err(refuse(format!("{place}.{kind}.{missing}: Field required")));
        }
        let id = [&block["id"], &block["tool_use_id"]].into_iter().find_map(Value::as_str);
        if matches!(kind, "tool_use" | "tool_result") && id.is_some_and(|id| !is_plain_name(id, usize::MAX)) {
            return Err(refuse(format!("{place}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")));
        }
        if kind == "tool_use" && !block["input"].is_object() {
            return Err(refuse(format!("{place}.tool_use.input: Input should be a valid dictionary")));
        }
    }
    Ok(())
}

/// A `tool_use` has its one result at the beginning of the next user's turn, and a result has its call.
fn check_tool_answers(messages: &[Value]) -> Result<(), Problem> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let list = message["content"].as_array().map_or(&[][..], Vec::as_slice);
        // Results that stand behind other content do not count.
        let opening = list.iter().take_while(|block| block["type"] == "tool_result");
        let first: Vec<&str> = opening.filter_map(|block| block["tool_use_id"].as_str()).collect();
        let results: Vec<&str> =
            blocks(&message["content"], "tool_result").filter_map(|block| block["tool_use_id"].as_str()).collect();
        let missing: Vec<&str> = open.iter().filter(|id| !first.contains(id)).copied().collect();
        if !missing.is_empty() {
            return Err(refuse(format!(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
                missing.join(", ")
            )));
        }
        if let Some(stray) = results.iter().find(|id| !open.contains(id)) {
            return Err(refuse(format!(
                "messages.{at}.content: unexpected `tool_use_id` found in `tool_result` blocks: {stray}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )));
        }
        if let Some(twice) = results.iter().find(|id| results.iter().filter(|other| other == id).count() > 1) {
            let text = format!(
                "messages.{at}.content: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {twice}"
            );
            return Err(refuse(text));
        }
        open = blocks(&message["content"], "tool_use").filter_map(|block| block["id"].as_str()).collect();
        if let Some(twice) = open.iter().find(|id| open.iter().filter(|other| other == id).count() > 1) {
            return Err(refuse(format!("messages.{at}: `tool_use` ids must be unique, found {twice} twice")));
        }
    }
    match open.first() {
        Some(id) => Err(refuse(format!(
            "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {id}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
            messages.len() - 1
        ))),
        None => Ok(()),
    }
}

/// Four breakpoints at most, the long-lived ones first.
fn check_breakpoints(body: &Value) -> Result<(), Problem> {
    fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => {
                // Arguments of calls and schemas of tools are the caller's data.
                let own = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "input" | "input_schema"));
                for (key, item) in own {
                    if key == "cache_control" && item.is_object() {
                        found.push(item);
                    } else {
                        collect(item, found);
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for field in ["tools", "system", "messages"] {
        collect(&body[field], &mut found);
    }
    let own = usize::from(body["cache_control"].is_object());
    if found.len() + own > MAX_BREAKPOINTS {
        let text =
            format!("A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {}.", found.len() + own);
        return Err(refuse(text));
    }
    let first_short = found.iter().position(|marker| marker["ttl"] != "1h").unwrap_or(found.len());
    if found[first_short..].iter().any(|marker| marker["ttl"] == "1h") {
        return Err(refuse("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."));
    }
    Ok(())
}

/// A last assistant turn is a prefill.
fn check_last(messages: &[Value], claude: &Claude) -> Result<(), Problem> {
    let Some(last) = messages.last().filter(|message| message["role"] == "assistant") else { return Ok(()) };
    let text = last["content"].as_str().or_else(|| last["content"].as_array()?.last()?["text"].as_str());
    if text.is_none_or(str::is_empty) {
        return Ok(());
    }
    if !claude.prefill {
        return Err(refuse(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ));
    }
    if text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err(refuse("messages: final assistant content cannot end with trailing whitespace"));
    }
    Ok(())
}

/// Whether the model thinks in its answer to this request.
pub(super) fn thinks(body: &Value) -> bool {
    let claude = families::claude(body["model"].as_str().unwrap_or_default());
    match body["thinking"]["type"].as_str() {
        Some("enabled" | "adaptive") => true,
        Some("between_tools") => {
            let last = body["messages"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null);
            blocks(&last["content"], "tool_result").next().is_some()
        }
        Some(_) => false,
        None => claude.thinks_unasked,
    }
}

/// Checks every thinking block that came back, and that the steps of the current turn have theirs.
fn check_thinking(body: &Value, messages: &[Value], model: &str, claude: &Claude) -> Result<Returned, Problem> {
    let has = |message: &Value, kind: &str| blocks(&message["content"], kind).next().is_some();
    // The turn began when the user last spoke without a tool's result.
    let turn = messages.iter().rposition(|message| message["role"] == "user" && !has(message, "tool_result")).unwrap_or(0);
    let latest = messages.iter().rposition(|message| message["role"] == "assistant");
    let drops = body["thinking"]["block_binding"]["prefix_mismatch_behavior"] == "drop_block";
    let mut prefix = Prefix::new(body);
    let mut returned = Returned::default();
    for (at, message) in messages.iter().enumerate() {
        let list = message["content"].as_array().map_or(&[][..], Vec::as_slice);
        for (index, block) in list.iter().enumerate() {
            check_block(block, model, claude.bound && !drops, &prefix)
                .map_err(|why| refuse(format!("messages.{at}.content.{index}: {why}")))?;
            prefix.add(message, block);
        }
        if list.is_empty() {
            prefix.add(message, &message["content"]);
        }
        if message["role"] != "assistant" || !has(message, "tool_use") {
            continue;
        }
        let first = list[0]["type"].as_str().unwrap_or_default();
        let begins = matches!(first, "thinking" | "redacted_thinking");
        if Some(at) == latest && !begins && body["thinking"]["type"] == "enabled" {
            return Err(refuse(format!(
                "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this requirement, disable `thinking`."
            )));
        }
        if at > turn && begins {
            returned.kept += 1;
        } else if at > turn && thinks(body) {
            returned.missing += 1;
        }
    }
    Ok(returned)
}

fn check_block(block: &Value, model: &str, bound: bool, prefix: &Prefix) -> Result<(), &'static str> {
    let text = |field: &str| block[field].as_str().unwrap_or_default();
    let (opened, content) = match block["type"].as_str() {
        Some("thinking") => (Seal::open(text("signature"), Kind::Thinking), text("thinking")),
        Some("redacted_thinking") => (Seal::open(text("data"), Kind::RedactedThinking), ""),
        _ => return Ok(()),
    };
    let Some(seal) = opened.filter(|seal| seal.model == model) else {
        return Err(if block["type"] == "thinking" {
            "Invalid `signature` in `thinking` block"
        } else {
            "Invalid `data` in `redacted_thinking` block"
        });
    };
    if seal.content != seal::digest(content.as_bytes()) {
        return Err(
            "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.",
        );
    }
    if bound && seal.prefix != prefix.digest() {
        return Err("This `thinking` block is bound to a different conversation: the content before it was changed.");
    }
    Ok(())
}

/// The conversation as thinking is bound to it: system, tools and every block before, without thinking and cache markers.
pub(super) struct Prefix(Vec<u8>);

impl Prefix {
    fn new(body: &Value) -> Self {
        let mut prefix = Self(Vec::new());
        for tool in body["tools"].as_array().into_iter().flatten() {
            prefix.push("tool", tool);
        }
        match &body["system"] {
            Value::Array(blocks) => {
                let counted = |block: &&Value| !block["text"].as_str().unwrap_or_default().starts_with(BILLING_BLOCK);
                for block in blocks.iter().filter(counted) {
                    prefix.push("system", block);
                }
            }
            Value::String(text) if !text.is_empty() => prefix.push("system", &serde_json::json!({"type": "text", "text": text})),
            _ => {}
        }
        prefix
    }

    /// The whole conversation of a request, to which its answer is bound.
    pub(super) fn whole(body: &Value, messages: &[Value]) -> Digest {
        let mut prefix = Self::new(body);
        for message in messages {
            match &message["content"] {
                Value::Array(blocks) => blocks.iter().for_each(|block| prefix.add(message, block)),
                text => prefix.add(message, text),
            }
        }
        prefix.digest()
    }

    fn add(&mut self, message: &Value, block: &Value) {
        let role = message["role"].as_str().unwrap_or_default();
        match block {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => self.push(role, &serde_json::json!({"type": "text", "text": text})),
            block if matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking")) => {}
            Value::Null | Value::Array(_) => {}
            block => self.push(role, block),
        }
    }

    fn push(&mut self, role: &str, block: &Value) {
        let mut block = canonical(block);
        if let Some(fields) = block.as_object_mut() {
            fields.shift_remove("cache_control");
        }
        self.0.extend(format!("{role} {block}\n").into_bytes());
    }

    fn digest(&self) -> Digest {
        seal::digest(&self.0)
    }
}
