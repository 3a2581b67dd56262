//! What a key may be used for, and from where.

use std::net::IpAddr;

use tallygate_store::projects::ProjectStatus;
use tallygate_store::{KeyEntry, Snapshot};

use crate::path::Operation;
use crate::refusal::Refusal;

/// The key, its project and its tenant must all allow it; a list that is not set allows all.
pub fn may_use(key: &KeyEntry, model: &str) -> bool {
    let allows = |list: Option<&Vec<String>>| list.is_none_or(|names| names.iter().any(|name| name == model));
    allows(key.allowed_models.as_deref())
        && allows(key.tenant.allowed_models.as_deref())
        && allows(key.project().and_then(|project| project.allowed_models.as_ref()))
}

/// Whether the key may call `operation` at all, from where its caller is.
pub fn check_call(key: &KeyEntry, operation: &Operation, caller: impl FnOnce() -> IpAddr) -> Result<(), Refusal> {
    let Some(terms) = &key.terms else { return Ok(()) };
    if let Some(networks) = &terms.networks {
        // From where it may be used is nobody's business who holds it elsewhere.
        let caller = caller();
        if !networks.iter().any(|network| network.contains(caller)) {
            let message = format!("This API key may not be used from {caller}. Ask your administrator.");
            return Err(Refusal::not_allowed("network_not_allowed", message));
        }
    }
    if let Some(project) = terms.project.as_ref().filter(|project| project.status == ProjectStatus::Archived) {
        let message = format!("The project `{}` of this API key is archived. Ask your administrator.", project.name);
        return Err(Refusal::not_allowed("project_archived", message));
    }
    if let Some(endpoints) = &terms.endpoints
        && !endpoints.iter().any(|name| name == operation.name())
    {
        let names: Vec<String> = endpoints.iter().map(|name| format!("`{name}`")).collect();
        let may = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let message = format!("This API key may not call `{}`; it may call {may}.", operation.name());
        return Err(Refusal::not_allowed("endpoint_not_allowed", message));
    }
    Ok(())
}

/// The refusal of a name that is not configured, with names that the key could have meant.
pub fn unknown_model(asked: &str, key: &KeyEntry, snapshot: &Snapshot) -> Refusal {
    let open = snapshot.models.values().filter(|model| may_use(key, &model.name));
    Refusal::unknown_model(
        asked,
        open.flat_map(|model| std::iter::once(&*model.name).chain(model.aliases.iter().map(String::as_str))),
    )
}
