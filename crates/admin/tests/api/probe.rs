//! A probe without a network.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use tallygate_admin::{ProbeRequest, ProbeStep, ProbeStepName, UpstreamProbe};

/// Notes what it was asked and answers that all is well.
#[derive(Default)]
pub struct FakeProbe {
    pub asked: Mutex<Vec<ProbeRequest>>,
}

impl UpstreamProbe for FakeProbe {
    fn probe<'a>(&'a self, request: ProbeRequest) -> Pin<Box<dyn Future<Output = Vec<ProbeStep>> + Send + 'a>> {
        let fails = request.base_url.contains("unreachable");
        self.asked.lock().unwrap().push(request);
        let step = |name, ok: bool| ProbeStep {
            name,
            ok,
            duration: Duration::from_millis(3),
            detail: "seen".into(),
            fix: (!ok).then(|| "Check the port.".into()),
        };
        Box::pin(async move { vec![step(ProbeStepName::Dns, true), step(ProbeStepName::Tcp, !fails)] })
    }
}
