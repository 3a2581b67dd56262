//! Handles that are looked up once and then kept: of a model beside its entry of the snapshot, of others by their name.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus::{Counter, Histogram, IntCounter, IntGauge};
use tallygate_billing::{Outcome, UsageSource};
use tallygate_types::{IdMap, Usage};

use super::OTHER;

/// Distinct values one label may take before the rest is `other`.
pub const MAX_LABEL_VALUES: usize = 500;

/// The operations that are counted; the position is the index into the kept handles.
pub const ENDPOINTS: [&str; 13] = [
    "chat_completions",
    "responses",
    "messages",
    "generate_content",
    "embeddings",
    "count_tokens",
    "completions",
    "moderations",
    "images",
    "audio",
    "rerank",
    "models",
    OTHER,
];

/// The vendor families; the position is the index into the kept handles.
pub const PROVIDERS: [&str; 4] = ["openai", "anthropic", "gcp.gemini", OTHER];

/// The handles of one label value, made when it is first seen.
pub struct Kept<T> {
    by_name: RwLock<IdMap<String, Arc<T>>>,
}

/// Everything counted for one model, by endpoint and by whether it was streamed.
pub struct ModelHandles {
    pub(super) name: String,
    pub(super) series: [[OnceLock<ModelSeries>; 2]; ENDPOINTS.len()],
    /// By provider, class and source.
    pub(super) tokens: [[[OnceLock<IntCounter>; UsageSource::ALL.len()]; Usage::CLASSES]; PROVIDERS.len()],
    /// In the currency that was charged first; a model seldom has two.
    pub(super) billed: OnceLock<(String, Counter)>,
}

pub struct ModelSeries {
    pub(super) outcomes: [OnceLock<IntCounter>; Outcome::ALL.len()],
    pub(super) duration: Histogram,
    pub(super) first_token: Histogram,
    pub(super) per_token: Histogram,
}

pub struct TenantHandles {
    pub(super) requests: IntCounter,
    pub(super) tokens: IntCounter,
}

pub struct UpstreamHandles {
    pub(super) succeeded: IntCounter,
    pub(super) duration: Histogram,
}

pub struct EndpointHandles {
    pub(super) overhead: Histogram,
    pub(super) in_flight: IntGauge,
    pub(super) streams_open: IntGauge,
}

impl ModelHandles {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            series: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            tokens: std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new()))),
            billed: OnceLock::new(),
        }
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { by_name: RwLock::default() }
    }
}

impl<T> Kept<T> {
    pub fn forget(&self, name: &str) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The handles of `name`, made when they are first asked for; beyond the cap those of [`OTHER`].
    pub fn get(&self, name: &str, make: impl Fn(&str) -> T) -> Arc<T> {
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let other = || known.get(OTHER).filter(|_| known.len() > MAX_LABEL_VALUES);
        if let Some(handles) = known.get(name).or_else(other) {
            return Arc::clone(handles);
        }
        drop(known);
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let name = if by_name.len() < MAX_LABEL_VALUES || by_name.contains_key(name) { name } else { OTHER };
        Arc::clone(by_name.entry(name.to_owned()).or_insert_with(|| Arc::new(make(name))))
    }
}

/// The position in [`ENDPOINTS`].
pub fn index(endpoint: &str) -> usize {
    ENDPOINTS.iter().position(|known| *known == endpoint).unwrap_or(ENDPOINTS.len() - 1)
}
