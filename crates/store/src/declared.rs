//! Resources the configuration file declares: found by name, made or brought to what the file says, and left alone, without
//! a new version, when they already are so. What they touch is marked `managed_by = "file"`.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use tallygate_types::TenantId;

use crate::budgets::{self, BudgetSettings, SpendingBudget};
use crate::credentials::{self, CredentialSettings, NewCredential};
use crate::keys::{self, ApiKey, KeySettings, KeyStatus, NewKey};
use crate::models::{self, Model, ModelSettings};
use crate::page::MAX_PAGE_ROWS;
use crate::projects::{self, Project, ProjectSettings};
use crate::responses::ResponseSettings;
use crate::routes::{self, Route, RouteSettings};
use crate::routing::{Capabilities, RouteMatch, RoutingPolicy, TargetCost};
use crate::targets::{self, TargetSettings};
use crate::tenants::{self, Tenant, TenantSettings};
use crate::upstreams::{self, Upstream, UpstreamSettings};
use crate::{BillingTerms, Budget, Limits, ManagedBy, PageRequest, StoreError, TenantScope, Tx};

/// What a declaration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Created,
    Updated,
    Unchanged,
}

/// `[[upstreams]]`
#[derive(Debug, Clone)]
pub struct DeclaredUpstream {
    /// Its status is for one that is made; what was disabled through the API stays so.
    pub settings: UpstreamSettings,
    pub credentials: Vec<DeclaredCredential>,
}

#[derive(Debug, Clone)]
pub struct DeclaredCredential {
    pub settings: CredentialSettings,
    pub secret: SecretString,
}

/// `[[models]]`, but for its price, which is billing's.
#[derive(Debug, Clone)]
pub struct DeclaredModel {
    pub name: String,
    pub aliases: Vec<String>,
    pub strict: bool,
    pub routing: RoutingPolicy,
    pub targets: Vec<DeclaredTarget>,
}

/// `[[routes]]`
#[derive(Debug, Clone)]
pub struct DeclaredRoute {
    pub name: String,
    pub position: u32,
    pub matches: RouteMatch,
    pub routing: RoutingPolicy,
    pub targets: Vec<DeclaredTarget>,
}

#[derive(Debug, Clone)]
pub struct DeclaredTarget {
    /// The upstream's name.
    pub upstream: String,
    pub model: String,
    pub weight: u32,
    pub priority: u32,
    pub arm: Option<String>,
    pub price_model: Option<String>,
    pub cost: Option<TargetCost>,
    pub capabilities: Capabilities,
}

impl DeclaredTarget {
    /// Of weight 1 and priority 1.
    pub fn at(upstream: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            model: model.into(),
            weight: 1,
            priority: 1,
            arm: None,
            price_model: None,
            cost: None,
            capabilities: Capabilities::default(),
        }
    }
}

/// `[[tenants]]`, but for its keys.
#[derive(Debug, Clone)]
pub struct DeclaredTenant {
    pub name: String,
    pub time_zone: String,
    pub limits: Limits,
    pub model_limits: BTreeMap<String, Limits>,
    pub end_user_limits: Limits,
    pub budget: Option<Budget>,
    pub billing: BillingTerms,
    pub allowed_models: Option<Vec<String>>,
    pub responses: ResponseSettings,
}

/// An upstream with its credentials. Credentials an earlier file declared and this one does not are deleted; those made
/// through the API stay. An upstream that was disabled through the API stays disabled.
pub async fn upstream(tx: &mut Tx, declared: &DeclaredUpstream) -> Result<(Upstream, Applied), StoreError> {
    let mut settings = declared.settings.clone();
    let (stored, mut applied) = match upstreams::find_by_name(&mut *tx, &settings.name).await? {
        None => (upstreams::insert(tx, &settings, ManagedBy::File).await?, Applied::Created),
        Some(stored) => {
            settings.status = stored.status;
            let same_proxy = upstreams::has_proxy(tx, stored.id, &settings.proxy).await?;
            // What is stored shows a masked proxy: compare everything else.
            let same = UpstreamSettings { proxy: settings.proxy.clone(), ..stored.settings() } == settings;
            if same && same_proxy && stored.managed_by == ManagedBy::File {
                (stored, Applied::Unchanged)
            } else {
                let updated = upstreams::replace(tx, stored.id, stored.version, &settings, Some(ManagedBy::File)).await?;
                (updated, Applied::Updated)
            }
        }
    };
    let existing = credentials::list(&mut *tx, stored.id).await?;
    for wanted in &declared.credentials {
        let changed = match existing.iter().find(|credential| credential.name == wanted.settings.name) {
            None => {
                let settings = wanted.settings.clone();
                let new = NewCredential { upstream_id: stored.id, settings, secret: wanted.secret.clone() };
                credentials::insert(tx, &new, ManagedBy::File).await?;
                true
            }
            Some(credential) => update_credential(tx, credential, wanted).await?,
        };
        if changed && applied == Applied::Unchanged {
            applied = Applied::Updated;
        }
    }
    for credential in existing {
        let declared = declared.credentials.iter().any(|wanted| wanted.settings.name == credential.name);
        if credential.managed_by == ManagedBy::File && !declared {
            credentials::delete(tx, credential.id, credential.version).await?;
            if applied == Applied::Unchanged {
                applied = Applied::Updated;
            }
        }
    }
    Ok((stored, applied))
}

