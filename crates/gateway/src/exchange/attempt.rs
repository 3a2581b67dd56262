//! One attempt at one upstream, up to the commit gate: nothing has been sent to the client yet, so another may follow.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
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
    pub lease: Option<Lease>,
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
pub async fn run(plane: &DataPlane, question: &Question, step: &Step<'_>, outgoing: Outgoing, lease: Lease) -> Attempted {
    let mut round = Round::start(&*plane.clock);
    let (mut trail, mut lease) = (Trail::default(), lease);
    let tried = match Line::open(plane, question, step) {
        Err(failure) => Err(failure.into()),
        Ok(line) => {
            exchange(plane, question, line, outgoing, &mut Notes { trail: &mut trail, round: &mut round, lease: &mut lease })
                .await
        }
    };
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
    let took = round.elapsed();
    plane.metrics.attempted(&upstream.name, upstream.dialect.provider(), outcome, label, took);
    let outcome = if outcome == FAILED { label } else { outcome };
    trail.waited += took;
    trail.has_failed = tried.is_err();
    trail.records.push(round.record(upstream, step.credential.map(|credential| credential.id), outcome, detail));
    let mut held = None;
    let tried = Tried::Final(match tried {
        Ok(content) => {
            held = Some(lease);
            Verdict::Delivered(Delivery {
                upstream: upstream.name.clone(),
                upstream_model: step.target.upstream_model.clone(),
                upstream_dialect: upstream.dialect,
                is_fallback: step.is_fallback,
                content,
            })
        }
        Err(Broken::Again(again)) => {
            match &again {
                Again::WithoutReasoning(_) => lease.succeeded(),
                Again::Same(failure) => lease.failed(failure),
            }
            return Attempted { tried: Tried::Again(again), trail, lease: None };
        }
        Err(Broken::Client(refusal)) => {
            lease.succeeded();
            Verdict::ClientAtFault(refusal)
        }
        Err(Broken::Upstream(failure)) => {
            tracing::debug!(upstream = %upstream.name, reason = failure.reason, detail = %failure.detail,
                request_id = %question.facts.request_id_text, "attempt failed");
            lease.failed(&failure);
            Verdict::Failed(failure)
        }
    });
    Attempted { tried, trail, lease: held }
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

/// What is written down while an attempt runs.
struct Notes<'a> {
    trail: &'a mut Trail,
    round: &'a mut Round,
    lease: &'a mut Lease,
}

async fn exchange(
    plane: &DataPlane,
    question: &Question,
    line: Line,
    outgoing: Outgoing,
    notes: &mut Notes<'_>,
) -> Result<Content, Broken> {
    let Outgoing { path, headers, body, session, .. } = outgoing;
    let begun = notes.round.started();
    let deadline = begun + line.times.total;
    let response = line.ask(Hop { path, headers, body }, notes.round, Some(&mut *notes.lease)).await?;
    notes.trail.upstream_request_id = upstream_request_id(response.headers());
    notes.trail.told = codex::answered(line.dialect(), question.endpoint.dialect, response.headers());
    notes.trail.told.extend(plain::told(question, response.headers()));
    let content = if question.stream {
        Content::Stream(Box::new(open(plane, line, response, session, notes, deadline).await?))
    } else {
        let mut gathering = Gathering { plane, line: &line, notes: &mut *notes, deadline };
        Content::Whole(Box::new(gathering.answer(response, session).await?))
    };
    notes.lease.first_byte(begun.elapsed());
    Ok(content)
}

/// A whole answer on its way, in one call or more.
struct Gathering<'a, 'n> {
    plane: &'a DataPlane,
    line: &'a Line,
    notes: &'a mut Notes<'n>,
    deadline: Instant,
}

impl Gathering<'_, '_> {
    async fn answer(&mut self, response: Response<AnswerBody>, mut session: Session) -> Result<Answer, Broken> {
        let mut next = self.step(response, &mut session).await?;
        loop {
            let hop = match next {
                Next::Done(answer) => return Ok(answer),
                Next::Again(hop) => hop,
            };
            self.line.continued(self.plane, self.notes.trail, self.notes.round);
            next = match self.hop(hop, &mut session).await {
                Ok(next) => next,
                // What was said and used before is not lost with the call that was to go on.
                Err(broken) => {
                    self.notes.round.failure = Some(broken.reason());
                    return session.said_so_far().ok_or(broken);
                }
            };
        }
    }

    async fn hop(&mut self, hop: Hop, session: &mut Session) -> Result<Next<Answer>, Broken> {
        let response = self.line.ask(hop, self.notes.round, None).await?;
        self.step(response, session).await
    }

    async fn step(&mut self, response: Response<AnswerBody>, session: &mut Session) -> Result<Next<Answer>, Broken> {
        let body = self.line.collect(response, self.plane.config.max_answer_bytes, self.deadline).await?;
        session.step(body).map_err(|failure| of_answer(self.line.upstream(), failure))
    }
}

/// Follows a stream to its first content, the commit gate. What fails before it can be tried elsewhere.
async fn open(
    plane: &DataPlane,
    line: Line,
    response: Response<AnswerBody>,
    session: Session,
    notes: &mut Notes<'_>,
    ends_at: Instant,
) -> Result<Opened, Broken> {
    let mut stream = session.stream();
    let mut upstream = response.into_body();
    let mut out = Vec::new();
    let mut received = 0;
    // Comments, pings and roles are no content: they prove that somebody is there, not that an answer is.
    let mut begun_by = Instant::now() + line.times.first_token;
    loop {
        let frame = match timeout_at(begun_by.min(ends_at), upstream.frame()).await {
            Err(_) if begun_by < ends_at => return Err(Failure::timeout(FIRST_TOKEN_TIMEOUT, line.times.first_token).into()),
            Err(_) => return Err(Failure::timeout(TOTAL_TIMEOUT, line.times.total).into()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(Failure::connection_lost(chain(&error)).into()),
            Ok(None) => match stream.end(&mut out).map_err(|failure| of_stream(line.upstream(), failure))? {
                Next::Done(()) => return Ok(Opened { upstream, stream, out, received, line, ends_at, is_complete: true }),
                Next::Again(hop) => {
                    line.continued(plane, notes.trail, notes.round);
                    upstream = line.ask(hop, notes.round, None).await?.into_body();
                    begun_by = Instant::now() + line.times.first_token;
                    continue;
                }
            },
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        let progress = stream.push(data, &mut out).map_err(|failure| of_stream(line.upstream(), failure))?;
        if progress.content || progress.done || received > MAX_HELD_BYTES.min(plane.config.max_stream_bytes) {
            return Ok(Opened { upstream, stream, out, received, line, ends_at, is_complete: false });
        }
    }
}
