//! `/projects`: what a tenant does for one purpose, with bounds of its own. Keys name theirs.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::projects::{self, ProjectFilter, ProjectSettings};
use tallygate_store::tenants;
use tallygate_types::{ProjectId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::grants;
use super::tenants::tenant_of_body;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Scope};
use crate::form::{Limits, LimitsPatch, ManagedBy, NewLimits};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned, given, page_request};
use crate::problem::Result;
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::ProjectsRead), routes!(list_projects))
        .add(Access::Needs(Permission::ProjectsWrite), routes!(create_project))
        .add(Access::Needs(Permission::ProjectsRead), routes!(get_project))
        .add(Access::Needs(Permission::ProjectsWrite), routes!(update_project))
        .add(Access::Needs(Permission::ProjectsWrite), routes!(delete_project))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectStatus {
    Active,
    /// Its keys are refused, and no key can join it.
    Archived,
}

/// What a tenant does for one purpose. Its limits hold beside those of the tenant and of each key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Project {
    #[schema(value_type = String, example = "prj_0193500000007000800000000000000c")]
    pub id: ProjectId,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// No other project of the tenant has it.
    #[schema(example = "web")]
    pub name: String,
    pub status: ProjectStatus,
    pub limits: Limits,
    /// Public model names its keys may call, within those of the tenant; null is all of those.
    #[schema(required = true)]
    pub allowed_models: Option<Vec<String>>,
    pub managed_by: ManagedBy,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for Project {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectCreate {
    /// Absent, the caller's own.
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
    /// Printable, on one line, without a comma; at most 64 characters.
    #[schema(example = "web", max_length = 64)]
    pub name: String,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: NewLimits,
    pub allowed_models: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPatch {
    /// The keys of the project follow it to a new name.
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub status: Option<ProjectStatus>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: LimitsPatch,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Patch<Vec<String>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListProjects {
    /// Only projects of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    #[param(inline)]
    status: Option<ProjectStatus>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists projects, newest first.
#[utoipa::path(get, path = "/admin/v1/projects", tag = "projects", params(ListProjects),
    responses((status = 200, body = Page<Project>)))]
async fn list_projects(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListProjects>,
) -> Result<axum::Json<Page<Project>>> {
    let filter = ProjectFilter { tenant_id: query.tenant_id, status: query.status.map(Into::into) };
    let page = projects::list(&state.store, scope.rows(), &filter, &page_request(query.limit, query.after)?).await?;
    Ok(axum::Json(Page::of(page, Project::from)))
}

/// Creates a project of a tenant.
#[utoipa::path(post, path = "/admin/v1/projects", tag = "projects", request_body = ProjectCreate,
    responses((status = 201, body = Project)))]
async fn create_project(
    State(state): State<AppState>,
    scope: Scope,
    change: Change,
    Body(body): Body<ProjectCreate>,
) -> Result<Created<Project>> {
    let settings = ProjectSettings {
        limits: Limits::from(body.limits).checked("/limits")?,
        allowed_models: body.allowed_models,
        ..ProjectSettings::named(body.name)
    };
    let mut tx = state.store.begin().await?;
    let tenant = tenant_of_body(&mut tx, scope, body.tenant_id).await?;
    grants::check_project(scope, &tenant, None, &settings)?;
    grants::check_room(&mut tx, scope, tenant.id, grants::Made::Project).await?;
    let project = Project::from(projects::create(&mut tx, tenant.id, &settings).await?);
    change.created(&mut tx, target(&project), &project).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/projects/{}", project.id), resource: project })
}

/// Reads a project.
#[utoipa::path(get, path = "/admin/v1/projects/{id}", tag = "projects", params(("id" = String, Path)),
    responses((status = 200, body = Project)))]
async fn get_project(State(state): State<AppState>, scope: Scope, Path(id): Path<ProjectId>) -> Result<Found<Project>> {
    Ok(Found(projects::get(&state.store, scope.rows(), id).await?.into()))
}

/// Changes a project's name, limits or models; archives it or takes it back.
#[utoipa::path(patch, path = "/admin/v1/projects/{id}", tag = "projects",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = ProjectPatch, responses((status = 200, body = Project)))]
async fn update_project(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<ProjectId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<ProjectPatch>,
) -> Result<Found<Project>> {
    let mut tx = state.store.begin().await?;
    let current = projects::get(&mut tx, scope.rows(), id).await?;
    let before = Project::from(current.clone());
    expected.check_version(&before)?;
    let kept = current.settings();
    let settings = ProjectSettings {
        name: body.name.unwrap_or(current.name),
        status: body.status.map_or(current.status, Into::into),
        limits: body.limits.apply(current.limits.into()).checked("/limits")?,
        allowed_models: body.allowed_models.apply(current.allowed_models),
    };
    if !scope.is_platform() {
        let tenant = tenants::get(&mut tx, scope.rows(), before.tenant_id).await?;
        grants::check_project(scope, &tenant, Some(&kept), &settings)?;
    }
    before.managed_by.admit(settings == ProjectSettings { status: settings.status, ..kept })?;
    let after = Project::from(projects::update(&mut tx, scope.rows(), id, expected.0, &settings).await?);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes a project that no key ever belonged to, with the budgets of it. Another is archived instead, so that its usage keeps
/// its name.
#[utoipa::path(delete, path = "/admin/v1/projects/{id}", tag = "projects",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_project(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<ProjectId>,
    expected: IfMatch,
    change: Change,
) -> Result<StatusCode> {
    let mut tx = state.store.begin().await?;
    let before = Project::from(projects::get(&mut tx, scope.rows(), id).await?);
    expected.check(&before, before.managed_by)?;
    projects::delete(&mut tx, scope.rows(), id, expected.0).await?;
    change.deleted(&mut tx, target(&before), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn target(project: &Project) -> Target<'_> {
    Target { kind: "project", id: project.id.to_string(), name: &project.name, tenant: Some(project.tenant_id) }
}

impl From<projects::Project> for Project {
    fn from(row: projects::Project) -> Self {
        Self {
            id: row.id,
            tenant_id: row.tenant_id,
            name: row.name,
            status: match row.status {
                projects::ProjectStatus::Active => ProjectStatus::Active,
                projects::ProjectStatus::Archived => ProjectStatus::Archived,
            },
            limits: row.limits.into(),
            allowed_models: row.allowed_models,
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<ProjectStatus> for projects::ProjectStatus {
    fn from(status: ProjectStatus) -> Self {
        match status {
            ProjectStatus::Active => Self::Active,
            ProjectStatus::Archived => Self::Archived,
        }
    }
}
