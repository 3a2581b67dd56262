//! The control plane: the REST API under `/admin/v1`, and the dashboard that uses nothing else.
//!
//! [`router`] is the whole service. A file in `resources` holds the routes, requests and answers of one resource; a route
//! cannot be added without saying who may call it. Every change commits together with its row of the audit trail.
//!
//! What this crate never does: serve a tenant's request, open a connection to a provider (it asks an [`UpstreamProbe`]), or
//! show a secret a second time.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tallygate_admin::{AdminConfig, AdminError, AdminState, UpstreamProbe};
//! # fn example(store: Arc<tallygate_store::Store>, probe: Arc<dyn UpstreamProbe>) -> Result<axum::Router, AdminError> {
//! let config = AdminConfig {
//!     public_origin: "http://127.0.0.1:8081".into(),
//!     api_url: Some("http://127.0.0.1:8080".into()),
//!     demo: false,
//! };
//! let state = AdminState::new(store, None, probe, config)?;
//! let service = tallygate_admin::router(state); // serve it with `into_make_service_with_connect_info::<SocketAddr>()`
//! # Ok(service)
//! # }
//! ```

mod assets;
mod audit;
mod auth;
mod billing_form;
mod browser;
mod form;
mod http_form;
mod live;
mod openapi;
mod probe;
mod problem;
mod resources;
mod router;
mod routes;
mod state;

pub use auth::{Permission, Role};
pub use live::LivePlane;
pub use openapi::{openapi_json, route_table};
pub use probe::{ProbeRequest, ProbeStep, ProbeStepName, UpstreamProbe};
pub use router::router;
pub use routes::{Access, Route};
pub use state::{AdminConfig, AdminError, AdminState};

pub(crate) type AppState = std::sync::Arc<AdminState>;
