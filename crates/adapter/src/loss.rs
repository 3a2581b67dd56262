//! What a translation could not say exactly.

use std::fmt;

use tallygate_types::Dialect;

/// How a field came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The nearest equivalent was sent.
    Approximated,
    /// Not sent; harmless to lose.
    Dropped,
    /// Not sent, and the request is refused for it.
    Rejected,
}

/// One field of the client's request (dotted path in the client's dialect) that did not come through exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub field: String,
    pub verdict: Verdict,
    pub detail: String,
}

/// All losses of one translation, in the order they were met. `Display` is the value of the `x-tallygate-loss` header:
/// `dropped=seed,logit_bias; approximated=temperature`, ASCII, at most [`LossReport::HEADER_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LossReport {
    pub items: Vec<Loss>,
}

/// Fields as encoders call them, who do not know the client's dialect, and as a client of Chat Completions, Responses,
/// Messages and Gemini calls them. Empty: the same. What begins with a field comes after what goes on from it.
const WORDS: &[(&str, [&str; 4])] = &[
    ("max_completion_tokens", ["", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens"]),
    ("max_output_tokens", ["max_completion_tokens", "", "max_tokens", "generationConfig.maxOutputTokens"]),
    ("max_tokens", ["", "max_output_tokens", "", "generationConfig.maxOutputTokens"]),
    ("response_format.json_schema", ["", "text.format", "output_config.format", "generationConfig.responseJsonSchema"]),
    ("response_format", ["", "text.format", "output_config.format", "generationConfig.responseMimeType"]),
    ("reasoning_effort", ["", "reasoning.effort", "output_config.effort", "generationConfig.thinkingConfig"]),
    ("stop", ["", "", "stop_sequences", "generationConfig.stopSequences"]),
    ("temperature", ["", "", "", "generationConfig.temperature"]),
    ("top_p", ["", "", "", "generationConfig.topP"]),
    ("top_k", ["", "", "", "generationConfig.topK"]),
    ("seed", ["", "", "", "generationConfig.seed"]),
    ("presence_penalty", ["", "", "", "generationConfig.presencePenalty"]),
    ("frequency_penalty", ["", "", "", "generationConfig.frequencyPenalty"]),
    ("logprobs", ["", "top_logprobs", "", "generationConfig.responseLogprobs"]),
    ("n", ["", "", "", "generationConfig.candidateCount"]),
    ("modalities", ["", "", "", "generationConfig.responseModalities"]),
    ("verbosity", ["", "text.verbosity", "", ""]),
    ("user", ["", "", "metadata.user_id", ""]),
    ("metadata", ["", "", "", "labels"]),
    ("tool_choice", ["", "", "", "toolConfig.functionCallingConfig"]),
    ("service_tier", ["", "", "", "serviceTier"]),
    ("system", ["", "instructions", "", "systemInstruction"]),
    ("messages", ["", "input", "", "contents"]),
];

/// The client's own name of a field that an encoder speaks of.
pub(crate) fn in_words_of(client: Dialect, field: String) -> String {
    let column = match client {
        Dialect::OpenaiChat => 0,
        Dialect::OpenaiResponses => 1,
        Dialect::Anthropic => 2,
        Dialect::Gemini => 3,
    };
    for (known, words) in WORDS {
        if let Some(rest) = field.strip_prefix(known).filter(|rest| rest.is_empty() || rest.starts_with('.'))
            && !words[column].is_empty()
        {
            return format!("{}{rest}", words[column]);
        }
    }
    field
}

impl LossReport {
    /// Bound of the header value, in bytes.
    pub const HEADER_BYTES: usize = 1024;
    /// Bound of the report, in items: a hostile request may carry any number of unknown fields.
    pub const MAX_ITEMS: usize = 128;

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn dropped(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.add(field.into(), Verdict::Dropped, detail.into());
    }

    pub fn approximated(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.add(field.into(), Verdict::Approximated, detail.into());
    }

    pub fn rejected(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.add(field.into(), Verdict::Rejected, detail.into());
    }

    /// Says the fields as the client does.
    pub(crate) fn translate_fields(&mut self, client: Dialect) {
        for item in &mut self.items {
            item.field = in_words_of(client, std::mem::take(&mut item.field));
        }
    }

    /// The same field with the same verdict is noted once.
    fn add(&mut self, field: String, verdict: Verdict, detail: String) {
        let is_known = self.items.iter().any(|item| item.verdict == verdict && item.field == field);
        if !is_known && self.items.len() < Self::MAX_ITEMS {
            self.items.push(Loss { field, verdict, detail });
        }
    }
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approximated => "approximated",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for verdict in [Verdict::Rejected, Verdict::Dropped, Verdict::Approximated] {
            let mut fields = self.items.iter().filter(|item| item.verdict == verdict).map(|item| item.field.as_str()).peekable();
            if fields.peek().is_none() {
                continue;
            }
            text.push_str(if text.is_empty() { "" } else { "; " });
            text.push_str(verdict.as_str());
            for (position, field) in fields.enumerate() {
                text.push(if position == 0 { '=' } else { ',' });
                // A field name comes from the client: only what a header value may hold, and no separator of ours.
                text.extend(field.chars().map(|c| if c.is_ascii_graphic() && c != ',' && c != ';' { c } else { '_' }));
                if text.len() > Self::HEADER_BYTES {
                    text.truncate(Self::HEADER_BYTES - 3);
                    return write!(f, "{text}...");
                }
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_groups_fields_by_verdict_and_says_each_once() {
        let mut loss = LossReport::default();
        loss.dropped("seed", "no equivalent");
        loss.approximated("temperature", "clamped to 1");
        loss.dropped("logit_bias", "no equivalent");
        loss.dropped("seed", "again");
        assert_eq!(loss.to_string(), "dropped=seed,logit_bias; approximated=temperature");
    }

    #[test]
    fn fields_are_said_in_the_clients_words() {
        let said = |client, field: &str| in_words_of(client, field.to_owned());
        assert_eq!(said(Dialect::Anthropic, "stop"), "stop_sequences");
        assert_eq!(said(Dialect::Gemini, "temperature"), "generationConfig.temperature");
        assert_eq!(said(Dialect::OpenaiResponses, "response_format.json_schema.strict"), "text.format.strict");
        assert_eq!(said(Dialect::OpenaiChat, "max_output_tokens"), "max_completion_tokens");
        assert_eq!(said(Dialect::Gemini, "stop_hint"), "stop_hint");
        assert_eq!(said(Dialect::OpenaiResponses, "input[2].content"), "input[2].content");
    }

    #[test]
    fn hostile_field_names_stay_inside_the_header() {
        let mut loss = LossReport::default();
        loss.dropped("a\r\nb;c,é", "");
        assert_eq!(loss.to_string(), "dropped=a__b_c__");
        for i in 0..1000 {
            loss.dropped(format!("{i}{}", "x".repeat(90)), "");
        }
        assert_eq!(loss.items.len(), LossReport::MAX_ITEMS);
        assert_eq!(loss.to_string().len(), LossReport::HEADER_BYTES);
    }
}
