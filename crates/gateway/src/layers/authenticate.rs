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
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;
    use http::Request;
    use tallygate_store::pins::{NewPin, Pin};
    use tallygate_store::responses::{Chain, ChainLimits, NewResponse, ResponseSettings, StoredResponse};
    use tallygate_types::TenantId;

    use super::super::Reply;
    use super::*;
    use crate::bad_keys::MAX_ADDRESSES;
    use crate::facts::Facts;
    use crate::kept::{Answer, Shelf};
    use crate::plane::Parts;

    /// The data plane's one way to the store, which nobody may take here.
    struct NoWay;

    impl Shelf for NoWay {
        fn keep<'a>(&'a self, _: TenantId, _: &'a ResponseSettings, _: &'a NewResponse<'a>) -> Answer<'a, ()> {
            unreachable!("the store was asked")
        }
        fn get<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, Option<StoredResponse>> {
            unreachable!("the store was asked")
        }
        fn chain<'a>(&'a self, _: TenantId, _: &'a str, _: ChainLimits) -> Answer<'a, Chain> {
            unreachable!("the store was asked")
        }
        fn delete<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, bool> {
            unreachable!("the store was asked")
        }
        fn pin<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, Option<Pin>> {
            unreachable!("the store was asked")
        }
        fn remember<'a>(&'a self, _: &'a [NewPin]) -> Answer<'a, ()> {
            unreachable!("the store was asked")
        }
        fn forget<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, ()> {
            unreachable!("the store was asked")
        }
    }

    /// Behind authentication nobody comes here.
    struct Nobody;

    impl Service<Called<()>> for Nobody {
        type Response = Response<ReplyBody>;
        type Error = Refusal;
        type Future = futures_util::future::Ready<Reply>;

        fn call(&self, _: Called<()>) -> Self::Future {
            unreachable!("a random key was let in")
        }
    }

    /// Of an issued key's form, with the right sum.
    fn well_formed(number: u64) -> String {
        const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut seed = number;
        let mut digit = || {
            // Knuth's linear congruential generator: any will do.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(BASE62[(seed >> 33) as usize % 62])
        };
        let mut key: String = "sk-tg1_".chars().chain((0..51).map(|_| digit())).collect();
        let mut rest = crc32fast::hash(key.as_bytes());
        let mut sum = [b'0'; 6];
        for slot in sum.iter_mut().rev() {
            *slot = BASE62[(rest % 62) as usize];
            rest /= 62;
        }
        key.extend(sum.map(char::from));
        key
    }

    /// Authentication answers at once, from memory: it is no future that could wait for a store, and the one thing of the data plane
    /// that reaches a store is not touched.
    #[tokio::test]
    async fn a_million_random_keys_ask_no_store_and_fill_no_memory() {
        const KEYS: u64 = 1_000_000;
        const ADDRESSES: u64 = 200_000;
        const THREADS: u64 = 4;
        let folder = tempfile::tempdir().unwrap();
        let plane = DataPlane::new(Parts { shelf: Arc::new(NoWay), ..Parts::of_nothing(folder.path()) });
        let service = Authenticate { plane: Arc::clone(&plane), inner: Nobody };
        let present = |number: u64| {
            let key = match number % 4 {
                0 | 1 => well_formed(number),
                // Claims to be one of ours, and is not.
                2 => format!("sk-tg1_{number:057}"),
                // As a declared key might be.
                _ => format!("a-key-of-somebody-else-{number}"),
            };
            let request = Request::builder().header(header::AUTHORIZATION, format!("Bearer {key}")).body(()).unwrap();
            let peer = Ipv4Addr::from_bits((number % ADDRESSES) as u32).into();
            let facts = Arc::new(Facts::new(&*plane.clock, request.headers(), peer));
            let answered = service.call(Called { request, facts }).now_or_never().expect("it waited");
            answered.err().unwrap().code
        };
        assert_eq!(key_shape(&well_formed(7)), KeyShape::Issued);
        let of_thread = |first: u64| {
            let mut codes = std::collections::BTreeMap::<&str, u64>::new();
            for number in (first..KEYS).step_by(THREADS as usize) {
                *codes.entry(present(number)).or_default() += 1;
            }
            codes
        };
        let mut codes = std::collections::BTreeMap::<&str, u64>::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|first| {
                    let of_thread = &of_thread;
                    scope.spawn(move || of_thread(first))
                })
                .collect();
            for (code, count) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
                *codes.entry(code).or_default() += count;
            }
        });
        assert_eq!(codes.values().sum::<u64>(), KEYS);
        assert_eq!(codes.keys().copied().collect::<Vec<_>>(), ["invalid_api_key", "too_many_bad_keys"]);
        assert_eq!(plane.bad_keys.len(), MAX_ADDRESSES);
        assert_eq!((plane.refusals.take().len(), plane.journal.pending()), (0, 0), "strangers are counted and not written down");
    }

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
