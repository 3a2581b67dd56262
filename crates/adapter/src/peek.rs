//! What routing needs to know of a request body, read without building a tree of it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use tallygate_types::Dialect;

use crate::dispatch::codec;
use crate::failure::BadRequest;
use crate::prompt::PromptSpans;
use crate::scan;

/// The few fields that routing, limits and metering look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peek {
    /// As the client wrote it; `None` for Gemini, where it stands in the path.
    pub model: Option<String>,
    /// Where the JSON string of `model` stands in the body, quotes included.
    pub model_span: Option<Range<usize>>,
    pub stream: bool,
    pub max_output_tokens: Option<u64>,
    /// That bound stands in one field, which every upstream of the dialect obeys.
    pub is_bounded_once: bool,
    /// How many answers are asked for; 1 unless said.
    pub candidates: u32,
    /// The client asked for usage in a chat stream.
    pub include_usage: bool,
    /// The client's name for its end user.
    pub user: Option<String>,
    /// OpenAI's: requests with the same share a prefix.
    pub prompt_cache_key: Option<String>,
    /// OpenAI's id of a conversation that it keeps.
    pub conversation: Option<String>,
    /// The model may call tools.
    pub has_tools: bool,
    /// For [`beginning`](crate::prompt::beginning).
    pub prompt: PromptSpans,
    /// A body of the Responses API at the chat endpoint: `input` and no `messages`, as Cursor sends it.
    pub is_responses_body: bool,
    /// The bytes of the body as text, for estimates of tokens: a long run of base64 counts as one piece of media, however large
    /// it is.
    pub text_bytes: u64,
    /// Where the value of chat's `stream_options` stands in the body.
    pub(crate) stream_options_span: Option<Range<usize>>,
}

/// A field at the top of a body, or one of the object that such a field is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path {
    Top(&'static str),
    In(&'static str, &'static str),
}

/// Which fields say it, in one dialect; of several the first that is there wins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeekFields {
    /// `model` and `stream` stand in the body, not in the path.
    pub in_body: bool,
    pub max_output_tokens: &'static [Path],
    pub candidates: &'static [Path],
    pub user: &'static [Path],
    /// Of the prompt; the first that is there.
    pub instructions: &'static [&'static str],
    pub turns: &'static [&'static str],
}

impl Path {
    fn refused(self, expected: &str) -> BadRequest {
        let field = match self {
            Self::Top(field) => field.to_owned(),
            Self::In(field, inner) => format!("{field}.{inner}"),
        };
        let message = format!("The field `{field}` must be {expected}.");
        BadRequest::invalid(field, message)
    }
}

/// Reads the body's top level once. Refuses what is not a JSON object, and bodies that name `model` or `stream` twice:
/// we would route by one and the upstream obey the other.
pub fn peek(dialect: Dialect, body: &[u8]) -> Result<Peek, BadRequest> {
    let fields = &codec(dialect).peek;
    let top = Top::read(body)?;
    let mut peek = Peek { candidates: 1, text_bytes: top.text_bytes, ..Peek::default() };
    peek.is_responses_body = dialect == Dialect::OpenaiChat && top.get("input").is_some() && top.get("messages").is_none();
    if fields.in_body {
        peek.model = top.get("model").map(string_of("model")).transpose()?.flatten();
        if peek.model.is_some() {
            peek.model_span = top.get("model").map(|raw| span_of(body, raw));
        }
        peek.stream = top.get("stream").map(value_of("stream", "true or false")).transpose()?.flatten().unwrap_or(false);
        if let Some(raw) = top.get("stream_options") {
            let options: Option<StreamOptions> = value_of("stream_options", "an object")(raw)?;
            peek.include_usage = options.and_then(|options| options.include_usage).unwrap_or(false);
            peek.stream_options_span = Some(span_of(body, raw));
        }
    }
    peek.max_output_tokens = first::<Count>(&top, fields.max_output_tokens, "a whole number")?.map(|count| count.0);
    peek.is_bounded_once = peek.max_output_tokens.is_some() && is_said_once(&top, fields.max_output_tokens);
    let candidates = first::<Count>(&top, fields.candidates, "a whole number")?;
    peek.candidates = candidates.map_or(1, |count| u32::try_from(count.0).unwrap_or(u32::MAX));
    // An end user or a cache key of another type is for the upstream to refuse.
    if fields.in_body {
        peek.prompt_cache_key = first(&top, &[Path::Top("prompt_cache_key")], "a string").unwrap_or(None);
        peek.conversation = first(&top, &[Path::In("conversation", "id"), Path::Top("conversation")], "a string").unwrap_or(None);
    }
    peek.user = first(&top, fields.user, "a string").unwrap_or(None);
    let first_span = |names: &[&str]| names.iter().find_map(|name| top.get(name)).map(|raw| span_of(body, raw));
    peek.prompt = PromptSpans {
        instructions: first_span(fields.instructions),
        tools: first_span(&["tools"]),
        turns: first_span(fields.turns),
    };
    peek.has_tools = ["tools", "functions"].iter().any(|name| top.get(name).is_some_and(is_filled_list));
    Ok(peek)
}

