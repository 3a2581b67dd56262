//! Taking turns by weight, exactly.

/// The position of the weight whose turn it is, and how often its turn came before. Weights that are all zero: the first.
///
/// Each cycle of `sum(weights)` turns visits every slot once, in strides near the golden section: the share is exact over a
/// cycle, and a small weight is not bunched at its end. The visits are numbered without gaps (in some order), so that what is
/// divided by them, such as the credentials of a target, gets even shares too.
pub fn pick(weights: impl Iterator<Item = u64> + Clone, turn: u64) -> (usize, u64) {
    let divisor = weights.clone().fold(0, gcd).max(1);
    let sum: u64 = weights.clone().map(|weight| weight / divisor).sum();
    if sum == 0 {
        return (0, turn);
    }
    let mut stride = ((u128::from(sum) * 618 / 1000) as u64).max(1);
    while gcd(stride, sum) != 1 {
        stride += 1;
    }
    let mut slot = (u128::from(turn % sum) * u128::from(stride) % u128::from(sum)) as u64;
    for (position, weight) in weights.enumerate() {
        let share = weight / divisor;
        if slot < share {
            return (position, (turn / sum).wrapping_mul(share).wrapping_add(slot));
        }
        slot -= share;
    }
    (0, turn)
}

const fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(weights: &[u64], turns: u64) -> Vec<usize> {
        (0..turns).map(|turn| pick(weights.iter().copied(), turn).0).collect()
    }

    #[test]
    fn equals_take_turns() {
        assert_eq!(line(&[1, 1], 6), [0, 1, 0, 1, 0, 1]);
        assert_eq!(line(&[5, 5, 5], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(line(&[0, 0], 2), [0, 0]);
    }

    #[test]
    fn weights_are_exact_over_a_cycle_and_well_mixed() {
        let line = line(&[7, 3], 20);
        assert_eq!(line.iter().filter(|position| **position == 1).count(), 6);
        assert!(!line.windows(2).any(|pair| pair == [1, 1]), "{line:?}");
        assert_eq!(line[..10], line[10..]);
    }

    #[test]
    fn visits_are_numbered_without_gaps() {
        let mut visits: Vec<u64> = (0..30)
            .map(|turn| pick([2, 1].into_iter(), turn))
            .filter(|(position, _)| *position == 0)
            .map(|(_, visit)| visit)
            .collect();
        visits.sort_unstable();
        assert_eq!(visits, (0..20).collect::<Vec<_>>());
    }
}