async fn update_credential(
    tx: &mut Tx,
    stored: &credentials::Credential,
    wanted: &DeclaredCredential,
) -> Result<bool, StoreError> {
    let (mut version, mut changed) = (stored.version, false);
    if tx.fingerprint(wanted.secret.expose_secret()) != stored.fingerprint {
        version = credentials::replace_secret(tx, stored.id, version, &wanted.secret).await?.version;
        changed = true;
    }
    // What was disabled or is being retired through the API stays so.
    let settings = CredentialSettings { status: stored.status, retires_at: stored.retires_at, ..wanted.settings.clone() };
    let same = CredentialSettings { proxy: settings.proxy.clone(), ..stored.settings() } == settings;
    if !same || !credentials::has_proxy(tx, stored.id, &settings.proxy).await? {
        credentials::update(tx, stored.id, version, &settings).await?;
        changed = true;
    }
    if stored.managed_by != ManagedBy::File {
        credentials::mark_managed_by_file(tx, stored.id).await?;
        changed = true;
    }
    Ok(changed)
}

/// A model and its targets; the upstreams they name must exist. One disabled through the API stays disabled.
///
/// Models may be charged by the price of one that is declared later: call [`check`] when all are declared.
pub async fn model(tx: &mut Tx, declared: &DeclaredModel) -> Result<(Model, Applied), StoreError> {
    let mut settings = ModelSettings {
        aliases: declared.aliases.clone(),
        strict: declared.strict,
        routing: declared.routing.clone(),
        ..ModelSettings::named(&declared.name, known_targets(tx, &declared.targets).await?)
    };
    match models::find_by_name(&mut *tx, &declared.name).await? {
        None => Ok((models::insert(tx, &settings, ManagedBy::File).await?, Applied::Created)),
        Some(stored) => {
            settings.status = stored.status;
            if stored.managed_by == ManagedBy::File && stored.settings() == settings {
                return Ok((stored, Applied::Unchanged));
            }
            let updated = models::replace(tx, stored.id, stored.version, &settings, Some(ManagedBy::File)).await?;
            Ok((updated, Applied::Updated))
        }
    }
}

/// A route and its targets. One disabled through the API stays disabled.
pub async fn route(tx: &mut Tx, declared: &DeclaredRoute) -> Result<(Route, Applied), StoreError> {
    let mut settings = RouteSettings {
        position: Some(declared.position),
        matches: declared.matches.clone(),
        routing: declared.routing.clone(),
        ..RouteSettings::named(&declared.name, known_targets(tx, &declared.targets).await?)
    };
    match routes::find_by_name(&mut *tx, &declared.name).await? {
        None => Ok((routes::insert(tx, &settings, ManagedBy::File).await?, Applied::Created)),
        Some(stored) => {
            settings.status = stored.status;
            if stored.managed_by == ManagedBy::File && stored.settings() == settings {
                return Ok((stored, Applied::Unchanged));
            }
            let updated = routes::replace(tx, stored.id, stored.version, &settings, Some(ManagedBy::File)).await?;
            Ok((updated, Applied::Updated))
        }
    }
}

/// Deletes the routes an earlier file declared and this one, with these names, does not; returns them. A rule that nobody
/// declares any more must not go on deciding.
pub async fn remove_other_routes(tx: &mut Tx, declared: &[&str]) -> Result<Vec<Route>, StoreError> {
    let mut gone = routes::list(&mut *tx).await?;
    gone.retain(|route| route.managed_by == ManagedBy::File && !declared.contains(&route.name.as_str()));
    for route in &gone {
        routes::delete(tx, route.id, route.version).await?;
    }
    Ok(gone)
}

/// What can only be looked at when everything is declared.
pub async fn check(tx: &mut Tx) -> Result<(), StoreError> {
    targets::check_price_models(tx).await
}

/// The targets as they are read back: by priority.
async fn known_targets(tx: &mut Tx, declared: &[DeclaredTarget]) -> Result<Vec<TargetSettings>, StoreError> {
    let mut known = Vec::with_capacity(declared.len());
    for target in declared {
        let upstream = upstreams::find_by_name(&mut *tx, &target.upstream).await?;
        let upstream = upstream.ok_or_else(|| StoreError::not_found("upstream", &target.upstream))?;
        known.push(TargetSettings {
            upstream_id: upstream.id,
            upstream_model: target.model.clone(),
            weight: target.weight,
            priority: target.priority,
            arm: target.arm.clone(),
            price_model: target.price_model.clone(),
            cost: target.cost,
            capabilities: target.capabilities,
        });
    }
    known.sort_by_key(|target| target.priority);
    Ok(known)
}

