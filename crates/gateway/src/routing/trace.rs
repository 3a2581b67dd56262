//! What a decision tells of itself while it is made.

use tallygate_store::routing::SplitBy;
use tallygate_store::{CredentialEntry, RouteEntry, TargetEntry};
use tallygate_types::Timestamp;

use super::affinity::Held;
use super::capability::Lack;
use super::rule::Condition;

/// Why something is not among the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    OtherArm,
    NoWeight,
    /// The model whose price it names has none, or one in another currency.
    Unpriced,
    Lacks(Lack),
    /// By its own health.
    Out {
        why: &'static str,
        until: Option<Timestamp>,
    },
}

/// Everything may be left out: live traffic tells nobody.
pub trait Trace {
    /// Whether what no attempt is left for is looked at too.
    const IS_WRITING: bool = true;

    fn rule(&mut self, _route: &RouteEntry, _failed: Option<Condition<'_>>) {}

    fn arm(&mut self, _name: &str, _by: &SplitBy, _was_found: bool) {}

    fn affinity(&mut self, _held: &Held, _is_first: bool) {}

    fn passed_over(&mut self, _target: &TargetEntry, _credential: Option<&CredentialEntry>, _why: PassedOver) {}
}

/// Says nothing.
pub struct Silent;

impl Trace for Silent {
    const IS_WRITING: bool = false;
}
