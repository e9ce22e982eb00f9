"""Makes rust/formats/tests/fixtures/blocks.tsv: digests of blocks as `gguf` decodes them.

Run with `gguf` and numpy installed; the output is committed, so that the Rust test needs no Python.
Blocks are whole random bytes, scales included: infinities, NaN and subnormals are part of the test.

One line per block: type, index, FNV-1a 64 over the little-endian f32 values (every NaN taken as
0x7fc00000), bits of the first and of the last value. Bytes are a splitmix64 stream (little-endian
words) seeded with FNV-1a 64 of the type's name. The Rust side is tests/files/blocks/mod.rs.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

BLOCKS = 48
PLAIN_LEN = 64
MASK = (1 << 64) - 1
TYPES = [
    "F16",
    "BF16",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "IQ4_NL",
    "IQ4_XS",
    "TQ2_0",
    "MXFP4",
    "NVFP4",
]


def fnv1a(data: bytes) -> int:
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = ((digest ^ byte) * 0x100000001B3) & MASK
    return digest


def splitmix64(seed: int, count: int) -> bytes:
    out = bytearray()
    while len(out) < count:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        out += (word ^ (word >> 31)).to_bytes(8, "little")
    return bytes(out[:count])


def lines(name: str) -> list[str]:
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    repeat = PLAIN_LEN if elements == 1 else 1
    row_bytes = size * repeat
    stream = splitmix64(fnv1a(name.encode()), row_bytes * BLOCKS)
    rows = np.frombuffer(stream, dtype=np.uint8).reshape(BLOCKS, row_bytes)
    source = rows.view(np.float16) if name == "F16" else rows
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(source, kind).astype(np.float32)
    bits = values.view(np.uint32).copy()
    bits[np.isnan(values)] = 0x7FC00000
    return [
        f"{name}\t{index}\t{fnv1a(row.astype('<u4').tobytes()):016x}\t{row[0]:08x}\t{row[-1]:08x}"
        for index, row in enumerate(bits)
    ]


def main() -> None:
    out = Path(__file__).parents[2] / "rust/formats/tests/fixtures/blocks.tsv"
    out.write_text("".join(line + "\n" for name in TYPES for line in lines(name)))


if __name__ == "__main__":
    main()
