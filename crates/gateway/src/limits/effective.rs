//! Every limit that requests of a key fall under, and where each stands.

use tallygate_store::{KeyEntry, Limits};
use tallygate_types::Timestamp;
use tallygate_types::live::{EffectiveLimit, LimitSource};

use super::{DefaultPlaces, Dimension, Holder, Holders, Purpose, ScopeKind, Subject, bounded_name};

/// Whose limits are asked for.
#[derive(Debug, Clone, Copy)]
pub struct AskedOf<'a> {
    pub key: &'a KeyEntry,
    /// By public name. None: each model the tenant has limits for.
    pub model: Option<&'a str>,
    /// None: what each of them has.
    pub end_user: Option<&'a str>,
    pub places: DefaultPlaces,
}

/// A limit, as this process counts it.
#[derive(Debug)]
pub struct Row {
    pub limit: EffectiveLimit,
    /// What it is of, if others may count it too.
    pub id: Option<Subject>,
}

/// One scope.
struct Bounds<'a> {
    scope: ScopeKind,
    subject: Option<&'a str>,
    id: Subject,
    limits: &'a Limits,
    source: LimitSource,
    default_concurrency: Option<u32>,
    /// None: nothing was counted yet.
    holder: Option<&'a Holder>,
}

/// In the order they are asked. What only counts tokens has limits of its own, of the same size, which are not shown.
pub fn effective(asked: &AskedOf<'_>, holders: &Holders, now: Timestamp) -> Vec<Row> {
    let AskedOf { key, model, end_user, places } = *asked;
    let tenant = &*key.tenant;
    let mut all = Vec::new();
    let own = |scope, subject, id, limits, source| Bounds {
        scope,
        subject,
        id,
        limits,
        source,
        default_concurrency: None,
        holder: None,
    };

    let bounds = own(ScopeKind::Tenant, Some(&*tenant.name), Subject::Id(tenant.id.uuid()), &tenant.limits, LimitSource::Tenant);
    let holder = holders.tenant(tenant);
    Bounds { default_concurrency: Some(places.per_tenant), holder: Some(&holder), ..bounds }.list(&mut all, now);
    if let Some(project) = key.project() {
        let bounds =
            own(ScopeKind::Project, Some(&*project.name), Subject::Id(project.id.uuid()), &project.limits, LimitSource::Project);
        Bounds { holder: Some(&holders.project(project)), ..bounds }.list(&mut all, now);
    }
    let bounds = own(ScopeKind::Key, Some(&*key.name), Subject::Id(key.id.uuid()), &key.limits, LimitSource::Key);
    Bounds { default_concurrency: places.of_key(tenant), holder: Some(&holders.key(key)), ..bounds }.list(&mut all, now);

    let Some(inner) = &tenant.bounds else { return all };
    for (name, limits) in inner.models.iter().filter(|(name, _)| model.is_none_or(|asked| asked == **name)) {
        let holder = holders.find_named(tenant.id, ScopeKind::Model, name);
        let bounds = own(ScopeKind::Model, Some(name.as_str()), Subject::Name, limits, LimitSource::ModelRule);
        Bounds { holder: holder.as_deref(), ..bounds }.list(&mut all, now);
    }
    let end_user = end_user.map(bounded_name);
    let holder = end_user.and_then(|name| holders.find_named(tenant.id, ScopeKind::EndUser, name));
    let bounds = own(ScopeKind::EndUser, end_user, Subject::Name, &inner.end_users, LimitSource::EndUserRule);
    Bounds { holder: holder.as_deref(), ..bounds }.list(&mut all, now);
    all
}

impl Bounds<'_> {
    fn list(&self, all: &mut Vec<Row>, now: Timestamp) {
        for dimension in Dimension::ALL {
            let own = match dimension {
                Dimension::Requests => self.limits.requests_per_minute.map(u64::from),
                Dimension::Tokens => self.limits.tokens_per_minute,
                Dimension::Concurrency => self.limits.concurrency.map(u64::from),
            };
            let default = self.default_concurrency.filter(|_| dimension == Dimension::Concurrency).map(u64::from);
            let Some(limit) = own.or(default) else { continue };
            let (used, resets_at) = self.holder.map_or((0, None), |holder| standing(holder, dimension, limit, now));
            let limit = EffectiveLimit {
                scope: self.scope,
                subject: self.subject.map(str::to_owned),
                dimension,
                limit,
                used,
                remaining: limit.saturating_sub(used),
                resets_at,
                source: if own.is_some() { self.source } else { LimitSource::Default },
            };
            let is_one = own.is_some() && self.subject.is_some();
            all.push(Row { limit, id: is_one.then_some(self.id) });
        }
    }
}

