//! Entries for the fuzzer (`fuzz/` in the repository), and for the test that replays its corpus. Not part of the interface.
//!
//! Each takes any bytes and panics when a promise is broken: that nothing panics, that the cut of a stream does not matter,
//! that a schema compiles to something bounded that compiles to itself.

use bytes::Bytes;
use serde_json::Value;
use tallygate_types::{Dialect, Timestamp};

use crate::media_urls::{self, FetchedMedia};
use crate::sse::Event;
use crate::{
    Call, ErrorKind, ErrorReply, NoMemory, PastReasoning, Profiles, ResponseStream, Session, gemini, json_array, schema, sse,
};

/// Compiled schemas are at most this many times their source, beside what may be copied.
const MAX_SCHEMA_GROWTH: usize = 16;

/// First byte: whose bytes they are, and whether a request, an answer or an error. The rest is the body.
pub fn decoders(input: &[u8]) {
    let Some((&head, body)) = input.split_first() else { return };
    let dialect = dialect(head);
    match (head >> 2) & 3 {
        0 | 1 => decode_request(dialect, body),
        2 => {
            for client in Dialect::ALL {
                let _ = session(client, dialect, false).answer(Bytes::copy_from_slice(body));
            }
        }
        _ => {
            for status in [400, 429, 500] {
                let _ = crate::decode_error(dialect, status, body);
            }
        }
    }
}

/// First byte: the client's dialect, the upstream's, and the shape of a Gemini client's stream. Second byte: the size of the
/// chunks. The rest is the upstream's stream.
pub fn streams(input: &[u8]) {
    let [head, size, body @ ..] = input else { return };
    let pair = (dialect(*head), dialect(head >> 2));
    decode_stream(pair, head & 16 != 0, usize::from(*size).max(1), body);
}

/// First byte: the size of the chunks. The rest is the stream.
pub fn sse(input: &[u8]) {
    let Some((&size, stream)) = input.split_first() else { return };
    let size = usize::from(size).max(1);
    let own = |event: Event<'_>| (event.name.to_owned(), event.data.to_vec());
    let events = |size: usize| {
        let mut seen = Vec::new();
        let mut scanner = sse::Scanner::new();
        for chunk in stream.chunks(size) {
            let _ = scanner.push(chunk, |event| {
                assert!(event.end <= chunk.len(), "an event ends outside of its chunk");
                seen.push(own(event));
                Ok::<(), sse::TooLong>(())
            });
            assert!(scanner.boundary() <= chunk.len(), "the boundary is outside of the chunk");
        }
        let _ = scanner.finish(|event| {
            seen.push(own(event));
            Ok::<(), sse::TooLong>(())
        });
        seen
    };
    assert_eq!(events(size), events(stream.len().max(1)), "the cut of events changes them");
    let objects = |size: usize| {
        let mut seen = Vec::new();
        let mut scanner = json_array::Scanner::new();
        for chunk in stream.chunks(size) {
            let _ = scanner.push(chunk, |event| {
                seen.push(event.data.to_vec());
                Ok::<(), sse::TooLong>(())
            });
            assert!(scanner.boundary() <= chunk.len(), "the boundary is outside of the chunk");
        }
        seen
    };
    assert_eq!(objects(size), objects(stream.len().max(1)), "the cut of an array changes its objects");
}

/// The input is a schema.
pub fn schema(input: &[u8]) {
    use gemini::schema::{MAX_COPIED_BYTES, Target};
    let Ok(given) = serde_json::from_slice::<Value>(input) else { return };
    for target in [Target::JsonSchema, Target::OpenApi] {
        let compiled = gemini::schema::compile(&given, target);
        let size = compiled.schema.to_string().len();
        assert!(size <= MAX_SCHEMA_GROWTH * (input.len() + MAX_COPIED_BYTES), "{size} bytes of {}", input.len());
        assert_eq!(gemini::schema::compile(&compiled.schema, target).schema, compiled.schema, "compiling twice changes it");
        let _ = gemini::schema::compile_parameters(&given, target);
    }
    let _ = gemini::schema::to_json_schema(&given);
    let _ = schema::is_openai_strict(&given);
    let _ = schema::plain_object(&given, "input");
}

