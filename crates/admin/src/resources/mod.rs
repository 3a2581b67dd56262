//! One file a resource: its routes, its requests and its answers.

// The expansion of `utoipa::path` qualifies more than it must.
#![allow(unused_qualifications)]

pub mod admin_tokens;
pub mod api_keys;
pub mod attention;
pub mod audit_events;
pub mod available_models;
pub mod balances;
pub mod bills;
pub mod budgets;
pub mod catalogue;
pub mod credentials;
pub mod explain;
pub mod grants;
pub mod health;
pub mod in_flight;
pub mod key_limits;
pub mod models;
pub mod names;
pub mod notifications;
pub mod overview;
pub mod prices;
pub mod projects;
pub mod requests;
pub mod rotation;
pub mod routes;
pub mod routing;
pub mod session;
pub mod setup;
pub mod tenant_budgets;
pub mod tenants;
pub mod upstream_test;
pub mod upstreams;
pub mod usage;
pub mod users;
pub mod version;
pub mod vouchers;
