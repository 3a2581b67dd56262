//! The answer to an [`Ask`]: the same request always gets the same text, tool calls and token counts.

use serde_json::Value;

use crate::conversation::{Ask, Choice, Format, Image, Tool};
use crate::schema;
use crate::script::Progress;
use crate::usage::{self, Usage};

/// Words that `words=N` in a prompt may ask for at most.
pub(crate) const MAX_WORDS: usize = 20_000;
/// Bytes of the caller's text that an answer quotes at most.
const QUOTED_BYTES: usize = 400;
/// Words in one chunk of streamed text.
const WORDS_PER_CHUNK: usize = 3;
/// Bytes in one chunk of streamed tool arguments.
const ARGUMENT_CHUNK_BYTES: usize = 11;
/// What every quoting answer ends with: characters of more than one byte, so that a cut inside one shows.
const TAIL: &str = " — gezählt ✓ 数";
/// The filler of answers of a chosen length.
const FILLER: [&str; 8] = ["count", "every", "token", "once", "and", "keep", "the", "tally"];

/// Why the answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// One tool call of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub name: String,
    pub arguments: Value,
}

/// What a simulated model says.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The text of its reasoning, if it reasons at all.
    pub reasoning: Option<String>,
    pub text: String,
    pub calls: Vec<Call>,
    pub finish: Finish,
    pub usage: Usage,
    /// False for the fault that leaves the usage out.
    pub report_usage: bool,
}

/// Whether a model of this name reasons unasked: its name contains `reason` or `think`.
pub(crate) fn reasons_by_name(model: &str) -> bool {
    model.contains("reason") || model.contains("think")
}

/// Answers a request. `images_apart` as in [`usage::of_input`].
pub(crate) fn compose(ask: &Ask, images_apart: bool) -> Answer {
    let mut usage = usage::of_input(ask, images_apart);
    let reasoning = (ask.reasoning || reasons_by_name(&ask.model)).then(|| thought(ask));
    usage.output_reasoning = reasoning.as_ref().map_or(0, |text| usage::tokens(text.len() as u64));

    let calls = tool_calls(ask);
    let (text, finish) = if calls.is_empty() {
        let text = text_answer(ask);
        let room = ask.max_output.map(|cap| cap.saturating_sub(usage.output_reasoning).max(1));
        match room {
            Some(room) if usage::tokens(text.len() as u64) > room => {
                (truncated(&text, room as usize * 4).to_owned(), Finish::Length)
            }
            _ => (text, Finish::Stop),
        }
    } else {
        (announcement(ask), Finish::ToolCalls)
    };
    let call_bytes: usize = calls.iter().map(|call| call.name.len() + call.arguments.to_string().len()).sum();
    usage.output_text = usage::tokens((text.len() + call_bytes) as u64).max(1);
    Answer { reasoning, text, calls, finish, usage, report_usage: true }
}

/// What the model thinks.
fn thought(ask: &Ask) -> String {
    match &ask.progress {
        Progress::None => format!("The caller wrote {} bytes. A short answer will do.", ask.user_text.len()),
        Progress::Step { number, of, calls } => {
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            format!("This is step {number} of {of}. I need {}.", names.join(" and "))
        }
        Progress::Finished { results } => format!("I have {} results. Nothing is missing.", results.len()),
    }
}

/// What the model says before its first calls of a script.
fn announcement(ask: &Ask) -> String {
    match &ask.progress {
        Progress::Step { number: 1, of, .. } => format!("{of} steps — here is the first."),
        _ => String::new(),
    }
}

fn tool_calls(ask: &Ask) -> Vec<Call> {
    match &ask.progress {
        Progress::None => {}
        Progress::Step { calls, .. } => return calls.clone(),
        Progress::Finished { .. } => return Vec::new(),
    }
    let call = |tool: &Tool| Call { name: tool.name.clone(), arguments: schema::example(&tool.schema) };
    match &ask.choice {
        Choice::Never => Vec::new(),
        Choice::Named(name) => ask.tools.iter().filter(|tool| tool.name == *name).take(1).map(call).collect(),
        Choice::Any | Choice::Auto => {
            let wanted = ask.choice == Choice::Any || ask.user_text.contains("tool");
            if !ask.tool_results.is_empty() || !wanted {
                return Vec::new();
            }
            let count = if ask.user_text.contains("parallel") && !ask.single_call { 2 } else { 1 };
            ask.tools.iter().cycle().take(if ask.tools.is_empty() { 0 } else { count }).map(call).collect()
        }
    }
}

