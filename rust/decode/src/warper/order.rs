//! The one total order of tokens: value descending, id ascending. Two tokens never tie. Owns the integer key
//! of a value, which lets a selection work on bits; -0 and +0 are one value.

use std::cmp::Ordering;

use tokenmill_core::TokenId;

/// A token with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) token: TokenId,
    pub(crate) score: f32,
}

/// Larger for larger values; equal for equal ones. Not for NaN.
#[inline]
pub(crate) fn key(score: f32) -> u32 {
    // Adding +0 turns -0 into +0.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

/// `Less` if `a` comes before `b`.
pub(crate) fn compare(a: Candidate, b: Candidate) -> Ordering {
    key(b.score).cmp(&key(a.score)).then(a.token.cmp(&b.token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_the_values() {
        let values = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.5,
            -1e-40,
            0.0,
            1e-40,
            0.1,
            2.0,
            f32::MAX,
        ];
        for pair in values.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn equal_values_are_ordered_by_id() {
        let at = |token, score| Candidate { token, score };
        assert_eq!(compare(at(3, 0.0), at(4, -0.0)), Ordering::Less);
        assert_eq!(compare(at(3, 0.0), at(4, 1.0)), Ordering::Greater);
    }
}
