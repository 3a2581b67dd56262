//! Names of tools and ids of calls, bent to what the upstream takes and straightened again in its answer.
//!
//! The mapping is a pure function of the name, so that the same history always gives the same bytes: prompt caches and
//! signed reasoning depend on it.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::dispatch::NameRules;
use crate::free_text::{self, Extractor};
use crate::ir::{Delta, Part, PartKind, PartStart, Request, Response, StreamEvent, Tool, ToolChoice, ToolKind};
use crate::json_answer::JsonAnswer;
use crate::loss::LossReport;
use crate::profile::Profiles;
use crate::schema::{self, Plain};
use crate::stops::Stops;

/// Hex digits of the hash that keeps bent names apart.
const HASH_HEX: usize = 8;

/// Undoes in the answer what was done to the request.
#[derive(Debug, Default)]
pub(crate) struct Restore {
    /// Sent name → the client's.
    names: HashMap<String, String>,
    /// Names, as sent, of all tools.
    declared: HashSet<String>,
    /// What may stand before a declared name in an answer, and does not belong there.
    stray_prefixes: &'static [&'static str],
    /// Names, as sent, of tools that are free text to the client.
    custom: HashSet<String>,
    /// Names, as sent, of tools whose parameters had to be wrapped in an object.
    wrapped: HashSet<String>,
    /// Calls in work of which the client sees only what is inside.
    open: HashMap<(u32, u32), View>,
    json_answer: Option<Box<JsonAnswer>>,
    stops: Option<Box<Stops>>,
}

/// How the arguments of a call are read while they stream.
#[derive(Debug)]
enum View {
    FreeText(Extractor),
    /// JSON must be whole before what the client wants can be taken out.
    Wrapped(String),
}