/// Replaces `model` in the body by range; the rest stays byte for byte.
pub(crate) fn splice(body: &[u8], mut edits: Vec<(Range<usize>, Vec<u8>)>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut spliced = Vec::with_capacity(body.len() + edits.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut at = 0;
    for (range, text) in edits {
        spliced.extend_from_slice(&body[at..range.start]);
        spliced.extend_from_slice(&text);
        at = range.end;
    }
    spliced.extend_from_slice(&body[at..]);
    spliced
}

/// Only the first of the fields at the top that may say it, or the second and no third: who reads another than we do may obey it.
fn is_said_once(top: &Top<'_>, paths: &[Path]) -> bool {
    const OBEYED_OF_CHAT: usize = 2;
    let said = |path: &&Path| matches!(path, Path::Top(field) if top.get(field).is_some());
    match paths {
        [] | [Path::In(..), ..] => true,
        _ => paths.iter().filter(said).count() == 1 && paths.iter().take(OBEYED_OF_CHAT).any(|path| said(&path)),
    }
}

/// Whether `raw`, an object, has no members.
pub(crate) fn is_empty_object(raw: &[u8]) -> bool {
    let inner = raw.trim_ascii_start().strip_prefix(b"{");
    inner.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"}"))
}

/// A list with something in it.
fn is_filled_list(raw: &[u8]) -> bool {
    raw.strip_prefix(b"[").is_some_and(|rest| !rest.trim_ascii_start().starts_with(b"]"))
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// A count in any spelling a server may take: `7`, `7.0`, and `"7"` as protobuf writes it. Never below zero.
pub(crate) struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Whole(u64),
            Other(f64),
            Text(String),
        }
        match Spelling::deserialize(deserializer)? {
            Spelling::Whole(count) => Ok(Self(count)),
            Spelling::Other(number) => Ok(Self(number.max(0.0) as u64)),
            Spelling::Text(text) => text.parse().map(Self).map_err(serde::de::Error::custom),
        }
    }
}

/// The members of one JSON object, values unread.
pub(crate) struct Top<'a> {
    members: Vec<(Cow<'a, [u8]>, &'a [u8])>,
    text_bytes: u64,
}

impl<'a> Top<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, BadRequest> {
        let top = match scan::members(body) {
            Some(scan::Members { members, text_bytes }) => Self { members, text_bytes },
            None => Self::explained(body)?,
        };
        for field in ["model", "stream"] {
            if top.members.iter().filter(|(name, _)| **name == *field.as_bytes()).count() > 1 {
                return Err(BadRequest::invalid(field, format!("The field `{field}` is given twice. Send it once.")));
            }
        }
        Ok(top)
    }

    /// What is no object, and where it ceases to be one.
    fn explained(body: &'a [u8]) -> Result<Self, BadRequest> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let members = deserializer
            .deserialize_map(Members)
            .and_then(|members| deserializer.end().map(|()| members))
            .map_err(|error| BadRequest::malformed(format!("The request body is not a JSON object: {error}.")))?;
        Ok(Self { members, text_bytes: body.len() as u64 })
    }

    pub fn get(&self, field: &str) -> Option<&'a [u8]> {
        self.members.iter().rev().find(|(name, _)| **name == *field.as_bytes()).map(|(_, raw)| *raw)
    }

    /// The members of the object that `field` is.
    pub fn object(&self, field: &str) -> Result<Option<Self>, BadRequest> {
        self.get(field).filter(|raw| raw.starts_with(b"{")).map(Top::read).transpose()
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, [u8]>, &'de [u8])>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            members.push((key, map.next_value::<&RawValue>()?.get().as_bytes()));
        }
        Ok(members)
    }
}