fn text_answer(ask: &Ask) -> String {
    if let Progress::Finished { results } = &ask.progress {
        let quoted: Vec<&str> = results.iter().map(|result| truncated(result, QUOTED_BYTES)).collect();
        return format!("The tools answered: {}.{TAIL}", quoted.join("; "));
    }
    if let Format::Json(wanted) = &ask.format {
        return schema::example(wanted).to_string();
    }
    if let Some(words) = asked_length(&ask.user_text) {
        return (0..words).map(|at| FILLER[at % FILLER.len()]).collect::<Vec<_>>().join(" ");
    }
    let mut text = if ask.tool_results.is_empty() {
        format!("You said: \"{}\".", truncated(&ask.user_text, QUOTED_BYTES))
    } else {
        format!("The tool answered: {}.", truncated(&ask.tool_results.join("; "), QUOTED_BYTES))
    };
    for (at, image) in ask.images.iter().enumerate() {
        let told = match image {
            Image::Inline { media_type, bytes } => format!("{media_type}, {bytes} bytes"),
            Image::Address(url) => truncated(url, QUOTED_BYTES).to_owned(),
        };
        text = format!("{text} Image {}: {told}.", at + 1);
    }
    text + TAIL
}

/// The number after `words=` in a prompt, which chooses the length of the answer.
fn asked_length(text: &str) -> Option<usize> {
    let digits = text.split("words=").nth(1)?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse::<usize>().ok().map(|words| words.clamp(1, MAX_WORDS))
}

/// The longest start of `text` of at most `limit` bytes that ends between characters.
fn truncated(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Text as it streams: a few words at a time, spaces kept, nothing lost.
pub(crate) fn text_chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let (mut start, mut words) = (0, 0);
    for (at, _) in text.match_indices(' ') {
        words += 1;
        if words == WORDS_PER_CHUNK {
            chunks.push(&text[start..at]);
            (start, words) = (at, 0);
        }
    }
    if start < text.len() {
        chunks.push(&text[start..]);
    }
    chunks
}

/// Tool arguments as they stream: pieces of JSON text that mean nothing by themselves.
pub(crate) fn argument_chunks(arguments: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut rest = arguments;
    while !rest.is_empty() {
        let (chunk, left) = rest.split_at(rest.ceil_char_boundary(ARGUMENT_CHUNK_BYTES.min(rest.len())));
        chunks.push(chunk);
        rest = left;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn weather() -> Tool {
        Tool { name: "weather".to_owned(), schema: json!({"type": "object", "properties": {"city": {"type": "string"}}}) }
    }

    #[test]
    fn the_answer_quotes_the_last_user_message() {
        let answer = compose(&Ask { user_text: "hello".to_owned(), input_bytes: 5, ..Ask::default() }, false);
        assert_eq!(answer.text, "You said: \"hello\". — gezählt ✓ 数");
        assert_eq!(answer.usage, Usage { input_uncached: 2, output_text: 10, ..Usage::default() });
        assert_eq!(answer.finish, Finish::Stop);
    }

    #[test]
    fn the_length_of_the_answer_can_be_chosen_and_is_capped() {
        let mut ask = Ask { user_text: "words=40".to_owned(), ..Ask::default() };
        assert_eq!(compose(&ask, false).text.split(' ').count(), 40);
        ask.max_output = Some(2);
        let cut = compose(&ask, false);
        assert_eq!((cut.text.as_str(), cut.finish, cut.usage.output_text), ("count ev", Finish::Length, 2));
    }

    #[test]
    fn tools_are_called_on_the_word_and_on_force_but_not_after_a_result() {
        let mut ask = Ask { user_text: "use the tool".to_owned(), tools: vec![weather()], ..Ask::default() };
        let called = Call { name: "weather".to_owned(), arguments: json!({"city": "Zürich"}) };
        assert_eq!(compose(&ask, false).calls, vec![called.clone()]);
        ask.user_text.push_str(" parallel");
        assert_eq!(compose(&ask, false).calls.len(), 2);
        ask.tool_results = vec!["sunny".to_owned()];
        assert_eq!(compose(&ask, false).text, "The tool answered: sunny. — gezählt ✓ 数");
        let forced = Ask { choice: Choice::Named("weather".to_owned()), tools: vec![weather()], ..Ask::default() };
        assert_eq!(compose(&forced, false).calls, vec![called]);
    }

    #[test]
    fn chunks_lose_nothing() {
        let text = "one two  three four — fünf ✓ 数 seven";
        assert!(text_chunks(text).len() > 2);
        assert_eq!(text_chunks(text).concat(), text);
        let arguments = "{\"city\":\"Zürich ✓ 数数数数\"}";
        assert_eq!(argument_chunks(arguments).concat(), arguments);
    }

    #[test]
    fn a_reasoning_model_spends_reasoning_tokens() {
        let ask = Ask { model: "gpt-sim-reasoner".to_owned(), ..Ask::default() };
        assert_eq!(compose(&ask, false).usage.output_reasoning, 13);
    }
}
