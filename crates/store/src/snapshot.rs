//! What the data plane reads: the whole configuration as of one moment, immutable, shared by `Arc`.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use tallygate_types::{
    ApiKeyId, BudgetId, CredentialId, Currency, Dialect, IdMap, ModelId, Network, Pico, ProjectId, RouteId, TargetId, TenantId,
    Timestamp, UpstreamId,
};

use crate::budgets::{BudgetMode, BudgetScope, BudgetSettings};
use crate::credentials::CredentialLimits;
use crate::keys::KeyStatus;
use crate::made::Made;
use crate::projects::ProjectStatus;
use crate::responses::ResponseSettings;
use crate::routing::{Capabilities, RouteMatch, RoutingPolicy, Strategy, TargetCost};
use crate::tenants::TenantStatus;
use crate::upstreams::Timeouts;
use crate::{Budget, BudgetPeriod, KeyDigest, Limits, ProxyPool};

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
    /// It is what a prepaid tenant paid in.
    pub balance: Option<BalanceEntry>,
    /// Where its account is found.
    pub made: Made,
}

/// What a balance is beside a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceEntry {
    /// Somebody is told when less than this is left.
    pub alert: Option<Pico>,
    /// Entries booked so far: with each, the alert is armed anew.
    pub entries: i64,
}

impl KeyTerms {
    pub(crate) const fn is_empty(&self) -> bool {
        self.project.is_none() && self.tags.is_empty() && self.endpoints.is_none() && self.networks.is_none()
    }
}

/// At how many percent of a tenant's own budget somebody is told.
const OWN_ALERTS: [u16; 2] = [80, 100];

impl BudgetEntry {
    /// A tenant's own: hard, and for all it does.
    pub fn of_tenant(tenant: TenantId, budget: Budget) -> Self {
        let Budget { amount, currency, period } = budget;
        let (mode, alerts) = (BudgetMode::Hard, OWN_ALERTS.to_vec());
        Self {
            id: BudgetId::from_uuid(tenant.uuid()),
            settings: BudgetSettings { scope: BudgetScope::Tenant, period, amount, currency, mode, alerts },
            balance: None,
            made: Made::default(),
        }
    }

    /// Of a prepaid tenant: what was paid in, for good.
    pub fn of_balance(tenant: TenantId, amount: Pico, currency: Currency, balance: BalanceEntry) -> Self {
        let own = Self::of_tenant(tenant, Budget { amount, currency, period: BudgetPeriod::Total });
        Self {
            id: BudgetId::of_balance(tenant),
            settings: BudgetSettings { alerts: Vec::new(), ..own.settings },
            balance: Some(balance),
            ..own
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
