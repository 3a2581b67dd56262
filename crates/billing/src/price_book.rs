//! The prices of all models in memory, for the data plane.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tallygate_types::{IdMap, ModelId, Timestamp};

use crate::price::PriceVersion;

/// Each model's price versions, the latest last.
type Versions = IdMap<ModelId, Vec<Arc<PriceVersion>>>;

/// Every price version there is, replaced as a whole on [`reload`](Self::replace) and read without a lock.
#[derive(Debug, Default)]
pub struct PriceBook {
    versions: ArcSwap<Versions>,
}

impl PriceBook {
    /// The price in force at `when`. `None`: the model cannot be sold (`model_unpriced`).
    pub fn at(&self, model: ModelId, when: Timestamp) -> Option<Arc<PriceVersion>> {
        let versions = self.versions.load();
        let versions = versions.get(&model)?;
        let after = versions.partition_point(|version| version.valid_from <= when);
        after.checked_sub(1).map(|last| Arc::clone(&versions[last]))
    }

    /// Takes `all` as the whole truth. Of two versions from the same instant the one created later counts.
    pub fn replace(&self, all: impl IntoIterator<Item = PriceVersion>) {
        let mut versions = Versions::default();
        for version in all {
            versions.entry(version.model_id).or_default().push(Arc::new(version));
        }
        for list in versions.values_mut() {
            list.sort_by_key(|version| (version.valid_from, version.created_at, version.id));
        }
        self.versions.store(Arc::new(versions));
    }
}

#[cfg(test)]
mod tests {
    use tallygate_types::{Currency, PriceVersionId};

    use super::*;
    use crate::price::ClassPrices;

    fn version(model_id: ModelId, valid_from: i64, created_at: i64) -> PriceVersion {
        PriceVersion {
            id: PriceVersionId::generate(),
            model_id,
            currency: Currency::USD,
            valid_from: Timestamp::from_micros(valid_from),
            prices: ClassPrices::default(),
            source: None,
            created_at: Timestamp::from_micros(created_at),
            created_by: "test".into(),
        }
    }

    #[test]
    fn the_version_in_force_is_the_last_that_has_begun() {
        let (model, other) = (ModelId::generate(), ModelId::generate());
        let (first, second, mistake) = (version(model, 100, 1), version(model, 200, 3), version(model, 200, 2));
        let book = PriceBook::default();
        book.replace([second.clone(), first.clone(), mistake]);
        let at = |micros| book.at(model, Timestamp::from_micros(micros)).map(|v| v.id);
        assert_eq!(at(99), None);
        assert_eq!(at(100), Some(first.id));
        assert_eq!(at(199), Some(first.id));
        assert_eq!(at(200), Some(second.id));
        assert_eq!(book.at(other, Timestamp::from_micros(500)), None);
    }
}
