//! What a body that passes untouched must leave behind all the same: signatures its upstream would refuse.
//!
//! Each dialect's folder has a `strip`, which gives the body without them, or `None` where there are none. A body is only
//! parsed where it holds what is looked for.

use serde_json::Value;

use crate::profile::Profiles;

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strip {
    /// What this gateway put into answers of other vendors, so that clients bring it back.
    Foreign,
    /// All earlier reasoning and every signature: the upstream refused one.
    Everything,
}

/// Begins every signature of ours that carries another vendor's, or nobody's.
pub(crate) const CARRIER: &str = "tg1:";

/// Where the body goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub model: &'a str,
    pub profiles: &'a Profiles,
}

pub(crate) fn is_carrier(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(CARRIER))
}

/// The objects in the list under `field`.
pub(crate) fn list<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}
