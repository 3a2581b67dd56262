//! What earlier answers of the Responses API left behind and later requests refer to.
//!
//! Of two kinds: responses the gateway keeps itself, for tenants who want it, and pins, which say what upstream keeps
//! something of a tenant's. This is the one place where the data plane waits for the database, and only where a request
//! cannot be served without: bounded in time and in number, and refused with 503 while the database is away.

mod pins;
mod shelf;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tallygate_adapter::kept::Handles;
use tallygate_store::pins::{NewPin, Pin};
use tallygate_store::responses::{Chain, ChainLimits, NewResponse, ResponseSettings, ResponsesMode, StoredResponse};
use tallygate_store::{StoreError, TenantEntry};
use tallygate_types::TenantId;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::pins::Pins;
use crate::config::KeptBounds;
use crate::metrics::KeptMetrics;
use crate::plane::Room;
use crate::refusal::{DEFAULT_RETRY, Refusal};

#[cfg(test)]
pub use shelf::Answer;
pub use shelf::{NoShelf, Shelf};

/// No provider's id is longer; a longer one is not looked up.
const MAX_ID_BYTES: usize = 256;

/// See the module.
pub struct Kept {
    shelf: Arc<dyn Shelf>,
    pins: Pins,
    reading: Semaphore,
    bounds: KeptBounds,
    metrics: KeptMetrics,
}

/// Where a response is.
pub enum Whereabouts {
    /// Kept here, with all it builds on; oldest first.
    Here(Vec<StoredResponse>),
    Upstream(Pin),
    /// Nowhere that this tenant may know of; the id is the one that is missing, which may be an earlier one.
    Nowhere(String),
    /// It builds on more than is taken.
    TooLong,
}

/// An answer that is to be kept.
#[derive(Clone)]
pub struct Plan {
    /// JSON array: the request's own items.
    pub input: Arc<str>,
    pub previous_id: Option<String>,
    /// `input` outlives the request: an answer may stream for long.
    _room: Arc<Room>,
}

impl Plan {
    /// `room` holds `input`.
    pub(crate) fn new(input: String, previous_id: Option<String>, room: Room) -> Self {
        Self { input: input.into(), previous_id, _room: Arc::new(room) }
    }
}

impl Kept {
    pub fn new(shelf: Arc<dyn Shelf>, bounds: KeptBounds, metrics: KeptMetrics) -> Self {
        let pins = Pins::new(Arc::clone(&shelf), &bounds, metrics.clone());
        Self { shelf, pins, reading: Semaphore::new(bounds.max_reads), bounds, metrics }
    }

    /// Looks for a response of a tenant; what another tenant keeps under the same id is nowhere.
    pub async fn find(&self, tenant: &TenantEntry, id: &str) -> Result<Whereabouts, Refusal> {
        if !is_plausible(id) {
            return Ok(Whereabouts::Nowhere(id.to_owned()));
        }
        if let Some(pin) = self.pins.get(tenant.id, id) {
            return Ok(Whereabouts::Upstream(pin));
        }
        if tenant.responses.mode == ResponsesMode::Stored {
            let limits = ChainLimits { responses: self.bounds.max_chain_responses, bytes: self.bounds.max_chain_bytes };
            match self.read(self.shelf.chain(tenant.id, id, limits)).await? {
                Chain::Whole(chain) => return Ok(Whereabouts::Here(chain)),
                Chain::TooLong => return Ok(Whereabouts::TooLong),
                Chain::Missing(missing) if missing != id => return Ok(Whereabouts::Nowhere(missing)),
                Chain::Missing(_) => {}
            }
        }
        Ok(match self.pin(tenant.id, id).await? {
            Some(pin) => Whereabouts::Upstream(pin),
            None => Whereabouts::Nowhere(id.to_owned()),
        })
    }

    /// The upstream that keeps a response or an item of a tenant's.
    pub async fn pin(&self, tenant: TenantId, id: &str) -> Result<Option<Pin>, Refusal> {
        if !is_plausible(id) {
            return Ok(None);
        }
        if let Some(pin) = self.pins.get(tenant, id) {
            return Ok(Some(pin));
        }
        let found = self.read(self.shelf.pin(tenant, id)).await?;
        if let Some(pin) = found {
            self.pins.put(tenant, id, pin);
        }
        Ok(found)
    }

    /// One response the gateway keeps, without what it builds on.
    pub async fn get(&self, tenant: &TenantEntry, id: &str) -> Result<Option<StoredResponse>, Refusal> {
        if tenant.responses.mode == ResponsesMode::Stateless || !is_plausible(id) {
            return Ok(None);
        }
        self.read(self.shelf.get(tenant.id, id)).await
    }

    pub async fn delete(&self, tenant: TenantId, id: &str) -> Result<bool, Refusal> {
        self.read(self.shelf.delete(tenant, id)).await
    }

    /// The upstream has forgotten it.
    pub async fn forget(&self, tenant: TenantId, id: &str) -> Result<(), Refusal> {
        self.pins.remove(tenant, id);
        self.read(self.shelf.forget(tenant, id)).await
    }

    /// Who sealed some reasoning of a tenant's; known to this process alone.
    pub fn sealed_by(&self, tenant: TenantId, handle: &str) -> Option<Pin> {
        self.pins.get(tenant, handle)
    }

    /// Remembers what an upstream keeps of an answer it gave: at once here, soon in the database.
    pub fn note(&self, tenant: TenantId, pin: Pin, handles: &Handles, is_stored: bool) {
        for handle in &handles.sealed {
            self.pins.put(tenant, handle, pin);
        }
        for id in handles.ids.iter().filter(|id| is_stored && is_plausible(id)) {
            self.pins.put(tenant, id, pin);
            self.pins.write(NewPin { tenant, id: id.clone(), pin });
        }
    }

    /// Keeps an answer; whether it could be.
    pub async fn keep(&self, tenant: TenantId, settings: &ResponseSettings, plan: &Plan, id: &str, response: &str) -> bool {
        let new = NewResponse { id, previous_id: plan.previous_id.as_deref(), input: &plan.input, response };
        let kept = timeout(self.bounds.write_timeout, self.shelf.keep(tenant, settings, &new)).await;
        let error = match kept {
            Ok(Ok(())) => {
                self.metrics.kept.inc();
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("nothing within {:?}", self.bounds.write_timeout),
        };
        self.metrics.not_kept.inc();
        tracing::warn!(error, response = id, "a response could not be kept; the answer says so");
        false
    }

    /// Waits until what was noted is in the database, or for `deadline`.
    pub async fn flush(&self, deadline: Duration) {
        if timeout(deadline, self.pins.written()).await.is_err() {
            tracing::warn!("not all that upstreams keep could be noted; requests that refer to it will be refused");
        }
    }

    /// One look at the database, bounded in time and in number.
    async fn read<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Refusal> {
        let away = |why: &dyn std::fmt::Display| {
            self.metrics.away.inc();
            tracing::warn!(%why, "the database cannot be asked for a response");
            let message = "Stored responses cannot be read right now. Try again shortly, or send the earlier items in `input`.";
            Refusal::unavailable(message, Some(DEFAULT_RETRY)).with_code("response_store_unavailable")
        };
        let permit = self.reading.try_acquire().map_err(|_| away(&"too many ask at once"))?;
        let read = timeout(self.bounds.read_timeout, reading).await;
        drop(permit);
        read.map_err(|_| away(&"it did not answer in time"))?.map_err(|error| away(&error))
    }
}

fn is_plausible(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic())
}
