//! The wire types.

use crate::dispatch::NameRules;
use crate::peek::PeekFields;

pub(crate) const PEEK: PeekFields = PeekFields { in_body: true, max_output_tokens: &[], candidates: &[], user: &[] };
pub(crate) const FORWARDED_HEADERS: &[&str] = &[];
pub(crate) const NAMES: NameRules = NameRules { tool_name_chars: 64, call_id_chars: 64, dots_allowed: false };
