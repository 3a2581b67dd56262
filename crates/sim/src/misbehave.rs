//! Bodies that no vendor should send, and now and then does.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::faults::Untrue;

/// Length of a line that is too long, and of what a bomb unpacks to.
pub(crate) const HUGE_BYTES: usize = 100 << 20;
/// Between two bytes of a body that drips.
pub(crate) const DRIP_INTERVAL: Duration = Duration::from_secs(1);
/// A count that nobody can have used.
const HUGE_COUNT: i64 = 1_000_000_000_000_000_000;
/// What is sent in one write.
const PIECE_BYTES: usize = 64 << 10;
/// The fields in which the dialects count tokens.
const COUNTS: [&str; 8] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "promptTokenCount",
    "candidatesTokenCount",
    "totalTokenCount",
];
/// The fields that count what is a part of another count.
const CACHED: [&str; 2] = ["cached_tokens", "cachedContentTokenCount"];

/// The start of an event whose line does not end for [`HUGE_BYTES`].
pub(crate) fn huge_line() -> Vec<Bytes> {
    let filler = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let mut pieces = vec![Bytes::from_static(b"data: {\"id\": \"")];
    pieces.extend(std::iter::repeat_n(filler, HUGE_BYTES / PIECE_BYTES));
    pieces.push(Bytes::from_static(b"\"}\n\n"));
    pieces
}

/// [`HUGE_BYTES`] of spaces, packed. Packing takes seconds, so it is done once.
pub(crate) fn gzip_bomb() -> Vec<Bytes> {
    static BOMB: LazyLock<Bytes> = LazyLock::new(|| {
        let spaces = vec![b' '; PIECE_BYTES];
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail.
        let written = (0..HUGE_BYTES / PIECE_BYTES).try_for_each(|_| packer.write_all(&spaces));
        written.and_then(|()| packer.finish()).map(Bytes::from).unwrap_or_default()
    });
    vec![BOMB.clone()]
}

/// The same bytes, each a piece of its own.
pub(crate) fn single_bytes(pieces: &[Bytes]) -> Vec<Bytes> {
    pieces.iter().flat_map(|piece| (0..piece.len()).map(|at| piece.slice(at..=at))).collect()
}

/// Makes the usage of a whole answer untrue; what concerns the order of events changes nothing.
pub(crate) fn falsify(body: &mut Value, untrue: Untrue) {
    match untrue {
        Untrue::Negative => counts(body, &|count| -count - 1),
        Untrue::Huge => counts(body, &|_| HUGE_COUNT),
        Untrue::Inconsistent => inconsistent(body),
        Untrue::Twice | Untrue::Split | Untrue::Late => {}
    }
}

/// Makes the usage of a stream untrue, or tells it elsewhere.
pub(crate) fn retell(frames: &mut Vec<Bytes>, untrue: Untrue) {
    let told: Vec<usize> = (0..frames.len()).filter(|at| payload(&frames[*at]).is_some_and(|body| has_counts(&body))).collect();
    match (untrue, told.last().copied()) {
        (Untrue::Negative | Untrue::Huge | Untrue::Inconsistent, _) => {
            for at in told {
                rewrite(&mut frames[at], |body| falsify(body, untrue));
            }
        }
        (Untrue::Twice, Some(last)) => frames.insert(last, frames[last].clone()),
        (Untrue::Split, Some(last)) => {
            let mut half = frames[last].clone();
            rewrite(&mut half, |body| counts(body, &|count| count / 2));
            frames.insert(last, half);
        }
        (Untrue::Late, Some(last)) => {
            let usage = frames.remove(last);
            frames.push(usage);
        }
        (_, None) => {}
    }
}

/// Totals that are no sums, and more read from the cache than was read at all.
fn inconsistent(body: &mut Value) {
    each_field(body, &mut |name, value| {
        if CACHED.contains(&name) {
            *value = json!(1_000_000);
        } else if name.to_ascii_lowercase().starts_with("total") && value.is_i64() {
            *value = json!(1);
        }
    });
}

