//! Scripted faults: which request gets one, by the name of its model or by a word of its credential.

use crate::dialect::Problem;

/// What goes wrong with one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `429`: rate limited, with the dialect's own hint when to come back.
    RateLimited,
    /// `quota`: the account has no money left.
    Quota,
    /// `401`: unauthenticated.
    Unauthenticated,
    /// `500`.
    Internal,
    /// `503`.
    Unavailable,
    /// `529`: overloaded (503 outside Anthropic).
    Overloaded,
    /// `404`: no such model.
    NoModel,
    /// `hang`: never answers.
    Hang,
    /// `hang-midstream`: stops in the middle and keeps the connection open.
    HangMidstream,
    /// `slow`: first byte and every chunk come late.
    Slow,
    /// `cut`: closes the connection in the middle of the body.
    Cut,
    /// `garbage`: an HTML page with status 200.
    Garbage,
    /// `garbage-json`: broken JSON with status 200, in a stream as one broken event.
    GarbageJson,
    /// `midstream-error`: an error event in the middle of the stream; without a stream, an error body with status 200.
    MidstreamError,
    /// `no-usage`: served, but the answer reports no usage.
    NoUsage,
    /// `refuse`: closes the connection without an answer.
    Refuse,
}

impl Fault {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "429" => Self::RateLimited,
            "quota" => Self::Quota,
            "401" => Self::Unauthenticated,
            "500" => Self::Internal,
            "503" => Self::Unavailable,
            "529" => Self::Overloaded,
            "404" => Self::NoModel,
            "hang" => Self::Hang,
            "hang-midstream" => Self::HangMidstream,
            "slow" => Self::Slow,
            "cut" => Self::Cut,
            "garbage" => Self::Garbage,
            "garbage-json" => Self::GarbageJson,
            "midstream-error" => Self::MidstreamError,
            "no-usage" => Self::NoUsage,
            "refuse" => Self::Refuse,
            _ => return None,
        })
    }

    /// The fault that a model's name asks for: `sim-<fault>` or `<any name>:<fault>`.
    pub(crate) fn of_model(model: &str) -> Option<Self> {
        let suffix = model.rsplit_once(':').and_then(|(_, suffix)| Self::named(suffix));
        suffix.or_else(|| model.strip_prefix("sim-").and_then(Self::named))
    }

    /// The fault that a credential asks for by one of its words (runs of letters and digits).
    pub(crate) fn of_credential(credential: &str) -> Option<Self> {
        credential.split(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| match word {
            "limited" => Some(Self::RateLimited),
            "quota" => Some(Self::Quota),
            "down" => Some(Self::Unavailable),
            "hanging" => Some(Self::Hang),
            "refused" => Some(Self::Refuse),
            _ => None,
        })
    }

    /// The error that the fault answers with instead of serving, if it is of that kind.
    pub(crate) fn problem(self, model: &str) -> Option<Problem> {
        match self {
            Self::RateLimited => Some(Problem::RateLimited),
            Self::Quota => Some(Problem::Quota),
            Self::Unauthenticated => Some(Problem::Unauthenticated),
            Self::Internal => Some(Problem::Internal),
            Self::Unavailable => Some(Problem::Unavailable),
            Self::Overloaded => Some(Problem::Overloaded),
            Self::NoModel => Some(Problem::NoModel(model.to_owned())),
            _ => None,
        }
    }
}

/// Whether a credential has the word `bad`: it is not known to the provider.
pub(crate) fn is_bad_credential(credential: &str) -> bool {
    credential.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "bad")
}

/// How many first requests of a model named `sim-fail-first-<N>` fail.
pub(crate) fn failing_first(model: &str) -> Option<u64> {
    model.strip_prefix("sim-fail-first-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_named_by_model_or_suffix() {
        assert_eq!(Fault::of_model("sim-429"), Some(Fault::RateLimited));
        assert_eq!(Fault::of_model("gpt-sim:midstream-error"), Some(Fault::MidstreamError));
        assert_eq!(Fault::of_model("llama3:8b"), None);
        assert_eq!(Fault::of_model("gpt-sim"), None);
        assert_eq!(failing_first("sim-fail-first-3"), Some(3));
    }

    #[test]
    fn a_credential_is_judged_by_whole_words() {
        assert!(is_bad_credential("sk-bad-1"));
        assert!(!is_bad_credential("sk-0bad0"));
        assert_eq!(Fault::of_credential("key_limited"), Some(Fault::RateLimited));
    }
}
