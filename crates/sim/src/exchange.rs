//! One exchange from arrival to end: its entry in the ledger is closed exactly once, and an exchange that is dropped
//! (the client hung up, so hyper dropped the handler or the body) is closed as `client_gone`.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::conversation::Returned;
use crate::ledger::{Ended, Ledger, LedgerEntry};
use crate::usage::Usage;

/// An error of this kind from a service or a body has the connection reset, not closed.
pub(crate) const RESETS: io::ErrorKind = io::ErrorKind::ConnectionReset;

/// Holds the open entry of one request.
pub(crate) struct Exchange {
    ledger: Arc<Ledger>,
    entry: Option<LedgerEntry>,
}

impl Exchange {
    /// Enters a request in the ledger.
    pub(crate) fn begin(ledger: Arc<Ledger>, entry: LedgerEntry) -> Self {
        ledger.begin(entry.clone());
        Self { ledger, entry: Some(entry) }
    }

    /// Notes what the answer is going to be.
    pub(crate) fn answering(&mut self, status: u16, usage: Option<Usage>) {
        if let Some(entry) = &mut self.entry {
            entry.status = status;
            entry.usage = usage;
        }
    }

    /// Notes what came back of earlier reasoning.
    pub(crate) fn returned(&mut self, returned: Returned) {
        if let Some(entry) = &mut self.entry {
            entry.returned = returned;
        }
    }

    /// Notes why the request is refused.
    pub(crate) fn refused(&mut self, why: &str) {
        if let Some(entry) = &mut self.entry {
            entry.refusal = Some(why.to_owned());
        }
    }

    fn sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.entry {
            entry.bytes += bytes as u64;
        }
    }

    /// Closes the entry. Later calls change nothing.
    pub(crate) fn end(&mut self, ended: Ended, usage_reported: bool) {
        if let Some(mut entry) = self.entry.take() {
            entry.ended = ended;
            entry.usage_reported = usage_reported;
            self.ledger.end(entry);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Ended::ClientGone, false);
    }
}

/// How a body ends when all its chunks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Whole; `usage` says whether it told its usage.
    Complete { usage: bool },
    /// Whole, but an error.
    Error,
    /// The connection is closed instead of the rest.
    Cut,
    /// The connection is reset instead of the rest.
    Reset,
    /// Nothing more comes, and the connection stays open.
    Hang,
}

/// A response body that is sent chunk by chunk and tells its exchange what became of it.
pub(crate) struct PacedBody {
    chunks: VecDeque<Bytes>,
    ending: Ending,
    /// The length that is announced, for a body that is no stream.
    length: Option<u64>,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    yielded: bool,
    exchange: Option<Exchange>,
}

/// What lies between two chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A flush, so that each chunk is a write of its own.
    Flush,
    /// A pause.
    Pause(Duration),
}

impl PacedBody {
    /// A body of its own for answers that no exchange stands behind.
    pub(crate) fn plain(body: Bytes) -> Self {
        Self::whole(body, Ending::Complete { usage: false }, None)
    }

    /// A body sent at once, with its length announced. Where it is cut, its first half is sent.
    pub(crate) fn whole(body: Bytes, ending: Ending, exchange: Option<Exchange>) -> Self {
        let length = Some(body.len() as u64);
        let sent = if matches!(ending, Ending::Cut | Ending::Reset) { body.slice(..body.len() / 2) } else { body };
        // An empty first half still leaves one chunk, so that the cut is reached.
        Self { length, ..Self::stream(vec![sent], ending, Pace::Flush, exchange) }
    }

    /// A body of unannounced length, sent chunk by chunk.
    pub(crate) fn stream(chunks: Vec<Bytes>, ending: Ending, pace: Pace, exchange: Option<Exchange>) -> Self {
        let mut chunks = VecDeque::from(chunks);
        let mut exchange = exchange;
        if chunks.iter().all(Bytes::is_empty)
            && let Ending::Complete { usage } = ending
            && let Some(exchange) = &mut exchange
        {
            chunks.clear();
            exchange.end(Ended::Complete, usage);
        }
        Self { chunks, ending, length: None, pace, timer: None, yielded: true, exchange }
    }

    fn close(&mut self, ended: Ended, usage: bool) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.end(ended, usage);
        }
    }

    /// Waits for the pace before the next chunk; the first chunk goes at once.
    fn poll_pace(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        match self.pace {
            Pace::Flush => {
                self.yielded = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Pace::Pause(pause) => {
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(pause)));
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.timer = None;
            }
        }
        Poll::Ready(())
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.chunks.is_empty() && matches!(self.ending, Ending::Complete { .. } | Ending::Error) {
            return Poll::Ready(None);
        }
        if self.poll_pace(context).is_pending() {
            return Poll::Pending;
        }
        let Some(chunk) = self.chunks.pop_front() else {
            let broken = match self.ending {
                Ending::Cut => Some(io::ErrorKind::ConnectionAborted),
                Ending::Reset => Some(RESETS),
                _ => None,
            };
            if let Some(kind) = broken {
                self.close(Ended::Cut, false);
                return Poll::Ready(Some(Err(io::Error::from(kind))));
            }
            // A hanging body is never woken again: only the client's going ends it.
            return Poll::Pending;
        };
        self.yielded = false;
        if let Some(exchange) = &mut self.exchange {
            exchange.sent(chunk.len());
        }
        if self.chunks.is_empty() {
            match self.ending {
                Ending::Complete { usage } => self.close(Ended::Complete, usage),
                Ending::Error => self.close(Ended::Error, false),
                Ending::Cut | Ending::Reset | Ending::Hang => {}
            }
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && matches!(self.ending, Ending::Complete { .. } | Ending::Error)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::ledger::entry;

    fn exchange() -> (Arc<Ledger>, Exchange) {
        let ledger = Arc::new(Ledger::open(None).expect("a ledger"));
        let exchange = Exchange::begin(Arc::clone(&ledger), entry(1));
        (ledger, exchange)
    }

    #[tokio::test]
    async fn a_whole_stream_is_complete() {
        let (ledger, exchange) = exchange();
        let chunks = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let body = PacedBody::stream(chunks, Ending::Complete { usage: true }, Pace::Flush, Some(exchange));
        assert_eq!(body.collect().await.expect("a body").to_bytes(), "abc");
        let entry = &ledger.since(0)[0];
        assert_eq!((entry.ended, entry.bytes, entry.usage_reported), (Ended::Complete, 3, true));
    }

    #[tokio::test]
    async fn a_dropped_stream_is_the_clients_doing() {
        let (ledger, exchange) = exchange();
        let chunks = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let mut body = PacedBody::stream(chunks, Ending::Complete { usage: true }, Pace::Flush, Some(exchange));
        assert!(body.frame().await.is_some());
        drop(body);
        let entry = &ledger.since(0)[0];
        assert_eq!((entry.ended, entry.bytes), (Ended::ClientGone, 2));
    }

    #[tokio::test]
    async fn a_cut_body_announces_more_than_it_sends() {
        let (ledger, exchange) = exchange();
        let body = PacedBody::whole(Bytes::from_static(b"abcd"), Ending::Cut, Some(exchange));
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(body.collect().await.is_err());
        let entry = &ledger.since(0)[0];
        assert_eq!((entry.ended, entry.bytes), (Ended::Cut, 2));
    }
}
