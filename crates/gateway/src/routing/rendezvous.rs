//! Rendezvous hashing: each candidate draws a lot from (session, candidate), and the lowest wins. No table, the same in all
//! replicas; a candidate that is gone takes only its own sessions along, and one that comes takes only its share.

use uuid::Uuid;

use super::hash::of_parts;

/// Binary places behind the point of a logarithm.
const PLACES: u32 = 24;

/// Binary places that dividing by a weight (at most a million) takes up.
const WEIGHT_PLACES: u32 = 32;

/// A candidate's lot; the lowest wins. Of two equal ones the smaller id does, so that all replicas agree.
pub type Lot = (u64, Uuid);

/// Draws the lot of a candidate. Its chance to be the lowest is proportional to its weight: the logarithm makes the draw
/// exponentially distributed. A weight of zero counts as one.
pub fn lot(session: u64, id: Uuid, weight: u32) -> Lot {
    let draw = of_parts(&[&session.to_le_bytes(), id.as_bytes()]);
    ((minus_log2(draw) << WEIGHT_PLACES) / u64::from(weight.max(1)), id)
}

/// `-log2((draw + 1) / 2^64)` in units of `2^-PLACES`: integers alone, so that no platform's logarithm can differ.
fn minus_log2(draw: u64) -> u64 {
    let value = u128::from(draw) + 1;
    let whole = value.ilog2();
    // The mantissa, in [1, 2), with 63 places.
    let mut mantissa = if whole >= 63 { value >> (whole - 63) } else { value << (63 - whole) };
    let mut log = u64::from(whole) << PLACES;
    for place in (0..PLACES).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= 1 << place;
        }
    }
    (64 << PLACES) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winner(session: u64, candidates: &[(Uuid, u32)]) -> Uuid {
        candidates.iter().map(|(id, weight)| lot(session, *id, *weight)).min().unwrap().1
    }

    #[test]
    fn logarithms_are_right_at_the_ends_and_between() {
        assert_eq!(minus_log2(u64::MAX), 0);
        assert_eq!(minus_log2(0), 64 << PLACES);
        assert_eq!(minus_log2((1 << 63) - 1), 1 << PLACES);
        // -log2(3/4) = 0.4150375, in units of 2^-24.
        assert_eq!(minus_log2(3 * (1 << 62) - 1) >> 8, (0.415_037_499_278_f64 * f64::from(1 << 16)) as u64);
    }

    #[test]
    fn shares_go_by_weight() {
        let candidates = [(Uuid::from_u128(1), 7), (Uuid::from_u128(2), 2), (Uuid::from_u128(3), 1)];
        let mut won = [0; 3];
        for session in 0..20_000_u64 {
            let id = winner(session.wrapping_mul(0x9E37_79B9_7F4A_7C15), &candidates);
            won[candidates.iter().position(|(candidate, _)| *candidate == id).unwrap()] += 1;
        }
        for (won, expected) in won.into_iter().zip([14_000, 4_000, 2_000]) {
            assert!((expected - 250..=expected + 250).contains(&won), "{won} of {expected}");
        }
    }

    #[test]
    fn only_the_sessions_of_one_that_is_gone_move() {
        let candidates: Vec<_> = (1..=5).map(|id| (Uuid::from_u128(id), 1 + id as u32 % 3)).collect();
        let gone = candidates[2].0;
        let rest: Vec<_> = candidates.iter().copied().filter(|(id, _)| *id != gone).collect();
        for session in 0..5_000 {
            let before = winner(session, &candidates);
            if before != gone {
                assert_eq!(winner(session, &rest), before);
            }
        }
    }
}
