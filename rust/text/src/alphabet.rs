//! GPT-2's byte alphabet: every byte has one printable character, so that tokens are text. The 188
//! printable bytes of Latin-1 stand for themselves; the other 68, in order, are U+0100 and on.

use std::sync::LazyLock;

/// Whether a byte stands for itself.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The byte that a character of the alphabet stands for.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    match u8::try_from(code) {
        Ok(byte) if is_printable(byte) => Some(byte),
        Ok(_) => None,
        Err(_) => (0..=255u8)
            .filter(|&b| !is_printable(b))
            .nth((code - 256) as usize),
    }
}

/// The character that stands for a byte.
fn char_of(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    let others_before = (0..byte).filter(|&b| !is_printable(b)).count() as u32;
    char::from_u32(256 + others_before).expect("U+0100 to U+0143 are characters")
}

/// `char_of` for every byte.
static CHARS: LazyLock<[char; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| char_of(byte as u8)));

/// Bytes written in the alphabet.
pub(crate) fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| CHARS[byte as usize]).collect()
}

/// The bytes of a token written in the alphabet; `None` if a character is outside it.
pub(crate) fn bytes_of(token: &str, decode: &AlphabetTable) -> Option<Vec<u8>> {
    token.chars().map(|c| decode.get(c)).collect()
}

/// `byte_of` for every character below U+0144, as a table: a vocabulary has a million characters.
pub(crate) struct AlphabetTable([Option<u8>; 324]);

impl AlphabetTable {
    /// Fills the table.
    pub(crate) fn new() -> Self {
        let mut table = [None; 324];
        for (code, entry) in (0u32..).zip(table.iter_mut()) {
            *entry = char::from_u32(code).and_then(byte_of);
        }
        Self(table)
    }

    fn get(&self, c: char) -> Option<u8> {
        self.0.get(u32::from(c) as usize).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{AlphabetTable, byte_of, bytes_of};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_alphabet_is_a_bijection_and_the_library_s() {
        let alphabet = ByteLevel::alphabet();
        let mut bytes: Vec<u8> = alphabet.iter().map(|&c| byte_of(c).unwrap()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        let inside = (0..0x3000)
            .filter_map(char::from_u32)
            .filter(|&c| byte_of(c).is_some());
        assert_eq!(inside.count(), 256);
    }

    #[test]
    fn tokens_become_bytes() {
        let table = AlphabetTable::new();
        assert_eq!(bytes_of("Ġhi", &table), Some(b" hi".to_vec()));
        assert_eq!(bytes_of("Ċ", &table), Some(b"\n".to_vec()));
        assert_eq!(bytes_of("â½", &table).map(|b| b.len()), Some(2));
        assert_eq!(bytes_of("a b", &table), None);
        assert_eq!(bytes_of("▁a", &table), None);
    }
}
