//! A/B splits: which arm a unit belongs to.
//!
//! XXH64 over the name of the model or route and the unit, laid on the line of the arms' weights in the order they are
//! written. Nothing is stored: all replicas agree, and a changed weight moves only the units between the old mark and the new.

use tallygate_store::routing::{Split, SplitBy};

use super::affinity::Session;
use super::asked::Asked;
use super::hash::{below, of_parts};

/// The position of the arm, and whether the unit was found (else the key stood in for it).
pub fn arm(rule: &str, split: &Split, asked: &Asked<'_>, session: Option<&Session>) -> (usize, bool) {
    let hashed = |unit: &[u8]| of_parts(&[rule.as_bytes(), unit]);
    let found = match &split.by {
        SplitBy::User => asked.end_user().map(|user| hashed(user.as_bytes())),
        SplitBy::Header(name) => asked.header(name).map(|value| hashed(value.as_bytes())),
        SplitBy::Conversation => session.map(|session| hashed(&session.hash.to_le_bytes())),
        SplitBy::Tenant => Some(hashed(asked.tenant.uuid().as_bytes())),
        SplitBy::Key => Some(hashed(asked.key.uuid().as_bytes())),
    };
    let hash = found.unwrap_or_else(|| hashed(asked.key.uuid().as_bytes()));
    let sum = split.arms.iter().map(|arm| u64::from(arm.weight)).sum();
    let mut mark = below(hash, sum);
    for (position, arm) in split.arms.iter().enumerate() {
        if mark < u64::from(arm.weight) {
            return (position, found.is_some());
        }
        mark -= u64::from(arm.weight);
    }
    (0, found.is_some())
}
