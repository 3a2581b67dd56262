//! What a request used and what it costs: the provider's account where it can be believed, else an estimate.

use tallygate_adapter::Meter;
use tallygate_billing::{UsageRecord, UsageSource, estimate};
use tallygate_types::{Usage, UsageClass};

use super::Unsettled;
use crate::plane::DataPlane;

/// A provider that counts more tokens than this in one class of one request has miscounted: no model reads a tenth of it.
const MAX_CLASS_TOKENS: u64 = 100_000_000;
/// Likewise for the output: 128 answers of 128 Ki tokens each, the most that any provider can be asked for.
const MAX_OUTPUT_TOKENS: u64 = 128 * 128 * 1024;
/// No tokenizer has a longer token, runs of spaces included.
const MAX_BYTES_PER_TOKEN: u64 = 128;
/// Whether less output than these tokens is told in full is not judged.
const MIN_OUTPUT_JUDGED: u64 = 32;

impl Unsettled {
    /// The provider's own account if it is final, else an estimate.
    pub(super) fn account(&self, meter: &Meter, is_final: bool) -> (Usage, UsageSource) {
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
    pub(super) fn estimate_of_bytes(&self, meter: &Meter) -> Usage {
        self.begin.input_estimate.with(UsageClass::OutputText, estimate::tokens(meter.output_bytes))
    }
}

/// Prices the record. Usage that cannot be charged becomes `estimated`, and what no estimate can be charged for costs what
/// was reserved: nothing becomes free by being too large.
pub(super) fn charge(plane: &DataPlane, record: &mut UsageRecord, estimated: Usage) {
    let Some(price) = &record.price else { return };
    record.charge = match price.total(&record.usage) {
        Ok(total) => total,
        Err(error) => {
            plane.metrics.usage_unpriced.inc();
            tracing::error!(%error, request_id = %record.request_id, "usage without a price");
            (record.usage, record.usage_source) = (estimated, UsageSource::Estimated);
            price.total(&estimated).unwrap_or(record.reserved)
        }
    };
    if record.usage_source == UsageSource::Provider {
        record.cache_saved = price.prices.cache_saved(&record.usage);
    }
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