/// What is used of a limit, and when all of a rate can be had again.
fn standing(holder: &Holder, dimension: Dimension, limit: u64, now: Timestamp) -> (u64, Option<Timestamp>) {
    let counts = holder.counts(Purpose::Generating);
    let rate = match dimension {
        Dimension::Requests => counts.requests(),
        Dimension::Tokens => counts.tokens(),
        Dimension::Concurrency => return (u64::from(holder.running(Purpose::Generating)), None),
    };
    let used = rate.used(now);
    (used, (used > 0).then(|| now.saturating_add(rate.level(limit, now).reset)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tallygate_store::{KeyTerms, ProjectEntry, TenantBounds, TenantEntry};
    use tallygate_types::ProjectId;

    use super::*;
    use crate::limits::{MemoryLimiter, Scope, Scopes};

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const PLACES: DefaultPlaces = DefaultPlaces { per_tenant: 200, per_key: 50 };

    fn limits(requests: Option<u32>, tokens: Option<u64>, concurrency: Option<u32>) -> Limits {
        Limits { requests_per_minute: requests, tokens_per_minute: tokens, concurrency }
    }

    /// Each as `scope subject dimension used/limit source`.
    fn told(rows: &[Row]) -> Vec<String> {
        let text = |Row { limit: row, .. }: &Row| {
            let EffectiveLimit { scope, dimension, limit, used, remaining, source, .. } = row;
            assert_eq!(*remaining, limit.saturating_sub(*used));
            let subject = row.subject.as_deref().unwrap_or("*");
            format!("{} {subject} {} {used}/{limit} {source:?}", scope.as_str(), dimension.as_str())
        };
        rows.iter().map(text).collect()
    }

    fn key() -> KeyEntry {
        let models = [("fast", limits(Some(5), None, None)), ("smart", limits(None, Some(900), None))];
        let bounds = TenantBounds {
            models: models.into_iter().map(|(name, limits)| (name.to_owned(), limits)).collect::<BTreeMap<_, _>>(),
            end_users: limits(Some(3), None, Some(1)),
        };
        let tenant =
            TenantEntry { limits: limits(Some(600), None, None), bounds: Some(Arc::new(bounds)), ..TenantEntry::named("acme") };
        let project =
            ProjectEntry { limits: limits(None, Some(10_000), None), ..ProjectEntry::named("web", ProjectId::generate()) };
        let terms = KeyTerms { project: Some(Arc::new(project)), ..KeyTerms::default() };
        KeyEntry { limits: limits(Some(60), None, None), terms: Some(Arc::new(terms)), ..KeyEntry::named("ci", Arc::new(tenant)) }
    }

    #[test]
    fn every_cap_is_told_in_the_order_it_is_asked_with_what_set_it() {
        let (holders, key) = (Holders::default(), key());
        let asked = AskedOf { key: &key, model: None, end_user: None, places: PLACES };
        let rows = effective(&asked, &holders, NOW);
        assert_eq!(
            told(&rows),
            [
                "tenant acme requests 0/600 Tenant",
                "tenant acme concurrency 0/200 Default",
                "project web tokens 0/10000 Project",
                "key ci requests 0/60 Key",
                "key ci concurrency 0/50 Default",
                "model fast requests 0/5 ModelRule",
                "model smart tokens 0/900 ModelRule",
                "end_user * requests 0/3 EndUserRule",
                "end_user * concurrency 0/1 EndUserRule",
            ]
        );
        assert!(rows.iter().all(|row| row.limit.resets_at.is_none()));
        let asked = AskedOf { model: Some("fast"), end_user: Some("ada"), ..asked };
        assert_eq!(
            told(&effective(&asked, &holders, NOW))[5..],
            [
                "model fast requests 0/5 ModelRule",
                "end_user ada requests 0/3 EndUserRule",
                "end_user ada concurrency 0/1 EndUserRule"
            ]
        );
    }

    #[test]
    fn a_tenant_that_bounds_itself_bounds_its_keys_and_a_plain_one_has_the_defaults() {
        let of = |limits: Limits| {
            let tenant = TenantEntry { limits, ..TenantEntry::named("acme") };
            let key = KeyEntry::named("ci", Arc::new(tenant));
            told(&effective(&AskedOf { key: &key, model: None, end_user: None, places: PLACES }, &Holders::default(), NOW))
        };
        assert_eq!(of(limits(None, None, Some(7))), ["tenant acme concurrency 0/7 Tenant"]);
        assert_eq!(of(Limits::default()), ["tenant acme concurrency 0/200 Default", "key ci concurrency 0/50 Default"]);
    }

    #[test]
    fn what_was_admitted_is_used_until_it_is_a_minute_old() {
        let (holders, key) = (Holders::default(), key());
        let (of_key, of_user) = (holders.key(&key), holders.named(key.tenant.id, ScopeKind::EndUser, "ada", NOW));
        let end_users = limits(Some(3), None, Some(1));
        let scope =
            |kind, holder, limits| Scope { kind, subject: "", id: Subject::Name, holder, limits, default_concurrency: None };
        let mut scopes = Scopes::new(scope(ScopeKind::Key, &of_key, &key.limits));
        scopes.push(scope(ScopeKind::EndUser, &of_user, &end_users));
        let mut permit = MemoryLimiter.take(scopes.as_slice(), Purpose::Generating, 0, NOW).unwrap();
        permit.dispatched();

        let asked = AskedOf { key: &key, model: Some("other"), end_user: Some("ada"), places: PLACES };
        let rows = effective(&asked, &holders, NOW);
        assert_eq!(
            told(&rows)[3..],
            [
                "key ci requests 1/60 Key",
                "key ci concurrency 1/50 Default",
                "end_user ada requests 1/3 EndUserRule",
                "end_user ada concurrency 1/1 EndUserRule",
            ]
        );
        let gone = NOW.saturating_add(std::time::Duration::from_millis(60_500));
        assert_eq!(rows[3..].iter().map(|row| row.limit.resets_at).collect::<Vec<_>>(), [Some(gone), None, Some(gone), None]);
        drop(permit);
        let used = |now| effective(&asked, &holders, now)[3..].iter().map(|row| row.limit.used).collect::<Vec<_>>();
        assert_eq!((used(NOW), used(gone)), (vec![1, 0, 1, 0], vec![0; 4]));
    }
}
