//! What the control plane asks of the data plane that runs beside it: why a request would go where it goes, what is in
//! flight, which limits a key falls under, and how upstreams and credentials stand.

use tallygate_types::live::{CredentialStanding, EffectiveLimit, ExplainRequest, Explanation, LiveRequest, UpstreamStanding};
use tallygate_types::{ApiKeyId, CredentialId, RequestId};

/// The data plane of this process. Answers come from memory.
pub trait LivePlane: Send + Sync + 'static {
    /// Decides as for live traffic, with the health of this moment, and asks no upstream.
    fn explain(&self, request: &ExplainRequest) -> Explanation;
    /// Oldest first.
    fn in_flight(&self) -> Vec<LiveRequest>;
    /// Ends a request: its upstream is left, its client is told. False if it is not in flight here.
    fn cancel(&self, request: RequestId) -> bool;
    fn credentials(&self) -> Vec<CredentialStanding>;
    fn upstreams(&self) -> Vec<UpstreamStanding>;
    /// Forgets what is held against a credential. False if the data plane does not know it.
    fn reactivate(&self, credential: CredentialId) -> bool;
    /// Every limit that requests of the key fall under, in the order they are asked: of all models the tenant has limits for, or
    /// of the one that is named; of each end user, or of one. `None`: the data plane does not know the key.
    fn effective_limits(&self, key: ApiKeyId, model: Option<&str>, end_user: Option<&str>) -> Option<Vec<EffectiveLimit>>;
}
