//! What the control plane asks of the data plane that runs beside it: why a request would go where it goes, what is in
//! flight, which limits a key falls under, and how upstreams and credentials stand.

use std::pin::Pin;

use tallygate_types::live::{CredentialStanding, EffectiveLimit, ExplainRequest, Explanation, LiveRequest, UpstreamStanding};
use tallygate_types::{ApiKeyId, CredentialId, RequestId};

/// The data plane of this process. Answers come from memory where nothing else is said.
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
    /// Where limits are shared, the other processes' use is asked for, for a moment.
    fn effective_limits<'a>(
        &'a self,
        key: ApiKeyId,
        model: Option<&'a str>,
        end_user: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<EffectiveLimit>>> + Send + 'a>>;
}