impl Restore {
    /// Bends the request's names in place.
    pub fn prepare(request: &mut Request, rules: NameRules, profiles: &Profiles, loss: &mut LossReport) -> Self {
        let mut restore = Self {
            json_answer: JsonAnswer::of(request),
            stops: if rules.stops { None } else { Stops::of(&request.stop) },
            stray_prefixes: rules.stray_prefixes,
            ..Self::default()
        };
        let mut bend = |name: &mut String| {
            let sent = tool_name(name, rules);
            if sent != *name {
                restore.names.insert(sent.clone(), std::mem::replace(name, sent));
            }
        };
        for tool in &mut request.tools {
            match tool {
                Tool::Function(function) => bend(&mut function.name),
                Tool::Custom { name, .. } => bend(name),
                Tool::Builtin { .. } => {}
            }
        }
        match &mut request.tool_choice {
            Some(ToolChoice::Named(name)) => bend(name),
            Some(ToolChoice::Allowed { names, .. }) => names.iter_mut().for_each(&mut bend),
            _ => {}
        }
        for part in request.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            match &mut part.kind {
                PartKind::ToolCall(call) => {
                    bend(&mut call.name);
                    call.id = bent(&call.id, rules.call_id_chars, false);
                }
                PartKind::ToolResult(result) => {
                    if let Some(name) = &mut result.name {
                        bend(name);
                    }
                    result.call_id = bent(&result.call_id, rules.call_id_chars, false);
                }
                _ => {}
            }
        }
        if !(rules.free_text)(profiles, &request.model) {
            restore.substitute(request, loss);
        }
        if rules.plain_objects {
            restore.wrap(request, loss);
        }
        if !rules.stray_prefixes.is_empty() {
            restore.declared = request.tools.iter().filter_map(Tool::name).map(str::to_owned).collect();
        }
        restore
    }

    /// Says free-text tools as functions of one string, in the tools and in the history.
    fn substitute(&mut self, request: &mut Request, loss: &mut LossReport) {
        for tool in &mut request.tools {
            if let Tool::Custom { name, description, format } = tool {
                loss.approximated(format!("tools.{name}"), "a free-text tool is declared as a function of one string");
                self.custom.insert(name.clone());
                *tool = Tool::Function(free_text::function(std::mem::take(name), std::mem::take(description), format.as_ref()));
            }
        }
        for part in request.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            match &mut part.kind {
                PartKind::ToolCall(call) if call.kind == ToolKind::Custom => {
                    call.kind = ToolKind::Function;
                    call.arguments = free_text::arguments(&call.arguments);
                }
                PartKind::ToolResult(result) => result.kind = ToolKind::Function,
                _ => {}
            }
        }
    }

    /// Wraps parameters that are no plain object, in the tools and in the calls of the history.
    fn wrap(&mut self, request: &mut Request, loss: &mut LossReport) {
        for (position, tool) in request.tools.iter_mut().enumerate() {
            let Tool::Function(function) = tool else { continue };
            let Some(parameters) = &function.parameters else { continue };
            match schema::plain_object(parameters, FREE_TEXT_FIELD) {
                Some(Plain::Wrapped(wrapped)) => {
                    loss.approximated(format!("tools[{position}].parameters"), "wrapped in an object with one property `input`");
                    function.parameters = Some(wrapped);
                    self.wrapped.insert(function.name.clone());
                }
                Some(Plain::Merged(merged)) => function.parameters = Some(merged),
                None => {}
            }
        }
        for part in request.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            if let PartKind::ToolCall(call) = &mut part.kind
                && self.wrapped.contains(&call.name)
            {
                let value: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| call.arguments.clone().into());
                call.arguments = json!({ FREE_TEXT_FIELD: value }).to_string();
            }
        }
    }

    /// What the client sees of a call's arguments; `None`: all of it, as it comes.
    fn view(&self, name: &String, kind: ToolKind) -> Option<ToolKind> {
        let function = kind == ToolKind::Function;
        if function && self.custom.contains(name) {
            Some(ToolKind::Custom)
        } else {
            (function && self.wrapped.contains(name)).then_some(ToolKind::Function)
        }
    }

    pub fn response(&self, response: &mut Response) {
        if let Some(json_answer) = &self.json_answer {
            json_answer.response(response);
        }
        for part in response.candidates.iter_mut().flat_map(|candidate| &mut candidate.parts) {
            self.part(part);
        }
        if let Some(stops) = &self.stops {
            stops.response(response);
        }
    }

    /// Passes one event on, with the client's names.
    /// Text comes through as it is.
    pub const fn leaves_text(&self) -> bool {
        self.stops.is_none()
    }

    pub fn event(&mut self, event: StreamEvent, out: &mut Vec<StreamEvent>) {
        if self.stops.is_none() {
            return self.named(event, out);
        }
        let mut named = Vec::new();
        self.named(event, &mut named);
        for event in named {
            if let Some(stops) = &mut self.stops {
                stops.event(event, out);
            }
        }
    }

    fn named(&mut self, mut event: StreamEvent, out: &mut Vec<StreamEvent>) {
        if let Some(json_answer) = &mut self.json_answer {
            json_answer.event(&mut event, out);
        }
        match &mut event {
            StreamEvent::PartStart { candidate, part, start: PartStart::ToolCall { name, kind, .. } } => {
                self.strip_prefix(name);
                if let Some(view) = self.view(name, *kind) {
                    *kind = view;
                    let view = match view {
                        ToolKind::Custom => View::FreeText(Extractor::default()),
                        ToolKind::Function => View::Wrapped(String::new()),
                    };
                    self.open.insert((*candidate, *part), view);
                }
                self.straighten(name);
            }
            StreamEvent::PartStart { start: PartStart::Whole(part), .. } => self.part(part),
            StreamEvent::PartDelta { candidate, part, delta: Delta::Arguments(fragment) } => {
                match self.open.get_mut(&(*candidate, *part)) {
                    Some(View::FreeText(extractor)) => {
                        *fragment = extractor.push(fragment);
                        if fragment.is_empty() {
                            return;
                        }
                    }
                    Some(View::Wrapped(buffer)) => {
                        buffer.push_str(fragment);
                        return;
                    }
                    None => {}
                }
            }
            StreamEvent::PartEnd { candidate, part } => {
                let rest = match self.open.remove(&(*candidate, *part)) {
                    Some(View::FreeText(extractor)) => extractor.finish(),
                    Some(View::Wrapped(json)) => unwrapped(&json),
                    None => String::new(),
                };
                if !rest.is_empty() {
                    let delta = Delta::Arguments(rest);
                    out.push(StreamEvent::PartDelta { candidate: *candidate, part: *part, delta });
                }
            }
            _ => {}
        }
        out.push(event);
    }

    fn part(&self, part: &mut Part) {
        if let PartKind::ToolCall(call) = &mut part.kind {
            self.strip_prefix(&mut call.name);
            if let Some(view) = self.view(&call.name, call.kind) {
                call.kind = view;
                call.arguments = match view {
                    ToolKind::Custom => free_text::text_of(&call.arguments),
                    ToolKind::Function => unwrapped(&call.arguments),
                };
            }
            self.straighten(&mut call.name);
        }
    }

    /// Takes away what a model wrote before a name that was declared without it.
    fn strip_prefix(&self, name: &mut String) {
        if self.declared.contains(name) {
            return;
        }
        let bare = self.stray_prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        if let Some(bare) = bare.filter(|bare| self.declared.contains(*bare)) {
            *name = bare.to_owned();
        }
    }

    fn straighten(&self, name: &mut String) {
        if let Some(original) = self.names.get(name) {
            name.clone_from(original);
        }
    }
}

