//! What a reader of the configuration made of an entry.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A place beside an entry for what its reader makes of it once (a parsed address, a finished header), or keeps of it elsewhere,
/// and reads for each request. It ends with the entry; a copy of the entry, which may be changed, begins without.
#[derive(Default)]
pub struct Made(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Made {
    /// What was made before, or is now. `None`: somebody else has made something else here.
    pub fn get<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Arc::new(make())).downcast_ref()
    }

    /// What was found before, or is now: others hold it too, and it outlives the entry. `None`: as in [`Self::get`].
    pub fn share<T: Any + Send + Sync>(&self, find: impl FnOnce() -> Arc<T>) -> Option<Arc<T>> {
        Arc::clone(self.0.get_or_init(|| find())).downcast().ok()
    }
}

impl Clone for Made {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_not_copied() {
        let made = Made::default();
        assert_eq!((made.get(|| 1_u32), made.get(|| 2_u32), made.get(|| "other")), (Some(&1), Some(&1), None));
        assert_eq!(made.clone().get(|| 3_u32), Some(&3));
    }

    #[test]
    fn what_is_shared_is_the_same_for_all() {
        let (made, kept) = (Made::default(), Arc::new(1_u32));
        let found = || made.share(|| Arc::clone(&kept)).unwrap();
        assert!(Arc::ptr_eq(&found(), &kept) && Arc::ptr_eq(&found(), &kept));
        assert_eq!(made.share(|| Arc::new("other")), None);
    }
}