/// A request of a client, prepared for every upstream.
pub fn decode_request(client: Dialect, body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    let named = media_urls::media_urls(client, &body, media_urls::TakesUrls { images: false, documents: false });
    let fetched: Vec<FetchedMedia> = named
        .into_iter()
        .map(|named| FetchedMedia { url: named.url, media_type: "image/png".into(), bytes: b"\x89PNG".to_vec() })
        .collect();
    let _ = media_urls::inline_media(client, &body, &fetched);
    let Ok(seen) = crate::peek(client, &body) else { return };
    for upstream in Dialect::ALL {
        let _ = crate::prepare(&Call { stream: seen.stream, ..call(client, upstream, &seen) }, &body, &[]);
    }
}

/// A stream of an upstream, in chunks of `size` bytes and at once: what comes out must be the same.
pub fn decode_stream((client, upstream): (Dialect, Dialect), is_array: bool, size: usize, body: &[u8]) {
    let run = |size: usize| {
        let mut stream = session(client, upstream, is_array).stream();
        let mut out = Vec::new();
        let result = feed(&mut stream, body, size, &mut out);
        if result.is_err() {
            stream.fail(&ErrorReply::new(ErrorKind::UpstreamInvalid, "upstream_invalid", "It broke.", "req"), &mut out);
        }
        let _ = stream.take_keepsakes();
        // Where a passing stream breaks, what stood between its last whole event and the break need not have passed.
        let said = if client == upstream && result.is_err() { Vec::new() } else { out.concat() };
        (said, result, stream.meter().usage)
    };
    let (cut, whole) = (run(size), run(body.len().max(1)));
    assert_eq!(
        String::from_utf8_lossy(&cut.0),
        String::from_utf8_lossy(&whole.0),
        "the cut of a stream changes what comes of it"
    );
    assert_eq!((cut.1, cut.2), (whole.1, whole.2), "the cut of a stream changes how it ends");
}

fn feed(stream: &mut ResponseStream, body: &[u8], size: usize, out: &mut Vec<Bytes>) -> Result<(), crate::StreamFailure> {
    for chunk in body.chunks(size) {
        stream.push(Bytes::copy_from_slice(chunk), out)?;
    }
    stream.finish(out)
}

fn dialect(byte: u8) -> Dialect {
    Dialect::ALL[usize::from(byte & 3)]
}

fn call(client: Dialect, upstream: Dialect, peek: &crate::Peek) -> Call<'_> {
    Call {
        client,
        upstream,
        speaks_responses: false,
        client_model: "m",
        upstream_model: "n",
        stream: false,
        peek,
        strict: false,
        response_id: "r",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: "alt=sse",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    }
}

/// The session of a streamed request that says little.
fn session(client: Dialect, upstream: Dialect, is_array: bool) -> Session {
    const TOOL: &str = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
    let body = match client {
        Dialect::Gemini => {
            format!(
                r#"{{"contents":[{{"parts":[{{"text":"x"}}]}}],"tools":[{{"functionDeclarations":[{{"name":"f","parameters":{TOOL}}}]}}]}}"#
            )
        }
        Dialect::OpenaiResponses => {
            format!(
                r#"{{"model":"m","input":"x","stream":true,"tools":[{{"type":"function","name":"f","parameters":{TOOL}}},{{"type":"custom","name":"c"}}]}}"#
            )
        }
        Dialect::OpenaiChat => {
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"stream":true,"tools":[{{"type":"function","function":{{"name":"f","parameters":{TOOL}}}}}]}}"#
            )
        }
        Dialect::Anthropic => {
            format!(
                r#"{{"model":"m","max_tokens":5,"messages":[{{"role":"user","content":"x"}}],"stream":true,"tools":[{{"name":"f","input_schema":{TOOL}}}]}}"#
            )
        }
    };
    let body = Bytes::from(body);
    let seen = crate::peek(client, &body).expect("the body is sound");
    let query = if is_array { "" } else { "alt=sse" };
    let call = Call { stream: true, client_query: query, ..call(client, upstream, &seen) };
    *crate::prepare(&call, &body, &[]).expect("the body is sound").session
}
