//! A whole answer as the steps of a stream, so that an encoder says both with one machine and they cannot differ.

use crate::ir::{Delta, Part, PartKind, PartStart, Response, StreamEvent};

/// The events a decoder would give if `response` came streamed.
pub(crate) fn events(response: &Response) -> Vec<StreamEvent> {
    let mut events = vec![StreamEvent::Start { id: response.id.clone(), model: response.model.clone() }];
    for candidate in &response.candidates {
        let mut logprobs = candidate.logprobs.clone();
        for (part, number) in candidate.parts.iter().zip(0_u32..) {
            let (start, deltas) = steps(part);
            events.push(StreamEvent::PartStart { candidate: candidate.index, part: number, start });
            let logprobs = if part.as_text().is_some() { logprobs.take() } else { None };
            for delta in deltas.into_iter().chain(logprobs.map(Delta::Logprobs)) {
                events.push(StreamEvent::PartDelta { candidate: candidate.index, part: number, delta });
            }
            events.push(StreamEvent::PartEnd { candidate: candidate.index, part: number });
        }
        events.push(StreamEvent::Finish {
            candidate: candidate.index,
            reason: candidate.finish,
            raw: candidate.raw_finish.clone(),
            stop_sequence: candidate.stop_sequence.clone(),
            explanation: candidate.explanation.clone(),
        });
    }
    events.extend(response.usage.clone().map(StreamEvent::Usage));
    events.push(StreamEvent::End);
    events
}

fn steps(part: &Part) -> (PartStart, Vec<Delta>) {
    let signature = part.signature.clone().map(Delta::Signature);
    match &part.kind {
        PartKind::Text(text) => {
            let deltas = std::iter::once(Delta::Text(text.text.clone()))
                .chain(text.citations.iter().cloned().map(Delta::Citation))
                .chain(signature)
                .collect();
            (PartStart::Text, deltas)
        }
        PartKind::Refusal(text) => (PartStart::Refusal, vec![Delta::Text(text.clone())]),
        PartKind::Reasoning(reasoning) if !reasoning.is_redacted => {
            let start = PartStart::Reasoning { id: reasoning.id.clone(), is_summary: reasoning.is_summary };
            let text = (!reasoning.text.is_empty()).then(|| Delta::Text(reasoning.text.clone()));
            (start, text.into_iter().chain(reasoning.signature.clone().map(Delta::Signature)).collect())
        }
        PartKind::ToolCall(call) => {
            let start = PartStart::ToolCall { id: call.id.clone(), name: call.name.clone(), kind: call.kind };
            (start, signature.into_iter().chain([Delta::Arguments(call.arguments.clone())]).collect())
        }
        _ => (PartStart::Whole(Box::new(part.clone())), Vec::new()),
    }
}
