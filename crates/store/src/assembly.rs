//! A snapshot in the making: rows become entries that refer to each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::types::Json;
use tallygate_types::{ApiKeyId, CredentialId, IdMap, ModelId, Pico, ProjectId, RouteId, TenantId, Timestamp, UpstreamId};
use uuid::Uuid;

use crate::credentials::{self, CredentialLimits};
use crate::keys::KeyStatus;
use crate::made::Made;
use crate::projects::ProjectStatus;
use crate::responses::ResponseSettings;
use crate::routing::Strategy;
use crate::rows::{CredentialRow, KeyRow, ModelRow, Rest, RouteRow, Rows, Shared, Sink, TenantRow, UpstreamRow};
use crate::secrets::Sealer;
use crate::snapshot::{
    BalanceEntry, BudgetEntry, CredentialEntry, KeyEntry, KeyTerms, ModelEntry, ProjectEntry, RouteEntry, Snapshot, TargetEntry,
    TenantBounds, TenantEntry, UpstreamEntry,
};
use crate::targets::{Target, TargetRow};
use crate::tenants::TenantStatus;
use crate::upstreams::Timeouts;
use crate::{BillingMode, BillingTerms, Budget, KeyDigest, Limits, SplitAmount, StoreError, proxies};

/// What a row holds is taken over at once: no row outlives the next.
#[derive(Default)]
pub(crate) struct Assembly {
    tenants: IdMap<TenantId, Arc<TenantEntry>>,
    keys: IdMap<KeyDigest, Arc<KeyEntry>>,
    /// Many tenants share few.
    time_zones: HashSet<Arc<str>>,
    /// By tenant and name.
    projects: HashMap<(TenantId, Box<str>), Arc<ProjectEntry>>,
    budgets: HashMap<TenantId, Vec<BudgetEntry>>,
    /// Sum and number of their entries.
    balances: HashMap<TenantId, (Pico, i64)>,
}

impl Assembly {
    /// The snapshot of `rows` that were kept.
    pub fn of(rows: Rows, sealer: &Sealer) -> Result<Snapshot, StoreError> {
        let mut assembly = Self::default();
        assembly.shared(&rows.rest.shared)?;
        assembly.expect(rows.tenants.len(), rows.keys.len());
        rows.tenants.into_iter().try_for_each(|row| assembly.tenant(row))?;
        rows.keys.into_iter().try_for_each(|row| assembly.key(row))?;
        assembly.finish(rows.rest, sealer)
    }

    /// Fails if the rows were made with other secrets, or hold what no version of this crate writes.
    pub fn finish(self, rest: Rest, sealer: &Sealer) -> Result<Snapshot, StoreError> {
        let Self { tenants, keys, .. } = self;
        let Rest { version, secrets, upstreams, credentials, models, aliases, targets, routes, shared: _ } = rest;
        if secrets != sealer.checks().map(|(_, check)| check) {
            return Err(StoreError::Secrets("the configuration was written with another pepper or sealing key".to_owned()));
        }
        let upstreams = upstream_entries(upstreams, credentials, sealer)?;
        let mut targets = target_entries(targets, &upstreams)?;
        let routes = route_entries(routes, &mut targets, &tenants)?;
        let models = model_entries(models, aliases, targets)?;
        let aliases =
            models.values().flat_map(|model| model.aliases.iter().map(|alias| (alias.clone(), model.name.to_string()))).collect();
        Ok(Snapshot { version, keys, tenants, models, aliases, upstreams, routes })
    }

    fn time_zone(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.time_zones.get(name.as_str()) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.time_zones.insert(Arc::clone(&name));
        name
    }
}

impl Sink for Assembly {
    fn shared(&mut self, shared: &Shared) -> Result<(), StoreError> {
        for row in &shared.projects {
            let entry = ProjectEntry {
                id: ProjectId::from_uuid(row.id),
                name: row.name.as_str().into(),
                status: ProjectStatus::read(&row.status)?,
                limits: Limits::read(row.limits, "projects")?,
                allowed_models: row.allowed_models.as_ref().map(|Json(models)| models.clone()),
                made: Made::default(),
            };
            let place = (TenantId::from_uuid(row.tenant_id), entry.name.clone());
            self.projects.insert(place, Arc::new(entry));
        }
        for row in &shared.budgets {
            let (id, settings) = row.read()?;
            let entry = BudgetEntry { id, settings, balance: None, made: Made::default() };
            self.budgets.entry(TenantId::from_uuid(row.tenant_id)).or_default().push(entry);
        }
        for row in &shared.balances {
            let amount = SplitAmount { units: row.amount_units, pico: row.amount_pico }.to_pico();
            self.balances.insert(TenantId::from_uuid(row.tenant_id), (amount, row.entries));
        }
        Ok(())
    }

