//! The end of a request, exactly once: usage, price, journal, budget, limits, metrics, access log.
//!
//! A [`Settlement`] is opened when a request is admitted and travels with whoever answers it: the handler, then the body of
//! the stream. However its owner ends, even by being dropped because the client left, it settles.

mod account;
mod close;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use tallygate_adapter::{Keepsake, Meter};
use tallygate_billing::{AttemptRecord, BeginRecord, Outcome, estimate};
use tallygate_store::{ModelEntry, UpstreamEntry};
use tallygate_types::{CredentialId, Currency, Moment, Pico, Timestamp};

use self::close::{endpoint_of, shortened};
pub use self::close::{note_answer, note_refusal};
use crate::boxed::boxed;
use crate::exchange::attempt::Attempted;
use crate::exchange::failure::Failure;
use crate::facts::Facts;
use crate::health::Lease;
use crate::layers::{Held, Question};
use crate::metrics::ModelHandles;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::{self, Plan, Step, Tariffs};

/// What is recorded for a client that left before its answer was complete.
const STATUS_CLIENT_GONE: u16 = 499;
const STATUS_INTERNAL: u16 = 500;

/// How an attempt ended beside which another delivered first.
const HEDGE_LOST: &str = "hedge_lost";

/// See the module. A box, because it goes from hand to hand; `None` once it has settled.
pub struct Settlement(Option<Box<Unsettled>>);

/// What is known of a request that is not settled.
pub struct Unsettled {
    plane: Arc<DataPlane>,
    facts: Arc<Facts>,
    held: Held,
    begin: BeginRecord,
    /// What it is counted by.
    series: Arc<ModelHandles>,
    tariffs: Tariffs,
    /// Where its session belongs.
    home: Option<routing::Held>,
    attempts: Vec<AttemptRecord>,
    /// The attempts that have no outcome yet: one, or two where one is hedged.
    open: [Option<Open>; 2],
    /// Of the attempt that delivers.
    lease: Option<Box<Lease>>,
    /// Why its answer broke off.
    fault: Option<Failure>,
    /// An attempt is under way or was delivered: if the client leaves now, the upstream has read the input.
    is_dispatched: bool,
    /// The client wants an upstream that keeps responses to keep this one.
    is_stored: bool,
    upstream_wait: Duration,
    first_byte: Option<(Instant, Timestamp)>,
    pub upstream_request_id: Option<String>,
    /// What the upstream's own header tells the client.
    pub told: Vec<(HeaderName, HeaderValue)>,
    pub bytes_out: u64,
}

/// An attempt that is under way.
struct Open {
    number: u32,
    upstream: Arc<UpstreamEntry>,
    credential_id: Option<CredentialId>,
    started: Instant,
    started_at: Timestamp,
}

/// An attempt that may be made.
pub struct Dispatched {
    pub number: u32,
    pub moment: Moment,
}