/// A key, borrowed unless it has escapes. A plain `Cow<str>` field would always be owned.
struct Key<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text.as_bytes())))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.as_bytes().to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

pub(crate) fn span_in(body: &[u8], raw: &RawValue) -> Range<usize> {
    span_of(body, raw.get().as_bytes())
}

/// Where `part` of `body` stands in it.
pub(crate) fn span_of(body: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.len()
}

fn value_of<'a, T: Deserialize<'a>>(
    field: &'static str,
    expected: &'static str,
) -> impl Fn(&'a [u8]) -> Result<Option<T>, BadRequest> {
    move |raw| serde_json::from_slice::<Option<T>>(raw).map_err(|_| Path::Top(field).refused(expected))
}

fn string_of<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Result<Option<String>, BadRequest> {
    value_of(field, "a string")
}

/// The first of `paths` that is there and not null.
fn first<T: for<'a> Deserialize<'a>>(
    top: &Top<'_>,
    paths: &'static [Path],
    expected: &'static str,
) -> Result<Option<T>, BadRequest> {
    for path in paths {
        let raw = match *path {
            Path::Top(field) => top.get(field),
            Path::In(field, inner) => top.object(field)?.and_then(|object| object.get(inner)),
        };
        let Some(raw) = raw else { continue };
        let value: Option<T> = serde_json::from_slice(raw).map_err(|_| path.refused(expected))?;
        if value.is_some() {
            return Ok(value);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_body_is_read_and_its_model_found_by_range() {
        let body = br#" {"messages":[{"role":"user","content":"{\"model\":1}"}], "mod\u0065l" : "gpt-\u0034", "stream":true,
            "stream_options":{"include_usage":true}, "max_tokens":5, "max_completion_tokens":9, "n":3, "user":"u"} "#;
        let peek = peek(Dialect::OpenaiChat, body).unwrap();
        let span = peek.model_span.clone().unwrap();
        assert_eq!(&body[span], br#""gpt-\u0034""#);
        assert_eq!(
            (
                peek.model.as_deref(),
                peek.stream,
                peek.include_usage,
                peek.max_output_tokens,
                peek.candidates,
                peek.user.as_deref()
            ),
            (Some("gpt-4"), true, true, Some(9), 3, Some("u"))
        );
    }

    #[test]
    fn gemini_reads_the_body_in_either_case_and_no_model() {
        for body in [
            &br#"{"model":"ignored","contents":[],"generationConfig":{"maxOutputTokens":7,"candidateCount":2}}"#[..],
            br#"{"contents":[],"generation_config":{"max_output_tokens":7,"candidate_count":2}}"#,
        ] {
            let peek = peek(Dialect::Gemini, body).unwrap();
            assert_eq!((peek.model, peek.max_output_tokens, peek.candidates), (None, Some(7), 2));
        }
    }

    #[test]
    fn ambiguous_and_broken_bodies_are_refused_with_a_reason() {
        let twice = peek(Dialect::OpenaiChat, br#"{"model":"a","mod\u0065l":"b"}"#).unwrap_err();
        assert_eq!(
            (twice.param.as_deref(), twice.message.as_str()),
            (Some("model"), "The field `model` is given twice. Send it once.")
        );
        assert_eq!(peek(Dialect::Anthropic, br#"{"stream":true,"stream":false}"#).unwrap_err().param.as_deref(), Some("stream"));
        assert_eq!(peek(Dialect::OpenaiChat, br#"{"model":5}"#).unwrap_err().message, "The field `model` must be a string.");
        for body in [&b""[..], b"[]", b"{", b"{\"model\":\"x\"} x", b"{\"model\":\"\xff\"}"] {
            assert_eq!(peek(Dialect::OpenaiChat, body).unwrap_err().code, "invalid_request_body");
        }
    }

    #[test]
    fn deep_nesting_is_skipped_without_recursion() {
        let deep = format!("{{\"x\":{}{},\"model\":\"m\"}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(peek(Dialect::OpenaiChat, deep.as_bytes()).unwrap().model.as_deref(), Some("m"));
    }

    #[test]
    fn splicing_changes_nothing_but_the_ranges() {
        assert_eq!(splice(b"{\"a\":1,\"b\":2}", vec![(11..12, b"22".to_vec()), (5..6, Vec::new())]), b"{\"a\":,\"b\":22}");
    }
}
