//! `limits effective`: every limit and budget that the requests of a key fall under, and where each stands.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallygate_store::budgets::{self, BudgetScope, MAX_BUDGETS_OF_TENANT};
use tallygate_store::keys::KeyStatus;
use tallygate_store::{BudgetEntry, PageRequest, Store, TenantScope, projects, tenants};
use tallygate_types::live::EffectiveLimit;
use tallygate_types::{ApiKeyId, TenantId};

use super::key::find;
use super::offline::OfflinePlane;
use super::print_json;
use super::server::Server;
use crate::cli::{Effective, LimitsCommand};
use crate::config;
use crate::installation::open_store;

/// Keys of one answer of the API; a name is looked for in the first of them that contain it.
const PAGE: &str = "200";

pub async fn run(command: LimitsCommand, as_json: bool) -> Result<ExitCode> {
    let LimitsCommand::Effective(asked) = command;
    let told = match &asked.server {
        Some(url) => ask_server(&Server::new(url, asked.token.as_deref())?, &asked).await?,
        None => read_here(&asked).await?,
    };
    if as_json {
        print_json(&told)?;
    } else {
        print!("{}", as_text(&told));
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Told {
    key: Key,
    /// Whether a running server said how much is used; the store alone knows only what is allowed.
    is_live: bool,
    limits: Vec<Cap>,
    budgets: Vec<Budget>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Key {
    id: ApiKeyId,
    name: String,
    tenant_id: TenantId,
    project: Option<String>,
}

#[derive(Debug, Serialize)]
struct Cap {
    scope: &'static str,
    subject: Option<String>,
    dimension: &'static str,
    limit: u64,
    used: Option<u64>,
    remaining: Option<u64>,
    resets_at: Option<String>,
}

/// As the API says it, as far as it is told here.
#[derive(Debug, Serialize, Deserialize)]
struct Budget {
    scope: String,
    subject_name: Option<String>,
    key_id: Option<ApiKeyId>,
    model: Option<String>,
    end_user: Option<String>,
    period: String,
    amount: Option<String>,
    currency: String,
    mode: String,
    spent: Option<String>,
    remaining: Option<String>,
    resets_at: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
}

async fn ask_server(server: &Server, asked: &Effective) -> Result<Told> {
    let key = match asked.key.parse::<ApiKeyId>() {
        Ok(id) => server.get::<Key>(&format!("/api-keys/{id}"), &[]).await?,
        Err(_) => named(server, asked).await?,
    };
    let mut query = Vec::new();
    query.extend(asked.model.as_deref().map(|model| ("model", model)));
    query.extend(asked.end_user.as_deref().map(|user| ("end_user", user)));
    let limits: Page<EffectiveLimit> = server.get(&format!("/api-keys/{}/limits", key.id), &query).await?;
    let budgets: Page<Budget> = server.get(&format!("/tenants/{}/budgets", key.tenant_id), &[]).await?;
    let limits = limits.data.into_iter().map(|limit| Cap::read(limit, true)).collect();
    let budgets = budgets.data.into_iter().filter(|budget| budget.is_of(&key, asked)).collect();
    Ok(Told { key, is_live: true, limits, budgets })
}

async fn named(server: &Server, asked: &Effective) -> Result<Key> {
    let tenant = match &asked.tenant {
        None => None,
        Some(named) => {
            let tenants: Page<Value> = server.get("/tenants", &[("q", named.as_str()), ("limit", PAGE)]).await?;
            let known = tenants.data.iter().find(|tenant| tenant["name"] == **named || tenant["id"] == **named);
            let id = known.and_then(|tenant| tenant["id"].as_str()).map_or_else(|| named.clone(), str::to_owned);
            Some(id)
        }
    };
    let mut query = vec![("q", asked.key.as_str()), ("status", "active"), ("limit", PAGE)];
    query.extend(tenant.as_deref().map(|id| ("tenant_id", id)));
    let keys: Page<Key> = server.get("/api-keys", &query).await?;
    let mut keys = keys.data.into_iter().filter(|key| key.name == asked.key);
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => bail!("no active key is named `{}`", asked.key),
        (Some(_), Some(_)) => bail!("several tenants have a key named `{}`; say --tenant, or the key's id", asked.key),
    }
}

/// What the store allows; how much of it is used only a running server knows.
async fn read_here(asked: &Effective) -> Result<Told> {
    let (config, _) = config::load(asked.config.config.as_deref())?;
    let store = open_store(&config).await?;
    let offline = OfflinePlane::of(&store, &config).await?;
    let key = find(&store, asked.tenant.as_deref(), &asked.key).await?;
    if key.status == KeyStatus::Revoked {
        bail!("the key {} is revoked", key.id);
    }
    let limits = offline.plane.effective_limits(key.id, asked.model.as_deref(), asked.end_user.as_deref()).await;
    let limits = limits.context("the key has expired, so nothing holds for it any more")?;
    let key = Key { id: key.id, name: key.name, tenant_id: key.tenant_id, project: key.project };
    let limits = limits.into_iter().map(|limit| Cap::read(limit, false)).collect();
    let budgets = stored_budgets(&store, key.tenant_id).await?;
    let budgets = budgets.into_iter().filter(|budget| budget.is_of(&key, asked)).collect();
    drop(offline);
    store.close().await;
    Ok(Told { key, is_live: false, limits, budgets })
}

async fn stored_budgets(store: &Store, id: TenantId) -> Result<Vec<Budget>> {
    let tenant = tenants::get(store, TenantScope::All, id).await?;
    let page = PageRequest::first(u32::try_from(MAX_BUDGETS_OF_TENANT)?);
    let others = budgets::list(store, TenantScope::Only(id), None, &page).await?.data;
    let own = tenant.budget.map(|budget| BudgetEntry::of_tenant(id, budget).settings);
    let mut all = Vec::new();
    for settings in own.into_iter().chain(others.into_iter().map(|budget| budget.settings)) {
        let (mut key_id, mut model, mut end_user, mut subject_name) = (None, None, None, None);
        let scope = settings.scope.as_str().to_owned();
        match settings.scope {
            BudgetScope::Tenant => {}
            BudgetScope::Project { project_id } => {
                subject_name = Some(projects::get(store, TenantScope::Only(id), project_id).await?.name);
            }
            BudgetScope::Key { key_id: of } => key_id = Some(of),
            BudgetScope::Model { model: of } => model = Some(of),
            BudgetScope::EndUser { end_user: of } => end_user = of,
        }
        all.push(Budget {
            scope,
            subject_name,
            key_id,
            model,
            end_user,
            period: settings.period.as_str().to_owned(),
            amount: Some(settings.amount.to_string()),
            currency: settings.currency.to_string(),
            mode: settings.mode.as_str().to_owned(),
            spent: None,
            remaining: None,
            resets_at: None,
        });
    }
    Ok(all)
}

impl Cap {
    fn read(limit: EffectiveLimit, is_live: bool) -> Self {
        Self {
            scope: limit.scope.as_str(),
            subject: limit.subject,
            dimension: limit.dimension.as_str(),
            limit: limit.limit,
            used: is_live.then_some(limit.used),
            remaining: is_live.then_some(limit.remaining),
            resets_at: limit.resets_at.filter(|_| is_live).map(|at| at.to_string()),
        }
    }
}

impl Budget {
    /// Whether requests of the key draw on it, those that are asked about.
    fn is_of(&self, key: &Key, asked: &Effective) -> bool {
        match self.scope.as_str() {
            "project" => self.subject_name.is_some() && self.subject_name == key.project,
            "key" => self.key_id == Some(key.id),
            "model" => asked.model.is_none() || self.model == asked.model,
            "end_user" => self.end_user.is_none() || self.end_user == asked.end_user,
            _ => true,
        }
    }
}

fn as_text(told: &Told) -> String {
    let Key { id, name, tenant_id, project } = &told.key;
    let project = project.as_deref().map(|name| format!(", project {name}")).unwrap_or_default();
    let mut lines = vec![format!("key      {name} ({id}), tenant {tenant_id}{project}")];
    for limit in &told.limits {
        let subject = limit.subject.as_deref().unwrap_or("each");
        let per = if limit.dimension == "concurrency" { "at once" } else { "a minute" };
        let used = match (limit.used, limit.remaining) {
            (Some(used), Some(left)) => format!("{used} used, {left} left"),
            _ => "use unknown".to_owned(),
        };
        let resets = limit.resets_at.as_deref().map(|at| format!(", all of it again at {at}")).unwrap_or_default();
        let (scope, dimension) = (limit.scope, limit.dimension);
        let amount = limit.limit;
        lines.push(format!("limit    {scope:<8} {subject:<20} {dimension:<11} {amount} {per}; {used}{resets}"));
    }
    for budget in &told.budgets {
        let subject = [&budget.subject_name, &budget.model, &budget.end_user].into_iter().flatten().next();
        let subject = subject.map_or("", String::as_str);
        let amount = budget.amount.as_deref().unwrap_or("?");
        let spent = match (&budget.spent, &budget.remaining) {
            (Some(spent), Some(left)) => format!("{spent} spent, {left} left"),
            _ => "use unknown".to_owned(),
        };
        let resets = budget.resets_at.as_deref().map(|at| format!(", anew at {at}")).unwrap_or_default();
        let Budget { scope, period, currency, mode, .. } = budget;
        lines.push(format!("budget   {scope:<8} {subject:<20} {mode:<11} {amount} {currency} a {period}; {spent}{resets}"));
    }
    if !told.is_live {
        lines.push("note     what is used only a running server knows: --server URL --token env:NAME".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use tallygate_types::live::{LimitDimension, LimitScope, LimitSource};

    use super::*;

    fn limit() -> EffectiveLimit {
        EffectiveLimit {
            scope: LimitScope::Tenant,
            subject: Some("acme".into()),
            dimension: LimitDimension::Requests,
            limit: 600,
            used: 3,
            remaining: 597,
            resets_at: None,
            source: LimitSource::Tenant,
        }
    }

    #[test]
    fn without_a_server_nothing_is_said_of_what_is_used() {
        let key = Key { id: ApiKeyId::generate(), name: "ci".into(), tenant_id: TenantId::generate(), project: None };
        let told = Told { key, is_live: false, limits: vec![Cap::read(limit(), false)], budgets: Vec::new() };
        let text = as_text(&told);
        assert!(text.contains("limit    tenant   acme                 requests    600 a minute; use unknown\n"), "{text}");
        assert!(text.contains("--server"), "{text}");
        let live = Told { is_live: true, limits: vec![Cap::read(limit(), true)], ..told };
        let text = as_text(&live);
        assert!(text.contains("600 a minute; 3 used, 597 left\n") && !text.contains("--server"), "{text}");
    }
}