/// How a request ended.
pub enum Ending {
    /// The whole answer was there.
    Complete(Meter),
    /// It broke off after the client had received some of it.
    Cut { outcome: Outcome, code: &'static str, meter: Meter },
    /// Nothing was delivered but an error.
    Refused { outcome: Outcome, code: &'static str, status: u16 },
}

/// What a request came to.
#[derive(Default)]
pub struct Settled {
    /// `None`: it had no price.
    pub charge: Option<(Pico, Currency)>,
    /// The gateway's own share of the time.
    pub overhead: Duration,
}

impl Settlement {
    /// Takes over the duty to record the request.
    pub fn open(plane: Arc<DataPlane>, question: &Question, model: &ModelEntry, held: Held) -> Self {
        question.facts.take();
        plane.live.enter(&question.facts);
        // Whatever may fail or is looked for comes first: between it and the box nothing is copied.
        let series = plane.metrics.of_model(model);
        let end_user = question.peek.user.clone().map(shortened);
        let (model_name, price) = (model.name.clone(), question.way.tariffs.own().cloned());
        let trace_id = question.facts.trace_id().map(str::to_owned);
        let budgets = held.reservation.draws();
        let (facts, tariffs) = (Arc::clone(&question.facts), question.way.tariffs.clone());
        Self(Some(boxed(|| Unsettled {
            begin: BeginRecord {
                request_id: question.facts.request_id,
                attempt: 0,
                accepted_at: question.facts.accepted_at,
                tenant_id: question.key.tenant.id,
                key_id: question.key.id,
                end_user,
                endpoint: endpoint_of(question.endpoint.operation.name()),
                client_dialect: question.endpoint.dialect,
                upstream_dialect: None,
                model_id: Some(model.id),
                // The public name, whichever of its aliases was asked for: reports and bills go by it.
                model: model_name,
                upstream_model: None,
                upstream_id: None,
                upstream: None,
                credential_id: None,
                stream: question.stream,
                input_estimate: held.estimate,
                price,
                reserved: held.reserved,
                bytes_in: question.facts.bytes_in(),
                trace_id,
                route: None,
                arm: None,
                affinity: None,
                budgets,
            },
            series,
            plane,
            facts,
            held,
            tariffs,
            home: None,
            attempts: Vec::new(),
            open: [None, None],
            lease: None,
            fault: None,
            is_dispatched: false,
            is_stored: question.recalled.store,
            upstream_wait: Duration::ZERO,
            first_byte: None,
            upstream_request_id: None,
            told: Vec::new(),
            bytes_out: 0,
        })))
    }

    /// Settles.
    pub fn end(mut self, ending: Ending) -> Settled {
        self.0.take().map(|unsettled| unsettled.close(ending)).unwrap_or_default()
    }
}

impl Deref for Settlement {
    type Target = Unsettled;

    fn deref(&self) -> &Unsettled {
        self.0.as_deref().expect("only its end takes it away")
    }
}

impl DerefMut for Settlement {
    fn deref_mut(&mut self) -> &mut Unsettled {
        self.0.as_deref_mut().expect("only its end takes it away")
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        let Some(unsettled) = self.0.take() else { return };
        // Nobody ended it: the client left, or we are being unwound by a bug.
        let ending = if std::thread::panicking() {
            Ending::Refused { outcome: Outcome::Internal, code: "internal_error", status: STATUS_INTERNAL }
        } else if unsettled.is_dispatched {
            Ending::Cut { outcome: Outcome::ClientGone, code: "client_gone", meter: Meter::default() }
        } else {
            Ending::Refused { outcome: Outcome::ClientGone, code: "client_gone", status: STATUS_CLIENT_GONE }
        };
        unsettled.close(ending);
    }
}

impl Unsettled {
    pub fn plane(&self) -> &Arc<DataPlane> {
        &self.plane
    }

    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }

    /// By what it was decided where the request goes.
    pub fn planned(&mut self, plan: &Plan<'_>) {
        self.begin.route = plan.route.map(|route| route.name.clone());
        self.begin.arm = plan.arm.map(Into::into);
        self.home = plan.held;
    }

    /// Input and output as they were estimated.
    pub fn tokens(&self) -> u64 {
        self.held.tokens
    }

    /// Writes the BEGIN of an attempt. What cannot be counted is not dispatched.
    pub fn dispatch(&mut self, step: &Step<'_>) -> Result<Dispatched, Refusal> {
        let number = self.begin.attempt + 1;
        self.name(number, step);
        if let Err(error) = self.plane.journal.begin(&self.begin) {
            self.plane.metrics.journal_failures.inc();
            tracing::error!(%error, request_id = %self.facts.request_id_text, "the usage journal refused a request");
            self.begin.attempt -= 1;
            return Err(Refusal::unavailable(
                "Usage cannot be recorded right now, so nothing is served. Try again shortly.",
                None,
            )
            .with_outcome(Outcome::Internal));
        }
        self.held.permit.dispatched();
        self.is_dispatched = true;
        let moment = self.plane.clock.moment();
        let (started_at, started) = moment;
        let open = Open {
            number,
            upstream: Arc::clone(&step.target.upstream),
            credential_id: self.begin.credential_id,
            started,
            started_at,
        };
        let free = usize::from(self.open[0].is_some());
        self.open[free] = Some(open);
        self.facts.live.ask(number, &step.target.upstream, &step.target.upstream_model, step.credential);
        Ok(Dispatched { number, moment })
    }

    fn name(&mut self, number: u32, step: &Step<'_>) {
        let upstream = &step.target.upstream;
        self.begin.attempt = number;
        self.begin.upstream_dialect = Some(upstream.dialect);
        self.begin.upstream_model = Some(step.target.upstream_model.clone());
        self.begin.upstream_id = Some(upstream.id);
        self.begin.upstream = Some(upstream.name.clone());
        self.begin.credential_id = step.credential.map(|credential| credential.id);
        self.begin.affinity = self.home.map(|home| home.told(step).into());
        self.begin.price = self.tariffs.price(step.target).cloned();
    }

    /// The attempt of this number has an outcome; one that failed delivers nothing.
    pub fn take(&mut self, number: u32, attempted: &mut Attempted) {
        self.close_attempt(number);
        let trail = std::mem::take(&mut attempted.trail);
        if self.attempts.is_empty() {
            self.attempts = trail.records;
        } else {
            self.attempts.extend(trail.records);
        }
        self.upstream_wait += trail.waited;
        self.upstream_request_id = trail.upstream_request_id;
        self.told = trail.told;
        self.lease = attempted.lease.take();
        self.is_dispatched = !trail.has_failed || self.open.iter().any(Option::is_some);
    }

    /// The attempt of this number was one too many, and is left; its cost is borne by the operator.
    pub fn lost(&mut self, number: u32, cost: Pico) {
        if let Some(open) = self.close_attempt(number) {
            self.attempts.push(open.record(HEDGE_LOST, Some(cost)));
        }
    }

    /// Of two attempts this one delivers: should the process die now, the journal must know it.
    pub fn delivered_by(&mut self, number: u32, step: &Step<'_>) {
        if self.begin.attempt == number {
            return;
        }
        self.name(number, step);
        if let Err(error) = self.plane.journal.begin(&self.begin) {
            tracing::warn!(%error, request_id = %self.facts.request_id_text, "a crash now would name the wrong upstream");
        }
        self.facts.live.ask(number, &step.target.upstream, &step.target.upstream_model, step.credential);
    }

    /// What the input costs at a target, as far as that is known.
    pub fn input_cost(&self, step: &Step<'_>) -> Pico {
        let input = self.begin.input_estimate;
        if let Some(cost) = step.target.cost {
            let tokens = i128::from(input.input_total());
            return cost.input.get().checked_mul(tokens).map_or(Pico::ZERO, Pico::new);
        }
        self.begin.price.as_ref().and_then(|price| price.total(&input).ok()).unwrap_or(Pico::ZERO)
    }

    /// One call of an answer ended, and the answer goes on in another.
    pub fn went_on(&mut self, record: AttemptRecord) {
        self.attempts.push(record);
    }

    /// The answer that was under way broke off.
    pub fn broke_off(&mut self, reason: &'static str, outcome: Outcome) {
        if let Some(last) = self.attempts.last_mut() {
            last.outcome = reason.into();
        }
        if let Outcome::UpstreamError | Outcome::Timeout = outcome {
            self.fault = Some(Failure::cut(reason));
        }
    }

    fn close_attempt(&mut self, number: u32) -> Option<Open> {
        let at = self.open.iter().position(|open| open.as_ref().is_some_and(|open| open.number == number))?;
        let open = self.open[at].take();
        if at == 0 {
            self.open.swap(0, 1);
        }
        open
    }

    /// Time in which the gateway had nothing to do but wait for the upstream.
    pub fn waited(&mut self, wait: Duration) {
        self.upstream_wait += wait;
    }

    pub fn first_byte(&mut self) {
        self.first_byte.get_or_insert_with(|| {
            let (at, instant) = self.plane.clock.moment();
            (instant, at)
        });
    }

    /// The gateway's own share of the time so far.
    pub fn overhead(&self) -> Duration {
        self.overhead_at(Instant::now())
    }

    fn overhead_at(&self, at: Instant) -> Duration {
        let passed = at.saturating_duration_since(self.facts.started);
        passed.saturating_sub(self.upstream_wait).saturating_sub(self.facts.body_wait())
    }

    /// For the case that this process dies: how much output was delivered so far.
    pub fn checkpoint(&self, output_bytes: u64) {
        self.plane.journal.checkpoint(self.facts.request_id, estimate::tokens(output_bytes));
    }

    /// Keeps what the answer left behind for the next turn of its tool loop.
    pub fn remember(&self, keepsakes: Vec<(String, Keepsake)>) {
        if !keepsakes.is_empty() {
            self.plane.keepsakes.keep(self.begin.tenant_id, keepsakes, self.plane.clock.now());
        }
    }
}
