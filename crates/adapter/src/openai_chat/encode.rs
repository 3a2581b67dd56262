//! Writes requests and answers.

use crate::context::ResponseContext;
use crate::failure::BadRequest;
use crate::ir;
use crate::loss::LossReport;

pub(crate) fn path(_model: &str, _stream: bool) -> String {
    String::new()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn request(_request: &ir::Request, _loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    Err(BadRequest::malformed("This dialect cannot be translated."))
}

pub(crate) fn response(_response: &ir::Response, _context: &ResponseContext) -> Vec<u8> {
    Vec::new()
}
