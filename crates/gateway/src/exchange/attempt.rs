//! One attempt at one upstream, up to the commit gate: nothing has been sent to the client yet, so another may follow.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use tallygate_adapter::{Answer, Hop, Next, Outgoing, ResponseStream, Session};
use tallygate_billing::{AttemptRecord, Name};
use tallygate_types::Dialect;
use tokio::time::{Instant, timeout_at};

use super::failure::{Again, Broken, FIRST_TOKEN_TIMEOUT, Failure, TOTAL_TIMEOUT, of_answer, of_stream};
use super::line::{Line, Round, upstream_request_id};
use super::plain;
use crate::health::Lease;
use crate::layers::Question;
use crate::metrics;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::Step;
use crate::upstream::{AnswerBody, chain, codex};

/// Output held back before the first content, at most; beyond it the stream is committed.
const MAX_HELD_BYTES: usize = 256 * 1024;

const FAILED: &str = "failed";

/// What came of an attempt.
pub enum Tried {
    Final(Verdict),
    /// The same upstream may answer if it is asked again.
    Again(Again),
}

pub enum Verdict {
    Delivered(Delivery),
    /// No upstream would take this request: 400, 413, 422.
    ClientAtFault(Refusal),
    Failed(Failure),
}

/// An answer that may be sent.
pub struct Delivery {
    pub upstream: Name,
    pub upstream_model: Name,
    pub upstream_dialect: Dialect,
    /// By a local upstream in the place of another.
    pub is_fallback: bool,
    pub content: Content,
}

pub enum Content {
    Whole(Box<Answer>),
    Stream(Box<Opened>),
}

/// A stream whose first content has come.
pub struct Opened {
    pub upstream: AnswerBody,
    pub stream: ResponseStream,
    /// What the client gets first.
    pub out: Vec<Bytes>,
    pub received: usize,
    /// For an answer that goes on in another call.
    pub line: Line,
    /// Whatever comes, it ends by then.
    pub ends_at: Instant,
    /// The upstream closed already; the answer is complete.
    pub is_complete: bool,
}

/// What an attempt came to, and what it leaves for the books.
pub struct Attempted {
    pub tried: Tried,
    pub trail: Trail,
    /// Of an attempt that delivers: how it went is only known at its end.
    pub lease: Option<Box<Lease>>,
}

impl Attempted {
    /// Another may do better.
    pub const fn has_failed(&self) -> bool {
        matches!(self.tried, Tried::Again(_) | Tried::Final(Verdict::Failed(_)))
    }
}

/// What is recorded of an attempt.
#[derive(Default)]
pub struct Trail {
    /// The calls it took, at least one once it has ended.
    pub records: Vec<AttemptRecord>,
    pub has_failed: bool,
    /// Time in which the gateway had nothing to do but wait.
    pub waited: Duration,
    pub upstream_request_id: Option<String>,
    /// What the upstream's own header tells the client.
    pub told: Vec<(HeaderName, HeaderValue)>,
}

/// Sends the request and waits for the answer: all of it, or the first content of a stream. Dropped before its end, it leaves
/// the upstream.
pub async fn run(
    plane: &DataPlane,
    question: &Question,
    step: &Step<'_>,
    outgoing: Outgoing,
    lease: Box<Lease>,
    round: Round,
) -> Attempted {
    let Outgoing { path, headers, body, session, .. } = outgoing;
    let mut attempt = Attempt::new(plane, question, step, session, lease, round);
    let tried = attempt.exchange(Hop { path, headers, body }).await;
    attempt.ended(tried)
}

/// An attempt under way, and what is written down of it.
pub struct Attempt<'a, 's> {
    plane: &'a DataPlane,
    question: &'a Question,
    step: &'a Step<'s>,
    /// `None`: a stream has taken it over.
    session: Option<Box<Session>>,
    lease: Box<Lease>,
    begun: Instant,
    round: Round,
    trail: Trail,
}

