//! Connections of clients, from their acceptance to their end: how long they may idle, and how they hear that the process
//! ends.
//!
//! A connection looks at two numbers each time it is polled and keeps one timer, which is moved when it fires and not with
//! each request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::server::graceful::GracefulConnection;
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::caller::Arrived;
use crate::nudge::Nudge;

/// Requests are served.
const OPEN: u8 = 0;
/// Those that are open go on, no other begins.
const WINDING_DOWN: u8 = 1;
/// All is over.
const CUT: u8 = 2;

/// A connection that has a request is looked after so often within the time that it may idle.
const LOOKS_PER_PATIENCE: u32 = 8;

/// All connections of an accept loop.
#[derive(Default)]
pub struct Connections {
    stage: AtomicU8,
    /// To wake each when the stage changes.
    open: Mutex<HashMap<u64, Option<Waker>>>,
    next: AtomicU64,
    ended: Notify,
}

/// The place of one among all, free again when dropped.
struct Place {
    all: Arc<Connections>,
    number: u64,
}

/// How long a connection may be without a request.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From its beginning to the head of its first request.
    pub first: Duration,
    /// From the end of an answer to the head of the next request.
    pub next: Duration,
}

impl Connections {
    /// What serves one connection, with `peer`, as long as it may be served. `serve` is the connection, given the service it is to
    /// call.
    pub fn attend<S, C>(
        self: &Arc<Self>,
        stack: S,
        peer: IpAddr,
        patience: Patience,
        serve: impl FnOnce(Attended<S>) -> C,
    ) -> Attendance<C> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(number, None);
        let begun = Instant::now();
        let requests = Arc::new(Requests { begun, ..Requests::default() });
        Attendance {
            connection: serve(Attended { stack, peer, requests: Arc::clone(&requests) }),
            timer: Alarm::at(begun + patience.first),
            requests,
            patience,
            place: Place { all: Arc::clone(self), number },
            nudge: Nudge::new(),
            is_known: false,
            is_winding_down: false,
        }
    }

    /// Has every connection end after the requests it serves.
    pub fn wind_down(&self) {
        self.enter(WINDING_DOWN);
    }

    /// Ends every connection now.
    pub fn cut(&self) {
        self.enter(CUT);
    }

    /// Waits until none is left.
    pub async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if lock(&self.open).is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn enter(&self, stage: u8) {
        self.stage.store(stage, Ordering::SeqCst);
        lock(&self.open).values().flatten().for_each(Waker::wake_by_ref);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.all.open);
        open.remove(&self.number);
        if open.is_empty() {
            self.all.ended.notify_one();
        }
    }
}

/// What is known of the requests of one connection.
struct Requests {
    begun: Instant,
    under_way: AtomicU32,
    has_begun: AtomicBool,
    /// Microseconds from `begun` to the end of the last answer.
    idle_from: AtomicU64,
    /// HTTP/2 has pings of its own, and no need to end for want of requests.
    is_shared: AtomicBool,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            under_way: AtomicU32::new(0),
            has_begun: AtomicBool::new(false),
            idle_from: AtomicU64::new(0),
            is_shared: AtomicBool::new(false),
        }
    }
}

/// One request, until its answer has been sent or given up.
struct UnderWay(Arc<Requests>);

impl Requests {
    /// When it has idled for too long; `None`: a request is under way.
    fn due(&self, patience: Patience) -> Option<Instant> {
        if !self.has_begun.load(Ordering::Acquire) {
            return Some(self.begun + patience.first);
        }
        let is_busy = self.under_way.load(Ordering::Acquire) > 0 || self.is_shared.load(Ordering::Relaxed);
        let idle_from = self.begun + Duration::from_micros(self.idle_from.load(Ordering::Relaxed));
        (!is_busy).then(|| idle_from + patience.next)
    }

