//! What many records of a batch have in common, told once for all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tallygate_store::StoreError;
use tallygate_types::{CredentialId, Currency, Dialect, ModelId, UpstreamId};
use uuid::Uuid;

use super::cells::{self, Cells, Column};
use super::json;
use crate::price::PriceVersion;
use crate::record::{Endpoint, Name, Outcome, UsageRecord, UsageSource};

/// In the order of [`Kind::put`].
pub const COLUMNS: [Column; 25] = [
    ("attempt", cells::Kind::Int),
    ("endpoint", cells::Kind::Text),
    ("client_dialect", cells::Kind::Text),
    ("upstream_dialect", cells::Kind::Text),
    ("model_id", cells::Kind::Uuid),
    ("model", cells::Kind::Text),
    ("upstream_model", cells::Kind::Text),
    ("returned_model", cells::Kind::Text),
    ("upstream_id", cells::Kind::Uuid),
    ("upstream", cells::Kind::Text),
    ("credential_id", cells::Kind::Uuid),
    ("stream", cells::Kind::Flag),
    ("outcome", cells::Kind::Text),
    ("status", cells::Kind::Int),
    ("error_code", cells::Kind::Text),
    ("finish_reason", cells::Kind::Text),
    ("usage_source", cells::Kind::Text),
    ("estimator", cells::Kind::Text),
    ("price_version_id", cells::Kind::Uuid),
    ("prices", cells::Kind::Json),
    ("currency", cells::Kind::Text),
    ("batch_id", cells::Kind::Uuid),
    ("route", cells::Kind::Text),
    ("arm", cells::Kind::Text),
    ("affinity", cells::Kind::Text),
];

/// The kinds of the records of a batch.
pub struct Kinds<'a> {
    all: Vec<Kind<'a>>,
    places: HashMap<Common<'a>, usize>,
    /// The kind of the record before: most follow one of their own.
    last: usize,
    /// By address: what was read together shares its prices.
    prices: HashMap<usize, Arc<str>>,
    batch: Uuid,
}

/// What the records of a kind have in common.
pub struct Kind<'a> {
    common: Common<'a>,
    price_version_id: Option<Uuid>,
    prices: Option<Arc<str>>,
    batch: Uuid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Common<'a> {
    attempt: u32,
    endpoint: Endpoint,
    client_dialect: Dialect,
    upstream_dialect: Option<Dialect>,
    model_id: Option<ModelId>,
    model: &'a Name,
    upstream_model: Option<&'a Name>,
    returned_model: Option<&'a str>,
    upstream_id: Option<UpstreamId>,
    upstream: Option<&'a Name>,
    credential_id: Option<CredentialId>,
    stream: bool,
    outcome: Outcome,
    status: u16,
    error_code: Option<&'a str>,
    finish_reason: Option<&'a str>,
    usage_source: UsageSource,
    estimator: Option<&'a str>,
    /// The address of the price.
    price: Option<usize>,
    currency: Option<&'a Currency>,
    route: Option<&'a Name>,
    arm: Option<&'a Name>,
    affinity: Option<&'a str>,
}

impl<'a> Common<'a> {
    fn of(record: &'a UsageRecord) -> Self {
        Self {
            attempt: record.attempt,
            endpoint: record.endpoint,
            client_dialect: record.client_dialect,
            upstream_dialect: record.upstream_dialect,
            model_id: record.model_id,
            model: &record.model,
            upstream_model: record.upstream_model.as_ref(),
            returned_model: record.returned_model.as_deref(),
            upstream_id: record.upstream_id,
            upstream: record.upstream.as_ref(),
            credential_id: record.credential_id,
            stream: record.stream,
            outcome: record.outcome,
            status: record.status,
            error_code: record.error_code.as_deref(),
            finish_reason: record.finish_reason.as_deref(),
            usage_source: record.usage_source,
            estimator: record.estimator.as_deref(),
            price: record.price.as_ref().map(address),
            currency: record.currency.as_ref(),
            route: record.route.as_ref(),
            arm: record.arm.as_ref(),
            affinity: record.affinity.as_deref(),
        }
    }
}

/// Of what nearly always tells one kind from another: of all of it, it takes as long as all else that is done for a row.
impl Hash for Common<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let numbers = [u64::from(self.stream), self.outcome as u64, u64::from(self.status), u64::from(self.attempt)];
        state.write_u64(numbers.into_iter().fold(0, |all, number| all << 16 | number & 0xFFFF));
        state.write(self.credential_id.map_or(Uuid::nil(), CredentialId::uuid).as_bytes());
        state.write_usize(self.price.unwrap_or_default());
        for text in [Some(&**self.model), self.upstream_model.map(|name| &**name), self.finish_reason] {
            state.write(text.unwrap_or_default().as_bytes());
        }
    }
}

fn address(price: &Arc<PriceVersion>) -> usize {
    Arc::as_ptr(price).addr()
}

impl<'a> Kinds<'a> {
    pub fn of_batch(batch: Uuid) -> Self {
        Self { all: Vec::new(), places: HashMap::new(), last: 0, prices: HashMap::new(), batch }
    }

    /// The place of the kind of `record` among [`all`](Self::all).
    pub fn place(&mut self, record: &'a UsageRecord) -> Result<usize, StoreError> {
        let common = Common::of(record);
        if self.all.get(self.last).is_some_and(|last| last.common == common) {
            return Ok(self.last);
        }
        self.last = match self.places.entry(common) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let prices = match &record.price {
                    None => None,
                    Some(price) => Some(match self.prices.get(&address(price)) {
                        Some(text) => Arc::clone(text),
                        None => Arc::clone(self.prices.entry(address(price)).or_insert(json(&price.prices)?.into())),
                    }),
                };
                let price_version_id = record.price.as_ref().map(|price| price.id.uuid());
                self.all.push(Kind { common, price_version_id, prices, batch: self.batch });
                *free.insert(self.all.len() - 1)
            }
        };
        Ok(self.last)
    }

    pub fn all(&self) -> &[Kind<'a>] {
        &self.all
    }
}

impl<'a> Kind<'a> {
    /// Tells the cells of it in the order of [`COLUMNS`].
    pub fn put<'c>(&'c self, cells: &mut dyn Cells<'c>)
    where
        'a: 'c,
    {
        let Self { common, price_version_id, prices, batch } = self;
        cells.int(i64::from(common.attempt));
        cells.text(Some(common.endpoint.as_str()));
        cells.text(Some(common.client_dialect.as_str()));
        cells.text(common.upstream_dialect.map(Dialect::as_str));
        cells.uuid(common.model_id.map(ModelId::uuid));
        cells.name(Some(common.model));
        cells.name(common.upstream_model);
        cells.text(common.returned_model);
        cells.uuid(common.upstream_id.map(UpstreamId::uuid));
        cells.name(common.upstream);
        cells.uuid(common.credential_id.map(CredentialId::uuid));
        cells.flag(common.stream);
        cells.text(Some(common.outcome.as_str()));
        cells.int(i64::from(common.status));
        cells.text(common.error_code);
        cells.text(common.finish_reason);
        cells.text(Some(common.usage_source.as_str()));
        cells.text(common.estimator);
        cells.uuid(*price_version_id);
        cells.name(prices.as_ref());
        cells.text(common.currency.map(Currency::as_str));
        cells.uuid(Some(*batch));
        cells.name(common.route);
        cells.name(common.arm);
        cells.text(common.affinity);
    }
}