impl<'a, 's> Attempt<'a, 's> {
    pub fn new(
        plane: &'a DataPlane,
        question: &'a Question,
        step: &'a Step<'s>,
        session: Box<Session>,
        lease: Box<Lease>,
        round: Round,
    ) -> Self {
        let begun = round.started();
        Self { plane, question, step, session: Some(session), lease, begun, round, trail: Trail::default() }
    }

    /// The request and its answer; [`Self::ended`] wants to know what came of it.
    pub async fn exchange(&mut self, hop: Hop) -> Result<Content, Broken> {
        let (plane, question) = (self.plane, self.question);
        let line = Line::open(plane, question, self.step)?;
        let deadline = self.begun + line.times.total;
        let response = line.ask(hop, &mut self.round, Some(&mut self.lease)).await?;
        self.trail.upstream_request_id = upstream_request_id(response.headers());
        self.trail.told = codex::answered(line.dialect(), question.endpoint.dialect, response.headers());
        self.trail.told.extend(plain::told(question, response.headers()));
        let mut body = response.into_body();
        Ok(match self.session.take_if(|_| question.stream) {
            // Its future is not part of everyone's.
            Some(session) => Content::Stream(Box::pin(self.open(line, body, session, deadline)).await?),
            None => Content::Whole(self.whole(&line, &mut body, deadline).await?),
        })
    }

    /// A whole answer, in one call or more.
    async fn whole(&mut self, line: &Line, body: &mut AnswerBody, deadline: Instant) -> Result<Box<Answer>, Broken> {
        match self.step(line, body, deadline).await? {
            Next::Done(answer) => Ok(answer),
            Next::Again(hop) => Box::pin(self.go_on(line, hop, deadline)).await,
        }
    }

    /// The rest of an answer that goes on in another call.
    async fn go_on(&mut self, line: &Line, mut hop: Hop, deadline: Instant) -> Result<Box<Answer>, Broken> {
        loop {
            line.continued(self.plane, &mut self.trail, &mut self.round);
            hop = match self.hop(line, hop, deadline).await {
                Ok(Next::Done(answer)) => return Ok(answer),
                Ok(Next::Again(hop)) => hop,
                // What was said and used before is not lost with the call that was to go on.
                Err(broken) => {
                    self.round.failure = Some(broken.reason());
                    return self.session.as_mut().and_then(|session| session.said_so_far()).ok_or(broken);
                }
            };
        }
    }

    async fn hop(&mut self, line: &Line, hop: Hop, deadline: Instant) -> Result<Next<Box<Answer>>, Broken> {
        let response = line.ask(hop, &mut self.round, None).await?;
        self.step(line, &mut response.into_body(), deadline).await
    }

    async fn step(&mut self, line: &Line, body: &mut AnswerBody, deadline: Instant) -> Result<Next<Box<Answer>>, Broken> {
        let body = line.collect(body, self.plane.config.max_answer_bytes, deadline).await?;
        let Some(session) = &mut self.session else { return Err(Failure::invalid("its session is gone").into()) };
        session.step(body).map_err(|failure| of_answer(line.upstream(), failure))
    }

