//! Streams of the Responses API. Grammar of the events: openai-openapi `ResponseStreamEvent`.

mod decoder;
mod encoder;
mod output;

use serde::Deserialize;
use serde_json::Value;

pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;

use super::{error, usage};
use crate::failure::{AnswerFailure, StreamFailure};
use crate::kept::{Handles, sealed_handle};
use crate::needle::needle;
use crate::sse::Event;
use crate::tap::{self, Tap};

/// What the meter reads of a response object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metered {
    id: Option<String>,
    model: Option<String>,
    status: Option<String>,
    usage: Option<Value>,
    incomplete_details: Option<super::wire::IncompleteDetails>,
    error: Option<Value>,
    output: Option<Vec<MeteredItem>>,
}

/// What of an item can be referred to later.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MeteredItem {
    id: Option<String>,
    encrypted_content: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MeteredEvent {
    #[serde(rename = "type")]
    kind: String,
    response: Option<Metered>,
    error: Option<Value>,
}

impl Metered {
    /// A response that failed tells so itself and passes; an error without a response is none.
    pub fn check(&self) -> Result<(), AnswerFailure> {
        match &self.error {
            Some(error) if self.status.is_none() => Err(AnswerFailure::Upstream(error::in_stream(error))),
            _ => Ok(()),
        }
    }

    pub fn tell(self, tap: &mut Tap) {
        let output = self.output.unwrap_or_default();
        let ids = self.id.iter().cloned().chain(output.iter().filter_map(|item| item.id.clone()));
        let sealed = output.iter().filter_map(|item| sealed_handle(item.encrypted_content.as_deref()?));
        tap.handles = Handles { ids: ids.collect(), sealed: sealed.collect() };
        tap.id = self.id.or(tap.id.take());
        tap.model = self.model.or(tap.model.take());
        if let Some(report) = self.usage.as_ref().and_then(usage::decode) {
            tap.usage = Some(report);
        }
        let reason = self.incomplete_details.and_then(|details| details.reason).or(self.status);
        if let Some(reason) = reason.filter(|reason| reason != "in_progress" && reason != "queued") {
            tap.finish_reason = Some(reason);
        }
    }
}

/// Reads what the meter needs from an event that passes untouched. Only events that carry a response are parsed.
pub(crate) fn tap(event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
    let data = event.data;
    metered(event, tap)?;
    // An event that tells of a failure does not pass: its number is free. Inside a text the key's quotes are escaped, so
    // that it is found as a key only.
    tap.sequence = tap::number_after(data, needle!("\"sequence_number\":")).or(tap.sequence);
    Ok(())
}

fn metered(event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
    let is_delta = if event.name.is_empty() {
        needle!(".delta\"").is_in(event.data)
    } else {
        event.name.rsplit('.').next() == Some("delta")
    };
    if is_delta {
        tap.count_strings(event.data, needle!("\"delta\":"));
        return Ok(());
    }
    let carries_response = needle!("\"response\":").is_in(event.data) || needle!("\"error\"").is_in(event.data);
    if !carries_response {
        // A whole call may come without deltas.
        tap.content |= needle!("response.output_item.done").is_in(event.data);
        return Ok(());
    }
    let Ok(said) = serde_json::from_slice::<MeteredEvent>(event.data) else {
        return Ok(());
    };
    let kind = if said.kind.is_empty() { event.name } else { &said.kind };
    match kind {
        "response.completed" | "response.incomplete" | "response.cancelled" => tap.done = true,
        "response.failed" => {
            let response = said.response.unwrap_or_default();
            let failure = error::in_stream(response.error.as_ref().unwrap_or(&Value::Null));
            response.tell(tap);
            return Err(StreamFailure::Upstream(failure));
        }
        "error" => {
            let flat: Value = serde_json::from_slice(event.data).unwrap_or_default();
            return Err(StreamFailure::Upstream(error::in_stream(said.error.as_ref().unwrap_or(&flat))));
        }
        _ => {}
    }
    if let Some(response) = said.response {
        response.tell(tap);
    }
    Ok(())
}
