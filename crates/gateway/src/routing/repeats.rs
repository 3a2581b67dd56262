//! Which first turns were asked lately.

use std::sync::atomic::{AtomicU64, Ordering};

/// Prompts that are remembered; a newer one takes the place of an older one.
const SLOTS: usize = 4096;

/// A memory of the last few thousand prompts by their hash. It tells many calls with the same words, which share nothing but
/// them, from the first turn of a conversation. Forgetting costs nothing but a turn.
#[derive(Debug)]
pub struct Repeats(Box<[AtomicU64]>);

impl Default for Repeats {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Repeats {
    /// Notes it; whether it was there.
    pub fn note(&self, prefix: u64) -> bool {
        self.slot(prefix).swap(prefix, Ordering::Relaxed) == prefix
    }

    pub fn has(&self, prefix: u64) -> bool {
        self.slot(prefix).load(Ordering::Relaxed) == prefix
    }

    fn slot(&self, prefix: u64) -> &AtomicU64 {
        &self.0[prefix as usize % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_known_from_its_second_time_until_another_takes_its_place() {
        let repeats = Repeats::default();
        assert!(!repeats.has(7) && !repeats.note(7) && repeats.has(7) && repeats.note(7));
        let other = 7 + SLOTS as u64;
        assert!(!repeats.note(other) && !repeats.note(7));
    }
}
