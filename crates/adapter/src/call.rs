//! One call, from the client's request to the upstream's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use tallygate_types::{Dialect, Timestamp};

use crate::answer::{Session, Translation};
use crate::context::ResponseContext;
use crate::count::BYTES_PER_TOKEN;
use crate::dispatch::{Codec, codec};
use crate::failure::BadRequest;
use crate::hop::{Course, JoinedAnswers};
use crate::ir::{Object, Request};
use crate::keepsake::{self, Collector, Memory, Origin, PastReasoning};
use crate::loss::LossReport;
use crate::names::Restore;
use crate::openai_chat;
use crate::output_cap;
use crate::peek::{Peek, peek};
use crate::pieces::Pieces;
use crate::profile::Profiles;
use crate::strip::{Strip, Target};

/// Everything the translation of one attempt depends on.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub client: Dialect,
    pub upstream: Dialect,
    /// The chat upstream serves the Responses API under the same base URL too ([`crate::serves_responses`]): what its chat
    /// endpoint refuses is asked there.
    pub speaks_responses: bool,
    /// The name the client asked for; translated answers carry it.
    pub client_model: &'a str,
    pub upstream_model: &'a str,
    pub stream: bool,
    pub peek: &'a Peek,
    /// Refuse with 400 what could not be said exactly.
    pub strict: bool,
    /// Our request id, the source of every id that must be minted.
    pub response_id: &'a str,
    pub created_at: Timestamp,
    /// The client's query without the `?` (Gemini: `alt=sse` decides the shape of the stream); empty if there was none.
    pub client_query: &'a str,
    /// What the upstream's model takes.
    pub profiles: &'a Profiles,
    /// What earlier answers to this tenant left behind; [`crate::NoMemory`] for none.
    pub memory: &'a dyn Memory,
    pub past_reasoning: PastReasoning,
    /// What each answer may have at most, in tokens, whatever the client asks for.
    pub output_cap: Option<u64>,
}

/// What goes to the upstream. Credentials are the caller's to add.
#[derive(Debug)]
pub struct Outgoing {
    /// Path and query, with its version: see [`crate::join_url`].
    pub path: Cow<'static, str>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Pieces,
    pub loss: LossReport,
    /// A box, because it goes from hand to hand until the answer has come.
    pub session: Box<Session>,
}

/// Makes the upstream's request out of the client's.
///
/// Where both speak the same dialect the body passes byte for byte, but for `model`, a bound on output that was set, and, on chat
/// streams, the usage report that is asked for in any case. Otherwise it is decoded and encoded, and `loss` says what did not come through.
/// `client_headers` have lower-case names.
pub fn prepare(call: &Call<'_>, body: &Bytes, client_headers: &[(String, String)]) -> Result<Outgoing, BadRequest> {
    let wants_array = call.stream && !streams_events(call.client, call.client_query);
    let context = ResponseContext {
        response_id: call.response_id.to_owned(),
        client_model: call.client_model.to_owned(),
        created_at: call.created_at,
        include_usage: call.peek.include_usage,
        legacy_functions: false,
        expose_reasoning: true,
        json_array: wants_array,
        input_estimate: (call.client == Dialect::Anthropic).then(|| (body.len() as u64).div_ceil(BYTES_PER_TOKEN)),
        echo: Object::new(),
        client_tools: BTreeMap::new(),
        carries_reasoning: false,
        first_sequence: 0,
    };
    let is_responses_only =
        call.upstream == Dialect::OpenaiChat && call.speaks_responses && call.profiles.openai(call.upstream_model).responses_only;
    if call.client == call.upstream && !call.peek.is_responses_body && !is_responses_only {
        pass_on(call, context, body, client_headers)
    } else {
        translate(call, context, body)
    }
}

/// Whether a streamed answer to a client goes as events; else it is one JSON array.
pub fn streams_events(client: Dialect, client_query: &str) -> bool {
    client != Dialect::Gemini || query_has(client_query, "alt", "sse")
}

