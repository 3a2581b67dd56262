//! What people of a tenant may give away: never more than they have. Staff is not bound; at use the tightest holds anyway.

use tallygate_store::keys::KeySettings;
use tallygate_store::projects::{self, ProjectSettings};
use tallygate_store::tenants::{self, Tenant};
use tallygate_store::{Limits, Tx, counts_of_tenant};
use tallygate_types::TenantId;

use crate::auth::Scope;
use crate::problem::{FieldError, Problem, Result};

/// How much of a kind people of one tenant may make: each key and project is in the memory of every replica.
pub const MAX_KEYS_OF_TENANT: u64 = 1_000;
pub const MAX_PROJECTS_OF_TENANT: u64 = 200;
pub const MAX_PEOPLE_OF_TENANT: u64 = 500;

/// What there is of the tenant that its people make more of.
#[derive(Clone, Copy)]
pub enum Made {
    Key,
    Project,
    Person,
}

/// Whether the caller may make one more of it.
pub async fn check_room(tx: &mut Tx, scope: Scope, tenant: TenantId, made: Made) -> Result<()> {
    if scope.is_platform() {
        return Ok(());
    }
    let counts = counts_of_tenant(tx, tenant).await?;
    let (has, most, called) = match made {
        Made::Key => (counts.api_keys, MAX_KEYS_OF_TENANT, "API keys in use"),
        Made::Project => (counts.projects, MAX_PROJECTS_OF_TENANT, "projects"),
        Made::Person => (counts.users, MAX_PEOPLE_OF_TENANT, "people"),
    };
    if has < most {
        return Ok(());
    }
    let detail = format!("The tenant has {has} {called}; its people may make {most} at most. Ask the operator for more.");
    Err(Problem::conflict("at_most", detail))
}

/// What a key or a project may use.
#[derive(Clone, Copy)]
struct Grant<'a> {
    limits: Limits,
    /// `None`: all.
    models: Option<&'a [String]>,
}

/// Who has what is given away, and what people call them.
struct Granter<'a> {
    called: String,
    has: Grant<'a>,
}

/// Whether the caller may make a project of `tenant` so, or of what it was before.
pub fn check_project(scope: Scope, tenant: &Tenant, before: Option<&ProjectSettings>, wanted: &ProjectSettings) -> Result<()> {
    if scope.is_platform() {
        return Ok(());
    }
    refuse(beyond(of_project(wanted), before.map(of_project), &[granter_of(tenant)]))
}

/// Whether the caller may make a key of the tenant so, or of what it was before.
pub async fn check_key(
    tx: &mut Tx,
    scope: Scope,
    tenant: TenantId,
    before: Option<&KeySettings>,
    wanted: &KeySettings,
) -> Result<()> {
    if scope.is_platform() {
        return Ok(());
    }
    let tenant = tenants::get(&mut *tx, scope.rows(), tenant).await?;
    let project = match &wanted.project {
        // An unknown one is refused where the key is written.
        Some(name) => projects::find_by_name(tx, tenant.id, name).await?.map(|project| project.settings()),
        None => None,
    };
    let mut granters = vec![granter_of(&tenant)];
    granters.extend(
        project.as_ref().map(|project| Granter { called: format!("the project `{}`", project.name), has: of_project(project) }),
    );
    // In another project everything is given anew.
    let kept = before.filter(|before| before.project == wanted.project);
    let mut errors = beyond(of_key(wanted), kept.map(of_key), &granters);
    if before.map_or(&[][..], |before| &before.tags) != wanted.tags {
        let reason = "Labels decide where requests go; only the platform's staff sets them.";
        errors.push(FieldError::new("/tags", "staff_only", reason));
    }
    refuse(errors)
}

fn of_key(key: &KeySettings) -> Grant<'_> {
    Grant { limits: key.limits, models: key.allowed_models.as_deref() }
}

fn of_project(project: &ProjectSettings) -> Grant<'_> {
    Grant { limits: project.limits, models: project.allowed_models.as_deref() }
}

