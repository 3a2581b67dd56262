//! Tenants of the file, with their projects, keys and budgets.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use secrecy::SecretString;
use serde_json::json;
use tallygate_billing::audit::{self, AuditEvent};
use tallygate_store::budgets::{BudgetScope, BudgetSettings};
use tallygate_store::declared::{self, Applied, DeclaredTenant};
use tallygate_store::projects::ProjectSettings;
use tallygate_store::responses::{ResponseSettings, ResponsesMode};
use tallygate_store::{Budget, TenantScope, Tx, keys, projects};
use tallygate_types::TenantId;

use super::{MintedKey, file_actor, note};
use crate::config::{self, NamedScope, ScopedBudget};

pub async fn declare(tx: &mut Tx, tenant: &config::Tenant) -> Result<Vec<MintedKey>> {
    let budget = tenant.budget.as_ref().map(|budget| -> Result<Budget> {
        Ok(Budget { amount: budget.amount.parse()?, currency: budget.currency.parse()?, period: budget.period.into() })
    });
    let declared = DeclaredTenant {
        name: tenant.name.clone(),
        time_zone: tenant.time_zone.clone(),
        limits: tenant.limits.into(),
        model_limits: tenant.model_limits.iter().map(|(model, limits)| (model.clone(), (*limits).into())).collect(),
        end_user_limits: tenant.end_user_limits.into(),
        budget: budget.transpose()?,
        billing: tenant.billing.terms()?,
        allowed_models: tenant.models.clone(),
        responses: responses(&tenant.responses),
    };
    let (stored, applied) = declared::tenant(tx, &declared).await?;
    let after = json!({ "limits": stored.limits, "model_limits": stored.model_limits, "end_user_limits": stored.end_user_limits,
        "budget": stored.budget, "billing": stored.billing, "allowed_models": stored.allowed_models, "responses": stored.responses });
    note(tx, applied, "tenant", stored.id, &stored.name, Some(stored.id), after).await?;

    declare_projects(tx, stored.id, tenant).await?;
    let mut minted = Vec::new();
    for key in &tenant.keys {
        let what = format!("key `{}` of tenant `{}`", key.name, tenant.name);
        let secret = key.secret.as_ref().map(|secret| secret.resolve(&what)).transpose()?;
        let shown = declare_key(tx, stored.id, key, secret.as_ref()).await.context(what)?;
        minted.extend(shown.map(|secret| MintedKey { tenant: tenant.name.clone(), name: key.name.clone(), secret }));
    }
    declare_budgets(tx, stored.id, &tenant.budgets).await?;
    Ok(minted)
}

/// Those the file lists, and those that its keys merely name.
async fn declare_projects(tx: &mut Tx, tenant: TenantId, declared: &config::Tenant) -> Result<()> {
    let mut listed = BTreeSet::new();
    for project in &declared.projects {
        listed.insert(project.name.as_str());
        let settings = ProjectSettings {
            limits: project.limits.into(),
            allowed_models: project.models.clone(),
            ..ProjectSettings::named(&project.name)
        };
        declare_project(tx, tenant, &settings).await?;
    }
    for name in declared.keys.iter().filter_map(|key| key.project.as_deref()) {
        if listed.insert(name) && projects::find_by_name(&mut *tx, tenant, name).await?.is_none() {
            declare_project(tx, tenant, &ProjectSettings::named(name)).await?;
        }
    }
    Ok(())
}

async fn declare_project(tx: &mut Tx, tenant: TenantId, settings: &ProjectSettings) -> Result<()> {
    let (stored, applied) = declared::project(tx, tenant, settings).await?;
    let after = json!({ "limits": stored.limits, "allowed_models": stored.allowed_models });
    note(tx, applied, "project", stored.id, &stored.name, Some(tenant), after).await
}

async fn declare_key(
    tx: &mut Tx,
    tenant: TenantId,
    key: &config::Key,
    secret: Option<&SecretString>,
) -> Result<Option<SecretString>> {
    let (mut stored, shown, mut applied) = declared::key(tx, tenant, &key.name, secret).await?;
    let settings = keys::KeySettings {
        limits: key.limits.into(),
        allowed_models: key.models.clone(),
        allowed_endpoints: key.endpoints.clone(),
        allowed_networks: key.networks()?,
        project: key.project.clone(),
        tags: key.tags.clone(),
        ..stored.settings()
    };
    if settings != stored.settings() && stored.status == keys::KeyStatus::Active {
        stored = keys::update(tx, TenantScope::Only(tenant), stored.id, stored.version, &settings).await?;
        applied = if applied == Applied::Created { applied } else { Applied::Updated };
    }
    let after = json!({ "prefix": stored.prefix, "limits": stored.limits, "allowed_models": stored.allowed_models,
        "allowed_endpoints": stored.allowed_endpoints, "allowed_networks": stored.allowed_networks, "project": stored.project });
    note(tx, applied, "api_key", stored.id, &stored.name, Some(tenant), after).await?;
    Ok(shown)
}

/// Brings the budgets that earlier files declared to what this one does; those made through the API stay.
async fn declare_budgets(tx: &mut Tx, tenant: TenantId, declared: &[ScopedBudget]) -> Result<()> {
    let mut wanted = Vec::with_capacity(declared.len());
    for budget in declared {
        let scope =
            known_scope(tx, tenant, budget.named_scope()?).await.with_context(|| format!("budget of `{}`", budget.scope))?;
        wanted.push(BudgetSettings {
            scope,
            period: budget.period.into(),
            amount: budget.amount.parse()?,
            currency: budget.currency.parse()?,
            mode: budget.mode.into(),
            alerts: budget.alerts.clone(),
        });
    }
    let done = declared::budgets(tx, tenant, &wanted).await?;
    for (stored, applied) in &done.kept {
        let after = serde_json::to_value(&stored.settings)?;
        note(tx, *applied, "budget", stored.id, stored.settings.scope.as_str(), Some(tenant), after).await?;
    }
    for gone in done.gone {
        let mut event = AuditEvent::new(file_actor(), "budget.deleted", "budget", gone.id);
        event.tenant = Some(tenant);
        event.before = Some(serde_json::to_value(&gone.settings)?);
        audit::record(tx, event).await?;
    }
    Ok(())
}

async fn known_scope(tx: &mut Tx, tenant: TenantId, named: NamedScope) -> Result<BudgetScope> {
    Ok(match named {
        NamedScope::Tenant => BudgetScope::Tenant,
        NamedScope::Model(model) => BudgetScope::Model { model },
        NamedScope::EndUser(end_user) => BudgetScope::EndUser { end_user },
        NamedScope::Project(name) => {
            let project = projects::find_by_name(tx, tenant, &name).await?;
            BudgetScope::Project { project_id: project.with_context(|| format!("there is no project `{name}`"))?.id }
        }
        NamedScope::Key(name) => {
            let key = keys::find_by_name(tx, tenant, &name).await?;
            BudgetScope::Key { key_id: key.with_context(|| format!("there is no active key `{name}`"))?.id }
        }
    })
}

fn responses(declared: &config::Responses) -> ResponseSettings {
    let default = ResponseSettings::default();
    ResponseSettings {
        mode: match declared.mode {
            config::ResponsesMode::Stateless => ResponsesMode::Stateless,
            config::ResponsesMode::Stored => ResponsesMode::Stored,
        },
        lifetime_hours: declared.lifetime_hours.unwrap_or(default.lifetime_hours),
        max_bytes: declared.max_bytes.unwrap_or(default.max_bytes),
        max_count: declared.max_count.unwrap_or(default.max_count),
    }
}