pub(crate) type Edit = (std::ops::Range<usize>, Vec<u8>);

/// Passes the body, without what the upstream would refuse in it.
fn pass_on(
    call: &Call<'_>,
    context: ResponseContext,
    body: &Bytes,
    client_headers: &[(String, String)],
) -> Result<Outgoing, BadRequest> {
    let target = Target { model: call.upstream_model, profiles: call.profiles };
    let (what, reason) = match call.past_reasoning {
        PastReasoning::Sent => (Strip::Foreign, "earlier reasoning goes back only to the provider that signed it"),
        PastReasoning::Withheld => (Strip::Everything, "the upstream refused a signature of the earlier reasoning"),
    };
    let Some(stripped) = (codec(call.upstream).strip)(body, what, target) else {
        return pass(call, context, body, client_headers);
    };
    let stripped = Bytes::from(stripped);
    let seen = peek(call.client, &stripped)?;
    let mut outgoing = pass(&Call { peek: &seen, ..*call }, context, &stripped, client_headers)?;
    outgoing.loss.dropped("reasoning", reason);
    outgoing.session.lost("reasoning", reason);
    Ok(outgoing)
}

fn pass(
    call: &Call<'_>,
    context: ResponseContext,
    body: &Bytes,
    client_headers: &[(String, String)],
) -> Result<Outgoing, BadRequest> {
    let codec = codec(call.upstream);
    let mut edits: Vec<Edit> = model_edit(call.upstream_model, call.peek).into_iter().collect();
    let force_usage = call.client == Dialect::OpenaiChat && call.stream && !call.peek.include_usage;
    if force_usage {
        edits.push(usage_edit(call.peek, body)?);
    }
    if let Some(cap) = call.output_cap {
        edits.extend(output_cap::edits(call.upstream, call.upstream_model, call.profiles, body, cap)?);
    }
    let headers = passed_headers(codec, client_headers);
    let mut path = (codec.path)(call.upstream_model, call.stream);
    if call.upstream == Dialect::Gemini {
        path = with_query_of_client(&path, call.client_query).into();
    }
    Ok(Outgoing {
        path,
        headers,
        body: Pieces::spliced(body, edits),
        loss: LossReport::default(),
        session: Box::new(Session::passing(call.upstream, context, force_usage)),
    })
}

/// The headers of a call to an upstream of the client's own dialect.
pub(crate) fn passed_headers(codec: &Codec, client_headers: &[(String, String)]) -> Vec<(&'static str, String)> {
    let mut headers = (codec.headers)();
    for name in codec.forwarded_headers {
        // A header may stand on several lines; one comma-joined line says the same.
        let values: Vec<&str> = client_headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect();
        if !values.is_empty() {
            headers.retain(|(known, _)| known != name);
            headers.push((name, values.join(",")));
        }
    }
    headers
}

/// Which of its dialects the upstream is spoken to in.
fn spoken(call: &Call<'_>, request: &Request) -> Dialect {
    if call.upstream != Dialect::OpenaiChat || !call.speaks_responses {
        return call.upstream;
    }
    let model = call.profiles.openai(call.upstream_model);
    let is_refused = model.responses_only || openai_chat::controls::is_refused_for_tools(request, model);
    if is_refused { Dialect::OpenaiResponses } else { call.upstream }
}

