//! Closing: the record is made and goes to everybody who must know of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tallygate_adapter::Meter;
use tallygate_billing::{AttemptRecord, BeginRecord, Draws, Endpoint, Outcome, RefusedBy, UsageRecord, UsageSource, estimate};
use tallygate_store::pins::Pin;
use tallygate_types::{Currency, Dialect, Pico, Usage};

use super::account::charge;
use super::{Ending, Open, STATUS_CLIENT_GONE, Settled, Unsettled};
use crate::access::AccessLine;
use crate::facts::Facts;
use crate::layers::Held;
use crate::metrics::{Finished, ModelHandles, OTHER};
use crate::plane::DataPlane;
use crate::refusal::Refusal;

/// What clients and upstreams name as they like (end users, models, ids) is kept this far.
const MAX_NAME_CHARS: usize = 256;
/// A provider's usage object is some hundred bytes; one larger than this is not kept beside the counts.
const MAX_RAW_USAGE_BYTES: usize = 16 * 1024;

/// How a request went, beside its record.
struct Manner<'a> {
    /// What it is counted by.
    series: &'a ModelHandles,
    duration: Duration,
    first_token: Option<Duration>,
}

impl Unsettled {
    /// Settles.
    pub(super) fn close(self: Box<Self>, ending: Ending) -> Settled {
        self.plane.live.leave(self.facts.request_id);
        let (finished_at, ended) = self.plane.clock.moment();
        let overhead = self.overhead_at(ended);
        let (usage, usage_source) = match &ending {
            Ending::Complete(meter) => self.account(meter, true),
            // A provider that gave its reason to end has counted to the end, even if the client left before the last event.
            Ending::Cut { meter, .. } => self.account(meter, meter.finish_reason.is_some()),
            Ending::Refused { .. } => (Usage::default(), UsageSource::None),
        };
        // What to charge should the provider's account be beyond all charging.
        let estimated = match &ending {
            Ending::Complete(meter) | Ending::Cut { meter, .. } => self.estimate_of_bytes(meter),
            Ending::Refused { .. } => Usage::default(),
        };
        let Self { plane, facts, begin, series, attempts, open, lease, fault, is_stored, first_byte, .. } = *self;
        let mut record = begin.into_record(finished_at);
        record.attempts = attempts;
        record.first_byte_at = first_byte.map(|(_, at)| at);
        record.upstream_request_id = self.upstream_request_id;
        record.overhead_us = micros(overhead);
        record.bytes_out = self.bytes_out;
        (record.usage, record.usage_source) = (usage, usage_source);
        let meter = match ending {
            Ending::Complete(meter) => Some(meter),
            Ending::Cut { outcome, code, meter } => {
                (record.outcome, record.error_code) = (outcome, Some(code.into()));
                if outcome == Outcome::ClientGone {
                    record.status = STATUS_CLIENT_GONE;
                }
                Some(meter)
            }
            Ending::Refused { outcome, code, status } => {
                (record.outcome, record.error_code, record.status) = (outcome, Some(code.into()), status);
                None
            }
        };
        if let Some(meter) = meter {
            note_handles(&plane, &record, &meter, is_stored);
            take_words(&plane, &mut record, meter);
        }
        // The attempts that were under way when the request ended.
        let outcome = record.outcome;
        record.attempts.extend(open.into_iter().flatten().map(|open| open.record(outcome.as_str(), None)));
        if record.price.is_none() {
            // What is not sold uses nothing that is counted.
            (record.usage, record.usage_source) = (Usage::default(), UsageSource::None);
        }
        charge(&plane, &mut record, estimated);
        if let Some(lease) = lease {
            // What the attempt that delivered teaches of its upstream and credential.
            lease.spent(record.charge, record.usage.total(), finished_at);
            match fault {
                Some(failure) => lease.failed(&failure),
                None if record.outcome == Outcome::Ok => lease.succeeded(),
                None => {}
            }
        }
        if record.usage_source == UsageSource::Estimated {
            record.estimator = Some(estimate::ESTIMATOR.into());
        }
        let since_start = |at: Instant| at.saturating_duration_since(facts.started);
        let first_token = first_byte.filter(|_| record.stream).map(|(at, _)| since_start(at));
        write(&plane, &facts, &record, self.held, &Manner { series: &series, duration: since_start(ended), first_token });
        Settled { charge: record.currency.map(|currency| (record.charge, currency)), overhead }
    }
}

