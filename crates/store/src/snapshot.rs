//! What the data plane reads: the whole configuration as of one moment, immutable, shared by `Arc`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use secrecy::SecretString;
use sqlx::types::Json;
use tallygate_types::{
    ApiKeyId, BudgetId, CredentialId, Dialect, IdMap, ModelId, Network, ProjectId, RouteId, TargetId, TenantId, Timestamp,
    UpstreamId,
};
use uuid::Uuid;

use crate::budgets::{BudgetMode, BudgetScope, BudgetSettings};
use crate::credentials::{self, CredentialLimits};
use crate::keys::KeyStatus;
use crate::made::Made;
use crate::projects::ProjectStatus;
use crate::responses::ResponseSettings;
use crate::routing::{Capabilities, RouteMatch, RoutingPolicy, Strategy, TargetCost};
use crate::rows::{CredentialRow, KeyRow, ModelRow, Rest, RouteRow, Rows, Shared, Sink, TenantRow, UpstreamRow};
use crate::secrets::Sealer;
use crate::targets::{Target, TargetRow};
use crate::tenants::TenantStatus;
use crate::upstreams::Timeouts;
use crate::{Budget, KeyDigest, Limits, ProxyPool, StoreError, proxies};

/// The configuration at one version.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub version: i64,
    /// Revoked and expired keys are listed too, so that an answer can say which it is.
    pub keys: IdMap<KeyDigest, Arc<KeyEntry>>,
    pub tenants: IdMap<TenantId, Arc<TenantEntry>>,
    /// By public name; disabled models are left out.
    pub models: IdMap<String, Arc<ModelEntry>>,
    /// By alias, to the public name.
    pub aliases: IdMap<String, String>,
    /// Disabled upstreams are left out, and so are targets and credentials of theirs.
    pub upstreams: IdMap<UpstreamId, Arc<UpstreamEntry>>,
    /// Active ones, in the order they are tried.
    pub routes: Vec<Arc<RouteEntry>>,
}

impl Snapshot {
    /// The model a client means by a public name or an alias.
    pub fn model(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.models.get(name).or_else(|| self.models.get(self.aliases.get(name)?))
    }
}

/// There may be very many of these, and of [`TenantEntry`]: what few have takes one word where it is not.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    pub id: ApiKeyId,
    pub name: Box<str>,
    pub tenant: Arc<TenantEntry>,
    pub status: KeyStatus,
    pub expires_at: Option<Timestamp>,
    pub limits: Limits,
    pub allowed_models: Option<Arc<Vec<String>>>,
    /// What few keys have.
    pub terms: Option<Arc<KeyTerms>>,
    /// Where its counts are found.
    pub made: Made,
}

/// What the requests of a key are called by, what it may be used for, and from where.
#[derive(Debug, Default)]
pub struct KeyTerms {
    pub project: Option<Arc<ProjectEntry>>,
    pub tags: Vec<String>,
    /// Names of operations; `None` is all.
    pub endpoints: Option<Vec<String>>,
    /// `None` is anywhere.
    pub networks: Option<Vec<Network>>,
}

/// What bounds the keys of a project together.
#[derive(Debug)]
pub struct ProjectEntry {
    pub id: ProjectId,
    pub name: Box<str>,
    pub status: ProjectStatus,
    pub limits: Limits,
    pub allowed_models: Option<Vec<String>>,
    /// Where its counts are found.
    pub made: Made,
}

impl KeyEntry {
    pub fn project(&self) -> Option<&Arc<ProjectEntry>> {
        self.terms.as_ref()?.project.as_ref()
    }

    pub fn tags(&self) -> &[String] {
        self.terms.as_ref().map_or(&[], |terms| &terms.tags)
    }
}

#[derive(Debug)]
pub struct TenantEntry {
    pub id: TenantId,
    pub name: Box<str>,
    pub status: TenantStatus,
    /// What a suspended tenant is told.
    pub suspended_message: Option<Arc<String>>,
    /// IANA name; budget periods turn at its midnight.
    pub time_zone: Arc<str>,
    pub limits: Limits,
    pub bounds: Option<Arc<TenantBounds>>,
    /// Its own, first, and those of what is in it.
    pub budgets: Option<Arc<Vec<BudgetEntry>>>,
    pub allowed_models: Option<Arc<Vec<String>>>,
    pub responses: ResponseSettings,
    /// Where its counts are found.
    pub made: Made,
}

