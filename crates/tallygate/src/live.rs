//! The data plane as the control plane sees it.

use std::pin::Pin;
use std::sync::Arc;

use tallygate_admin::LivePlane;
use tallygate_gateway::DataPlane;
use tallygate_types::live::{CredentialStanding, EffectiveLimit, ExplainRequest, Explanation, LiveRequest, UpstreamStanding};
use tallygate_types::{ApiKeyId, CredentialId, RequestId};

/// The data plane of this process.
pub struct Live(pub Arc<DataPlane>);

impl LivePlane for Live {
    fn explain(&self, request: &ExplainRequest) -> Explanation {
        self.0.explain(request)
    }

    fn in_flight(&self) -> Vec<LiveRequest> {
        self.0.live_requests()
    }

    fn cancel(&self, request: RequestId) -> bool {
        self.0.cancel(request)
    }

    fn credentials(&self) -> Vec<CredentialStanding> {
        self.0.credential_standings()
    }

    fn upstreams(&self) -> Vec<UpstreamStanding> {
        self.0.upstream_standings()
    }

    fn reactivate(&self, credential: CredentialId) -> bool {
        self.0.reactivate(credential)
    }

    fn effective_limits<'a>(
        &'a self,
        key: ApiKeyId,
        model: Option<&'a str>,
        end_user: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<EffectiveLimit>>> + Send + 'a>> {
        Box::pin(self.0.effective_limits(key, model, end_user))
    }
}
