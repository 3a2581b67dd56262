//! The operators' listener: `/metrics`, `/healthz`, `/readyz`. Never calls a provider and never waits for the database, so a
//! probe cannot make trouble worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the probes answer from.
#[derive(Debug, Default)]
pub struct Health {
    /// Set once the listeners are up and the first snapshot is loaded.
    pub started: AtomicBool,
    /// Set when SIGTERM arrived: load balancers should look elsewhere.
    pub draining: AtomicBool,
}

#[derive(Clone)]
struct Ops {
    health: Arc<Health>,
    registry: Registry,
    store_is_fresh: Arc<AtomicBool>,
}

/// Serves the probes and metrics until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    registry: Registry,
    store_is_fresh: Arc<AtomicBool>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Ops { health, registry, store_is_fresh });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Ready while it serves from the last good snapshot; `degraded` says that the database is away.
async fn readyz(State(ops): State<Ops>) -> Response {
    let draining = ops.health.draining.load(Ordering::Relaxed);
    let ready = ops.health.started.load(Ordering::Relaxed) && !draining;
    let body = json!({
        "ready": ready,
        "draining": draining,
        "degraded": !ops.store_is_fresh.load(Ordering::Relaxed),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(body)).into_response()
}

async fn metrics(State(ops): State<Ops>) -> Response {
    let mut text = Vec::new();
    // The process's own figures (memory, descriptors, CPU) are in the library's default registry.
    let families = [ops.registry.gather(), prometheus::gather()].concat();
    match TextEncoder::new().encode(&families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be written: {error}\n")).into_response(),
    }
}
