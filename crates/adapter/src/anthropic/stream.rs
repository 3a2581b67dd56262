//! Reads and writes streams.

use crate::context::ResponseContext;
use crate::dispatch::{Decode, Encode};
use crate::failure::{ErrorReply, StreamFailure};
use crate::ir::StreamEvent;
use crate::sse::Event;
use crate::tap::Tap;

pub(crate) struct Decoder;

impl Decoder {
    pub fn new() -> Self {
        Self
    }
}

impl Decode for Decoder {
    fn event(&mut self, _event: Event<'_>, _out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        Err(StreamFailure::Truncated)
    }
}

pub(crate) struct Encoder;

impl Encoder {
    pub fn new(_context: ResponseContext) -> Self {
        Self
    }
}

impl Encode for Encoder {
    fn event(&mut self, _event: &StreamEvent, _out: &mut Vec<u8>) {}

    fn fail(&mut self, _error: &ErrorReply, _out: &mut Vec<u8>) {}
}

pub(crate) fn tap(_event: Event<'_>, _tap: &mut Tap) -> Result<(), StreamFailure> {
    Ok(())
}