impl Open {
    pub(super) fn record(self, outcome: &'static str, cost: Option<Pico>) -> AttemptRecord {
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

/// What the upstream keeps of its answer is its own from now on, and this tenant's.
fn note_handles(plane: &DataPlane, record: &UsageRecord, meter: &Meter, is_stored: bool) {
    let passed = record.client_dialect == Dialect::OpenaiResponses && record.upstream_dialect == Some(Dialect::OpenaiResponses);
    if let Some(upstream) = record.upstream_id.filter(|_| passed) {
        let pin = Pin { upstream, credential: record.credential_id };
        plane.kept.note(record.tenant_id, pin, &meter.handles, is_stored);
    }
}

/// What the upstream said of its answer, within bounds: a record must always fit the journal.
fn take_words(plane: &DataPlane, record: &mut UsageRecord, meter: Meter) {
    record.raw_usage = meter.raw_usage.filter(|raw| raw.len() <= MAX_RAW_USAGE_BYTES);
    if let (true, Some(upstream)) = (meter.unknown_finish, record.upstream_dialect) {
        plane.metrics.ended_for_unknown_reason(upstream.provider());
    }
    record.finish_reason = meter.finish_reason.map(|reason| shortened(reason).into());
    record.returned_model = meter.upstream_model.map(shortened);
    record.upstream_request_id = record.upstream_request_id.take().or(meter.upstream_response_id).map(shortened);
    record.loss = (!meter.loss.is_empty()).then(|| meter.loss.to_string());
}

/// Everybody who must know, in the order of how bad it would be if they did not.
fn write(plane: &DataPlane, facts: &Facts, record: &UsageRecord, held: Held, manner: &Manner<'_>) {
    if record.attempt > 0 {
        if let Err(error) = plane.journal.end(record) {
            plane.metrics.journal_failures.inc();
            tracing::error!(%error, request_id = %facts.request_id_text, "the usage journal refused a record");
        }
    } else {
        let code = record.error_code.clone().unwrap_or_default();
        write_rejection(plane, record, RefusedBy { code, ..RefusedBy::default() });
    }
    let Held { mut permit, reservation, seat, present, .. } = held;
    reservation.settle(record.charge);
    if record.attempt > 0 {
        permit.settle(record.usage.total(), record.finished_at);
    }
    drop((permit, seat, present));
    announce(plane, facts, record, manner);
}

/// A request that no layer took over was answered: a list of models, say.
pub fn note_answer(plane: &DataPlane, facts: &Facts, status: u16) {
    let Some((record, series)) = bare_record(plane, facts) else { return };
    announce(plane, facts, &UsageRecord { status, ..record }, &Manner::of(facts, &series));
}

/// A request was refused before it was admitted. A known tenant finds it among its requests; strangers are only counted.
pub fn note_refusal(plane: &DataPlane, facts: &Facts, refusal: &Refusal, status: u16) {
    let Some((record, series)) = bare_record(plane, facts) else {
        tracing::debug!(request_id = %facts.request_id_text, status, err_code = refusal.code, "refused");
        plane.metrics.finished(&Finished {
            endpoint: facts.endpoint().map_or(OTHER, |endpoint| endpoint.operation.name()),
            model: &plane.metrics.of_no_model(),
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
    write_rejection(plane, &record, refusal.refused_by());
    announce(plane, facts, &record, &Manner::of(facts, &series));
}

/// Records what was never dispatched, and so costs nothing, as long as there is room for it.
fn write_rejection(plane: &DataPlane, record: &UsageRecord, by: RefusedBy) {
    if !plane.may_record_rejection(record.finished_at) || !plane.refusals.note(record.clone(), by) {
        plane.metrics.rejections_unrecorded.inc();
    }
}

/// The record of a request that never reached an upstream, if it is known whose it is, and what it is counted by.
fn bare_record(plane: &DataPlane, facts: &Facts) -> Option<(UsageRecord, Arc<ModelHandles>)> {
    let (key, endpoint) = (facts.key()?, facts.endpoint()?);
    let model = facts.model().unwrap_or_default();
    let snapshot = plane.snapshot.load();
    let known = snapshot.model(model);
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
        model_id: known.map(|known| known.id),
        model: known.map_or_else(|| shortened(model.to_owned()).into(), |known| Arc::clone(&known.name)),
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
        budgets: Draws::default(),
    };
    let mut record = begin.into_record(plane.clock.now());
    record.overhead_us = micros(facts.started.elapsed());
    let series = known.map_or_else(|| plane.metrics.of_no_model(), |known| plane.metrics.of_model(known));
    Some((record, series))
}

impl<'a> Manner<'a> {
    /// Of a request that ends now without an answer.
    fn of(facts: &Facts, series: &'a ModelHandles) -> Self {
        Self { series, duration: facts.started.elapsed(), first_token: None }
    }
}

/// Metrics and the access line.
fn announce(plane: &DataPlane, facts: &Facts, record: &UsageRecord, manner: &Manner<'_>) {
    let Manner { series, duration, first_token } = *manner;
    let tenant = facts.key().map(|key| key.tenant.name.as_ref());
    plane.metrics.finished(&Finished {
        endpoint: record.endpoint.as_str(),
        model: series,
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
    plane.access.write(&AccessLine {
        at: record.finished_at,
        request_id: &facts.request_id_text,
        tenant: tenant.unwrap_or_default(),
        key_id: record.key_id,
        endpoint: record.endpoint.as_str(),
        model: &record.model,
        upstream: record.upstream.as_deref().unwrap_or_default(),
        attempt: record.attempt,
        status: record.status,
        outcome: record.outcome.as_str(),
        duration_ms: micros(duration) / 1_000,
        first_token_ms: first_token.map(|first| micros(first) / 1_000),
        tokens_in: record.usage.input_total(),
        tokens_out: record.usage.output_total(),
        cost: record.charge,
        error_code: record.error_code.as_deref().unwrap_or_default(),
    });
}

pub(super) fn shortened(text: String) -> String {
    if text.len() <= MAX_NAME_CHARS {
        return text;
    }
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

pub(super) fn endpoint_of(name: &str) -> Endpoint {
    name.parse().unwrap_or(Endpoint::Models)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