fn counts(body: &mut Value, change: &dyn Fn(i64) -> i64) {
    each_field(body, &mut |name, value| {
        if let Some(count) = value.as_i64().filter(|_| COUNTS.contains(&name)) {
            *value = json!(change(count));
        }
    });
}

fn has_counts(body: &Value) -> bool {
    let mut found = false;
    each_field(&mut body.clone(), &mut |name, value| found |= COUNTS.contains(&name) && value.is_i64());
    found
}

/// Shows every field of every object.
fn each_field(value: &mut Value, see: &mut dyn FnMut(&str, &mut Value)) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                see(name, field);
                each_field(field, see);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_field(item, see)),
        _ => {}
    }
}

/// The JSON of an event, or of an element of a Gemini array.
fn payload(frame: &Bytes) -> Option<Value> {
    let (from, to) = json_range(frame)?;
    serde_json::from_slice(&frame[from..to]).ok()
}

fn rewrite(frame: &mut Bytes, change: impl FnOnce(&mut Value)) {
    let (Some((from, to)), Some(mut body)) = (json_range(frame), payload(frame)) else { return };
    change(&mut body);
    *frame = Bytes::from([&frame[..from], body.to_string().as_bytes(), &frame[to..]].concat());
}

fn json_range(frame: &Bytes) -> Option<(usize, usize)> {
    let from = frame.iter().position(|byte| *byte == b'{')?;
    let to = frame.iter().rposition(|byte| *byte == b'}')?;
    (from < to).then_some((from, to + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<Bytes> {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 2}}});
        vec![
            Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n"),
            Bytes::from(format!("data: {usage}\n\n")),
            Bytes::from_static(b"data: [DONE]\n\n"),
        ]
    }

    fn retold(untrue: Untrue) -> Vec<Bytes> {
        let mut frames = stream();
        retell(&mut frames, untrue);
        frames
    }

    fn usage(frame: &Bytes) -> Value {
        payload(frame).expect("JSON")["usage"].clone()
    }

    #[test]
    fn counts_are_made_untrue_where_they_stand() {
        assert_eq!(usage(&retold(Untrue::Negative)[1])["prompt_tokens"], -9);
        assert_eq!(usage(&retold(Untrue::Huge)[1])["total_tokens"], HUGE_COUNT);
        let inconsistent = usage(&retold(Untrue::Inconsistent)[1]);
        assert_eq!((&inconsistent["total_tokens"], &inconsistent["prompt_tokens"]), (&json!(1), &json!(8)));
        assert_eq!(inconsistent["prompt_tokens_details"]["cached_tokens"], 1_000_000);
    }

    #[test]
    fn a_usage_is_told_twice_by_halves_or_late() {
        let twice = retold(Untrue::Twice);
        assert_eq!((twice.len(), usage(&twice[1])), (4, usage(&twice[2])));
        let split = retold(Untrue::Split);
        assert_eq!((&usage(&split[1])["prompt_tokens"], &usage(&split[2])["prompt_tokens"]), (&json!(4), &json!(8)));
        let late = retold(Untrue::Late);
        assert_eq!(late[1], "data: [DONE]\n\n");
        assert_eq!(usage(&late[2])["total_tokens"], 12);
    }

    #[test]
    fn a_bomb_is_small_and_a_huge_line_shares_its_memory() {
        assert!(gzip_bomb().iter().map(Bytes::len).sum::<usize>() < 200 << 10);
        let line = huge_line();
        assert!(line.iter().map(Bytes::len).sum::<usize>() > HUGE_BYTES);
        assert_eq!(line[1].as_ptr(), line[2].as_ptr());
        assert_eq!(single_bytes(&[Bytes::from_static(b"ab")]), ["a", "b"]);
    }
}
