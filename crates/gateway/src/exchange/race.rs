//! One attempt, and where it has not begun to answer in time, another beside it. The first content wins; the other is left at
//! once, and what it cost is the operator's.

use std::time::Duration;

use tallygate_adapter::{Outgoing, PastReasoning};
use tallygate_store::routing::Hedge;
use tallygate_types::Pico;
use tokio::time::timeout;
use uuid::Uuid;

use super::attempt::{self, Attempted, Tried, Verdict};
use super::hedge::Unhedged;
use super::line::Round;
use super::outgoing::{Asked, outgoing};
use super::search::Search;
use crate::health::{Lease, Resort};
use crate::refusal::Refusal;
use crate::routing::Step;
use crate::settle::Dispatched;

/// The one attempt beside another.
struct Second<'a> {
    step: Step<'a>,
    outgoing: Outgoing,
    lease: Box<Lease>,
    cost: Pico,
}

impl<'a> Search<'a> {
    /// Makes the attempt; `rest` are the ways that would come after it. Which of them it was that ended, and how.
    pub(super) async fn hedged(
        &mut self,
        step: &Step<'a>,
        rest: &[Step<'a>],
        outgoing: Outgoing,
        lease: Box<Lease>,
        (owner, hedge): (Uuid, &Hedge),
    ) -> Result<(Step<'a>, Tried), Refusal> {
        let (plane, question) = (self.plane, self.question);
        let Dispatched { number, moment } = self.dispatch(step)?;
        let mut first = Box::pin(attempt::run(plane, question, step, outgoing, lease, Round::begun(moment)));
        let second = match timeout(Duration::from_millis(hedge.after_ms), &mut first).await {
            Ok(attempted) => return Ok((*step, self.take(number, attempted))),
            Err(_) => Box::pin(self.second(owner, hedge, rest)).await,
        };
        let Some(Second { step: other_step, outgoing, lease, cost }) = second else {
            let attempted = first.await;
            return Ok((*step, self.take(number, attempted)));
        };
        let Ok(Dispatched { number: other_number, moment }) = self.dispatch(&other_step) else {
            lease.not_sent();
            let attempted = first.await;
            return Ok((*step, self.take(number, attempted)));
        };
        let round = Round::begun(moment);
        let mut other = Box::pin(attempt::run(plane, question, &other_step, outgoing, lease, round));
        let (is_first, attempted) = tokio::select! {
            biased;
            attempted = &mut first => (true, attempted),
            attempted = &mut other => (false, attempted),
        };
        let (ended, left) = if is_first { ((number, *step), other_number) } else { ((other_number, other_step), number) };
        if !attempted.has_failed() {
            plane.metrics.exchange.hedged(if is_first { "lost" } else { "won" });
            self.settlement.lost(left, cost);
            if !is_first {
                let before_hedge = self.hedge_policy(rest).map_or(0, |(_, hedge)| hedge.after_ms);
                self.settlement.waited(Duration::from_millis(before_hedge));
            }
            self.settlement.delivered_by(ended.0, &ended.1);
            return Ok((ended.1, self.take(ended.0, attempted)));
        }
        // One has failed: the other goes on alone.
        let tried = self.take(ended.0, attempted);
        let verdict = match tried {
            Tried::Final(verdict) => verdict,
            Tried::Again(again) => Verdict::of(again),
        };
        if let Verdict::Failed(failure) = verdict {
            self.failed(&ended.1, failure);
        }
        let (attempted, went_on) = if is_first { (other.await, other_step) } else { (first.await, *step) };
        plane.metrics.exchange.hedged(match (attempted.has_failed(), is_first) {
            (true, _) => "failed",
            (false, true) => "won",
            (false, false) => "lost",
        });
        self.settlement.delivered_by(left, &went_on);
        Ok((went_on, self.take(left, attempted)))
    }

    /// Books what an attempt leaves.
    pub(super) fn take(&mut self, number: u32, mut attempted: Attempted) -> Tried {
        self.settlement.take(number, &mut attempted);
        attempted.tried
    }

    pub(super) fn hedge_policy(&self, rest: &[Step<'a>]) -> Option<(Uuid, &'a Hedge)> {
        self.hedge.filter(|_| !rest.is_empty() && !self.question.is_count())
    }

    /// Another way that may be asked now, within what hedges may come to.
    async fn second(&mut self, owner: Uuid, hedge: &Hedge, rest: &[Step<'a>]) -> Option<Second<'a>> {
        let (plane, question) = (self.plane, self.question);
        // A whole answer that has begun is on its way.
        if !self.may_go_on() || (!question.stream && question.facts.live.has_head()) {
            return None;
        }
        for step in rest {
            if self.is_shut(step) {
                continue;
            }
            let with_media = plane.media.inline(plane, question, step, &mut self.inlined).await.ok()?;
            let asked = Asked { question, with_media };
            let Ok(outgoing) = outgoing(plane, asked, self.model, step, PastReasoning::Sent) else { continue };
            let Some(lease) = self.begin(step, Resort::First) else { continue };
            let cost = self.settlement.input_cost(step);
            if let Err(why) = plane.hedging.take(owner, hedge, cost, plane.clock.now()) {
                lease.not_sent();
                plane.metrics.exchange.hedged(match why {
                    Unhedged::Percent => "over_percent",
                    Unhedged::Spend => "over_spend",
                });
                return None;
            }
            return Some(Second { step: *step, outgoing, lease, cost });
        }
        None
    }
}
