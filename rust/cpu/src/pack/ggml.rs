//! The fast way for the three commonest blocks of ggml (Q4_0, Q4_1, Q8_0): words are moved as they are,
//! without an array of codes in between. Reference and test: `fill::write_int_lane` over `unpack_row`.
//!
//! A block of 32 elements is one group; f16 scale and minimum keep their bits. Every other encoding and layout
//! is refused by returning false, and then nothing has been written.

use tokenmill_formats::Encoding;

use super::fill::Lane;
use super::layout::{Bits, Grouped, ScaleKind, Shape, Zero};
use crate::arena::LINE_BYTES;

/// Elements of a block, in all three encodings.
const BLOCK_LEN: usize = 32;
/// The low nibble of each byte.
const LOW: u32 = 0x0F0F_0F0F;

/// Writes a row of the file, given as (encoding, bytes), into its lane; whether it did.
pub(super) fn write_lane(
    shape: &Shape,
    grouped: Grouped,
    row: (Encoding, &[u8]),
    lane: &mut Lane<'_>,
) -> bool {
    if grouped.scale != ScaleKind::F16 || grouped.group != BLOCK_LEN {
        return false;
    }
    let (encoding, bytes) = row;
    match (encoding, grouped.bits, grouped.zero) {
        (Encoding::Q4_0, Bits::Four, Zero::Fixed) => {
            let (blocks, _) = bytes.as_chunks::<18>();
            for (group, [s0, s1, codes @ ..]) in blocks.iter().enumerate() {
                let place = shape.place(grouped, group);
                lane.put(place.scales, [*s0, *s1]);
                write_nibbles(codes, place.codes, lane);
            }
        }
        (Encoding::Q4_1, Bits::Four, Zero::Minima) => {
            let (blocks, _) = bytes.as_chunks::<20>();
            for (group, [s0, s1, m0, m1, codes @ ..]) in blocks.iter().enumerate() {
                let place = shape.place(grouped, group);
                lane.put(place.scales, [*s0, *s1]);
                lane.put(place.seconds, [*m0, *m1]);
                write_nibbles(codes, place.codes, lane);
            }
        }
        (Encoding::Q8_0, Bits::Eight, Zero::Fixed) => {
            let (blocks, _) = bytes.as_chunks::<34>();
            for (group, [s0, s1, codes @ ..]) in blocks.iter().enumerate() {
                let place = shape.place(grouped, group);
                lane.put(place.scales, [*s0, *s1]);
                let (words, _) = codes.as_chunks::<4>();
                for (line, word) in words.iter().enumerate() {
                    // Signed bytes plus 128.
                    let word = u32::from_le_bytes(*word) ^ 0x8080_8080;
                    lane.put(place.codes + line * LINE_BYTES, word.to_le_bytes());
                }
            }
        }
        _ => return false,
    }
    true
}

/// The file pairs element j with j + 16 in a byte, a line pairs k with k + 4: words 0 and 1 of the file give
/// line 0 from their low nibbles and line 2 from their high ones, words 2 and 3 lines 1 and 3.
fn write_nibbles(codes: &[u8; 16], start: usize, lane: &mut Lane<'_>) {
    let (words, _) = codes.as_chunks::<4>();
    for (pair, words) in words.as_chunks::<2>().0.iter().enumerate() {
        let (first, second) = (u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1]));
        let low = (first & LOW) | (second & LOW) << 4;
        let high = (first >> 4 & LOW) | (second & !LOW);
        lane.put(start + pair * LINE_BYTES, low.to_le_bytes());
        lane.put(start + (pair + 2) * LINE_BYTES, high.to_le_bytes());
    }
}
