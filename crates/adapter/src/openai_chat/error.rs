//! Errors.

use bytes::Bytes;

use crate::failure::{EncodedError, ErrorReply, FailureClass, UpstreamFailure};

pub(crate) fn encode(_error: &ErrorReply) -> EncodedError {
    EncodedError { status: 500, headers: Vec::new(), body: Bytes::new() }
}

pub(crate) fn decode(status: u16, _body: &[u8]) -> UpstreamFailure {
    UpstreamFailure { class: FailureClass::Server, status, message: String::new(), code: None, param: None, retry_after: None }
}