/// A tenant. One suspended through the API stays suspended.
pub async fn tenant(tx: &mut Tx, declared: &DeclaredTenant) -> Result<(Tenant, Applied), StoreError> {
    let mut settings = TenantSettings {
        time_zone: declared.time_zone.clone(),
        limits: declared.limits,
        model_limits: declared.model_limits.clone(),
        end_user_limits: declared.end_user_limits,
        budget: declared.budget,
        billing: declared.billing.clone(),
        allowed_models: declared.allowed_models.clone(),
        responses: declared.responses,
        ..TenantSettings::named(&declared.name)
    };
    match tenants::find_by_name(&mut *tx, &declared.name).await? {
        None => Ok((tenants::insert(tx, &settings, ManagedBy::File).await?, Applied::Created)),
        Some(stored) => {
            settings.status = stored.status;
            settings.suspended_message.clone_from(&stored.suspended_message);
            if stored.managed_by == ManagedBy::File && stored.settings() == settings {
                return Ok((stored, Applied::Unchanged));
            }
            let updated = tenants::replace(tx, stored.id, stored.version, &settings, ManagedBy::File).await?;
            Ok((updated, Applied::Updated))
        }
    }
}

/// A project of a tenant. One archived through the API stays archived.
pub async fn project(tx: &mut Tx, tenant: TenantId, declared: &ProjectSettings) -> Result<(Project, Applied), StoreError> {
    match projects::find_by_name(&mut *tx, tenant, &declared.name).await? {
        None => Ok((projects::insert(tx, tenant, declared, ManagedBy::File).await?, Applied::Created)),
        Some(stored) => {
            let settings = ProjectSettings { status: stored.status, ..declared.clone() };
            if stored.managed_by == ManagedBy::File && stored.settings() == settings {
                return Ok((stored, Applied::Unchanged));
            }
            let updated = projects::replace(tx, &stored, stored.version, &settings, ManagedBy::File).await?;
            Ok((updated, Applied::Updated))
        }
    }
}

/// What became of a tenant's budgets.
#[derive(Debug)]
pub struct DeclaredBudgets {
    pub kept: Vec<(SpendingBudget, Applied)>,
    /// Declared by an earlier file.
    pub gone: Vec<SpendingBudget>,
}

/// All budgets of a tenant, but for its own. One keeps its id, and so what was spent of it, as long as its scope, period and
/// currency stay. Those made through the API are left alone.
pub async fn budgets(tx: &mut Tx, tenant: TenantId, declared: &[BudgetSettings]) -> Result<DeclaredBudgets, StoreError> {
    let scope = TenantScope::Only(tenant);
    let mut stored = Vec::new();
    let mut page = PageRequest::first(MAX_PAGE_ROWS);
    loop {
        let read = budgets::list(&mut *tx, scope, None, &page).await?;
        stored.extend(read.data.into_iter().filter(|budget| budget.managed_by == ManagedBy::File));
        if read.next.is_none() {
            break;
        }
        page.after = read.next;
    }
    let mut kept = Vec::with_capacity(declared.len());
    for wanted in declared {
        let same = |budget: &SpendingBudget| {
            let of = |settings: &BudgetSettings| (settings.scope.clone(), settings.period, settings.currency);
            of(&budget.settings) == of(wanted)
        };
        kept.push(match stored.iter().position(same).map(|at| stored.swap_remove(at)) {
            None => (budgets::insert(tx, tenant, wanted, ManagedBy::File).await?, Applied::Created),
            Some(budget) if budget.settings == *wanted => (budget, Applied::Unchanged),
            Some(budget) => (budgets::update(tx, scope, budget.id, budget.version, wanted).await?, Applied::Updated),
        });
    }
    for budget in &stored {
        budgets::delete(tx, scope, budget.id, budget.version).await?;
    }
    Ok(DeclaredBudgets { kept, gone: stored })
}

/// A key of a tenant. Without a secret one is minted when the key is first made, and returned that once.
///
/// A key that was revoked stays revoked, though the file still declares it: `Unchanged`, and its status says so.
pub async fn key(
    tx: &mut Tx,
    tenant_id: TenantId,
    name: &str,
    secret: Option<&SecretString>,
) -> Result<(ApiKey, Option<SecretString>, Applied), StoreError> {
    if let Some(stored) = keys::find_by_name(&mut *tx, tenant_id, name).await? {
        let (key, changed) = keys::redeclare(tx, stored.id, secret).await?;
        return Ok((key, None, if changed { Applied::Updated } else { Applied::Unchanged }));
    }
    let revoked = match secret {
        Some(secret) => keys::find_by_secret(tx, tenant_id, secret).await?.filter(|key| key.status == KeyStatus::Revoked),
        None => keys::find_revoked(tx, tenant_id, name).await?,
    };
    if let Some(revoked) = revoked {
        tracing::warn!(key = %revoked.id, name, "the configuration file declares a key that was revoked; it stays revoked");
        return Ok((revoked, None, Applied::Unchanged));
    }
    let new = NewKey { tenant_id, settings: KeySettings::named(name), declared: secret.cloned(), created_by: None };
    let (key, shown) = keys::insert(tx, &new, ManagedBy::File).await?;
    Ok((key, secret.is_none().then_some(shown), Applied::Created))
}
