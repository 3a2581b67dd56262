//! What the data plane asks of whoever owns the tables.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tallygate_store::pins::{self, NewPin, Pin};
use tallygate_store::responses::{self, Chain, ChainLimits, NewResponse, ResponseSettings, StoredResponse};
use tallygate_store::{Store, StoreError};
use tallygate_types::TenantId;

pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Responses and pins, in a place that outlives the process. Nothing of one tenant is found by another.
pub trait Shelf: Send + Sync {
    fn keep<'a>(&'a self, tenant: TenantId, settings: &'a ResponseSettings, new: &'a NewResponse<'a>) -> Answer<'a, ()>;
    fn get<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, Option<StoredResponse>>;
    fn chain<'a>(&'a self, tenant: TenantId, id: &'a str, limits: ChainLimits) -> Answer<'a, Chain>;
    /// Whether there was one.
    fn delete<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, bool>;
    fn pin<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, Option<Pin>>;
    fn remember<'a>(&'a self, pins: &'a [NewPin]) -> Answer<'a, ()>;
    fn forget<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, ()>;
}

impl Shelf for Store {
    fn keep<'a>(&'a self, tenant: TenantId, settings: &'a ResponseSettings, new: &'a NewResponse<'a>) -> Answer<'a, ()> {
        responses::keep(self, tenant, settings, new).boxed()
    }

    fn get<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, Option<StoredResponse>> {
        async move {
            match responses::get(self, tenant, id).await {
                Ok(response) => Ok(Some(response)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn chain<'a>(&'a self, tenant: TenantId, id: &'a str, limits: ChainLimits) -> Answer<'a, Chain> {
        responses::chain(self, tenant, id, limits).boxed()
    }

    fn delete<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, bool> {
        responses::delete(self, tenant, id).boxed()
    }

    fn pin<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, Option<Pin>> {
        pins::find(self, tenant, id).boxed()
    }

    fn remember<'a>(&'a self, pins: &'a [NewPin]) -> Answer<'a, ()> {
        pins::remember(self, pins).boxed()
    }

    fn forget<'a>(&'a self, tenant: TenantId, id: &'a str) -> Answer<'a, ()> {
        pins::forget(self, tenant, id).boxed()
    }
}

/// Keeps nothing: for a data plane without a database.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoShelf;

impl Shelf for NoShelf {
    fn keep<'a>(&'a self, _: TenantId, _: &'a ResponseSettings, _: &'a NewResponse<'a>) -> Answer<'a, ()> {
        ready(Err(StoreError::Unavailable("there is no database".into()))).boxed()
    }

    fn get<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, Option<StoredResponse>> {
        ready(Ok(None)).boxed()
    }

    fn chain<'a>(&'a self, _: TenantId, id: &'a str, _: ChainLimits) -> Answer<'a, Chain> {
        ready(Ok(Chain::Missing(id.to_owned()))).boxed()
    }

    fn delete<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, bool> {
        ready(Ok(false)).boxed()
    }

    fn pin<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, Option<Pin>> {
        ready(Ok(None)).boxed()
    }

    fn remember<'a>(&'a self, _: &'a [NewPin]) -> Answer<'a, ()> {
        ready(Ok(())).boxed()
    }

    fn forget<'a>(&'a self, _: TenantId, _: &'a str) -> Answer<'a, ()> {
        ready(Ok(())).boxed()
    }
}
