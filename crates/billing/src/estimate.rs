//! Token counts where the provider gave none.
//!
//! The rule is one token for four bytes of text, rounded up. It is crude on purpose: it needs no vocabulary, it is the same
//! for every model, and every record made with it says so, so that a better rule never mixes with it unseen.

/// Name and version of the rule, stored with every estimated record.
pub const ESTIMATOR: &str = "bytes4/1";

/// Bytes of text counted as one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Bytes of request body counted as one token where a bound is wanted: scripts that take three bytes a character come
/// near one token a character.
pub const BYTES_PER_TOKEN_AT_MOST: u64 = 3;

/// Tokens in `bytes` of text.
pub const fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// What a request body of `bytes` may cost at most in input tokens, for a reservation.
pub const fn input_upper_bound(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_make_a_token_rounded_up() {
        assert_eq!([0, 1, 4, 5, 400].map(tokens), [0, 1, 1, 2, 100]);
        assert_eq!([0, 1, 3, 4, 400].map(input_upper_bound), [0, 1, 1, 2, 134]);
    }
}