/// What a free-text tool is called with when the upstream knows functions only.
pub(crate) const FREE_TEXT_FIELD: &str = free_text::FIELD;

/// What stands in the one property; the whole where it is not there.
fn unwrapped(json: &str) -> String {
    let inner = match serde_json::from_str::<Value>(json) {
        Ok(Value::Object(mut object)) => object.remove(FREE_TEXT_FIELD),
        _ => None,
    };
    inner.map_or_else(|| json.to_owned(), |value| value.to_string())
}

/// As [`bent`], for a name that may have to begin with a letter.
fn tool_name(name: &str, rules: NameRules) -> String {
    let sent = bent(name, rules.tool_name_chars, rules.dots_allowed);
    if !rules.letter_first || sent.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return sent;
    }
    let head: String = sent.chars().take(rules.tool_name_chars - HASH_HEX - 2).collect();
    format!("_{head}_{:08x}", hash(name))
}

/// `name` itself if it fits; otherwise its foreign characters become `_`, it is cut, and a hash of the whole follows.
fn bent(name: &str, max_chars: usize, dots_allowed: bool) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || (dots_allowed && (c == '.' || c == ':'));
    if !name.is_empty() && name.len() <= max_chars && name.chars().all(fits) {
        return name.to_owned();
    }
    let head: String = name.chars().map(|c| if fits(c) { c } else { '_' }).take(max_chars - HASH_HEX - 1).collect();
    format!("{head}_{:08x}", hash(name))
}

/// FNV-1a, folded to 32 bits: stable over versions of Rust, which the standard hasher is not.
pub(crate) fn hash(text: &str) -> u32 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = text.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitting_names_stay_and_others_are_bent_apart() {
        assert_eq!(bent("get_weather", 64, false), "get_weather");
        assert_eq!(bent("functions.Bash:0", 64, true), "functions.Bash:0");
        let (a, b) = (bent("functions.Bash:0", 64, false), bent("functions.Bash.0", 64, false));
        assert!(a.starts_with("functions_Bash_0_") && b.starts_with("functions_Bash_0_") && a != b);
        assert_eq!(bent(&"x".repeat(90), 64, false).len(), 64);
        assert_eq!(bent("", 64, false), format!("_{:08x}", hash("")));
    }

    #[test]
    fn wrapped_arguments_are_taken_out_of_their_object() {
        assert_eq!(unwrapped(r#"{"input":{"a":1}}"#), r#"{"a":1}"#);
        assert_eq!(unwrapped("{\"inp"), "{\"inp");
    }
}
