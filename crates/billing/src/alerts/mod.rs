//! Who is told that a budget is nearly spent, or a balance nearly used up.
//!
//! [`Rules`] says of what: in the transaction that books spending a notification is written for each percent that is passed, once
//! for each window, so that none is lost and none is there twice. Whoever sends takes one on ([`claim`]) for a while; what is
//! not said to be done by then is anybody's again, so each is told once at least. `event.id` tells two of the same.

mod notifications;
mod rules;

#[cfg(test)]
mod tests;

pub use notifications::{
    Claimed, Fate, Notification, NotificationFilter, NotificationState, claim, drop_made_before, finish, get, list, retry,
};

pub(crate) use rules::Rules;
