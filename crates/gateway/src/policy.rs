//! Which models a key may use.

use std::sync::Arc;

use tallygate_store::{KeyEntry, Snapshot};

use crate::refusal::Refusal;

/// Both the key and its tenant must allow it; a list that is not set allows all.
pub fn may_use(key: &KeyEntry, model: &str) -> bool {
    let allows = |list: &Option<Arc<Vec<String>>>| list.as_ref().is_none_or(|names| names.iter().any(|name| name == model));
    allows(&key.allowed_models) && allows(&key.tenant.allowed_models)
}

/// The refusal of a name that is not configured, with names that the key could have meant.
pub fn unknown_model(asked: &str, key: &KeyEntry, snapshot: &Snapshot) -> Refusal {
    let open = snapshot.models.values().filter(|model| may_use(key, &model.name));
    Refusal::unknown_model(
        asked,
        open.flat_map(|model| std::iter::once(&*model.name).chain(model.aliases.iter().map(String::as_str))),
    )
}
