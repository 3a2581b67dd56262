//! Scripted faults: which request gets one, by the name of its model or by a word of its credential.

use crate::dialect::{Problem, RETRY_AFTER_SECONDS};

/// What is wrong with a usage report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untrue {
    /// `usage-negative`: every count below zero.
    Negative,
    /// `usage-huge`: every count 10^18.
    Huge,
    /// `usage-inconsistent`: totals that are no sums, and more tokens cached than there are.
    Inconsistent,
    /// `usage-twice`: the right counts, said twice.
    Twice,
    /// `usage-split`: half of the right counts, then all of them.
    Split,
    /// `usage-late`: the right counts after the end of the stream.
    Late,
}

/// What goes wrong with one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `400`: the request is refused as wrong.
    BadRequest,
    /// `403`: the account is closed.
    Banned,
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
    /// `reset`: resets the connection without an answer.
    Reset,
    /// `reset-midstream`: resets the connection in the middle of the body.
    ResetMidstream,
    /// `truncate`: ends the body in its middle as if that were its end.
    Truncate,
    /// `error-200`: an error body with status 200, for a stream too.
    ErrorWith200,
    /// `huge-line`: a line of a stream (or a body) of [`crate::misbehave::HUGE_BYTES`].
    HugeLine,
    /// `gzip-bomb`: as many bytes, compressed, which nobody asked for.
    GzipBomb,
    /// `drip`: one byte a second.
    Drip,
    /// A usage that is not what it should be.
    Usage(Untrue),
}

impl Fault {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "400" => Self::BadRequest,
            "403" => Self::Banned,
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
            "reset" => Self::Reset,
            "reset-midstream" => Self::ResetMidstream,
            "truncate" => Self::Truncate,
            "error-200" => Self::ErrorWith200,
            "huge-line" => Self::HugeLine,
            "gzip-bomb" => Self::GzipBomb,
            "drip" => Self::Drip,
            "usage-negative" => Self::Usage(Untrue::Negative),
            "usage-huge" => Self::Usage(Untrue::Huge),
            "usage-inconsistent" => Self::Usage(Untrue::Inconsistent),
            "usage-twice" => Self::Usage(Untrue::Twice),
            "usage-split" => Self::Usage(Untrue::Split),
            "usage-late" => Self::Usage(Untrue::Late),
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
            Self::BadRequest => Some(Problem::invalid("The request is refused because a fault asks for it.", "messages")),
            Self::Banned => Some(Problem::Banned),
            Self::RateLimited => Some(Problem::RateLimited { seconds: RETRY_AFTER_SECONDS }),
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

/// What is set at run time for one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub fault: Fault,
    /// Seconds that a rate-limited caller is told to wait.
    pub retry_after: Option<u64>,
}

impl Rule {
    /// `fault=429&retry_after=30`; the error says what is wrong with it.
    pub(crate) fn parse(query: &str) -> Result<(String, Self), String> {
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let credential = of("credential").filter(|text| !text.is_empty()).ok_or("which credential? say credential=…")?;
        let fault =
            of("fault").and_then(Fault::named).ok_or("no such fault; they are listed in the documentation of the crate")?;
        let retry_after = match of("retry_after") {
            Some(text) => Some(text.parse().map_err(|_| "retry_after is a number of seconds")?),
            None => None,
        };
        Ok((credential.to_owned(), Self { fault, retry_after }))
    }

    /// The error that the rule answers with instead of serving, if it is of that kind.
    pub(crate) fn problem(self, model: &str) -> Option<Problem> {
        match (self.fault, self.retry_after) {
            (Fault::RateLimited, Some(seconds)) => Some(Problem::RateLimited { seconds }),
            (fault, _) => fault.problem(model),
        }
    }
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, retry_after: None }
    }
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
    fn a_rule_is_read_from_a_query() {
        let rule = Rule { fault: Fault::RateLimited, retry_after: Some(30) };
        assert_eq!(Rule::parse("credential=sk-1&fault=429&retry_after=30"), Ok(("sk-1".to_owned(), rule)));
        assert_eq!(rule.problem("m"), Some(Problem::RateLimited { seconds: 30 }));
        assert!(Rule::parse("credential=sk-1&fault=unheard-of").is_err());
        assert!(Rule::parse("fault=429").is_err());
    }

    #[test]
    fn a_credential_is_judged_by_whole_words() {
        assert!(is_bad_credential("sk-bad-1"));
        assert!(!is_bad_credential("sk-0bad0"));
        assert_eq!(Fault::of_credential("key_limited"), Some(Fault::RateLimited));
    }
}
