//! Recorded exchanges, served again to whoever asks for the model `<provider>/<id>`.
//!
//! A case is a file `<dir>/<provider>/<id>.json` with `response.status`, `response.headers` and either `response.body`
//! (JSON, served compactly: blanks outside strings removed and nothing else) or `response.body_raw` (text, served
//! verbatim). Streams are cut into chunks whose sizes cycle through [`CHUNK_SIZES`], whatever the bytes are: inside
//! events, characters and line ends. Each chunk is flushed by itself.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Sizes in bytes of the chunks of a replayed stream, in this order, again and again.
pub const CHUNK_SIZES: [usize; 8] = [1, 7, 64, 3, 512, 2, 33, 1024];
/// Largest case file that is loaded, in bytes.
const MAX_CASE_BYTES: u64 = 16 << 20;
/// Most cases that are loaded.
const MAX_CASES: usize = 10_000;
/// Headers that describe the recorded connection, not the answer.
const HOP_HEADERS: [&str; 5] = ["transfer-encoding", "content-length", "content-encoding", "connection", "keep-alive"];

#[derive(Deserialize)]
struct CaseFile {
    id: String,
    provider: String,
    response: Recorded,
}

#[derive(Deserialize)]
struct Recorded {
    status: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
    body: Option<Box<RawValue>>,
    body_raw: Option<String>,
}

/// One recorded answer.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The body in the chunks in which it is sent; one chunk for what is no stream.
    pub chunks: Vec<Bytes>,
    pub stream: bool,
}

/// All recorded answers, by `<provider>/<id>`.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    by_model: HashMap<String, Case>,
}

impl Cases {
    /// Loads every `<dir>/*/*.json`. A file that is no case is an error that names it.
    pub(crate) fn load(dir: &Path) -> io::Result<Self> {
        let mut by_model = HashMap::new();
        for provider in fs::read_dir(dir)? {
            let provider = provider?.path();
            if !provider.is_dir() {
                continue;
            }
            for file in fs::read_dir(&provider)? {
                let file = file?.path();
                if file.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                let (name, case) =
                    read_case(&file).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
                if by_model.len() == MAX_CASES {
                    return Err(io::Error::other(format!("more than {MAX_CASES} cases")));
                }
                by_model.insert(name, case);
            }
        }
        Ok(Self { by_model })
    }

    pub(crate) fn get(&self, model: &str) -> Option<&Case> {
        self.by_model.get(model)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_model.len()
    }
}

fn read_case(file: &Path) -> io::Result<(String, Case)> {
    if fs::metadata(file)?.len() > MAX_CASE_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_CASE_BYTES} bytes")));
    }
    let parsed: CaseFile = serde_json::from_slice(&fs::read(file)?)?;
    let name = format!("{}/{}", parsed.provider, parsed.id);
    Ok((name, case(parsed.response)))
}

fn case(recorded: Recorded) -> Case {
    let stream = recorded.body_raw.is_some();
    let body = match (recorded.body_raw, recorded.body) {
        (Some(raw), _) => raw.into_bytes(),
        (None, Some(json)) => compact(json.get()).into_bytes(),
        (None, None) => Vec::new(),
    };
    let mut headers: Vec<(String, String)> =
        recorded.headers.into_iter().filter(|(name, _)| !HOP_HEADERS.contains(&name.as_str())).collect();
    if !headers.iter().any(|(name, _)| name == "content-type") {
        let usual = if stream { "text/event-stream" } else { "application/json" };
        headers.push(("content-type".to_owned(), usual.to_owned()));
    }
    headers.sort();
    let body = Bytes::from(body);
    let chunks = if stream { split(&body) } else { vec![body] };
    Case { status: recorded.status, headers, chunks, stream }
}

/// JSON text without the blanks between its tokens; numbers and escapes stay as they are written.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            let keep = in_string || !c.is_ascii_whitespace();
            if escaped {
                escaped = false;
            } else if c == '"' {
                in_string = !in_string;
            } else if c == '\\' {
                escaped = in_string;
            }
            keep
        })
        .collect()
}

/// Cuts a body into chunks of [`CHUNK_SIZES`].
fn split(body: &Bytes) -> Vec<Bytes> {
    let mut rest = body.clone();
    let mut chunks = Vec::new();
    for size in CHUNK_SIZES.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        chunks.push(rest.split_to((*size).min(rest.len())));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_by_the_stated_sizes_and_loses_nothing() {
        let body = Bytes::from("ü".repeat(1000));
        let chunks = split(&body);
        let sizes: Vec<usize> = chunks.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [1, 7, 64, 3, 512, 2, 33, 1024, 1, 7, 64, 3, 279]);
        assert_eq!(chunks.concat(), body);
    }

    #[test]
    fn json_is_compacted_outside_strings_only() {
        let json = "{ \"a b\" : [ 1.50 , \"x \\\" y\" ],\n \"c\": \"\\\\\" }";
        assert_eq!(compact(json), "{\"a b\":[1.50,\"x \\\" y\"],\"c\":\"\\\\\"}");
    }

    #[test]
    fn cases_are_found_by_provider_and_id() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("openai-chat")).expect("a folder");
        let text = r#"{"id": "x-1", "provider": "openai-chat", "response": {"status": 404,
            "headers": {"content-length": "9", "x-request-id": "r"}, "body": {"z": 1, "a": 2}}}"#;
        fs::write(dir.path().join("openai-chat/x-1.json"), text).expect("a case");
        let cases = Cases::load(dir.path()).expect("cases");
        let case = cases.get("openai-chat/x-1").expect("the case");
        assert_eq!((case.status, cases.len(), case.stream), (404, 1, false));
        assert_eq!(case.chunks, vec![Bytes::from_static(b"{\"z\":1,\"a\":2}")]);
        let names: Vec<&str> = case.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type", "x-request-id"]);
    }
}
