//! A small question to an upstream, beside the requests that are sold: no body, a whole answer, one try.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Limited};
use tallygate_store::{CredentialEntry, UpstreamEntry};
use tokio::time::timeout;

use super::{Door, ToSend, chain, request_headers};
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
    let target = door.target(&asking.path).map_err(|error| unavailable(&error))?;
    let headers = request_headers(upstream.dialect, door.credential.as_ref(), asking.request_id, false, std::iter::empty())
        .map_err(|error| unavailable(&error))?;
    let to_send = ToSend { method: asking.method, target, headers, body: SentBody::default() };
    let exchange = async {
        let response = door.ask(to_send).await.map_err(|error| unavailable(&chain(&error)))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), plane.config.max_answer_bytes);
        let body = body.collect().await.map_err(|error| unavailable(&error))?.to_bytes();
        Ok((status, body))
    };
    timeout(TIMEOUT, exchange).await.map_err(|_| unavailable(&"it did not answer in time"))?
}
