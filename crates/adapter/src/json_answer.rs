//! Structured output where the upstream cannot enforce it: asked for by a forced tool or in words, given back as text.

use std::collections::HashSet;

use crate::ir::{Delta, FinishReason, OutputFormat, Part, PartKind, PartStart, Request, Response, StreamEvent};

/// The tool whose arguments are the answer.
pub(crate) const TOOL: &str = "json_response";

/// Turns calls of [`TOOL`] into the text the client asked for.
#[derive(Debug, Default)]
pub(crate) struct JsonAnswer {
    /// Calls of the name are ours, not the client's.
    is_tool: bool,
    /// Open parts that are our tool's, and whether anything of them was said.
    open: HashSet<(u32, u32)>,
    said: HashSet<(u32, u32)>,
    /// Candidates that answered through it.
    answered: HashSet<u32>,
    /// Candidates that called the client's tools too.
    called: HashSet<u32>,
}

impl JsonAnswer {
    /// `None`: the client does not want JSON.
    pub fn of(request: &Request) -> Option<Box<Self>> {
        let is_tool = match request.output.as_ref()? {
            OutputFormat::Text => return None,
            OutputFormat::JsonObject => false,
            OutputFormat::JsonSchema { .. } => !request.tools.iter().any(|tool| tool.name() == Some(TOOL)),
        };
        Some(Box::new(Self { is_tool, ..Self::default() }))
    }

    pub fn response(&self, response: &mut Response) {
        for candidate in &mut response.candidates {
            let mut has_answered = false;
            for part in &mut candidate.parts {
                match &mut part.kind {
                    PartKind::ToolCall(call) if self.is_tool && call.name == TOOL => {
                        has_answered = true;
                        *part = Part::text(std::mem::take(&mut call.arguments));
                    }
                    PartKind::Text(text) => {
                        if let Some(bare) = unfenced(&text.text) {
                            text.text = bare.to_owned();
                        }
                    }
                    _ => {}
                }
            }
            let has_calls = candidate.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
            if has_answered && !has_calls && candidate.finish == FinishReason::ToolUse {
                candidate.finish = FinishReason::Stop;
            }
        }
    }

    /// Changes one event; what must stand before it goes to `out`.
    pub fn event(&mut self, event: &mut StreamEvent, out: &mut Vec<StreamEvent>) {
        if !self.is_tool {
            return;
        }
        match event {
            StreamEvent::PartStart { candidate, part, start } => {
                if let PartStart::ToolCall { name, .. } = start {
                    if name == TOOL {
                        self.open.insert((*candidate, *part));
                        self.answered.insert(*candidate);
                        *start = PartStart::Text;
                    } else {
                        self.called.insert(*candidate);
                    }
                }
            }
            StreamEvent::PartDelta { candidate, part, delta } => {
                if self.open.contains(&(*candidate, *part))
                    && let Delta::Arguments(text) = delta
                {
                    self.said.insert((*candidate, *part));
                    *delta = Delta::Text(std::mem::take(text));
                }
            }
            StreamEvent::PartEnd { candidate, part } => {
                let is_ours = self.open.remove(&(*candidate, *part));
                if is_ours && !self.said.remove(&(*candidate, *part)) {
                    let delta = Delta::Text("{}".into());
                    out.push(StreamEvent::PartDelta { candidate: *candidate, part: *part, delta });
                }
            }
            StreamEvent::Finish { candidate, reason: reason @ FinishReason::ToolUse, .. }
                if self.answered.contains(candidate) && !self.called.contains(candidate) =>
            {
                *reason = FinishReason::Stop;
            }
            _ => {}
        }
    }
}

/// What stands inside a Markdown fence that holds the whole text.
fn unfenced(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("```")?.strip_suffix("```")?;
    let (language, body) = inner.split_once('\n')?;
    (language.trim().is_empty() || language.trim().eq_ignore_ascii_case("json")).then(|| body.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_around_the_whole_answer_is_taken_off() {
        assert_eq!(unfenced("```json\n{\"a\":1}\n```\n"), Some("{\"a\":1}"));
        assert_eq!(unfenced("```\n[1]\n```"), Some("[1]"));
        assert_eq!(unfenced("{\"a\":\"```\"}"), None);
        assert_eq!(unfenced("```rust\nfn\n```"), None);
        assert_eq!(unfenced("See:\n```json\n{}\n```"), None);
    }
}
