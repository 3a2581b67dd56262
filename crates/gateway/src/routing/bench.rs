//! For the measurement of what a decision costs (`benches/plan.rs`), which stands outside of the crate.

use std::sync::Arc;

use http::HeaderMap;
use tallygate_adapter::Abilities;
use tallygate_store::{CredentialEntry, ModelEntry, TargetEntry, UpstreamEntry};
use tallygate_types::{ApiKeyId, Dialect, Pico, TenantId};
use uuid::Uuid;

use super::asked::{Asked, Media};
use super::capability::Known;
use super::plan::plan;
use super::rule::Rule;
use super::tariff::Tariffs;
use super::trace::Silent;
use super::view::{Turns, View};
use crate::health::{Readiness, Standing};

/// A model on some targets of some credentials each, all of them ready.
pub struct Planner {
    model: ModelEntry,
    view: AllReady,
    headers: HeaderMap,
    tariffs: Tariffs,
}

struct AllReady(Turns);

impl View for AllReady {
    fn upstream(&self, _: &UpstreamEntry) -> Standing {
        Standing { readiness: Readiness::Ready, in_flight: 0, latency: None, spent_today: Pico::ZERO }
    }

    fn credential(&self, upstream: &UpstreamEntry, _: &CredentialEntry) -> Standing {
        self.upstream(upstream)
    }

    fn turn(&self, line: Uuid) -> u64 {
        self.0.take(line)
    }

    fn is_repeated(&self, _: u64) -> bool {
        true
    }

    fn known(&self, _: &TargetEntry) -> Known {
        Known { abilities: Abilities::default(), max_input_tokens: None }
    }
}

impl Planner {
    pub fn new(targets: usize, credentials: usize) -> Self {
        let upstream = || {
            let credentials = (0..credentials).map(|n| Arc::new(CredentialEntry::named(n.to_string(), "s"))).collect();
            Arc::new(UpstreamEntry { credentials, ..UpstreamEntry::at("u", Dialect::OpenaiChat, "http://127.0.0.1") })
        };
        let targets = (0..targets).map(|_| TargetEntry::at(upstream(), "m")).collect();
        let view = AllReady(Turns::default());
        Self { model: ModelEntry::named("m", targets), view, headers: HeaderMap::new(), tariffs: Tariffs::default() }
    }

    /// One decision; how many attempts it gave. With `session` it is a session's.
    pub fn plan(&self, session: Option<&str>) -> usize {
        let asked = Asked {
            requested: "m",
            tenant: TenantId::from_uuid(Uuid::from_u128(1)),
            key: ApiKeyId::from_uuid(Uuid::from_u128(2)),
            project: None,
            tags: &[],
            headers: &self.headers,
            input_tokens: 100,
            output_tokens: 100,
            expected_output_tokens: 100,
            user: None,
            prompt_cache_key: session,
            conversation: None,
            has_tools: false,
            media: Media::of(b"{}"),
            prompt: None,
            pin: None,
            sealed_by: None,
            max_attempts: 4,
            tariffs: &self.tariffs,
        };
        plan(Rule { model: &self.model, route: None }, &asked, &self.view, &mut Silent).map_or(0, |plan| plan.steps.len())
    }
}
