//! What tenants and keys are called today. Records of what was used keep ids; what is gone has no name any more.

use std::collections::{HashMap, HashSet};

use tallygate_store::{StoreError, keys, tenants};
use tallygate_types::{ApiKeyId, TenantId};

use super::usage::GroupBy;
use crate::AppState;
use crate::auth::Scope;
use crate::problem::Result;

/// The names of the tenants and keys of some calls.
#[derive(Debug, Default)]
pub struct Names {
    pub tenants: HashMap<TenantId, String>,
    pub keys: HashMap<ApiKeyId, String>,
}

impl Names {
    pub async fn of(state: &AppState, scope: Scope, wanted: impl IntoIterator<Item = (TenantId, ApiKeyId)>) -> Result<Self> {
        let (wanted_tenants, wanted_keys): (HashSet<_>, HashSet<_>) = wanted.into_iter().unzip();
        let mut names = Self::default();
        for id in wanted_tenants {
            names.tenants.extend(tenant_name(state, scope, id).await?.map(|name| (id, name)));
        }
        for id in wanted_keys {
            names.keys.extend(key_name(state, scope, id).await?.map(|name| (id, name)));
        }
        Ok(names)
    }
}

/// What people call the members of a group; models, upstreams and outcomes are called what they are.
pub async fn group_names<'a>(
    state: &AppState,
    scope: Scope,
    group_by: GroupBy,
    groups: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    for group in groups.collect::<HashSet<_>>() {
        let name = match group_by {
            GroupBy::Tenant => match group.parse() {
                Ok(id) => tenant_name(state, scope, id).await?,
                Err(_) => None,
            },
            GroupBy::Key => match group.parse() {
                Ok(id) => key_name(state, scope, id).await?,
                Err(_) => None,
            },
            GroupBy::None | GroupBy::Model | GroupBy::Upstream | GroupBy::Outcome => Some(group.to_owned()),
        };
        names.extend(name.map(|name| (group.to_owned(), name)));
    }
    Ok(names)
}

async fn tenant_name(state: &AppState, scope: Scope, id: TenantId) -> Result<Option<String>> {
    Ok(if_there(tenants::get(&state.store, scope.rows(), id).await)?.map(|tenant| tenant.name))
}

async fn key_name(state: &AppState, scope: Scope, id: ApiKeyId) -> Result<Option<String>> {
    Ok(if_there(keys::get(&state.store, scope.rows(), id).await)?.map(|key| key.name))
}

/// `None` for what the store does not have.
pub fn if_there<T>(found: std::result::Result<T, StoreError>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
