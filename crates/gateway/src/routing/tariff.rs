//! By which price an answer is charged: the model's that was asked for, or the one a target names in its place.

use std::sync::Arc;

use tallygate_billing::{PriceBook, PriceVersion, Unpriced};
use tallygate_store::{Snapshot, TargetEntry};
use tallygate_types::{Pico, TargetId, Timestamp};

/// The prices that may apply to one request.
#[derive(Debug, Clone, Default)]
pub struct Tariffs {
    /// Of the model itself; none for what is not sold.
    own: Option<Arc<PriceVersion>>,
    /// Of targets that name another model. None: it has no price, or one in another currency than what was reserved.
    others: Vec<(TargetId, Option<Arc<PriceVersion>>)>,
}

impl Tariffs {
    /// Of a request that is not sold.
    pub const fn free() -> Self {
        Self { own: None, others: Vec::new() }
    }

    pub fn of(own: Arc<PriceVersion>, targets: &[TargetEntry], snapshot: &Snapshot, prices: &PriceBook, at: Timestamp) -> Self {
        let other = |target: &TargetEntry| {
            let name = target.price_model.as_deref()?;
            let price = snapshot.model(name).and_then(|model| prices.at(model.id, at));
            Some((target.id, price.filter(|price| price.currency == own.currency)))
        };
        let others = targets.iter().filter_map(other).collect();
        Self { own: Some(own), others }
    }

    /// The price of an answer of `target`.
    pub fn price(&self, target: &TargetEntry) -> Option<&Arc<PriceVersion>> {
        match self.others.iter().find(|(id, _)| *id == target.id) {
            Some((_, price)) => price.as_ref(),
            None => self.own.as_ref(),
        }
    }

    pub fn can_sell(&self, target: &TargetEntry) -> bool {
        self.others.is_empty() || self.price(target).is_some()
    }

    /// The price before a target is chosen.
    pub const fn own(&self) -> Option<&Arc<PriceVersion>> {
        self.own.as_ref()
    }

    /// What the dearest target may cost.
    pub fn at_most(&self, cost: impl Fn(&PriceVersion) -> Result<Pico, Unpriced>) -> Result<Pico, Unpriced> {
        self.all().try_fold(Pico::ZERO, |most, price| Ok(most.max(cost(price)?)))
    }

    /// What every target gives for some money.
    pub fn at_least(&self, gives: impl Fn(&PriceVersion) -> Result<u64, Unpriced>) -> Result<u64, Unpriced> {
        self.all().try_fold(u64::MAX, |least, price| Ok(least.min(gives(price)?)))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<PriceVersion>> {
        self.own.iter().chain(self.others.iter().filter_map(|(_, price)| price.as_ref()))
    }
}