    fn expect(&mut self, tenants: usize, keys: usize) {
        self.tenants.reserve(tenants);
        self.keys.reserve(keys);
    }

    fn tenant(&mut self, row: TenantRow) -> Result<(), StoreError> {
        let id = TenantId::from_uuid(row.id);
        let mut budgets = self.budgets.remove(&id).unwrap_or_default();
        if let Some(own) = Budget::read(row.budget)? {
            budgets.insert(0, BudgetEntry::of_tenant(id, own));
        }
        let terms = BillingTerms::read(row.billing)?;
        if terms.mode == BillingMode::Prepaid {
            let (amount, entries) = self.balances.remove(&id).unwrap_or_default();
            let balance = BalanceEntry { alert: terms.balance_alert, entries };
            budgets.push(BudgetEntry::of_balance(id, amount, terms.currency, balance));
        }
        let (models, end_users) = (row.model_limits.0, row.end_user_limits.0);
        let is_bounded = !models.is_empty() || end_users != Limits::default();
        let entry = TenantEntry {
            id,
            name: row.name.into(),
            status: TenantStatus::read(&row.status)?,
            suspended_message: row.suspended_message.map(Arc::new),
            time_zone: self.time_zone(row.time_zone),
            limits: Limits::read(row.limits, "tenants")?,
            bounds: is_bounded.then(|| Arc::new(TenantBounds { models, end_users })),
            budgets: (!budgets.is_empty()).then(|| Arc::new(budgets)),
            allowed_models: row.allowed_models.map(|Json(models)| Arc::new(models)),
            responses: ResponseSettings::read(&row.responses)?,
            made: Made::default(),
        };
        self.tenants.insert(id, Arc::new(entry));
        Ok(())
    }

    fn key(&mut self, row: KeyRow) -> Result<(), StoreError> {
        let tenant = self.tenants.get(&TenantId::from_uuid(row.tenant_id));
        let tenant = tenant.ok_or_else(|| StoreError::corrupt("api_keys", format!("key {} has no tenant", row.id)))?;
        let project = row.project.and_then(|name| self.projects.get(&(tenant.id, name.into())).cloned());
        let terms = KeyTerms {
            project,
            tags: row.tags.0,
            endpoints: row.allowed_endpoints.map(|Json(endpoints)| endpoints),
            networks: row.allowed_networks.map(|Json(networks)| networks),
        };
        let entry = KeyEntry {
            id: ApiKeyId::from_uuid(row.id),
            name: row.name.into(),
            tenant: Arc::clone(tenant),
            status: KeyStatus::read(&row.status)?,
            expires_at: row.expires_at.map(Timestamp::from),
            limits: Limits::read(row.limits, "api_keys")?,
            allowed_models: row.allowed_models.map(|Json(models)| Arc::new(models)),
            terms: (!terms.is_empty()).then(|| Arc::new(terms)),
            made: Made::default(),
        };
        if let (Some(digest), Some(until)) = (row.previous_digest, row.previous_expires_at) {
            let until = entry.expires_at.map_or(until.0, |end| end.min(until.0));
            let before = KeyEntry { expires_at: Some(until), made: Made::default(), ..entry.clone() };
            // A text that is somebody's now is no more than that.
            self.keys.entry(KeyDigest::read(&digest)?).or_insert_with(|| Arc::new(before));
        }
        self.keys.insert(KeyDigest::read(&row.digest)?, Arc::new(entry));
        Ok(())
    }
}

