//! The OpenAPI document, made from the route table.

use std::sync::OnceLock;

use axum::body::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::problem::Details;
use crate::resources;
use crate::routes::{Route, Routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tallygate admin API",
        description = "The control plane of Tallygate. The dashboard uses nothing else.\n\n\
            Lists come in pages: `limit` (50, at most 200) and `after`. Unknown query parameters are errors. PATCH takes a JSON merge \
            patch: absent leaves, null clears. PATCH and DELETE need `If-Match` with the ETag read before. Every change takes an \
            `X-Tallygate-Reason`, which the audit trail keeps. Failures are `application/problem+json`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Details))
)]
struct Document;

/// All routes, in the order the document lists their tags.
pub fn routes() -> Routes {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            crate::auth::cookies::SESSION_COOKIE,
            "Set by POST /admin/v1/session. Writes must come from the dashboard's own origin.",
        ))),
    );
    components.add_security_scheme(
        "admin_token",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("tgadm1_…")
                .description(Some("For programs."))
                .build(),
        ),
    );
    [
        resources::setup::add,
        resources::session::add,
        resources::overview::add,
        resources::tenants::add,
        resources::projects::add,
        resources::budgets::add,
        resources::tenant_budgets::add,
        resources::balances::add,
        resources::vouchers::add,
        resources::notifications::add,
        resources::api_keys::add,
        resources::key_limits::add,
        resources::upstreams::add,
        resources::upstream_test::add,
        resources::credentials::add,
        resources::models::add,
        resources::available_models::add,
        resources::routes::add,
        resources::explain::add,
        resources::in_flight::add,
        resources::health::add,
        resources::rotation::add,
        resources::prices::add,
        resources::catalogue::add,
        resources::requests::add,
        resources::usage::add,
        resources::bills::add,
        resources::audit_events::add,
        resources::users::add,
        resources::admin_tokens::add,
        resources::version::add,
    ]
    .into_iter()
    .fold(Routes::new(document), |routes, add| add(routes))
}

/// The document as it is served. It is the same for every caller and kept once somebody has asked for it.
pub fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let made = || routes().into_parts().1.to_json().unwrap_or_default().into();
    DOCUMENT.get_or_init(made).clone()
}

/// The document as it is committed (`web/openapi.json`): pretty JSON with a newline at the end.
pub fn openapi_json() -> String {
    let (_, document, _) = routes().into_parts();
    let mut json = document.to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

/// Every route with who may call it.
pub fn route_table() -> Vec<Route> {
    routes().into_parts().2
}
