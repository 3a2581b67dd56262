//! The bodies on their way: of an answer to a client, whole or a stream that is metered as it passes, and of a request to an
//! upstream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tallygate_adapter::Pieces;

use crate::exchange::{PendingBody, StreamBody};
use crate::once::Ticket;

/// See the module.
pub enum ReplyBody {
    /// Empty once taken.
    Whole(Bytes),
    Stream(Box<StreamBody>),
    /// Begun before its answer.
    Pending(Box<PendingBody>),
    /// A stream whose request named itself.
    Once(Box<(Self, Ticket)>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => stream.poll_next(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pending(stream) => stream.poll_next(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Once(once) => Pin::new(&mut once.0).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.is_finished(),
            Self::Pending(stream) => stream.is_finished(),
            Self::Once(once) => once.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) | Self::Pending(_) | Self::Once(_) => SizeHint::default(),
        }
    }
}

/// The body of a request to an upstream.
#[derive(Default)]
pub struct SentBody(Pieces);

impl From<Pieces> for SentBody {
    fn from(pieces: Pieces) -> Self {
        Self(pieces)
    }
}

impl SentBody {
    /// In bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.next_piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
