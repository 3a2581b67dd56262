//! The end of a request, exactly once: usage, price, journal, budget, limits, metrics, access log.
//!
//! A [`Settlement`] is opened when a request is admitted and travels with whoever answers it: the handler, then the body of
//! the stream. However its owner ends, even by being dropped because the client left, it settles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use tallygate_adapter::{Keepsake, Meter};
use tallygate_billing::{AttemptRecord, BeginRecord, Endpoint, Outcome, UsageRecord, UsageSource, estimate};
use tallygate_store::pins::Pin;
use tallygate_store::{ModelEntry, UpstreamEntry};
use tallygate_types::{CredentialId, Currency, Dialect, Pico, Timestamp, Usage, UsageClass};

use crate::exchange::attempt::Attempted;
use crate::exchange::failure::Failure;
use crate::facts::Facts;
use crate::health::Lease;
use crate::layers::{Held, Question};
use crate::metrics::{Finished, OTHER};
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::{self, Plan, Step, Tariffs};

/// What is recorded for a client that left before its answer was complete.
const STATUS_CLIENT_GONE: u16 = 499;
const STATUS_INTERNAL: u16 = 500;
/// What clients and upstreams name as they like (end users, models, ids) is kept this far.
const MAX_NAME_CHARS: usize = 256;
/// A provider's usage object is some hundred bytes; one larger than this is not kept beside the counts.
const MAX_RAW_USAGE_BYTES: usize = 16 * 1024;
/// A provider that counts more tokens than this in one class of one request has miscounted: no model reads a tenth of it.
const MAX_CLASS_TOKENS: u64 = 100_000_000;
/// Likewise for the output: 128 answers of 128 Ki tokens each, the most that any provider can be asked for.
const MAX_OUTPUT_TOKENS: u64 = 128 * 128 * 1024;
/// No tokenizer has a longer token, runs of spaces included.
const MAX_BYTES_PER_TOKEN: u64 = 128;
/// Whether less output than these tokens is told in full is not judged.
const MIN_OUTPUT_JUDGED: u64 = 32;

/// How an attempt ended beside which another delivered first.
const HEDGE_LOST: &str = "hedge_lost";