fn granter_of(tenant: &Tenant) -> Granter<'_> {
    let has = Grant { limits: tenant.limits, models: tenant.allowed_models.as_deref() };
    Granter { called: "the tenant".to_owned(), has }
}

fn refuse(errors: Vec<FieldError>) -> Result<()> {
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}

/// Each field that gives more than a granter has, with what the most is. What is not changed is not asked about: a cap that was
/// lowered later must not make a key's name unchangeable.
fn beyond(wanted: Grant<'_>, before: Option<Grant<'_>>, granters: &[Granter<'_>]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (field, figure) in FIGURES {
        let given = figure(&wanted.limits);
        if given == before.and_then(|before| figure(&before.limits)) {
            continue;
        }
        let caps = granters.iter().filter_map(|granter| Some((figure(&granter.has.limits)?, &granter.called)));
        if let (Some(given), Some((most, called))) = (given, caps.min())
            && given > most
        {
            let reason = format!("At most {most}: that is what {called} has.");
            errors.push(FieldError::new(format!("/limits/{field}"), "exceeds_grant", reason));
        }
    }
    let known = before.and_then(|before| before.models).unwrap_or_default();
    for (at, model) in wanted.models.unwrap_or_default().iter().enumerate().filter(|(_, model)| !known.contains(model)) {
        let refusing = granters.iter().find_map(|granter| {
            let models = granter.has.models?;
            (!models.contains(model)).then_some((models, &granter.called))
        });
        if let Some((models, called)) = refusing {
            let may = if models.is_empty() { "none".to_owned() } else { models.join(", ") };
            let reason = format!("Not `{model}`: the models of {called} are {may}.");
            errors.push(FieldError::new(format!("/allowed_models/{at}"), "exceeds_grant", reason));
        }
    }
    errors
}

type Figure = fn(&Limits) -> Option<u64>;

const FIGURES: [(&str, Figure); 3] = [
    ("requests_per_minute", |limits| limits.requests_per_minute.map(u64::from)),
    ("tokens_per_minute", |limits| limits.tokens_per_minute),
    ("concurrency", |limits| limits.concurrency.map(u64::from)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: u32) -> Limits {
        Limits { requests_per_minute: Some(requests), ..Limits::default() }
    }

    fn said(wanted: Grant<'_>, before: Option<Grant<'_>>) -> Vec<String> {
        let (models, of_project) = (["smart".to_owned(), "fast".to_owned()], ["fast".to_owned()]);
        let granters = [
            Granter { called: "the tenant".into(), has: Grant { limits: limits(60), models: Some(&models) } },
            Granter { called: "the project `web`".into(), has: Grant { limits: limits(90), models: Some(&of_project) } },
        ];
        beyond(wanted, before, &granters).into_iter().map(|error| format!("{}: {}", error.pointer, error.reason)).collect()
    }

    #[test]
    fn the_tighter_cap_is_said_and_what_is_equal_or_unlimited_passes() {
        let of = |limits| Grant { limits, models: None };
        assert_eq!(said(of(limits(100)), None), ["/limits/requests_per_minute: At most 60: that is what the tenant has."]);
        assert_eq!(said(of(limits(60)), None), [""; 0]);
        assert_eq!(said(of(Limits { concurrency: Some(7), ..Limits::default() }), None), [""; 0]);
    }

    #[test]
    fn what_was_there_before_is_not_asked_about() {
        let of = |limits| Grant { limits, models: None };
        assert_eq!(said(of(limits(100)), Some(of(limits(100)))), [""; 0]);
        assert_eq!(said(of(limits(99)), Some(of(limits(100)))).len(), 1);
    }

    #[test]
    fn each_model_that_is_not_the_granters_is_pointed_at() {
        let (wanted, old) = (["fast".to_owned(), "smart".to_owned(), "gone".to_owned()], ["gone".to_owned()]);
        let of = |models| Grant { limits: Limits::default(), models: Some(models) };
        assert_eq!(
            said(of(&wanted), Some(of(&old))),
            ["/allowed_models/1: Not `smart`: the models of the project `web` are fast."]
        );
    }
}
