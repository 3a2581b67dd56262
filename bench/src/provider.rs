//! The simulated provider: OpenAI's chat dialect and Anthropic's, whole answers and streams at absolute deadlines.
//!
//! It does as little as a server can, so that it is not what is measured; the direct column of the table shows how far it goes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};

use crate::awake::Awake;
use crate::traffic::{ANSWER, Kind, OUTPUT_TOKENS, PROMPT_TOKENS, anthropic_piece, openai_piece};

/// The model stands at the beginning of every question; no further is looked for it.
const MODEL_WITHIN_BYTES: usize = 400;

pub async fn serve(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let scripts = Arc::new(Scripts::new());
    let awake = Arc::new(Awake::new());
    let watch = Arc::clone(&awake);
    tokio::spawn(async move { watch.stay().await });
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (scripts, awake) = (Arc::clone(&scripts), Arc::clone(&awake));
        let service = service_fn(move |request| {
            awake.touch();
            answer(request, Arc::clone(&scripts))
        });
        // A connection that breaks off is the other side's business; the load counts what it did not get.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

/// Everything that is ever sent, made once.
struct Scripts {
    openai: Script,
    anthropic: Script,
}

struct Script {
    whole: Bytes,
    first: Bytes,
    piece: Bytes,
    last: Bytes,
}

impl Scripts {
    fn new() -> Self {
        let total = PROMPT_TOKENS + OUTPUT_TOKENS;
        let (piece, anthropic_piece) = (openai_piece(), anthropic_piece());
        let head = r#"data: {"id":"chatcmpl-bench00000000000000000001","object":"chat.completion.chunk","created":1750000000,"model":"up-sim","choices""#;
        let openai = Script {
            whole: format!(
                r#"{{"id":"chatcmpl-bench00000000000000000001","object":"chat.completion","created":1750000000,"model":"up-sim","choices":[{{"index":0,"message":{{"role":"assistant","content":"{ANSWER}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{OUTPUT_TOKENS},"total_tokens":{total}}}}}"#
            )
            .into(),
            first: format!(
                "{head}:[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n{piece}"
            )
            .into(),
            last: format!(
                "{piece}{head}:[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n{head}:[],\"usage\":{{\"prompt_tokens\":{PROMPT_TOKENS},\"completion_tokens\":{OUTPUT_TOKENS},\"total_tokens\":{total}}}}}\n\ndata: [DONE]\n\n"
            )
            .into(),
            piece: piece.into(),
        };
        let anthropic = Script {
            whole: format!(
                r#"{{"id":"msg_bench00000000000000000001","type":"message","role":"assistant","model":"up-sim","content":[{{"type":"text","text":"{ANSWER}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":{PROMPT_TOKENS},"output_tokens":{OUTPUT_TOKENS}}}}}"#
            )
            .into(),
            first: format!(
                "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_bench00000000000000000001\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"up-sim\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\"input_tokens\":{PROMPT_TOKENS},\"output_tokens\":1}}}}}}\n\nevent: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"\"}}}}\n\n{anthropic_piece}"
            )
            .into(),
            last: format!(
                "{anthropic_piece}event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\nevent: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{OUTPUT_TOKENS}}}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
            )
            .into(),
            piece: anthropic_piece.into(),
        };
        Self { openai, anthropic }
    }
}

async fn answer(request: Request<Incoming>, scripts: Arc<Scripts>) -> Result<Response<Reply>, hyper::Error> {
    let is_anthropic = request.uri().path().ends_with("/messages");
    let mut body = request.into_body();
    let (mut kind, mut start) = (None, Vec::new());
    // All of it is read before anything is answered, as providers do.
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data()
            && kind.is_none()
            && start.len() < MODEL_WITHIN_BYTES
        {
            // A busy gateway's first piece may end before the model does.
            kind = kind_of(&data).or_else(|| {
                start.extend_from_slice(&data[..data.len().min(MODEL_WITHIN_BYTES)]);
                kind_of(&start)
            });
        }
    }
    let mut response = Response::new(Reply { scripts, is_anthropic, pace: None, sent: 0, pieces: 0, start: Instant::now() });
    let Some(kind) = kind else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let (pieces, interval) = kind.pace();
    response.body_mut().pieces = pieces;
    response.body_mut().pace = kind.is_stream().then(|| (interval, Box::pin(tokio::time::sleep(Duration::ZERO))));
    let content_type = if kind.is_stream() { "text/event-stream" } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

fn kind_of(body: &[u8]) -> Option<Kind> {
    let start = &body[..body.len().min(MODEL_WITHIN_BYTES)];
    // nginx and the bare proxy pass the public name, a gateway puts in the provider's.
    Kind::ALL.into_iter().find(|kind| {
        let model = format!("-{}\"", kind.name());
        memchr::memmem::find(start, model.as_bytes()).is_some()
    })
}

/// A whole answer or a stream.
struct Reply {
    scripts: Arc<Scripts>,
    is_anthropic: bool,
    pace: Option<(Duration, Pin<Box<Sleep>>)>,
    start: Instant,
    sent: usize,
    pieces: usize,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let reply = &mut *self;
        if reply.sent == reply.pieces {
            return Poll::Ready(None);
        }
        let script = if reply.is_anthropic { &reply.scripts.anthropic } else { &reply.scripts.openai };
        let data = match &mut reply.pace {
            None => &script.whole,
            Some((interval, sleep)) => {
                let due = reply.start + *interval * u32::try_from(reply.sent).unwrap_or(u32::MAX);
                if Instant::now() < due {
                    sleep.as_mut().reset(due);
                    if sleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                match reply.sent {
                    0 => &script.first,
                    at if at + 1 == reply.pieces => &script.last,
                    _ => &script.piece,
                }
            }
        };
        reply.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(data.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.pieces
    }

    fn size_hint(&self) -> SizeHint {
        if self.pace.is_some() {
            return SizeHint::default();
        }
        let script = if self.is_anthropic { &self.scripts.anthropic } else { &self.scripts.openai };
        SizeHint::with_exact(if self.pieces == 0 { 0 } else { script.whole.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{MARK, Prompt, question};

    #[test]
    fn the_model_says_how_to_answer() {
        for kind in Kind::ALL {
            for model in [format!("bench-{}", kind.name()), format!("up-{}", kind.name())] {
                assert_eq!(kind_of(question(&model, kind, Prompt::Text).as_bytes()), Some(kind));
            }
        }
        assert_eq!(kind_of(br#"{"model":"other"}"#), None);
    }

    #[test]
    fn whole_answers_have_the_size_of_the_reference_and_one_mark() {
        let scripts = Scripts::new();
        for whole in [&scripts.openai.whole, &scripts.anthropic.whole] {
            assert!((300..=400).contains(&whole.len()), "{}", whole.len());
            assert_eq!(memchr::memchr_iter(MARK, whole).count(), 1);
            serde_json::from_slice::<serde_json::Value>(whole).expect("JSON");
        }
    }
}
