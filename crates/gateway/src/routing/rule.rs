//! Which rule decides: the first route that matches, else the model itself.

use std::sync::Arc;

use tallygate_store::routing::{RouteMatch, RoutingPolicy};
use tallygate_store::{ModelEntry, RouteEntry, Snapshot, TargetEntry};
use uuid::Uuid;

use super::asked::Asked;
use super::trace::Trace;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    pub model: &'a ModelEntry,
    pub route: Option<&'a Arc<RouteEntry>>,
}

/// A condition of a match, in the order they are held against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    Model,
    Tenant,
    Project,
    Tag,
    MinInput(u64),
    MaxInput(u64),
    Header(&'a str),
}

impl<'a> Rule<'a> {
    /// The first route that matches, or the model's own targets.
    pub fn find(snapshot: &'a Snapshot, model: &'a ModelEntry, asked: &Asked<'_>, trace: &mut impl Trace) -> Self {
        let route = snapshot.routes.iter().find(|route| {
            let failed = first_that_fails(route, model, asked);
            trace.rule(route, failed);
            failed.is_none()
        });
        Self { model, route }
    }

    pub fn policy(&self) -> &'a RoutingPolicy {
        match self.route {
            Some(route) => &route.routing,
            None => &self.model.routing,
        }
    }

    pub fn targets(&self) -> &'a [TargetEntry] {
        match self.route {
            Some(route) => &route.targets,
            None => &self.model.targets,
        }
    }

    /// What a split is told apart by from another.
    pub fn name(&self) -> &'a str {
        self.route.map_or(&self.model.name, |route| &route.name)
    }

    /// Whose turns they are.
    pub fn line(&self) -> Uuid {
        self.route.map_or_else(|| self.model.id.uuid(), |route| route.id.uuid())
    }
}

fn first_that_fails<'a>(route: &'a RouteEntry, model: &ModelEntry, asked: &Asked<'_>) -> Option<Condition<'a>> {
    let RouteMatch { models, tenants, projects, tags, headers, min_input_tokens, max_input_tokens } = &route.matches;
    if !models.is_empty() && !models.iter().any(|name| fits(name, &model.name) || fits(name, asked.requested)) {
        return Some(Condition::Model);
    }
    if !tenants.is_empty() && route.tenants.binary_search(&asked.tenant).is_err() {
        return Some(Condition::Tenant);
    }
    if !projects.is_empty() && !projects.iter().any(|project| asked.project == Some(project.as_str())) {
        return Some(Condition::Project);
    }
    if !tags.is_empty() && !tags.iter().any(|tag| asked.has_tag(tag)) {
        return Some(Condition::Tag);
    }
    if let Some(min) = min_input_tokens.filter(|min| asked.input_tokens < *min) {
        return Some(Condition::MinInput(min));
    }
    if let Some(max) = max_input_tokens.filter(|max| asked.input_tokens > *max) {
        return Some(Condition::MaxInput(max));
    }
    let is_missing = |(name, value): &(&String, &String)| !asked.header(name).is_some_and(|sent| fits(value, sent));
    headers.iter().find(is_missing).map(|(name, _)| Condition::Header(name))
}

/// `pattern` is exact, or a beginning with `*` behind it.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern == text,
    }
}
