//! From the key in the header to the tenant it belongs to, in memory.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::Either;
use http::{HeaderMap, HeaderName, Response, header};
use hyper::service::Service;
use tallygate_store::keys::KeyStatus;
use tallygate_store::tenants::TenantStatus;
use tallygate_store::{KeyEntry, KeyShape, key_shape};

use super::{AtOnce, Called, at_once, plane_layer};
use crate::body::ReplyBody;
use crate::caller;
use crate::path;
use crate::plane::DataPlane;
use crate::policy;
use crate::refusal::Refusal;

/// The headers that keys come in.
static CARRIERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];
const BEARER: &[u8] = b"bearer";
/// A key was presented, and it is none that works.
const BAD_KEYS: [&str; 3] = ["invalid_api_key", "api_key_revoked", "api_key_expired"];

plane_layer! {
    /// See the module.
    AuthenticateLayer => Authenticate
}

#[derive(Clone)]
pub struct Authenticate<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S, B> Service<Called<B>> for Authenticate<S>
where
    S: Service<Called<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn call(&self, called: Called<B>) -> Self::Future {
        match self.authenticate(&called) {
            Ok(()) => Either::Right(self.inner.call(called)),
            Err(refusal) => {
                self.plane.metrics.not_authenticated(refusal.code);
                at_once(Err(self.slowed(&called, refusal)))
            }
        }
    }
}

impl<S> Authenticate<S> {
    fn authenticate<B>(&self, called: &Called<B>) -> Result<(), Refusal> {
        let Called { request, facts } = called;
        let presented = presented_key(request.headers(), request.uri().query())?;
        if str::from_utf8(&presented).map_or(KeyShape::Junk, key_shape) == KeyShape::Junk {
            return Err(Refusal::unknown_key());
        }
        let digest = self.plane.digester.digest(&presented);
        let snapshot = self.plane.snapshot.load_full();
        let Some(key) = snapshot.keys.get(&digest) else {
            // It may have been made a moment ago, where we cannot see it yet.
            let is_fresh = self.plane.store_fresh.load(Ordering::Relaxed);
            return Err(if is_fresh { Refusal::unknown_key() } else { Refusal::key_undecided() });
        };
        let checked = check(key, facts.accepted_at);
        let key = Arc::clone(key);
        let checked = checked.and_then(|()| {
            let Some(endpoint) = facts.endpoint() else { return Err(Refusal::internal()) };
            policy::check_call(&key, &endpoint.operation, || self.caller(called))
        });
        facts.learn_key(key, snapshot);
        checked
    }

    /// What a stranger is told who was refused too often already.
    fn slowed<B>(&self, called: &Called<B>, refusal: Refusal) -> Refusal {
        if !BAD_KEYS.contains(&refusal.code) {
            return refusal;
        }
        let Some(wait) = self.plane.bad_keys.note(self.caller(called), called.facts.accepted_at) else { return refusal };
        self.plane.metrics.auth_throttled.inc();
        Refusal::too_many_bad_keys(wait)
    }

    fn caller<B>(&self, called: &Called<B>) -> IpAddr {
        caller::address(called.facts.peer, called.request.headers(), &self.plane.config.trusted_proxies)
    }
}

fn check(key: &KeyEntry, now: tallygate_types::Timestamp) -> Result<(), Refusal> {
    if key.status == KeyStatus::Revoked {
        let message = "This API key has been revoked. Ask your administrator for another.";
        return Err(
            Refusal::new(tallygate_adapter::ErrorKind::Authentication, "api_key_revoked", message).with_should_retry(false)
        );
    }
    if key.expires_at.is_some_and(|expiry| expiry <= now) {
        let message = "This API key has expired. Ask your administrator for another.";
        return Err(
            Refusal::new(tallygate_adapter::ErrorKind::Authentication, "api_key_expired", message).with_should_retry(false)
        );
    }
    if key.tenant.status == TenantStatus::Suspended {
        let message =
            key.tenant.suspended_message.as_ref().map_or("This tenant is suspended. Ask your administrator.", |message| message);
        return Err(Refusal::not_allowed("tenant_suspended", message));
    }
    Ok(())
}

/// The one key of a request. SDKs put it in different places, and some in two at once; an empty one counts as none.
fn presented_key<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Result<Cow<'a, [u8]>, Refusal> {
    let in_query = path::query_value(query, "key").map(|key| match key {
        Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) => Cow::Owned(key.into_bytes()),
    });
    let mut found: Option<Cow<'a, [u8]>> = None;
    // One look at the names there are takes less than one for each name that might be.
    let carriers = headers.keys().filter(|name| CARRIERS.contains(name));
    for candidate in carriers.filter_map(|name| carried(name, headers)).map(Cow::Borrowed).chain(in_query) {
        if candidate.is_empty() {
            continue;
        }
        match &found {
            None => found = Some(candidate),
            Some(first) if *first == candidate => {}
            Some(_) => return Err(Refusal::two_keys()),
        }
    }
    found.ok_or_else(Refusal::no_key)
}

/// What a header holds that keys come in.
fn carried<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let value = headers.get(name)?.as_bytes().trim_ascii();
    if !value.is_ascii() || *name != header::AUTHORIZATION {
        return value.is_ascii().then_some(value);
    }
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER) && token.first() == Some(&b' ');
    is_bearer.then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(headers: &[(&'static str, &'static str)], query: Option<&str>) -> Result<String, &'static str> {
        let headers: HeaderMap = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        presented_key(&headers, query).map(|key| String::from_utf8(key.into_owned()).unwrap()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_key_is_found_wherever_an_sdk_puts_it() {
        for (headers, query) in [
            (&[("authorization", "Bearer k")][..], None),
            (&[("authorization", "bearer  k ")], None),
            (&[("x-api-key", "k")], None),
            (&[("x-goog-api-key", "k")], None),
            (&[("api-key", "k")], None),
            (&[], Some("alt=sse&key=k")),
            (&[("x-goog-api-key", ""), ("authorization", "Bearer k")], None),
            (&[("x-api-key", "k"), ("authorization", "Bearer k")], Some("key=k")),
        ] {
            assert_eq!(presented(headers, query), Ok("k".into()), "{headers:?} {query:?}");
        }
    }

    #[test]
    fn no_key_and_two_keys_are_different_mistakes() {
        assert_eq!(presented(&[], None), Err("missing_api_key"));
        assert_eq!(presented(&[("authorization", "Basic abc"), ("x-api-key", "")], Some("key=")), Err("missing_api_key"));
        assert_eq!(presented(&[("authorization", "Bearer a"), ("x-api-key", "b")], None), Err("ambiguous_api_key"));
        assert_eq!(presented(&[("x-goog-api-key", "a")], Some("key=b")), Err("ambiguous_api_key"));
    }
}