    fn begin(self: &Arc<Self>, version: Version) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        if !self.has_begun.load(Ordering::Relaxed) {
            self.is_shared.store(version == Version::HTTP_2, Ordering::Relaxed);
            self.has_begun.store(true, Ordering::Release);
        }
        UnderWay(Arc::clone(self))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let idle_from = u64::try_from(self.0.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.idle_from.store(idle_from, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The service of one connection.
pub struct Attended<S> {
    stack: S,
    peer: IpAddr,
    requests: Arc<Requests>,
}

impl<S, B> Service<Request<Incoming>> for Attended<S>
where
    S: Service<Arrived<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<AttendedBody<B>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.requests.begin(request.version());
        Answering { answer: self.stack.call(Arrived { request, peer: self.peer }), under_way: Some(under_way) }
    }
}

pin_project! {
    /// A request that is being answered.
    pub struct Answering<F> {
        #[pin]
        answer: F,
        under_way: Option<UnderWay>,
    }
}

impl<F: Future<Output = Result<Response<B>, Infallible>>, B> Future for Answering<F> {
    type Output = Result<Response<AttendedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.answer.poll(cx).map(|answer| {
            let under_way = this.under_way.take();
            answer.map(|response| response.map(|body| AttendedBody { body, _under_way: under_way }))
        })
    }
}

/// A body that tells when it has been sent.
pub struct AttendedBody<B> {
    body: B,
    _under_way: Option<UnderWay>,
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for AttendedBody<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended<E> {
    /// By itself, with an error or without.
    Itself(Result<(), E>),
    Idle,
    Cut,
}

pin_project! {
    /// See [`Connections::attend`].
    pub struct Attendance<C> {
        #[pin]
        connection: C,
        #[pin]
        timer: Alarm,
        requests: Arc<Requests>,
        patience: Patience,
        place: Place,
        nudge: Nudge,
        is_known: bool,
        is_winding_down: bool,
    }
}

impl<C, E> Future for Attendance<C>
where
    C: GracefulConnection<Error = E> + Future<Output = Result<(), E>>,
{
    type Output = Ended<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.is_known {
            // A task has one waker for its whole life.
            *this.is_known = true;
            lock(&this.place.all.open).insert(this.place.number, Some(cx.waker().clone()));
        }
        match this.place.all.stage.load(Ordering::SeqCst) {
            OPEN => {}
            CUT => return Poll::Ready(Ended::Cut),
            _ => {
                if !std::mem::replace(this.is_winding_down, true) {
                    this.connection.as_mut().graceful_shutdown();
                }
            }
        }
        if let Poll::Ready(ended) = this.nudge.drive(cx, |cx| this.connection.as_mut().poll(cx)) {
            return Poll::Ready(Ended::Itself(ended));
        }
        while this.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let next = match this.requests.due(*this.patience) {
                Some(due) if due <= now => return Poll::Ready(Ended::Idle),
                Some(due) => due,
                // Its answer may end at once: so much later than it should an idle connection ends at most.
                None => now + this.patience.next / LOOKS_PER_PATIENCE,
            };
            this.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { first: Duration::from_secs(1), next: Duration::from_secs(10) };

    #[test]
    fn a_connection_is_idle_before_its_first_request_and_between_two() {
        let requests = Arc::new(Requests::default());
        let start = requests.begun;
        assert_eq!(requests.due(PATIENCE), Some(start + PATIENCE.first));
        let (one, two) = (requests.begin(Version::HTTP_11), requests.begin(Version::HTTP_11));
        drop(one);
        assert_eq!(requests.due(PATIENCE), None);
        let before = Instant::now();
        drop(two);
        let idle_from = requests.due(PATIENCE).unwrap() - PATIENCE.next;
        assert!(idle_from + Duration::from_micros(1) >= before && idle_from <= Instant::now());
    }

    #[test]
    fn one_of_http2_is_kept_by_its_pings() {
        let requests = Arc::new(Requests::default());
        drop(requests.begin(Version::HTTP_2));
        assert_eq!(requests.due(PATIENCE), None);
    }

    #[tokio::test]
    async fn all_have_ended_when_none_is_left() {
        let all = Arc::new(Connections::default());
        all.all_ended().await;
        let attend = || all.attend((), std::net::Ipv4Addr::LOCALHOST.into(), PATIENCE, |_| ());
        let (one, two) = (attend(), attend());
        drop(one);
        assert_eq!(lock(&all.open).len(), 1);
        drop(two);
        all.all_ended().await;
    }
}
