//! The search for an answer: from way to way, until one delivers, the client is found at fault, or none is left.
//!
//! Going on to another credential or upstream needs no pause. Where every way has failed, those that may do better shortly are
//! asked again after a pause with jitter. All of it ends with the request's attempts, its time, or the retry budget of the
//! upstream, whichever is first.

use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use tallygate_adapter::{Hop, Outgoing, PastReasoning};
use tallygate_billing::Name;
use tallygate_store::ModelEntry;
use tallygate_store::routing::Hedge;
use tallygate_types::{Timestamp, UpstreamId};
use tokio::time::Instant;
use uuid::Uuid;

use super::attempt::{self, Attempt, Delivery, Tried, Verdict};
use super::failure::{Again, Blame, Failure, NOT_FOUND};
use super::line::Round;
use super::outgoing::{Asked, outgoing};
use super::retry::{MAX_TOLD_WAIT, Reached, is_worth_a_pause, pause};
use crate::health::{Lease, Readiness, Resort};
use crate::layers::Question;
use crate::media::{Inlined, Media};
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::{self, NoWay, Step};
use crate::settle::{Dispatched, Settlement};

/// Time from which on no further attempt begins.
const MIN_TIME_LEFT: Duration = Duration::from_millis(100);

/// See the module.
pub struct Search<'a> {
    pub(super) plane: &'a Arc<DataPlane>,
    pub(super) question: &'a Question,
    pub(super) model: &'a ModelEntry,
    pub(super) settlement: &'a mut Settlement,
    /// Bodies with their media inline, for the upstreams that want them so.
    pub(super) inlined: Vec<Inlined>,
    /// Of the model or route that is asked.
    pub(super) hedge: Option<(Uuid, &'a Hedge)>,
    /// How long after its beginning an attempt may still begin.
    time: Duration,
    /// When it first did what takes time.
    begun: Option<StdInstant>,
    /// Attempts that were begun.
    made: usize,
    /// What is not asked any more for this request.
    shut: Vec<UpstreamId>,
    /// What is not asked again before a pause.
    resting: Vec<UpstreamId>,
    /// An attempt that reached it failed by its fault: asking it again is a retry.
    failed: Vec<UpstreamId>,
    /// By the position of the step: it failed, and may do better if it is asked again.
    again: u64,
    last: Option<(Failure, Name)>,
    /// The client's request cannot be said to this upstream; another may speak its dialect.
    unsayable: Option<Refusal>,
    /// Of the ways that may not be asked now: the first that opens.
    closed: Option<Closed>,
    /// In this round over the ways: one could be asked, but should rather not.
    is_spared: bool,
    /// In this round: the first way that may be asked after all.
    opens_at: Option<Timestamp>,
}

/// Why a way is not open, and when it is.
#[derive(Clone, Copy)]
struct Closed {
    why: &'static str,
    until: Option<Timestamp>,
}

impl<'a> Search<'a> {
    pub fn new(plane: &'a Arc<DataPlane>, question: &'a Question, model: &'a ModelEntry, settlement: &'a mut Settlement) -> Self {
        let time = plane.config.upstream_timeouts.total_ms.map_or(plane.config.max_search_time, Duration::from_millis);
        Self {
            plane,
            question,
            model,
            settlement,
            inlined: Vec::new(),
            hedge: None,
            time,
            begun: None,
            made: 0,
            shut: Vec::new(),
            resting: Vec::new(),
            failed: Vec::new(),
            again: 0,
            last: None,
            unsayable: None,
            closed: None,
            is_spared: false,
            opens_at: None,
        }
    }

    pub async fn run(&mut self) -> Result<Delivery, Refusal> {
        let (plane, model) = (self.plane, self.model);
        let plan =
            routing::attempts(plane, self.question, model).map_err(|why| routing::refusal(why, model, plane.clock.now()))?;
        self.settlement.planned(&plan);
        if let Some(hedge) = &plan.policy.hedge {
            let owner = plan.route.map_or(model.id.uuid(), |route| route.id.uuid());
            plane.hedging.deposit(owner, hedge);
            self.hedge = Some((owner, hedge));
        }
        let steps = plan.steps;
        let mut wanted = u64::MAX;
        for round in 1.. {
            if let Some(delivery) = self.go_over(&steps, wanted).await? {
                return Ok(delivery);
            }
            wanted = std::mem::take(&mut self.again);
            let Some(pause) = self.pause(round, wanted) else { break };
            let slept = StdInstant::now();
            tokio::time::sleep(pause).await;
            self.settlement.waited(slept.elapsed());
            self.resting.clear();
        }
        Err(self.refusal())
    }

