//! A small question to an upstream, beside the requests that are sold: no body, a whole answer, one try.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Limited};
use tallygate_store::{CredentialEntry, UpstreamEntry};
use tokio::time::{Instant, timeout_at};

use super::{Door, ToSend, chain};
use crate::body::SentBody;
use crate::plane::DataPlane;
use crate::refusal::Refusal;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// To the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked.
pub struct Asking<'a> {
    pub method: Method,
    /// With its version and query.
    pub path: String,
    pub request_id: &'a str,
}

/// The status and body of the answer.
pub async fn ask(
    plane: &DataPlane,
    upstream: &UpstreamEntry,
    credential: Option<&std::sync::Arc<CredentialEntry>>,
    asking: Asking<'_>,
) -> Result<(u16, Bytes), Refusal> {
    let unavailable = |why: &dyn std::fmt::Display| {
        tracing::warn!(upstream = %upstream.name, %why, "an upstream could not be asked");
        Refusal::unavailable("The upstream cannot be asked right now. Try again shortly.", None)
    };
    let door = Door::of(&plane.pool, upstream, credential, CONNECT_TIMEOUT);
    let door = door.map_err(|error| unavailable(&error))?;
    let to_send = ToSend {
        method: asking.method,
        path: &asking.path,
        request_id: asking.request_id,
        stream: false,
        headers: &[],
        body: SentBody::default(),
    };
    let request = door.request(to_send).map_err(|error| unavailable(&error))?;
    let now = Instant::now();
    let until = now + TIMEOUT;
    let exchange = async {
        let response = door.ask(request, now, until).await.map_err(|error| unavailable(&chain(&error)))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), plane.config.max_answer_bytes);
        let body = body.collect().await.map_err(|error| unavailable(&error))?.to_bytes();
        Ok((status, body))
    };
    timeout_at(until, exchange).await.map_err(|_| unavailable(&"it did not answer in time"))?
}