/// See the module.
pub struct Settlement {
    plane: Arc<DataPlane>,
    facts: Arc<Facts>,
    /// Taken when settled.
    held: Option<Held>,
    begin: BeginRecord,
    tariffs: Tariffs,
    /// Where its session belongs.
    home: Option<routing::Held>,
    attempts: Vec<AttemptRecord>,
    /// The attempts that have no outcome yet: one, or two where one is hedged.
    open: [Option<Open>; 2],
    /// Of the attempt that delivers.
    lease: Option<Lease>,
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

/// How a request ended.
pub enum Ending {
    /// The whole answer was there.
    Complete(Meter),
    /// It broke off after the client had received some of it.
    Cut { outcome: Outcome, code: &'static str, meter: Meter },
    /// Nothing was delivered but an error.
    Refused { outcome: Outcome, code: &'static str, status: u16 },
}

impl Settlement {
    /// Takes over the duty to record the request.
    pub fn open(plane: Arc<DataPlane>, question: &Question, model: &ModelEntry, held: Held) -> Self {
        question.facts.take();
        plane.live.enter(&question.facts);
        let begin = BeginRecord {
            request_id: question.facts.request_id,
            attempt: 0,
            accepted_at: question.facts.accepted_at,
            tenant_id: question.key.tenant.id,
            key_id: question.key.id,
            end_user: question.peek.user.clone().map(shortened),
            endpoint: endpoint_of(question.endpoint.operation.name()),
            client_dialect: question.endpoint.dialect,
            upstream_dialect: None,
            model_id: Some(model.id),
            // The public name, whichever of its aliases was asked for: reports and bills go by it.
            model: model.name.clone(),
            upstream_model: None,
            upstream_id: None,
            upstream: None,
            credential_id: None,
            stream: question.stream,
            input_estimate: held.estimate,
            price: question.way.tariffs.own().cloned(),
            reserved: held.reserved,
            bytes_in: question.facts.bytes_in(),
            trace_id: question.facts.trace_id().map(str::to_owned),
            route: None,
            arm: None,
            affinity: None,
        };
        Self {
            plane,
            facts: Arc::clone(&question.facts),
            held: Some(held),
            begin,
            tariffs: question.way.tariffs.clone(),
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
        }
    }

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
        self.held.as_ref().map_or(0, |held| held.tokens)
    }

    /// Writes the BEGIN of an attempt, and returns its number. What cannot be counted is not dispatched.
    pub fn dispatch(&mut self, step: &Step<'_>) -> Result<u32, Refusal> {
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
        if let Some(held) = &mut self.held {
            held.permit.dispatched();
        }
        self.is_dispatched = true;
        let open = Open {
            number,
            upstream: Arc::clone(&step.target.upstream),
            credential_id: self.begin.credential_id,
            started: Instant::now(),
            started_at: self.plane.clock.now(),
        };
        let free = usize::from(self.open[0].is_some());
        self.open[free] = Some(open);
        self.facts.live.ask(number, &step.target.upstream, &step.target.upstream_model, step.credential);
        Ok(number)
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
        let charge = self.begin.price.as_ref().and_then(|price| price.charge(&input).ok());
        charge.map_or(Pico::ZERO, |charge| charge.total)
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
        self.first_byte.get_or_insert_with(|| (Instant::now(), self.plane.clock.now()));
    }

    /// The gateway's own share of the time so far.
    pub fn overhead(&self) -> Duration {
        self.facts.started.elapsed().saturating_sub(self.upstream_wait).saturating_sub(self.facts.body_wait())
    }

    /// For the case that this process dies: how much output was delivered so far.
    pub fn checkpoint(&self, output_bytes: u64) {
        self.plane.journal.checkpoint(self.facts.request_id, estimate::tokens(output_bytes));
    }

    /// Keeps what the answer left behind for the next turn of its tool loop.
    pub fn remember(&self, keepsakes: Vec<(String, Keepsake)>) {
        self.plane.keepsakes.keep(self.begin.tenant_id, keepsakes, self.plane.clock.now());
    }

    /// Settles. Returns what the request is charged.
    pub fn end(mut self, ending: Ending) -> Option<(Pico, Currency)> {
        self.close(ending)
    }

    fn close(&mut self, ending: Ending) -> Option<(Pico, Currency)> {
        let held = self.held.take()?;
        self.plane.live.leave(self.facts.request_id);
        let now = self.plane.clock.now();
        let mut record = UsageRecord::from_begin(&self.begin, now);
        record.attempts = std::mem::take(&mut self.attempts);
        record.first_byte_at = self.first_byte.map(|(_, at)| at);
        record.upstream_request_id = self.upstream_request_id.take();
        record.overhead_us = micros(self.overhead());
        record.bytes_out = self.bytes_out;
        // What to charge should the provider's account be beyond all charging.
        let mut estimated = Usage::default();
        let meter = match ending {
            Ending::Complete(meter) => {
                estimated = self.estimate_of_bytes(&meter);
                (record.usage, record.usage_source) = self.account(&meter, true);
                Some(meter)
            }
            Ending::Cut { outcome, code, meter } => {
                estimated = self.estimate_of_bytes(&meter);
                record.outcome = outcome;
                record.error_code = Some(code.into());
                if outcome == Outcome::ClientGone {
                    record.status = STATUS_CLIENT_GONE;
                }
                // A provider that gave its reason to end has counted to the end, even if the client left before the last event.
                (record.usage, record.usage_source) = self.account(&meter, meter.finish_reason.is_some());
                Some(meter)
            }
            Ending::Refused { outcome, code, status } => {
                (record.outcome, record.error_code, record.status) = (outcome, Some(code.into()), status);
                None
            }
        };
        if let Some(meter) = meter {
            self.note_handles(&meter);
            // An upstream's words are bounded: a record must always fit the journal.
            record.raw_usage = meter.raw_usage.filter(|raw| raw.len() <= MAX_RAW_USAGE_BYTES);
            if let (true, Some(upstream)) = (meter.unknown_finish, self.begin.upstream_dialect) {
                self.plane.metrics.ended_for_unknown_reason(upstream.provider());
            }
            record.finish_reason = meter.finish_reason.map(|reason| shortened(reason).into());
            record.returned_model = meter.upstream_model.map(shortened);
            record.upstream_request_id = record.upstream_request_id.or(meter.upstream_response_id).map(shortened);
            record.loss = (!meter.loss.is_empty()).then(|| meter.loss.to_string());
        }
        record.attempts.extend(self.unfinished(record.outcome));
        if record.price.is_none() {
            // What is not sold uses nothing that is counted.
            (record.usage, record.usage_source) = (Usage::default(), UsageSource::None);
        }
        self.charge(&mut record, estimated);
        self.release(&record);
        if record.usage_source == UsageSource::Estimated {
            record.estimator = Some(estimate::ESTIMATOR.into());
        }
        self.write(&record, held);
        record.currency.map(|currency| (record.charge, currency))
    }

    /// The attempts that were under way when the request ended.
    fn unfinished(&mut self, outcome: Outcome) -> impl Iterator<Item = AttemptRecord> + use<> {
        std::mem::take(&mut self.open).into_iter().flatten().map(move |open| open.record(outcome.as_str(), None))
    }

    /// What the attempt that delivered teaches of its upstream and credential.
    fn release(&mut self, record: &UsageRecord) {
        let Some(lease) = self.lease.take() else { return };
        lease.spent(record.charge, record.usage.total());
        match self.fault.take() {
            Some(failure) => lease.failed(&failure),
            None if record.outcome == Outcome::Ok => lease.succeeded(),
            None => {}
        }
    }

    /// What the upstream keeps of its answer is its own from now on, and this tenant's.
    fn note_handles(&self, meter: &Meter) {
        let begin = &self.begin;
        let passed = begin.client_dialect == Dialect::OpenaiResponses && begin.upstream_dialect == Some(Dialect::OpenaiResponses);
        if let Some(upstream) = begin.upstream_id.filter(|_| passed) {
            let pin = Pin { upstream, credential: begin.credential_id };
            self.plane.kept.note(begin.tenant_id, pin, &meter.handles, self.is_stored);
        }
    }

    /// The provider's own account if it is final, else an estimate.
    fn account(&self, meter: &Meter, is_final: bool) -> (Usage, UsageSource) {
        match meter.usage {
            Some(usage) if is_final && is_plausible(&usage) && !is_unfinished(&usage, meter.output_bytes) => {
                (usage, UsageSource::Provider)
            }
            Some(usage) if is_final || !is_plausible(&usage) => {
                tracing::warn!(request_id = %self.facts.request_id_text, ?usage, "the upstream's usage is absurd and not used");
                (self.estimate(meter), UsageSource::Estimated)
            }
            _ => (self.estimate(meter), UsageSource::Estimated),
        }
    }

    /// What was used, where the provider's own account is missing or unfinished: its input if it told, and at least the
    /// output that passed through here.
    fn estimate(&self, meter: &Meter) -> Usage {
        let told = meter.usage.filter(is_plausible).unwrap_or_default();
        let mut usage = if told.input_total() > 0 { told } else { self.begin.input_estimate };
        let (passed, counted) = (estimate::tokens(meter.output_bytes), told.output_total());
        if passed > counted {
            usage.set(UsageClass::OutputText, told.get(UsageClass::OutputText) + (passed - counted));
        }
        usage
    }

    /// What passed through here, whatever the provider told.
    fn estimate_of_bytes(&self, meter: &Meter) -> Usage {
        self.begin.input_estimate.with(UsageClass::OutputText, estimate::tokens(meter.output_bytes))
    }

    /// Prices the record. Usage that cannot be charged becomes `estimated`, and what no estimate can be charged for costs what
    /// was reserved: nothing becomes free by being too large.
    fn charge(&self, record: &mut UsageRecord, estimated: Usage) {
        let Some(price) = &record.price else { return };
        record.charge = match price.charge(&record.usage) {
            Ok(charge) => charge.total,
            Err(error) => {
                self.plane.metrics.usage_unpriced.inc();
                tracing::error!(%error, request_id = %self.facts.request_id_text, "usage without a price");
                (record.usage, record.usage_source) = (estimated, UsageSource::Estimated);
                price.charge(&estimated).map_or(record.reserved, |charge| charge.total)
            }
        };
        if record.usage_source == UsageSource::Provider {
            record.cache_saved = price.prices.cache_saved(&record.usage);
        }
    }

    /// Everybody who must know, in the order of how bad it would be if they did not.
    fn write(&self, record: &UsageRecord, held: Held) {
        if record.attempt > 0 {
            if let Err(error) = self.plane.journal.end(record) {
                self.plane.metrics.journal_failures.inc();
                tracing::error!(%error, request_id = %self.facts.request_id_text, "the usage journal refused a record");
            }
        } else {
            write_rejection(&self.plane, &self.facts, record);
        }
        let Held { mut permit, reservation, seat, present, .. } = held;
        self.plane.budgets.settle(reservation, record.charge);
        if record.attempt > 0 {
            permit.settle(record.usage.total(), record.finished_at);
        }
        drop((permit, seat, present));
        let first_token = self.first_byte.filter(|_| record.stream).map(|(at, _)| at.duration_since(self.facts.started));
        announce(&self.plane, &self.facts, record, first_token);
    }
}

impl Open {
    fn record(self, outcome: &'static str, cost: Option<Pico>) -> AttemptRecord {
        AttemptRecord {
            upstream: self.upstream.name.clone(),
            credential_id: self.credential_id,
            status: None,
            outcome: outcome.into(),
            reason: None,
            started_at: self.started_at,
            duration_us: micros(self.started.elapsed()),
            cost,
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if self.held.is_none() {
            return;
        }
        // Nobody ended it: the client left, or we are being unwound by a bug.
        let ending = if std::thread::panicking() {
            Ending::Refused { outcome: Outcome::Internal, code: "internal_error", status: STATUS_INTERNAL }
        } else if self.is_dispatched {
            Ending::Cut { outcome: Outcome::ClientGone, code: "client_gone", meter: Meter::default() }
        } else {
            Ending::Refused { outcome: Outcome::ClientGone, code: "client_gone", status: STATUS_CLIENT_GONE }
        };
        self.close(ending);
    }
}

/// A request that no layer took over was answered: a list of models, say.
pub fn note_answer(plane: &DataPlane, facts: &Facts, status: u16) {
    let Some(record) = bare_record(plane, facts) else { return };
    announce(plane, facts, &UsageRecord { status, ..record }, None);
}

/// A request was refused before it was admitted. A known tenant finds it among its requests; strangers are only counted.
pub fn note_refusal(plane: &DataPlane, facts: &Facts, refusal: &Refusal, status: u16) {
    let Some(record) = bare_record(plane, facts) else {
        tracing::debug!(request_id = %facts.request_id_text, status, err_code = refusal.code, "refused");
        plane.metrics.finished(&Finished {
            endpoint: facts.endpoint().map_or(OTHER, |endpoint| endpoint.operation.name()),
            model: None,
            tenant: None,
            provider: None,
            stream: false,
            outcome: refusal.outcome,
            duration: facts.started.elapsed(),
            first_token: None,
            overhead: facts.started.elapsed(),
            usage: &Usage::default(),
            usage_source: UsageSource::None,
            charge: Pico::ZERO,
            currency: None,
            arm: None,
            cache_saved: Pico::ZERO,
        });
        return;
    };
    let record = UsageRecord { status, outcome: refusal.outcome, error_code: Some(refusal.code.into()), ..record };
    write_rejection(plane, facts, &record);
    announce(plane, facts, &record, None);
}

/// Records what was never dispatched, and so costs nothing, as long as there is room for it: above all it must not take the
/// place of what was dispatched when the journal's disk is full.
fn write_rejection(plane: &DataPlane, facts: &Facts, record: &UsageRecord) {
    if !plane.may_record_rejection(record.finished_at) {
        plane.metrics.rejections_unrecorded.inc();
    } else if let Err(error) = plane.journal.end(record) {
        // No failure of the journal: it keeps its last room for what must be billed.
        plane.metrics.rejections_unrecorded.inc();
        tracing::warn!(%error, request_id = %facts.request_id_text, "the usage journal refused a record");
    }
}

/// The record of a request that never reached an upstream, if it is known whose it is.
fn bare_record(plane: &DataPlane, facts: &Facts) -> Option<UsageRecord> {
    let (key, endpoint) = (facts.key()?, facts.endpoint()?);
    let model = facts.model().unwrap_or_default();
    let known = plane.snapshot.load().model(model).map(|known| (known.id, known.name.clone()));
    let begin = BeginRecord {
        request_id: facts.request_id,
        attempt: 0,
        accepted_at: facts.accepted_at,
        tenant_id: key.tenant.id,
        key_id: key.id,
        end_user: None,
        endpoint: endpoint_of(endpoint.operation.name()),
        client_dialect: endpoint.dialect,
        upstream_dialect: None,
        model_id: known.as_ref().map(|(id, _)| *id),
        model: known.map_or_else(|| shortened(model.to_owned()).into(), |(_, name)| name),
        upstream_model: None,
        upstream_id: None,
        upstream: None,
        credential_id: None,
        stream: facts.is_stream(),
        input_estimate: Usage::default(),
        price: None,
        reserved: Pico::ZERO,
        bytes_in: facts.bytes_in(),
        trace_id: facts.trace_id().map(str::to_owned),
        route: None,
        arm: None,
        affinity: None,
    };
    let mut record = UsageRecord::from_begin(&begin, plane.clock.now());
    record.overhead_us = micros(facts.started.elapsed());
    Some(record)
}

/// Metrics and the access line. Neither carries a secret or a body.
fn announce(plane: &DataPlane, facts: &Facts, record: &UsageRecord, first_token: Option<Duration>) {
    let duration = facts.started.elapsed();
    let tenant = facts.key().map(|key| key.tenant.name.as_ref());
    let is_configured = record.model_id.is_some();
    plane.metrics.finished(&Finished {
        endpoint: record.endpoint.as_str(),
        model: is_configured.then_some(&*record.model),
        tenant,
        provider: record.upstream_dialect.map(Dialect::provider),
        stream: record.stream,
        outcome: record.outcome,
        duration,
        first_token,
        overhead: Duration::from_micros(record.overhead_us),
        usage: &record.usage,
        usage_source: record.usage_source,
        charge: record.charge,
        currency: record.currency.as_ref().map(Currency::as_str),
        arm: record.arm.as_deref().map(|arm| (record.route.as_deref().unwrap_or(&record.model), arm)),
        cache_saved: record.cache_saved,
    });
    tracing::info!(
        target: "tallygate::access",
        request_id = %facts.request_id_text,
        tenant = tenant.unwrap_or_default(),
        key_id = %record.key_id,
        endpoint = record.endpoint.as_str(),
        model = %record.model,
        upstream = record.upstream.as_deref().unwrap_or_default(),
        attempt = record.attempt,
        status = record.status,
        outcome = record.outcome.as_str(),
        dur_ms = micros(duration) / 1_000,
        ttft_ms = first_token.map(|first| micros(first) / 1_000),
        tokens_in = record.usage.input_total(),
        tokens_out = record.usage.output_total(),
        cost = %record.charge,
        err_code = record.error_code.as_deref().unwrap_or_default(),
        "request"
    );
}

/// Whether a provider can have counted this in one request.
fn is_plausible(usage: &Usage) -> bool {
    usage.iter().all(|(_, tokens)| tokens <= MAX_CLASS_TOKENS) && usage.output_total() <= MAX_OUTPUT_TOKENS
}

/// Far less output is told than passed through here: the count of a beginning, never corrected. Anthropic's `message_start`
/// tells one token, and a stream may end without the event that tells the rest.
fn is_unfinished(usage: &Usage, output_bytes: u64) -> bool {
    let passed = estimate::tokens(output_bytes);
    passed >= MIN_OUTPUT_JUDGED && usage.output_total().saturating_mul(MAX_BYTES_PER_TOKEN) < output_bytes
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

fn endpoint_of(name: &str) -> Endpoint {
    name.parse().unwrap_or(Endpoint::Models)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