    /// Follows a stream to its first content, the commit gate. What fails before it can be tried elsewhere.
    async fn open(
        &mut self,
        line: Line,
        mut upstream: AnswerBody,
        session: Box<Session>,
        ends_at: Instant,
    ) -> Result<Box<Opened>, Broken> {
        let plane = self.plane;
        let mut stream = session.stream();
        let mut out = Vec::new();
        let mut received = 0;
        // Comments, pings and roles are no content: they prove that somebody is there, not that an answer is.
        let mut begun_by = Instant::now() + line.times.first_token;
        let is_complete = loop {
            let frame = match timeout_at(begun_by.min(ends_at), upstream.frame()).await {
                Err(_) if begun_by < ends_at => {
                    return Err(Failure::timeout(FIRST_TOKEN_TIMEOUT, line.times.first_token).into());
                }
                Err(_) => return Err(Failure::timeout(TOTAL_TIMEOUT, line.times.total).into()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Failure::connection_lost(chain(&error)).into()),
                Ok(None) => match stream.end(&mut out).map_err(|failure| of_stream(line.upstream(), failure))? {
                    Next::Done(()) => break true,
                    Next::Again(hop) => {
                        line.continued(plane, &mut self.trail, &mut self.round);
                        upstream = line.ask(hop, &mut self.round, None).await?.into_body();
                        begun_by = Instant::now() + line.times.first_token;
                        continue;
                    }
                },
            };
            let Ok(data) = frame.into_data() else { continue };
            received += data.len();
            let progress = stream.push(data, &mut out).map_err(|failure| of_stream(line.upstream(), failure))?;
            if progress.content || progress.done || received > MAX_HELD_BYTES.min(plane.config.max_stream_bytes) {
                break false;
            }
        };
        Ok(Box::new(Opened { upstream, stream, out, received, line, ends_at, is_complete }))
    }

    /// Writes down how it went.
    pub fn ended(self, tried: Result<Content, Broken>) -> Attempted {
        let Self { plane, question, step, mut lease, begun, round, mut trail, .. } = self;
        let (now, moment) = plane.clock.moment();
        let (outcome, label, detail) = match &tried {
            Ok(_) => match round.failure {
                Some(reason) => (FAILED, reason, None),
                None => (metrics::OK, metrics::NO_REASON, None),
            },
            Err(broken @ (Broken::Client(refusal) | Broken::Again(Again::WithoutReasoning(refusal)))) => {
                ("client_error", broken.reason(), Some(refusal.message.as_str()))
            }
            Err(broken @ (Broken::Upstream(failure) | Broken::Again(Again::Same(failure)))) => {
                (FAILED, broken.reason(), Some(failure.detail.as_str()))
            }
        };
        let upstream = &step.target.upstream;
        let took = Instant::from(moment).saturating_duration_since(round.started());
        plane.metrics.attempted(&upstream.name, upstream.dialect.provider(), outcome, label, took);
        let outcome = if outcome == FAILED { label } else { outcome };
        trail.waited += took;
        trail.has_failed = tried.is_err();
        trail.records.push(round.record(upstream, step.credential.map(|credential| credential.id), took, outcome, detail));
        let (tried, held) = match tried {
            Ok(content) => {
                lease.first_byte(Instant::from(moment).saturating_duration_since(begun), now);
                let delivery = Delivery {
                    upstream: upstream.name.clone(),
                    upstream_model: step.target.upstream_model.clone(),
                    upstream_dialect: upstream.dialect,
                    is_fallback: step.is_fallback,
                    content,
                };
                (Tried::Final(Verdict::Delivered(delivery)), Some(lease))
            }
            Err(Broken::Again(again)) => {
                match &again {
                    Again::WithoutReasoning(_) => lease.succeeded(),
                    Again::Same(failure) => lease.failed(failure),
                }
                (Tried::Again(again), None)
            }
            Err(Broken::Client(refusal)) => {
                lease.succeeded();
                (Tried::Final(Verdict::ClientAtFault(refusal)), None)
            }
            Err(Broken::Upstream(failure)) => {
                tracing::debug!(upstream = %upstream.name, reason = failure.reason, detail = %failure.detail,
                    request_id = %question.facts.request_id_text, "attempt failed");
                lease.failed(&failure);
                (Tried::Final(Verdict::Failed(failure)), None)
            }
        };
        Attempted { tried, trail, lease: held }
    }
}

impl Verdict {
    /// It was asked again already.
    pub fn of(again: Again) -> Self {
        match again {
            Again::WithoutReasoning(refusal) => Self::ClientAtFault(refusal),
            Again::Same(failure) => Self::Failed(failure),
        }
    }
}