    /// Asks each wanted way once, in order; those that health would rather spare only if there is no other.
    async fn go_over(&mut self, steps: &[Step<'a>], wanted: u64) -> Result<Option<Delivery>, Refusal> {
        let (mut left, mut resort, mut patience_ends) = (wanted, Resort::First, None);
        loop {
            let made = self.made;
            (self.is_spared, self.opens_at) = (false, None);
            for (at, step) in steps.iter().enumerate() {
                let bit = 1_u64.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0);
                if left & bit == 0 || !self.may_go_on() {
                    continue;
                }
                let made = self.made;
                match self.step(step, &steps[at + 1..], resort).await? {
                    Next::Delivered(delivery) => return Ok(Some(delivery)),
                    Next::Failed { again } => self.again |= if again { bit } else { 0 },
                    Next::Closed => {}
                }
                if self.made > made {
                    left &= !bit;
                }
            }
            if resort == Resort::Last || !self.is_spared || !self.may_go_on() {
                break;
            }
            // Who has tried something looks again at once.
            if self.made == made {
                let now = Instant::now();
                let ends = *patience_ends.get_or_insert_with(|| now + self.plane.health.opening_wait());
                if now < ends {
                    let opens_in = self.opens_at.map(|at| at.since(self.plane.clock.now())).filter(|wait| !wait.is_zero());
                    self.plane.health.opening(opens_in.map_or(ends - now, |wait| wait.min(ends - now))).await;
                    self.settlement.waited(now.elapsed());
                } else {
                    resort = Resort::Last;
                }
            }
        }
        Ok(None)
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.made < self.plane.config.max_attempts && self.has_time_after(Duration::ZERO)
    }