/// Limits inside a tenant that few tenants have.
#[derive(Debug, Default)]
pub struct TenantBounds {
    /// By public model name, sorted.
    pub models: BTreeMap<String, Limits>,
    /// Of each end user.
    pub end_users: Limits,
}

/// A budget that requests of a tenant may fall under.
#[derive(Debug)]
pub struct BudgetEntry {
    /// Of the tenant's own budget the tenant's.
    pub id: BudgetId,
    pub settings: BudgetSettings,
    /// Where its account is found.
    pub made: Made,
}

impl KeyTerms {
    fn is_empty(&self) -> bool {
        self.project.is_none() && self.tags.is_empty() && self.endpoints.is_none() && self.networks.is_none()
    }
}

impl BudgetEntry {
    /// A tenant's own: hard, and for all it does.
    pub fn of_tenant(tenant: TenantId, budget: Budget) -> Self {
        let Budget { amount, currency, period } = budget;
        let (mode, alerts) = (BudgetMode::Hard, Vec::new());
        Self {
            id: BudgetId::from_uuid(tenant.uuid()),
            settings: BudgetSettings { scope: BudgetScope::Tenant, period, amount, currency, mode, alerts },
            made: Made::default(),
        }
    }
}

impl TenantEntry {
    /// The one that stands in the tenant's row.
    pub fn own_budget(&self) -> Option<Budget> {
        let BudgetEntry { id, settings, .. } = self.budgets().first()?;
        let BudgetSettings { amount, currency, period, .. } = *settings;
        (id.uuid() == self.id.uuid()).then_some(Budget { amount, currency, period })
    }

    /// All budgets that its requests may fall under.
    pub fn budgets(&self) -> &[BudgetEntry] {
        self.budgets.as_ref().map_or(&[], |budgets| budgets)
    }
}

#[derive(Debug, Clone)]
pub struct ModelEntry {
    pub id: ModelId,
    pub name: Arc<str>,
    /// Other names it answers to, in the order they were written.
    pub aliases: Vec<String>,
    pub created_at: Timestamp,
    /// Refuse what a translation cannot carry, instead of reporting it.
    pub strict: bool,
    pub routing: RoutingPolicy,
    /// By priority, then in the order they were written. Empty if every upstream is disabled.
    pub targets: Vec<TargetEntry>,
    /// What its requests are counted by.
    pub series: Made,
}

#[derive(Debug, Clone)]
pub struct RouteEntry {
    pub id: RouteId,
    pub name: Arc<str>,
    pub position: u32,
    pub matches: RouteMatch,
    /// The tenants `matches.tenants` names, by name or id, sorted. If it names some and none is there, the route is for nobody.
    pub tenants: Vec<TenantId>,
    pub routing: RoutingPolicy,
    /// As a model's.
    pub targets: Vec<TargetEntry>,
}

#[derive(Debug, Clone)]
pub struct TargetEntry {
    pub id: TargetId,
    pub upstream: Arc<UpstreamEntry>,
    pub upstream_model: Arc<str>,
    pub weight: u32,
    pub priority: u32,
    /// The arm of the split it serves; none serves all of them.
    pub arm: Option<String>,
    /// Charged by the price of this public model, in place of the one that was asked for.
    pub price_model: Option<String>,
    pub cost: Option<TargetCost>,
    pub capabilities: Capabilities,
}

#[derive(Debug, Clone)]
pub struct UpstreamEntry {
    pub id: UpstreamId,
    pub name: Arc<str>,
    pub dialect: Dialect,
    pub base_url: String,
    pub proxy: ProxyPool,
    pub no_proxy: Vec<String>,
    pub local: bool,
    pub credential_strategy: Strategy,
    pub timeouts: Timeouts,
    /// Active ones, by name. Empty for an upstream that asks for no key.
    pub credentials: Vec<Arc<CredentialEntry>>,
    pub made: Made,
}

#[derive(Debug, Clone)]
pub struct CredentialEntry {
    pub id: CredentialId,
    pub name: String,
    pub secret: SecretString,
    /// Tells two secrets apart.
    pub fingerprint: String,
    /// In place of the upstream's.
    pub proxy: ProxyPool,
    pub weight: u32,
    pub limits: CredentialLimits,
    /// From then on it is not to be used.
    pub retires_at: Option<Timestamp>,
}

