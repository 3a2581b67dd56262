//! The admin API from outside, on a database of its own for each test. A module a resource, as in the crate; every answer is
//! held against the API document on its way (`document`).

mod admin_tokens;
mod api_keys;
mod audit_events;
mod balances;
mod bills;
mod browser;
mod budgets;
mod catalogue;
mod client;
mod declared;
mod document;
mod isolation;
mod live;
mod models;
mod notifications;
mod openapi;
mod overview;
mod probe;
mod projects;
mod requests;
mod roles;
mod routes;
mod secrets;
mod session;
mod setup;
mod shop;
mod tenant_budgets;
mod tenant_people;
mod tenants;
mod two_tenants;
mod upstreams;
mod usage;
mod users;
mod version;
mod visitor;
