//! Reads what was used out of answers and streams that pass.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tallygate_types::{Dialect, Usage, UsageClass};

use super::Plain;
use crate::answer::ReadAnswer;
use crate::dispatch::codec;
use crate::failure::{InvalidAnswer, StreamFailure};
use crate::ir::UsageReport;
use crate::needle::needle;
use crate::openai_chat;
use crate::sse::{Event, Scanner};
use crate::tap::Tap;

const DONE: &[u8] = b"[DONE]";
/// How the types of the last events of images, transcripts and speech end.
const LAST: [&str; 2] = [".completed", ".done"];

#[derive(Debug)]
pub(super) struct PlainReader {
    pub plain: Plain,
    /// The usage of a stream was not asked for by the client.
    pub drop_usage: bool,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    model: Option<String>,
    usage: Option<Value>,
    choices: Option<Vec<Choice>>,
    /// Cohere's place for it.
    meta: Option<Value>,
    error: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<String>,
}

impl ReadAnswer for PlainReader {
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        tap.done = true;
        if self.plain == Plain::Speech && (body.starts_with(b"data:") || body.starts_with(b"event:")) {
            return self.sound(&body, tap);
        }
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(_) if self.plain.may_answer_bytes() => return Ok(body),
            Err(error) => return Err(InvalidAnswer(error.to_string())),
        };
        self.note(&answer, tap);
        if matches!(self.plain, Plain::Completions | Plain::Transcriptions | Plain::Translations) {
            tap.count_strings(&body, needle!("\"text\":"));
        }
        Ok(body)
    }

    fn tap_event(&self, event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
        let data = event.data;
        if data.starts_with(DONE) {
            tap.done = true;
            return Ok(());
        }
        if event.name == "error" || needle!("\"error\"").is_in(data) {
            // One reader of errors in streams for all of OpenAI's endpoints.
            (codec(Dialect::OpenaiChat).tap_event)(event, &mut Tap::default())?;
        }
        let is_last = LAST.iter().any(|end| event.name.ends_with(end)) || needle!("\"usage\"").is_in(data);
        let may_tell = is_last || needle!(".done\"").is_in(data) || needle!(".completed\"").is_in(data);
        if may_tell {
            let answer: Answer = serde_json::from_slice(data).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
            self.note(&answer, tap);
            tap.done |= answer.kind.as_deref().is_some_and(|kind| LAST.iter().any(|end| kind.ends_with(end)));
            tap.only_usage =
                answer.usage.is_some_and(|usage| usage.is_object()) && answer.choices.is_some_and(|choices| choices.is_empty());
        } else if self.plain == Plain::Completions
            && let Some(at) = needle!("\"finish_reason\":\"").find(data)
            && let Some(word) = crate::tap::string_at(data, at + b"\"finish_reason\":".len())
        {
            tap.finish_reason = Some(String::from_utf8_lossy(&data[word]).into_owned());
        }
        match self.plain {
            Plain::Completions => tap.count_strings(data, needle!("\"text\":")),
            Plain::Transcriptions | Plain::Translations => tap.count_strings(data, needle!("\"delta\":")),
            _ => {}
        }
        tap.content |= self.plain != Plain::Completions;
        Ok(())
    }

    fn drops_usage(&self) -> bool {
        self.drop_usage
    }
}

impl PlainReader {
    /// The sound out of a stream of events that has come whole.
    fn sound(&self, body: &[u8], tap: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        #[derive(Deserialize)]
        struct Delta {
            #[serde(default)]
            audio: String,
        }
        let (mut sound, mut told) = (Vec::new(), Tap::default());
        let mut read = |event: Event<'_>| {
            let delta: Delta = serde_json::from_slice(event.data).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
            STANDARD.decode_vec(delta.audio, &mut sound).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
            self.tap_event(event, &mut told)
        };
        let mut scanner = Scanner::new();
        let result = scanner.push(body, &mut read).and_then(|()| scanner.finish(&mut read));
        result.map_err(|failure| InvalidAnswer(failure.to_string()))?;
        if !told.done {
            return Err(InvalidAnswer("the sound ended before its last event".into()));
        }
        *tap = told;
        Ok(sound.into())
    }

    fn note(&self, answer: &Answer, tap: &mut Tap) {
        if let Some(id) = &answer.id {
            tap.id = Some(id.clone());
        }
        if let Some(model) = &answer.model {
            tap.model = Some(model.clone());
        }
        if let Some(reason) = answer.choices.as_ref().and_then(|choices| choices.first()?.finish_reason.as_ref()) {
            tap.finish_reason = Some(reason.clone());
        }
        let told = answer.usage.as_ref().and_then(|usage| self.usage(usage));
        let told = told.or_else(|| cohere(answer.meta.as_ref()?));
        if let Some(report) = told.filter(|_| answer.error.as_ref().is_none_or(Value::is_null)) {
            tap.usage = Some(report);
        }
    }

    fn usage(&self, usage: &Value) -> Option<UsageReport> {
        if self.plain == Plain::Completions {
            return openai_chat::usage::decode(usage);
        }
        let count = |object: &Value, field: &str| object.get(field).and_then(Value::as_u64);
        if usage.get("type").and_then(Value::as_str) == Some("duration") {
            // Seconds are no tokens: only a model whose price is zero comes this far.
            return Some(UsageReport { usage: Usage::default(), raw: usage.to_string() });
        }
        let input = count(usage, "input_tokens").or_else(|| count(usage, "prompt_tokens"));
        let input = input.or_else(|| count(usage, "total_tokens"))?;
        let output = count(usage, "output_tokens").or_else(|| count(usage, "completion_tokens")).unwrap_or(0);
        let detail = |names: [&str; 2], field: &str| names.iter().find_map(|name| count(usage.get(*name)?, field)).unwrap_or(0);
        const INPUT: [&str; 2] = ["input_tokens_details", "input_token_details"];
        const OUTPUT: [&str; 2] = ["output_tokens_details", "output_token_details"];
        let mut rest = input;
        let mut take = |tokens: u64| {
            let taken = tokens.min(rest);
            rest -= taken;
            taken
        };
        let cached = take(detail(INPUT, "cached_tokens"));
        let image = take(detail(INPUT, "image_tokens"));
        let audio = take(detail(INPUT, "audio_tokens"));
        let text = detail(OUTPUT, "text_tokens").min(output);
        let said = Usage::default()
            .with(UsageClass::InputUncached, rest)
            .with(UsageClass::InputCacheRead, cached)
            .with(UsageClass::InputImage, image)
            .with(UsageClass::InputAudio, audio);
        let said = match self.plain {
            Plain::ImageGenerations | Plain::ImageEdits | Plain::ImageVariations => {
                said.with(UsageClass::OutputText, text).with(UsageClass::OutputImage, output - text)
            }
            Plain::Speech => said.with(UsageClass::OutputAudio, output),
            _ => said.with(UsageClass::OutputText, output),
        };
        Some(UsageReport { usage: said, raw: usage.to_string() })
    }
}

/// Cohere's rerankers count in `meta.tokens`, if at all.
fn cohere(meta: &Value) -> Option<UsageReport> {
    let tokens = meta.get("tokens")?;
    let count = |field: &str| tokens.get(field).and_then(Value::as_u64);
    let usage = Usage::default()
        .with(UsageClass::InputUncached, count("input_tokens")?)
        .with(UsageClass::OutputText, count("output_tokens").unwrap_or(0));
    Some(UsageReport { usage, raw: meta.to_string() })
}
