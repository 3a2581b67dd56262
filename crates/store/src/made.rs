//! What a reader of the configuration made of an entry.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// A place beside an entry for what its reader makes of it once (a parsed address, a finished header) and reads for each
/// request. It ends with the entry; a copy of the entry, which may be changed, begins without.
#[derive(Default)]
pub struct Made(OnceLock<Box<dyn Any + Send + Sync>>);

impl Made {
    /// What was made before, or is now. `None`: somebody else has made something else here.
    pub fn get<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
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
}
