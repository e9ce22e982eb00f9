//! Keys of full blocks: a keyed 256-bit hash over the chain of tokens from position 0, inside a scope.
//! Knows no block; two sequences with the same secret, scope and tokens get the same keys.

use tokenmill_core::TokenId;

use crate::planted::{Faults, Planted};

/// Hash of a chain of full blocks.
pub(crate) type Key = [u8; 32];

/// Parent of a first block.
pub(crate) const ROOT: Key = [0; 32];

/// Who may share blocks with whom: a digest of the tenant's salt, the adapter and whatever else changes
/// the KV of equal tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(pub [u8; 32]);

impl Scope {
    /// The scope of a tenant's salt, under the engine's secret: no caller can aim at another's.
    pub fn of_salt(secret: &[u8; 32], salt: &[u8]) -> Self {
        Self(*blake3::keyed_hash(secret, salt).as_bytes())
    }

    /// A scope from a number, for tests and simulators.
    pub fn from_u64(number: u64) -> Self {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        Self(digest)
    }

    /// Its first eight bytes, little endian.
    pub fn as_u64(&self) -> u64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(head)
    }
}

/// Makes the keys.
#[derive(Clone)]
pub(crate) struct KeyMaker {
    secret: [u8; 32],
    /// Bytes of one message, reused.
    message: Vec<u8>,
    faults: Faults,
}

impl KeyMaker {
    pub(crate) fn new(secret: [u8; 32], block_size: usize, faults: Faults) -> Self {
        Self {
            secret,
            message: Vec::with_capacity(64 + 4 * block_size),
            faults,
        }
    }

    /// Key of the block that holds `tokens` behind the chain `parent`.
    pub(crate) fn key(&mut self, parent: &Key, scope: &Scope, tokens: &[TokenId]) -> Key {
        let forgotten = Scope::default();
        let scope = if self.faults.has(Planted::ForgetSalt) {
            &forgotten
        } else {
            scope
        };
        self.message.clear();
        self.message.extend_from_slice(parent);
        self.message.extend_from_slice(&scope.0);
        for token in tokens {
            self.message.extend_from_slice(&token.to_le_bytes());
        }
        let mut key = *blake3::keyed_hash(&self.secret, &self.message).as_bytes();
        if self.faults.has(Planted::PrefixMatchIds) {
            key[0] &= 15;
            key[1..].fill(0);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_secret_parent_scope_and_every_token() {
        let faults = Faults::default();
        let mut maker = KeyMaker::new([7; 32], 3, faults);
        let base = maker.key(&ROOT, &Scope::from_u64(1), &[1, 2, 3]);
        assert_eq!(base, maker.key(&ROOT, &Scope::from_u64(1), &[1, 2, 3]));
        let others = [
            maker.key(&ROOT, &Scope::from_u64(1), &[1, 2, 4]),
            maker.key(&ROOT, &Scope::from_u64(1), &[2, 1, 3]),
            maker.key(&ROOT, &Scope::from_u64(2), &[1, 2, 3]),
            maker.key(&base, &Scope::from_u64(1), &[1, 2, 3]),
            KeyMaker::new([8; 32], 3, faults).key(&ROOT, &Scope::from_u64(1), &[1, 2, 3]),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn scope_keeps_its_number() {
        assert_eq!(
            Scope::from_u64(0xfeed_0123_4567_89ab).as_u64(),
            0xfeed_0123_4567_89ab
        );
    }
}
