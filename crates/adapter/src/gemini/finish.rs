//! Finish and block reasons.

use crate::ir::FinishReason;

/// What Google's word means. `has_call`: the candidate holds a function call; `has_content`: anything at all.
pub(super) fn read(word: &str, has_call: bool, has_content: bool) -> FinishReason {
    match word {
        "STOP" | "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" if has_call => FinishReason::ToolUse,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" | "TOO_MANY_TOOL_CALLS" | "CONTINUATION" => FinishReason::Length,
        "SAFETY"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "RECITATION"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "LANGUAGE"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED"
        | "MODEL_ARMOR" => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "MALFORMED_RESPONSE" => FinishReason::MalformedToolCall,
        "MISSING_THOUGHT_SIGNATURE" => FinishReason::MissingSignature,
        _ if has_call => FinishReason::ToolUse,
        _ if has_content => FinishReason::Stop,
        _ => FinishReason::Unknown,
    }
}

pub(super) fn write(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolUse => "STOP",
        FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => "MAX_TOKENS",
        FinishReason::Refusal | FinishReason::ContentFilter => "SAFETY",
        FinishReason::MalformedToolCall => "MALFORMED_FUNCTION_CALL",
        FinishReason::MissingSignature => "MISSING_THOUGHT_SIGNATURE",
        FinishReason::Unknown => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_decides_what_stop_means_but_not_what_a_cut_means() {
        assert_eq!(read("STOP", true, true), FinishReason::ToolUse);
        assert_eq!(read("MAX_TOKENS", true, true), FinishReason::Length);
        assert_eq!(read("MALFORMED_FUNCTION_CALL", true, true), FinishReason::ToolUse);
        assert_eq!(read("MALFORMED_FUNCTION_CALL", false, false), FinishReason::MalformedToolCall);
        assert_eq!((read("FOO", false, true), read("FOO", false, false)), (FinishReason::Stop, FinishReason::Unknown));
    }
}
