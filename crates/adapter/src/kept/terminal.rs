//! The finished response, as a stream or a whole answer of ours carries it.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::peek::{span_in, splice};
use crate::sse::Scanner;

/// The event that ends a stream, and the response in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Where the event begins in the piece it was found in; it ends with the piece.
    pub start: usize,
    /// JSON object.
    pub response: String,
    pub id: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    response: &'a RawValue,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The terminal event at the end of a piece of a stream that the gateway wrote; `None` if the piece ends with another. A
/// response that failed is not kept.
pub fn terminal(piece: &[u8]) -> Option<Terminal> {
    let mut scanner = Scanner::new();
    let (mut before, mut found) = (0, None);
    let read = scanner.push(piece, |event| {
        let is_terminal = matches!(event.name, "response.completed" | "response.incomplete");
        found = is_terminal
            .then(|| (before, serde_json::from_slice::<Event<'_>>(event.data).ok().map(|e| e.response.get().to_owned())));
        before = event.end;
        Ok::<(), crate::StreamFailure>(())
    });
    read.ok()?;
    let (start, response) = found?;
    let response = response?;
    let id = serde_json::from_str::<Named>(&response).ok()?.id;
    Some(Terminal { start, response, id })
}

/// A whole answer, or the terminal event of a stream, that says the truth after the response could not be kept.
pub fn not_kept(bytes: &Bytes) -> Bytes {
    match store_span(bytes) {
        Some(span) => splice(bytes, vec![(span, b"false".to_vec())]).into(),
        None => bytes.clone(),
    }
}

/// Where the value of the response's `store` stands.
fn store_span(bytes: &[u8]) -> Option<Range<usize>> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        store: &'a RawValue,
    }
    let line = match bytes.first()? {
        b'{' => bytes,
        _ => bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "))?,
    };
    let response = serde_json::from_slice::<Event<'_>>(line).map_or(line, |event| event.response.get().as_bytes());
    Some(span_in(bytes, serde_json::from_slice::<Stored<'_>>(response).ok()?.store))
}

/// The id of a whole answer.
pub fn id_of(answer: &[u8]) -> Option<String> {
    serde_json::from_slice::<Named>(answer).ok().map(|named| named.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"store\":true,\"output\":[{\"text\":\"\\\"store\\\":true\"}]}}\n\n";

    #[test]
    fn the_terminal_event_is_found_at_the_end_of_a_piece() {
        let delta = "event: response.output_text.delta\ndata: {\"delta\":\"x\"}\n\n";
        let piece = format!("{delta}{END}");
        let found = terminal(piece.as_bytes()).unwrap();
        assert_eq!((found.start, found.id.as_str()), (delta.len(), "resp_1"));
        assert_eq!(found.response, r#"{"id":"resp_1","store":true,"output":[{"text":"\"store\":true"}]}"#);
        for other in [delta.to_owned(), format!("{END}{delta}"), END.replace("completed", "failed"), String::new()] {
            assert_eq!(terminal(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_could_not_be_kept_says_so_and_nothing_else_changes() {
        let changed = not_kept(&Bytes::from_static(END.as_bytes()));
        assert_eq!(changed, END.replacen("\"store\":true", "\"store\":false", 1).as_bytes());
        let whole = Bytes::from_static(br#"{"id":"resp_1", "store" : true}"#);
        assert_eq!(not_kept(&whole), &br#"{"id":"resp_1", "store" : false}"#[..]);
        assert_eq!(not_kept(&Bytes::from_static(b"{}")), &b"{}"[..]);
    }
}
