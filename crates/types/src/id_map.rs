//! Maps by what is random already.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by ids, digests or configured names: no client chooses them, so that none can have them collide, and a hash that only mixes will do.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// An odd number without a pattern: the golden ratio in 64 bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
const WORD: usize = size_of::<u64>();

/// See [`IdMap`].
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; WORD];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(MIX);
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    /// The length of what follows, which is that of an id, or the variant of an enum.
    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // A map takes its bucket from the low bits, which multiplication leaves as they were mixed least.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault};

    use super::*;
    use crate::TenantId;

    #[test]
    fn ids_of_one_moment_fall_into_all_buckets() {
        let hasher = BuildHasherDefault::<IdHasher>::default();
        let mut buckets = [0_u32; 64];
        for _ in 0..6_400 {
            buckets[(hasher.hash_one(TenantId::generate()) % 64) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (40..180).contains(count)), "{buckets:?}");
    }

    #[test]
    fn a_map_finds_what_it_holds() {
        let ids: Vec<_> = (0..1_000).map(|_| TenantId::generate()).collect();
        let map: IdMap<_, _> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        assert!(ids.iter().enumerate().all(|(at, id)| map[id] == at));
        assert_eq!(map.get(&TenantId::generate()), None);
    }
}
