//! A streamed answer on its way to the client.
//!
//! Nothing runs beside it: the client's connection polls it, it polls the upstream, so the upstream is read no faster than
//! the client reads. Dropping it, because the client left, drops the upstream's connection with it and settles.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Body as _;
use tallygate_adapter::kept::not_kept;
use tallygate_adapter::{ErrorKind, Hop, Next, ResponseStream};
use tallygate_billing::Outcome;
use tokio::time::Instant;

use super::attempt::Opened;
use super::failure::{Broken, CONNECTION_LOST, IDLE_TIMEOUT, TOTAL_TIMEOUT, cut_reason, cut_refusal, timed_out};
use super::keep::{Closing, Keeper};
use super::line::{Line, Round};
use crate::alarm::Alarm;
use crate::facts::Facts;
use crate::in_flight::Interruption;
use crate::metrics::Present;
use crate::refusal::Refusal;
use crate::settle::{Ending, Settlement};
use crate::upstream::AnswerBody;

/// Frames that are ready together go out as one piece of up to this size.
const MAX_PIECE_BYTES: usize = 32 * 1024;
/// A running stream is checkpointed this often ...
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
/// ... or after this much output, about 256 tokens.
const CHECKPOINT_OUTPUT_BYTES: u64 = 1_024;
/// The meter is only asked after this many bytes of the stream, for asking it is not free.
const CHECKPOINT_STREAM_BYTES: usize = 8 * 1024;
/// Pieces that follow each other so closely are gathered.
const PRESSING_INTERVAL: Duration = Duration::from_millis(1);
/// After the terminal event the upstream has this long to close, so that its connection can be used again.
const TAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is driven by a task of its own hands out one chunk at a time and gets its turn between our looks: what it
/// has in hand comes in the same piece, one write instead of many, and if it has nothing a look costs next to nothing. Two,
/// because hyper's server looks a second time at once.
const LOOKS: u8 = 2;

/// See the module.
pub struct StreamBody {
    source: Source,
    line: Arc<Line>,
    stream: ResponseStream,
    out: Vec<Bytes>,
    /// `None`: settled.
    settlement: Option<Settlement>,
    received: usize,
    max_bytes: usize,
    idle_timeout: Duration,
    /// When the upstream last sent something; the timer is only moved when it fires.
    active_at: Instant,
    timer: Pin<Box<Alarm>>,
    /// It came close behind the one before: there may be more in hand.
    is_pressing: bool,
    /// When the client last got something.
    sent_at: Instant,
    /// What is sent into a silence, and after how long; `None` where the stream has no room for it.
    keep_alive: Option<(&'static [u8], Duration)>,
    ends_at: Instant,
    is_done: bool,
    /// The first piece is sent; it never waits for a second.
    has_begun: bool,
    /// Looks left before what is ready goes out.
    looks: u8,
    facts: Arc<Facts>,
    checkpoint: Checkpoint,
    /// Keeps the answer, once its end has come.
    keeper: Option<Keeper>,
    closing: Option<Closing>,
    _open: Present,
}

type Head = Result<Response<AnswerBody>, Broken>;

/// Where more comes from.
enum Source {
    Call(AnswerBody),
    /// The answer goes on in another call, which is being made.
    NextCall(Pin<Box<dyn Future<Output = (Round, Head)> + Send>>),
    /// Nothing more will come.
    Over,
}

impl Source {
    /// More may be in hand than could be had so far.
    const fn is_driven_elsewhere(&self) -> bool {
        matches!(self, Self::Call(body) if body.is_shared())
    }
}

/// What was last told to the journal.
struct Checkpoint {
    at: Instant,
    output_bytes: u64,
    received: usize,
}

impl StreamBody {
    pub fn new(opened: Opened, settlement: Settlement, endpoint: &'static str, keeper: Option<Keeper>) -> Self {
        let Opened { upstream, stream, out, received, line, ends_at, is_complete } = opened;
        let idle_timeout = line.times.idle;
        let plane = settlement.plane();
        let now = Instant::now();
        let keep_alive = stream.keep_alive().map(|bytes| (bytes, plane.config.stream_keep_alive));
        let mut body = Self {
            source: Source::Call(upstream),
            line: Arc::new(line),
            out,
            received,
            max_bytes: plane.config.max_stream_bytes,
            idle_timeout,
            active_at: now,
            timer: Box::pin(Alarm::at(now + keep_alive.map_or(idle_timeout, |(_, after)| idle_timeout.min(after)))),
            is_pressing: true,
            sent_at: now,
            keep_alive,
            ends_at,
            is_done: false,
            has_begun: false,
            looks: 0,
            facts: Arc::clone(settlement.facts()),
            checkpoint: Checkpoint { at: now, output_bytes: 0, received },
            keeper,
            closing: None,
            _open: plane.metrics.streaming(endpoint),
            stream,
            settlement: Some(settlement),
        };
        body.facts.live.content_received();
        body.remember();
        body.hold_end();
        if is_complete {
            body.complete();
        }
        body
    }