fn translate(call: &Call<'_>, mut context: ResponseContext, body: &Bytes) -> Result<Outgoing, BadRequest> {
    // Cursor sends the body of one of OpenAI's endpoints to the other, and wants that one's answer.
    let written_in = if call.peek.is_responses_body { Dialect::OpenaiResponses } else { call.client };
    let mut loss = LossReport::default();
    let mut request = (codec(written_in).decode_request)(body, &mut loss)?;
    call.upstream_model.clone_into(&mut request.model);
    request.stream = call.stream;
    if let Some(cap) = call.output_cap {
        request.max_output_tokens = Some(request.max_output_tokens.map_or(cap, |asked| asked.min(cap)));
    }
    let dialect = spoken(call, &request);
    let upstream = codec(dialect);
    let origin = Origin::new(dialect, call.upstream_model);
    match call.past_reasoning {
        PastReasoning::Sent => keepsake::restore(&mut request, call.memory, &origin, &mut loss),
        PastReasoning::Withheld => keepsake::withhold(&mut request, &mut loss),
    }
    let restore = Restore::prepare(&mut request, upstream.names, call.profiles, &mut loss);
    let body = upstream.request_body(written_in, &request, call.profiles, &mut loss)?;
    if call.strict {
        refuse_loss(&loss)?;
    }
    context.legacy_functions = request.legacy_functions;
    context.echo = std::mem::take(&mut request.echo);
    context.client_tools = std::mem::take(&mut request.client_tools);
    context.carries_reasoning = request.carries_reasoning;
    let (path, headers) =
        ((upstream.path)(call.upstream_model, call.stream), upstream.translated_headers(&request, call.profiles));
    let body = Bytes::from(body);
    let course = (upstream.follow)(&body).map(|follow| Course::new(path.clone(), headers.clone(), follow));
    let translation = Translation { restore, collector: Collector::new(dialect, origin), course, said: JoinedAnswers::default() };
    Ok(Outgoing {
        path,
        headers,
        body: body.into(),
        loss: loss.clone(),
        session: Box::new(Session::translating(call.client, dialect, context, translation, loss)),
    })
}

/// What a strict model answers to a request that would not come through whole.
pub(crate) fn refuse_loss(loss: &LossReport) -> Result<(), BadRequest> {
    let Some(item) = loss.items.first() else { return Ok(()) };
    let message = format!(
        "`{}` cannot be carried exactly to the upstream of this model ({}: {}), and the model is set to strict.",
        item.field,
        item.verdict.as_str(),
        item.detail
    );
    Err(BadRequest::unsupported(item.field.clone(), message))
}

/// Nothing to do where the client already wrote the upstream's name, or where the model stands in the path.
pub(crate) fn model_edit(upstream_model: &str, peek: &Peek) -> Option<Edit> {
    let span = peek.model_span.clone()?;
    let is_other = peek.model.as_deref() != Some(upstream_model);
    is_other.then(|| (span, serde_json::to_vec(upstream_model).unwrap_or_default()))
}

/// Asks for usage in a chat stream.
pub(crate) fn usage_edit(peek: &Peek, body: &[u8]) -> Result<Edit, BadRequest> {
    const ASK: &[u8] = br#""include_usage":true"#;
    if let Some(span) = &peek.stream_options_span {
        let mut options: Option<Object> = serde_json::from_slice(&body[span.clone()])
            .map_err(|_| BadRequest::invalid("stream_options", "The field `stream_options` must be an object."))?;
        let options = options.get_or_insert_default();
        options.insert("include_usage".into(), true.into());
        return Ok((span.clone(), serde_json::to_vec(options).unwrap_or_default()));
    }
    // Streams have `"stream":true`, so the object is not empty and a member may be put first.
    let open = body
        .iter()
        .position(|byte| *byte == b'{')
        .ok_or_else(|| BadRequest::malformed("The request body is not a JSON object."))?;
    let mut text = b"\"stream_options\":{".to_vec();
    text.extend_from_slice(ASK);
    text.extend_from_slice(b"},");
    Ok((open + 1..open + 1, text))
}

/// The client's own query decides the shape of its stream. A key in it is ours, not the upstream's.
fn with_query_of_client(path: &str, query: &str) -> String {
    let base = path.split('?').next().unwrap_or_default().to_owned();
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("key")).collect();
    if kept.is_empty() { base } else { format!("{base}?{}", kept.join("&")) }
}

fn query_has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| {
        pair.split_once('=').is_some_and(|(n, v)| n.trim_start_matches("%24").trim_start_matches('$') == name && v == value)
    })
}
