//! A stream that was begun before its answer: models think for minutes, and a line that says nothing for so long is taken for
//! dead. The search for an answer goes on behind it, from upstream to upstream, as if nothing had been sent; only what fails
//! in the end is said in the stream, where it can no longer be a status.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tallygate_adapter::{encode_stream_error, keep_alive};
use tallygate_types::Dialect;
use tokio::time::{Instant, Sleep};

use super::attempt::Content;
use super::keep::Keeper;
use super::stream::StreamBody;
use super::{Found, Searching};
use crate::refusal::Refusal;
use crate::settle::{Ending, Settlement};

/// What the client was sent before there was an answer.
const STATUS_SENT: u16 = 200;

/// See the module.
pub struct PendingBody {
    state: State,
    keep_alive: &'static [u8],
    after: Duration,
    timer: Pin<Box<Sleep>>,
    /// The head goes out with it.
    has_begun: bool,
}

enum State {
    Searching(Searching),
    Streaming(Box<StreamBody>),
    Ending(Bytes),
    Over,
}

impl PendingBody {
    pub fn new(search: Searching, dialect: Dialect, after: Duration) -> Self {
        Self {
            state: State::Searching(search),
            keep_alive: keep_alive(dialect),
            after,
            timer: Box::pin(tokio::time::sleep(after)),
            has_begun: false,
        }
    }

    pub fn is_finished(&self) -> bool {
        match &self.state {
            State::Streaming(body) => body.is_finished(),
            State::Over => true,
            State::Searching(_) | State::Ending(_) => false,
        }
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.state {
                State::Streaming(body) => return body.poll_next(cx),
                State::Ending(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.state = State::Over;
                    return Poll::Ready(Some(bytes));
                }
                State::Over => return Poll::Ready(None),
                State::Searching(search) => match search.as_mut().poll(cx) {
                    Poll::Ready(found) => self.state = begin(found),
                    Poll::Pending => return self.poll_silence(cx),
                },
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if std::mem::replace(&mut self.has_begun, true) {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer.as_mut().reset(Instant::now() + self.after);
        }
        Poll::Ready(Some(Bytes::from_static(self.keep_alive)))
    }
}

fn begin(found: Found) -> State {
    let Found { question, mut settlement, tried } = found;
    let delivery = match tried {
        Ok(delivery) => delivery,
        Err(refusal) => return refuse(&question.model, settlement, refusal),
    };
    let plane = Arc::clone(settlement.plane());
    let keeper = Keeper::of(&plane, &question, delivery.upstream_dialect);
    match delivery.content {
        Content::Stream(opened) => {
            if !opened.stream.loss().is_empty() {
                plane.metrics.lossy(question.endpoint.dialect.as_str(), delivery.upstream_dialect.as_str());
            }
            settlement.first_byte();
            State::Streaming(Box::new(StreamBody::new(*opened, settlement, question.endpoint.operation.name(), keeper)))
        }
        Content::Whole(_) => refuse(&question.model, settlement, Refusal::internal()),
    }
}

fn refuse(model: &str, mut settlement: Settlement, refusal: Refusal) -> State {
    let facts = Arc::clone(settlement.facts());
    let refusal = refusal.with_attempts(settlement.attempts());
    let dialect = facts.endpoint().map_or(Dialect::OpenaiChat, |endpoint| endpoint.dialect);
    let bytes = encode_stream_error(dialect, &refusal.to_reply(facts.request_id), model, facts.accepted_at);
    settlement.bytes_out = bytes.len() as u64;
    settlement.end(Ending::Refused { outcome: refusal.outcome, code: refusal.code, status: STATUS_SENT });
    State::Ending(bytes)
}