/// Entries with every default, for tests of what reads a snapshot.
impl TenantEntry {
    /// Active, in UTC, and bounded by nothing.
    pub fn named(name: impl Into<Box<str>>) -> Self {
        Self {
            id: TenantId::generate(),
            name: name.into(),
            status: TenantStatus::Active,
            suspended_message: None,
            time_zone: "UTC".into(),
            limits: Limits::default(),
            bounds: None,
            budgets: None,
            allowed_models: None,
            responses: ResponseSettings::default(),
            made: Made::default(),
        }
    }
}

impl ProjectEntry {
    /// Active, and bounded by nothing.
    pub fn named(name: impl Into<Box<str>>, id: ProjectId) -> Self {
        Self {
            id,
            name: name.into(),
            status: ProjectStatus::Active,
            limits: Limits::default(),
            allowed_models: None,
            made: Made::default(),
        }
    }
}

impl KeyEntry {
    pub fn named(name: impl Into<Box<str>>, tenant: Arc<TenantEntry>) -> Self {
        Self {
            id: ApiKeyId::generate(),
            name: name.into(),
            tenant,
            status: KeyStatus::Active,
            expires_at: None,
            limits: Limits::default(),
            allowed_models: None,
            terms: None,
            made: Made::default(),
        }
    }
}

impl UpstreamEntry {
    pub fn at(name: impl Into<Arc<str>>, dialect: Dialect, base_url: impl Into<String>) -> Self {
        Self {
            id: UpstreamId::generate(),
            name: name.into(),
            dialect,
            base_url: base_url.into(),
            proxy: ProxyPool::default(),
            no_proxy: Vec::new(),
            local: false,
            credential_strategy: Strategy::default(),
            timeouts: Timeouts::default(),
            credentials: Vec::new(),
            made: Made::default(),
        }
    }
}

impl CredentialEntry {
    pub fn named(name: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        Self {
            id: CredentialId::generate(),
            name: name.into(),
            secret: secret.into(),
            fingerprint: String::new(),
            proxy: ProxyPool::default(),
            weight: 1,
            limits: CredentialLimits::default(),
            retires_at: None,
        }
    }
}

impl TargetEntry {
    /// Of weight 1 and priority 1.
    pub fn at(upstream: Arc<UpstreamEntry>, upstream_model: impl Into<Arc<str>>) -> Self {
        Self {
            id: TargetId::generate(),
            upstream,
            upstream_model: upstream_model.into(),
            weight: 1,
            priority: 1,
            arm: None,
            price_model: None,
            cost: None,
            capabilities: Capabilities::default(),
        }
    }
}

impl ModelEntry {
    pub fn named(name: impl Into<Arc<str>>, targets: Vec<TargetEntry>) -> Self {
        Self {
            id: ModelId::generate(),
            name: name.into(),
            aliases: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            strict: false,
            routing: RoutingPolicy::default(),
            targets,
            series: Made::default(),
        }
    }
}

impl RouteEntry {
    /// For everything.
    pub fn named(name: impl Into<Arc<str>>, targets: Vec<TargetEntry>) -> Self {
        Self {
            id: RouteId::generate(),
            name: name.into(),
            position: 0,
            matches: RouteMatch::default(),
            tenants: Vec::new(),
            routing: RoutingPolicy::default(),
            targets,
        }
    }
}

/// A snapshot in the making. What a row holds is taken over at once: no row outlives the next.
#[derive(Default)]
pub(crate) struct Assembly {
    tenants: IdMap<TenantId, Arc<TenantEntry>>,
    keys: IdMap<KeyDigest, Arc<KeyEntry>>,
    /// Many tenants share few.
    time_zones: HashSet<Arc<str>>,
    /// By tenant and name.
    projects: HashMap<(TenantId, Box<str>), Arc<ProjectEntry>>,
    budgets: HashMap<TenantId, Vec<BudgetEntry>>,
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
            let entry = BudgetEntry { id, settings, made: Made::default() };
            self.budgets.entry(TenantId::from_uuid(row.tenant_id)).or_default().push(entry);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand tenants with a key each are an ordinary installation; the allocator's next larger blocks cost a fourth more.
    #[test]
    fn a_tenant_and_a_key_stay_small() {
        const COUNTS_OF_ARC: usize = 16;
        assert!(size_of::<KeyEntry>() + COUNTS_OF_ARC <= 160, "{}", size_of::<KeyEntry>());
        assert!(size_of::<TenantEntry>() + COUNTS_OF_ARC <= 224, "{}", size_of::<TenantEntry>());
    }
}
