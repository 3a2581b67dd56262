//! Streams of Gemini: every record is a whole `GenerateContentResponse` whose parts are to be appended.

mod decoder;
mod encoder;
mod growing;

use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;

use super::wire::{Candidate, PromptFeedback};
use super::{error, usage};
use crate::failure::{AnswerFailure, StreamFailure};
use crate::needle::{Needle, needle};
use crate::sse::Event;
use crate::tap::Tap;

const USAGE_KEY: &[u8] = b"\"usageMetadata\":";
/// Keys of records that must be read at once.
static TELLING: [Needle; 3] = [Needle::new("\"finishReason\""), Needle::new("\"error\""), Needle::new("\"blockReason\"")];

/// What the meter reads of an answer or of a record.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metered {
    candidates: Vec<MeteredCandidate>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<Value>,
    model_version: Option<String>,
    response_id: Option<String>,
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MeteredCandidate {
    finish_reason: Option<Value>,
}

impl Metered {
    /// An error where an answer was due.
    pub fn check(&self) -> Result<(), AnswerFailure> {
        self.error.as_ref().map_or(Ok(()), |error| Err(AnswerFailure::Upstream(error::in_stream(error))))
    }

    pub fn tell(self, tap: &mut Tap) {
        tap.id = self.response_id.or(tap.id.take());
        tap.model = self.model_version.or(tap.model.take());
        if let Some(report) = self.usage_metadata.as_ref().and_then(usage::decode) {
            tap.usage = Some(report);
            tap.unread = None;
        }
        let finish = self.candidates.into_iter().find_map(|candidate| candidate.finish_reason);
        let blocked = self.prompt_feedback.and_then(|feedback| feedback.block_reason);
        if let Some(word) = finish.map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).or(blocked) {
            tap.finish_reason = Some(word);
        }
    }
}

/// Reads what the meter needs from a record that passes untouched.
pub(crate) fn tap(event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
    tap.count_strings(event.data, needle!("\"text\":"));
    tap.content |= needle!("\"functionCall\"").is_in(event.data) || needle!("\"inlineData\"").is_in(event.data);
    let tells_more = tap.id.is_none() || TELLING.iter().any(|key| key.is_in(event.data));
    if !tells_more {
        // Every record restates the usage, and only the last one counts.
        if let Some(at) = memmem::rfind(event.data, USAGE_KEY) {
            tap.keep_unread(&event.data[at + USAGE_KEY.len()..], usage::decode_leading);
        }
        return Ok(());
    }
    // A record that cannot be read is the client's to judge: it gets the same bytes.
    let Ok(metered) = serde_json::from_slice::<Metered>(event.data) else { return Ok(()) };
    if let Some(error) = &metered.error {
        return Err(StreamFailure::Upstream(error::in_stream(error)));
    }
    metered.tell(tap);
    // There is no last record but the one that says why it ends; usage may still be restated, so the close decides.
    Ok(())
}

/// Whether a candidate says anything a client would show.
fn has_parts(candidate: &Candidate) -> bool {
    candidate.content.as_ref().is_some_and(|content| !content.parts.is_empty())
}
