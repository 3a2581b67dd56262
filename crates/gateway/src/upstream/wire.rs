//! A connection over HTTP/1.1 that is driven by whoever uses it.
//!
//! hyper's connection is a future that somebody has to poll, as a rule a task of its own. Here it is the task that waits for
//! the answer anyway: it lets the connection work, and then looks at what has come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::client::Host;
use super::dial::Stream;
use crate::body::SentBody;
use crate::nudge::Nudge;

/// What came of a request. What was not sent comes back with the error.
pub type Answered = Result<Response<Incoming>, TrySendError<Request<SentBody>>>;

/// See the module.
pub struct Wire {
    sender: SendRequest<SentBody>,
    /// `None`: it has ended.
    connection: Option<Connection<MaybeHttpsStream<Stream>, SentBody>>,
    nudge: Nudge,
    /// Nothing was left of the answer's body at the last look: what has come since the connection brings when it is called.
    is_drained: bool,
    /// For answers that come too late: made anew when it is over, and not for each request. It calls through `nudge`, and so
    /// wakes nobody while the connection rests.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub fn new(sender: SendRequest<SentBody>, connection: Connection<MaybeHttpsStream<Stream>, SentBody>) -> Self {
        Self { sender, connection: Some(connection), nudge: Nudge::new(), is_drained: false, timer: None }
    }

    /// A request can be sent. Whether the upstream has closed the connection meanwhile is seen when it is: it comes back then.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Lets an idle connection look whether it is still there.
    pub fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.work(cx);
        self.is_ready()
    }

    /// Nobody waits for it.
    pub fn rest(&mut self) {
        self.nudge.forget();
    }

    /// Takes a request to be sent, and gives the head of its answer, for [`Self::poll_answer`].
    pub fn send(&mut self, request: Request<SentBody>) -> impl Future<Output = Answered> + Send + use<> {
        self.sender.try_send_request(request)
    }

    /// Waits for the head of an answer; `None`: it has not come by `until`.
    pub fn poll_answer(
        &mut self,
        answer: Pin<&mut impl Future<Output = Answered>>,
        until: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Answered>> {
        // To have been given a request is a call, too.
        self.work_if_called(cx);
        // Only the connection brings it, and it has just worked.
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => self.poll_late(until).map(|()| None),
        }
    }

    fn poll_late(&mut self, until: Instant) -> Poll<()> {
        if self.timer.as_ref().is_some_and(|timer| timer.deadline() <= until && !timer.is_elapsed()) {
            return Poll::Pending;
        }
        if Instant::now() >= until {
            return Poll::Ready(());
        }
        // Not moved: it may be of another thread's runtime, and that may be gone.
        let timer = self.timer.insert(Box::pin(sleep_until(until)));
        timer.as_mut().poll(&mut Context::from_waker(self.nudge.waker()))
    }

    /// What has come of a body. Only the connection brings more, and it works here; whoever gets something asks again.
    fn poll_frame(&mut self, body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut look = || Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop()));
        if !self.is_drained && !self.nudge.is_called() {
            let polled = self.nudge.quietly(&mut look);
            if polled.is_ready() {
                return polled;
            }
        }
        let connection = &mut self.connection;
        let polled = self.nudge.drive_if_called(cx, |cx| {
            if connection.as_mut().is_some_and(|open| Pin::new(open).poll(cx).is_ready()) {
                // What it still owes the answer it is told when it is dropped.
                *connection = None;
            }
            look()
        });
        self.is_drained = polled.is_pending();
        polled
    }

    /// Lets the connection read and write what it can.
    fn work(&mut self, cx: &mut Context<'_>) {
        if let Some(open) = &mut self.connection
            && self.nudge.drive(cx, |cx| Pin::new(&mut *open).poll(cx)).is_ready()
        {
            // What it still owes an answer to is told so when it is dropped.
            self.connection = None;
        }
    }

    /// The same as [`Self::work`], for whoever need not look again where nothing has come.
    fn work_if_called(&mut self, cx: &mut Context<'_>) {
        if let Some(open) = &mut self.connection
            && self.nudge.drive_if_called(cx, |cx| Pin::new(&mut *open).poll(cx)).is_ready()
        {
            self.connection = None;
        }
    }
}

/// The body of an answer, and the connection it comes over; read to its end, the connection is kept for the next request,
/// dropped before, it is closed.
pub struct AnswerBody {
    body: Incoming,
    /// `None`: it drives itself, or is needed no longer.
    wire: Option<(Box<Wire>, Arc<Host>)>,
    is_shared: bool,
}

impl AnswerBody {
    pub fn own(body: Incoming, wire: Box<Wire>, host: Arc<Host>) -> Self {
        Self { body, wire: Some((wire, host)), is_shared: false }
    }

    pub const fn shared(body: Incoming) -> Self {
        Self { body, wire: None, is_shared: true }
    }

    /// Its connection is driven elsewhere.
    pub const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// All has come: the connection is let come to rest, if it has not yet, and kept.
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Some((mut wire, host)) = self.wire.take()
            && (wire.is_ready() || wire.is_usable(cx))
        {
            host.keep(wire);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some((wire, _)) = &mut this.wire else { return Pin::new(&mut this.body).poll_frame(cx) };
        let polled = wire.poll_frame(&mut this.body, cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) if !this.body.is_end_stream() => {}
            Poll::Ready(Some(Err(_))) => this.wire = None,
            Poll::Ready(_) => this.release(cx),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