    fn has_time_after(&self, pause: Duration) -> bool {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed()) + pause + MIN_TIME_LEFT < self.time
    }

    /// One way: an attempt, if it may be made.
    async fn step(&mut self, step: &Step<'a>, rest: &[Step<'a>], resort: Resort) -> Result<Next, Refusal> {
        let upstream = &step.target.upstream;
        if self.is_shut(step) {
            return Ok(Next::Closed);
        }
        let question = self.question;
        let with_media = if Media::is_wanted(question, step) {
            let fetched = StdInstant::now();
            self.begun.get_or_insert(fetched);
            let with_media = self.plane.media.inline(self.plane, question, step, &mut self.inlined).await;
            self.settlement.waited(fetched.elapsed());
            with_media
        } else {
            Ok(None)
        };
        let asked = with_media.map(|with_media| Asked { question, with_media });
        let said = asked.and_then(|asked| outgoing(self.plane, asked, self.model, step, PastReasoning::Sent));
        let outgoing = match said {
            Ok(outgoing) => outgoing,
            Err(refusal) => {
                self.unsayable = Some(refusal);
                return Ok(Next::Closed);
            }
        };
        let Some(lease) = self.begin(step, resort) else { return Ok(Next::Closed) };
        if let Some((failure, from)) = &self.last
            && *from != upstream.name
        {
            self.plane.metrics.failed_over(from, &upstream.name, failure.reason);
        }
        let (step, tried) = match self.hedge_policy(rest) {
            None => {
                let Dispatched { number, moment } = self.dispatch(step)?;
                let Outgoing { path, headers, body, session, .. } = outgoing;
                // Stands here and is lent to what it waits in, which would otherwise be moved with all its room.
                let mut attempt = Attempt::new(self.plane, question, step, session, lease, Round::begun(moment));
                let tried = attempt.exchange(Hop { path, headers, body }).await;
                (*step, self.take(number, attempt.ended(tried)))
            }
            // Few come here, and below: their futures are not part of everyone's.
            Some(hedge) => Box::pin(self.hedged(step, rest, outgoing, lease, hedge)).await?,
        };
        let verdict = match tried {
            Tried::Final(verdict) => verdict,
            Tried::Again(again) => Box::pin(self.ask_again(&step, again)).await?,
        };
        match verdict {
            Verdict::Delivered(delivery) => Ok(Next::Delivered(delivery)),
            Verdict::ClientAtFault(refusal) => Err(refusal),
            Verdict::Failed(failure) => Ok(Next::Failed { again: self.failed(&step, failure) }),
        }
    }

    /// Takes what an attempt needs, or notes why it may not be made.
    pub(super) fn begin(&mut self, step: &Step<'a>, resort: Resort) -> Option<Box<Lease>> {
        // What has taken no time goes by the time of the plan.
        let now = self.begun.map_or(self.question.way.at, |_| self.plane.clock.now());
        let upstream = &step.target.upstream;
        let lease = match self.plane.health.begin(step, self.settlement.tokens(), resort, now) {
            Ok(lease) => lease,
            Err(readiness) => {
                self.is_spared |= matches!(readiness, Readiness::Spared { .. });
                if let Readiness::Spared { why, until } | Readiness::Not { why, until } = readiness {
                    self.is_closed(Closed { why, until });
                    self.opens_at = [self.opens_at, until].into_iter().flatten().min();
                }
                return None;
            }
        };
        if self.failed.contains(&upstream.id) {
            if !self.plane.health.may_retry(upstream, now) {
                self.plane.metrics.exchange.out_of_retries(&upstream.name);
                self.shut.push(upstream.id);
                lease.not_sent();
                return None;
            }
            self.plane.metrics.exchange.retried(&upstream.name);
        }
        Some(lease)
    }

    pub(super) fn is_shut(&self, step: &Step<'a>) -> bool {
        let id = step.target.upstream.id;
        self.shut.contains(&id) || self.resting.contains(&id)
    }

    pub(super) fn dispatch(&mut self, step: &Step<'a>) -> Result<Dispatched, Refusal> {
        self.made += 1;
        let dispatched = self.settlement.dispatch(step)?;
        self.begun.get_or_insert(dispatched.moment.1);
        Ok(dispatched)
    }

    /// Asks the same upstream once more, as its first word calls for.
    async fn ask_again(&mut self, step: &Step<'a>, again: Again) -> Result<Verdict, Refusal> {
        let past_reasoning = match again {
            Again::WithoutReasoning(_) => PastReasoning::Withheld,
            Again::Same(_) => PastReasoning::Sent,
        };
        let with_media = self.plane.media.inline(self.plane, self.question, step, &mut self.inlined).await?;
        let asked = Asked { question: self.question, with_media };
        // A strict model takes nothing away.
        let Ok(outgoing) = outgoing(self.plane, asked, self.model, step, past_reasoning) else { return Ok(Verdict::of(again)) };
        let Some(lease) = self.begin(step, Resort::Last) else { return Ok(Verdict::of(again)) };
        let Dispatched { number, moment } = self.dispatch(step)?;
        let round = Round::begun(moment);
        let attempted = attempt::run(self.plane, self.question, step, outgoing, lease, round).await;
        Ok(match self.take(number, attempted) {
            Tried::Final(verdict) => verdict,
            Tried::Again(again) => Verdict::of(again),
        })
    }

    /// What is remembered of it; whether the same way may do better if it is asked again.
    pub(super) fn failed(&mut self, step: &Step<'a>, failure: Failure) -> bool {
        let upstream = &step.target.upstream;
        if failure.reason == NOT_FOUND {
            tracing::warn!(upstream = %upstream.name, model = %step.target.upstream_model,
                "the upstream does not have this model: check the target's model name and the upstream's base URL");
        }
        let is_fault = matches!(failure.blame, Blame::Upstream | Blame::Answer);
        if is_fault && Reached::of(&failure) == Reached::Sent && !self.failed.contains(&upstream.id) {
            self.failed.push(upstream.id);
        }
        if let Blame::Rate | Blame::Quota | Blame::Credential = failure.blame {
            let until = failure.reset_at(self.plane.clock.now());
            self.is_closed(Closed { why: failure.reason, until });
        }
        let again = is_worth_a_pause(&failure);
        // Another credential may have another way out.
        let has_own_way = step.credential.is_some_and(|credential| !credential.proxy.is_empty());
        let is_shut = match failure.blame {
            Blame::Upstream => {
                self.resting.push(upstream.id);
                !again
            }
            Blame::Setup => true,
            Blame::Proxy => !has_own_way,
            Blame::Answer | Blame::Rate | Blame::Quota | Blame::Credential => false,
        };
        if is_shut {
            self.shut.push(upstream.id);
        }
        self.last = Some((failure, upstream.name.clone()));
        again
    }

    fn is_closed(&mut self, closed: Closed) {
        self.begun.get_or_insert_with(StdInstant::now);
        // One that says when comes before one that does not.
        let rank = |closed: Closed| (closed.until.is_none(), closed.until);
        if self.closed.is_none_or(|known| rank(closed) < rank(known)) {
            self.closed = Some(closed);
        }
    }

    /// How long to wait before the ways that are `wanted` are asked again; `None`: that is not worth while.
    fn pause(&self, round: u32, wanted: u64) -> Option<Duration> {
        if wanted == 0 || !self.may_go_on() {
            return None;
        }
        let told = self.last.as_ref().and_then(|(failure, _)| failure.wait).unwrap_or_default();
        if told > MAX_TOLD_WAIT {
            return None;
        }
        // The id's second half is random, and each round reads other bits of it.
        let random = (self.question.facts.request_id.uuid().as_u128() as u64).rotate_left(round * 13);
        let pause = pause(round, random).max(told);
        self.has_time_after(pause).then_some(pause)
    }

    fn soonest(&self) -> Option<Duration> {
        self.closed?.until.map(|until| until.since(self.plane.clock.now()))
    }

    /// What the client is told when nothing is left: with the smallest wait there is.
    fn refusal(&mut self) -> Refusal {
        let soonest = self.soonest();
        match (self.last.take(), self.unsayable.take(), self.closed) {
            (Some((mut failure, _)), _, _) => {
                failure.wait = [failure.wait, soonest].into_iter().flatten().min();
                failure.into_refusal()
            }
            (None, Some(refusal), _) => refusal,
            (None, None, closed) => {
                let out = closed.map_or(NoWay::NoTarget, |Closed { why, until }| NoWay::Out { why, until });
                routing::refusal(out, self.model, self.plane.clock.now())
            }
        }
    }
}

/// What a way came to.
enum Next {
    Delivered(Delivery),
    Failed {
        again: bool,
    },
    /// It was not asked.
    Closed,
}
