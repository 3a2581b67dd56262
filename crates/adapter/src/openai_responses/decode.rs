//! Reads requests and answers.

use crate::failure::{BadRequest, InvalidAnswer};
use crate::ir;
use crate::loss::LossReport;

pub(crate) fn request(_body: &[u8], _loss: &mut LossReport) -> Result<ir::Request, BadRequest> {
    Err(BadRequest::malformed("This dialect cannot be translated."))
}

pub(crate) fn response(_body: &[u8]) -> Result<ir::Response, InvalidAnswer> {
    Err(InvalidAnswer("this dialect cannot be translated".into()))
}
