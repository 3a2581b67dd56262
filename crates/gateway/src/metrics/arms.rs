//! What the arms of splits do, beside each other: requests, errors, latency, tokens and money.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Counter, CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use tallygate_billing::Outcome;
use tallygate_types::{IdMap, Pico, Usage};

use super::handles::MAX_LABEL_VALUES;
use super::{DURATION_BUCKETS, OTHER, PICO_PER_UNIT, counters, histogram, register};

/// See the module.
pub struct ArmMetrics {
    requests: IntCounterVec,
    errors: IntCounterVec,
    duration: HistogramVec,
    tokens: IntCounterVec,
    billed: CounterVec,
    /// By rule and arm.
    known: RwLock<IdMap<String, IdMap<String, Arc<Handles>>>>,
}

struct Handles {
    requests: IntCounter,
    errors: IntCounter,
    duration: Histogram,
    input: IntCounter,
    output: IntCounter,
    /// In the currency that was charged first.
    billed: RwLock<Option<(String, Counter)>>,
}

/// A finished request of an arm.
pub struct OfArm<'a> {
    /// The route, or the model, whose split it is.
    pub rule: &'a str,
    pub arm: &'a str,
    pub outcome: Outcome,
    pub duration: Duration,
    pub usage: &'a Usage,
    pub charge: Pico,
    pub currency: Option<&'a str>,
}

impl ArmMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_arm = ["rule", "arm"];
        Ok(Self {
            requests: counters(registry, "arm_requests_total", "Requests by the arm of a split", &by_arm)?,
            errors: counters(
                registry,
                "arm_errors_total",
                "Requests of an arm that ended neither well nor by their client's leaving",
                &by_arm,
            )?,
            duration: histogram(
                registry,
                "arm_request_duration_seconds",
                "From the accepted request to the last byte of the answer, by arm",
                &DURATION_BUCKETS,
                &by_arm,
            )?,
            tokens: counters(registry, "arm_tokens_total", "Tokens by arm", &["rule", "arm", "kind"])?,
            billed: register(
                registry,
                CounterVec::new(
                    Opts::new("arm_billed_amount_total", "Money charged by arm; the ledger has the exact sum"),
                    &["rule", "arm", "currency"],
                )?,
            )?,
            known: RwLock::default(),
        })
    }

    pub fn finished(&self, request: &OfArm<'_>) {
        let handles = self.handles(request.rule, request.arm);
        handles.requests.inc();
        if !matches!(request.outcome, Outcome::Ok | Outcome::ClientGone) {
            handles.errors.inc();
        }
        handles.duration.observe(request.duration.as_secs_f64());
        handles.input.inc_by(request.usage.input_total());
        handles.output.inc_by(request.usage.output_total());
        let Some(currency) = request.currency.filter(|_| request.charge > Pico::ZERO) else { return };
        // A graph's approximation: no bill is made of it.
        let amount = request.charge.get() as f64 / PICO_PER_UNIT;
        let known = handles.billed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, billed)) = known.as_ref().filter(|(of, _)| of == currency) {
            return billed.inc_by(amount);
        }
        drop(known);
        let billed = self.billed.with_label_values(&[request.rule, request.arm, currency]);
        billed.inc_by(amount);
        *handles.billed.write().unwrap_or_else(PoisonError::into_inner) = Some((currency.to_owned(), billed));
    }

    fn handles(&self, rule: &str, arm: &str) -> Arc<Handles> {
        if let Some(handles) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(rule).and_then(|of| of.get(arm)) {
            return Arc::clone(handles);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = known.len() >= MAX_LABEL_VALUES && !known.contains_key(rule);
        let rule = if is_full { OTHER } else { rule };
        let make = || {
            Arc::new(Handles {
                requests: self.requests.with_label_values(&[rule, arm]),
                errors: self.errors.with_label_values(&[rule, arm]),
                duration: self.duration.with_label_values(&[rule, arm]),
                input: self.tokens.with_label_values(&[rule, arm, "input"]),
                output: self.tokens.with_label_values(&[rule, arm, "output"]),
                billed: RwLock::default(),
            })
        };
        Arc::clone(known.entry(rule.to_owned()).or_default().entry(arm.to_owned()).or_insert_with(make))
    }
}