    pub fn is_finished(&self) -> bool {
        self.is_over() && self.out.is_empty() && self.closing.is_none()
    }

    const fn is_over(&self) -> bool {
        matches!(self.source, Source::Over)
    }

    /// The next piece for the client: everything that is ready, up to a bound.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Twice, if what had ended goes on in another call.
        while let Some(why) = self.facts.live.interruption()
            && !self.is_over()
        {
            self.interrupt(why);
        }
        let had = self.out.len();
        let mut in_hand: usize = self.out.iter().map(Bytes::len).sum();
        while !self.is_over() && self.closing.is_none() && in_hand < MAX_PIECE_BYTES {
            let before = self.out.len();
            if self.poll_upstream(cx).is_pending() {
                break;
            }
            in_hand += self.out[before..].iter().map(Bytes::len).sum::<usize>();
            // One that comes after a while comes alone, most likely; and if it does not, hyper asks for the next before it writes.
            if in_hand > 0 && !self.is_pressing {
                break;
            }
        }
        if self.poll_closing(cx).is_pending() {
            return self.take_piece().map_or(Poll::Pending, |piece| Poll::Ready(Some(piece)));
        }
        if self.out.len() > had && self.has_begun && self.source.is_driven_elsewhere() {
            self.looks = LOOKS;
        }
        if self.looks > 0 && !self.is_over() && in_hand < MAX_PIECE_BYTES {
            self.looks -= 1;
            // Woken after others had their turn, not before.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        if let Some(piece) = self.take_piece() {
            self.has_begun = true;
            return Poll::Ready(Some(piece));
        }
        if self.is_over() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Takes one step; `Pending` if there is nothing to take.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let upstream = match &mut self.source {
            Source::Over => return Poll::Ready(()),
            Source::Call(upstream) => upstream,
            Source::NextCall(call) => {
                return match call.as_mut().poll(cx) {
                    Poll::Ready((round, head)) => {
                        self.next_call(&round, head);
                        Poll::Ready(())
                    }
                    Poll::Pending => self.poll_limits(cx),
                };
            }
        };
        match Pin::new(upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.push(data);
                }
                Poll::Ready(())
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(())
            }
            Poll::Ready(Some(Err(_))) if self.is_done => {
                self.finish();
                Poll::Ready(())
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "the upstream's connection broke");
                self.cut(CONNECTION_LOST, Refusal::unavailable("The upstream broke off in the middle of its answer.", None));
                Poll::Ready(())
            }
            Poll::Pending => self.poll_limits(cx),
        }
    }

    fn push(&mut self, data: Bytes) {
        // Bytes that drip and never come to the end of a line are silence.
        if memchr::memrchr2(b'\n', b'}', &data).is_some() {
            let now = Instant::now();
            self.is_pressing = now.duration_since(self.active_at) < PRESSING_INTERVAL;
            self.active_at = now;
        }
        self.received += data.len();
        if self.received > self.max_bytes {
            let message = format!("The answer grew beyond {} bytes.", self.max_bytes);
            return self.cut("answer_too_large", Refusal::new(ErrorKind::UpstreamInvalid, "answer_too_large", message));
        }
        match self.stream.push(data, &mut self.out) {
            Ok(progress) => {
                self.remember();
                self.is_done |= progress.done;
                if progress.done {
                    self.hold_end();
                }
                self.keep_checkpoint();
            }
            Err(failure) => self.cut(cut_reason(&failure), cut_refusal(&failure)),
        }
    }

    /// Before the client has the call: its next request may come before this answer has ended.
    fn remember(&mut self) {
        let keepsakes = self.stream.take_keepsakes();
        if let Some(settlement) = self.settlement.as_ref().filter(|_| !keepsakes.is_empty()) {
            settlement.remember(keepsakes);
        }
    }

    /// Nothing has come: is it time to give up?
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Who is heard by the one is heard by the other; whether it was interrupted before is known.
        if !self.timer.is_heard(cx)
            && let Poll::Ready(why) = self.facts.live.poll_interrupted(cx)
        {
            self.interrupt(why);
            return Poll::Ready(());
        }
        let patience = if self.is_done { TAIL_TIMEOUT } else { self.patience() };
        let until = (self.active_at + patience).min(self.ends_at);
        let speaks = self.keep_alive.map(|(bytes, after)| (bytes, self.sent_at + after));
        let next = speaks.map_or(until, |(_, at)| until.min(at));
        if self.timer.deadline() > next {
            self.timer.as_mut().reset(next);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= until {
                if self.is_done {
                    self.finish();
                } else if now >= self.ends_at {
                    self.cut(TOTAL_TIMEOUT, timed_out("The upstream took longer over its answer than it may."));
                } else {
                    self.cut(IDLE_TIMEOUT, timed_out("The upstream fell silent in the middle of its answer."));
                }
                return Poll::Ready(());
            }
            if let Some((bytes, _)) = speaks.filter(|(_, at)| now >= *at) {
                // Only whole events pass here, so it never falls into the middle of one.
                self.out.push(Bytes::from_static(bytes));
                // Said once, not again at the next look before this one is taken.
                self.sent_at = now;
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    fn patience(&self) -> Duration {
        self.settlement.as_ref().map_or(self.idle_timeout, |settlement| settlement.plane().overload.patience(self.idle_timeout))
    }

    /// Somebody wants it to end.
    fn interrupt(&mut self, why: Interruption) {
        if self.is_done {
            self.finish();
        } else {
            if let Some(settlement) = &self.settlement {
                settlement.plane().metrics.exchange.interrupted(why);
            }
            self.cut(why.as_str(), why.refusal());
        }
    }

    /// Tells the journal now and then how far the stream has come.
    fn keep_checkpoint(&mut self) {
        let last = &mut self.checkpoint;
        let is_due = self.active_at.duration_since(last.at) >= CHECKPOINT_INTERVAL;
        if !is_due && self.received - last.received < CHECKPOINT_STREAM_BYTES {
            return;
        }
        last.received = self.received;
        let output_bytes = self.stream.output_bytes();
        if is_due || output_bytes >= last.output_bytes + CHECKPOINT_OUTPUT_BYTES {
            (last.at, last.output_bytes) = (self.active_at, output_bytes);
            self.facts.live.answered(output_bytes);
            if let Some(settlement) = &self.settlement {
                settlement.checkpoint(output_bytes);
            }
        }
    }

    /// An answer that is to be kept ends for the client when it is: its last event says whether it could be.
    fn hold_end(&mut self) {
        match self.keeper.take().map(|keeper| keeper.close(&mut self.out)) {
            Some(Ok(closing)) => self.closing = Some(closing),
            Some(Err(keeper)) => self.keeper = Some(keeper),
            None => {}
        }
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(closing) = &mut self.closing {
            let is_kept = ready!(closing.keeping.as_mut().poll(cx));
            let end = std::mem::take(&mut closing.end);
            self.closing = None;
            self.out.push(if is_kept { end } else { not_kept(&end) });
        }
        Poll::Ready(())
    }

    /// Nothing more will come from the upstream.
    fn finish(&mut self) {
        match self.stream.end(&mut self.out) {
            Ok(Next::Done(())) => {
                self.remember();
                self.hold_end();
                self.complete();
            }
            Ok(Next::Again(hop)) => {
                self.remember();
                self.call_again(hop);
            }
            Err(failure) => self.cut(cut_reason(&failure), cut_refusal(&failure)),
        }
    }

    fn call_again(&mut self, hop: Hop) {
        let Some(settlement) = &self.settlement else { return };
        let mut round = Round::start(&*settlement.plane().clock);
        let line = Arc::clone(&self.line);
        self.is_done = false;
        self.active_at = Instant::now();
        self.source = Source::NextCall(Box::pin(async move {
            let head = line.ask(hop, &mut round, None).await;
            (round, head)
        }));
    }

    fn next_call(&mut self, round: &Round, head: Head) {
        self.active_at = Instant::now();
        let Some(settlement) = &mut self.settlement else { return };
        let record = self.line.ended(settlement.plane(), round, head.as_ref().err());
        settlement.went_on(record);
        match head {
            Ok(response) => self.source = Source::Call(response.into_body()),
            Err(broken) => self.cut(broken.reason(), broken.into_refusal()),
        }
    }

    /// All came: settle before the last piece goes out, so that whoever has seen the end finds it recorded.
    fn complete(&mut self) {
        let meter = self.stream.meter();
        self.end(Ending::Complete(meter));
    }

    /// It broke off: tell the client in band and settle what was delivered.
    fn cut(&mut self, reason: &'static str, refusal: Refusal) {
        let refusal = refusal.with_reason(reason);
        let meter = self.stream.meter();
        if let Some(settlement) = &mut self.settlement {
            settlement.plane().metrics.exchange.cut(self.line.upstream(), reason);
            settlement.broke_off(reason, refusal.outcome);
            self.stream.fail(&refusal.to_reply(self.facts.request_id), &mut self.out);
        }
        let outcome = if refusal.outcome == Outcome::ClientError { Outcome::UpstreamError } else { refusal.outcome };
        self.end(Ending::Cut { outcome, code: refusal.code, meter });
    }

    fn end(&mut self, ending: Ending) {
        self.source = Source::Over;
        if let Some(mut settlement) = self.settlement.take() {
            let held = self.closing.as_ref().map_or(0, |closing| closing.end.len() as u64);
            settlement.bytes_out += held + self.out.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
            settlement.end(ending);
        }
    }

    fn take_piece(&mut self) -> Option<Bytes> {
        let piece = match self.out.len() {
            0 => return None,
            1 => self.out.pop()?,
            _ => {
                let mut joined = BytesMut::with_capacity(self.out.iter().map(Bytes::len).sum());
                for bytes in self.out.drain(..) {
                    joined.extend_from_slice(&bytes);
                }
                joined.freeze()
            }
        };
        if let Some(settlement) = &mut self.settlement {
            settlement.bytes_out += piece.len() as u64;
            self.facts.live.sent(settlement.bytes_out);
        }
        // It came just now.
        self.sent_at = self.sent_at.max(self.active_at);
        Some(piece).filter(|piece| !piece.is_empty())
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            if std::thread::panicking() {
                // No guard stands around a stream; dropped so, the settlement says by itself that it was a bug.
                settlement.plane().metrics.panics.inc();
                return;
            }
            let meter = self.stream.meter();
            // Many clients hang up at the terminal event and do not wait for the connection's end: they have it all.
            settlement.end(if self.is_done {
                Ending::Complete(meter)
            } else {
                Ending::Cut { outcome: Outcome::ClientGone, code: "client_gone", meter }
            });
        }
    }
}