fn upstream_entries(
    rows: Vec<UpstreamRow>,
    secrets: Vec<CredentialRow>,
    sealer: &Sealer,
) -> Result<IdMap<UpstreamId, Arc<UpstreamEntry>>, StoreError> {
    let mut of_upstream: HashMap<Uuid, Vec<Arc<CredentialEntry>>> = HashMap::new();
    for row in secrets {
        // One secret that does not open must not take the gateway down: it is said, and the others serve.
        match sealer.open("credentials", row.id, &row.sealed_secret) {
            Ok(secret) => {
                let entry = CredentialEntry {
                    id: CredentialId::from_uuid(row.id),
                    proxy: credentials::opened_proxy(sealer, row.id, row.proxy.as_deref())?,
                    name: row.name,
                    secret,
                    fingerprint: row.fingerprint,
                    weight: credentials::read_weight(row.weight)?,
                    limits: CredentialLimits::read(row.limits, row.daily_spend.as_deref())?,
                    retires_at: row.retires_at.map(Timestamp::from),
                };
                of_upstream.entry(row.upstream_id).or_default().push(Arc::new(entry));
            }
            Err(error) => tracing::error!(%error, credential = %CredentialId::from_uuid(row.id), "a credential is left out"),
        }
    }
    let entries = rows.into_iter().map(|row| {
        let id = UpstreamId::from_uuid(row.id);
        let entry = UpstreamEntry {
            id,
            name: row.name.into(),
            dialect: row.dialect.parse().map_err(|e| StoreError::corrupt("upstreams", e))?,
            base_url: row.base_url,
            proxy: proxies::open(sealer, "upstreams", row.id, row.proxy.as_deref())?,
            no_proxy: row.no_proxy.0,
            local: row.local,
            credential_strategy: Strategy::read(&row.credential_strategy)?,
            timeouts: Timeouts::read(row.timeouts)?,
            credentials: of_upstream.remove(&row.id).unwrap_or_default(),
            made: Made::default(),
        };
        Ok((id, Arc::new(entry)))
    });
    entries.collect()
}

/// By the model or route they belong to. A target of a disabled upstream is left out.
fn target_entries(
    rows: Vec<TargetRow>,
    upstreams: &IdMap<UpstreamId, Arc<UpstreamEntry>>,
) -> Result<HashMap<Uuid, Vec<TargetEntry>>, StoreError> {
    let mut of_owner: HashMap<Uuid, Vec<TargetEntry>> = HashMap::new();
    for row in rows {
        let Some(owner) = row.model_id.or(row.route_id) else { continue };
        let Target { id, settings } = row.try_into()?;
        if let Some(upstream) = upstreams.get(&settings.upstream_id) {
            of_owner.entry(owner).or_default().push(TargetEntry {
                id,
                upstream: Arc::clone(upstream),
                upstream_model: settings.upstream_model.into(),
                weight: settings.weight,
                priority: settings.priority,
                arm: settings.arm,
                price_model: settings.price_model,
                cost: settings.cost,
                capabilities: settings.capabilities,
            });
        }
    }
    Ok(of_owner)
}

fn route_entries(
    rows: Vec<RouteRow>,
    targets: &mut HashMap<Uuid, Vec<TargetEntry>>,
    tenants: &IdMap<TenantId, Arc<TenantEntry>>,
) -> Result<Vec<Arc<RouteEntry>>, StoreError> {
    let names_any = rows.iter().any(|row| !row.matches.tenants.is_empty());
    let by_name: HashMap<&str, TenantId> =
        tenants.values().filter(|_| names_any).map(|tenant| (&*tenant.name, tenant.id)).collect();
    let known = |named: &String| match named.parse::<TenantId>() {
        Ok(id) => tenants.contains_key(&id).then_some(id),
        Err(_) => by_name.get(named.as_str()).copied(),
    };
    let entries = rows.into_iter().map(|row| {
        let mut tenants: Vec<TenantId> = row.matches.tenants.iter().filter_map(known).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let entry = RouteEntry {
            id: RouteId::from_uuid(row.id),
            name: row.name.into(),
            position: u32::try_from(row.position).map_err(|e| StoreError::corrupt("routes", e))?,
            matches: row.matches.0,
            tenants,
            routing: row.routing.0,
            targets: targets.remove(&row.id).unwrap_or_default(),
        };
        Ok(Arc::new(entry))
    });
    entries.collect()
}

fn model_entries(
    rows: Vec<ModelRow>,
    aliases: Vec<(Uuid, String)>,
    mut of_model: HashMap<Uuid, Vec<TargetEntry>>,
) -> Result<IdMap<String, Arc<ModelEntry>>, StoreError> {
    let mut aliases_of: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (model, alias) in aliases {
        aliases_of.entry(model).or_default().push(alias);
    }
    let entries = rows.into_iter().map(|row| {
        let entry = ModelEntry {
            id: ModelId::from_uuid(row.id),
            name: row.name.as_str().into(),
            aliases: aliases_of.remove(&row.id).unwrap_or_default(),
            created_at: row.created_at.into(),
            strict: row.strict,
            routing: row.routing.0,
            targets: of_model.remove(&row.id).unwrap_or_default(),
            series: Made::default(),
        };
        Ok((row.name, Arc::new(entry)))
    });
    entries.collect()
}
