"""Cases 94 to 103: GGUF files that are no GGUF file."""

import struct
from collections.abc import Callable
from pathlib import Path

from cases.row import Row
from fakes.checkpoints import Gguf, array, gguf_file, string, strings, text, u32

_HUGE = 2**64 - 1
_EMBED = "token_embd.weight"


def _file(number: int, name: str, spoil: Callable[[Gguf], object], says: str, **more) -> Row:
    def make(folder: Path) -> Path:
        file = Gguf()
        spoil(file)
        return gguf_file(folder, file)

    return Row(number, name, make, says, **more)


def _key(number: int, name: str, key: str, value: tuple[int, bytes], says: str, **more) -> Row:
    return _file(number, name, lambda file: file.keys.update({key: value}), says, **more)


def _tensor(number: int, name: str, says: str, kind: str = "corrupt", **fields) -> Row:
    return _file(number, name, lambda file: file.tensors[_EMBED].update(fields), says, kind=kind)


def _swapped(folder: Path) -> Path:
    return gguf_file(folder, b"GGUF" + struct.pack(">I", 3) + Gguf().bytes()[8:])


def _nested(depth: int) -> tuple[int, bytes]:
    value = array(4, [struct.pack("<I", 1)])
    for _ in range(depth):
        value = array(9, [value])
    return 9, value


_TOKENS = "tokenizer.ggml.tokens"

ROWS = [
    _file(94, "magic", lambda file: setattr(file, "magic", b"GGML"), "magic"),
    _file(94, "version_zero", lambda file: setattr(file, "version", 0), "version"),
    _file(94, "version_future", lambda file: setattr(file, "version", 4), "version"),
    Row(94, "byte_swapped", _swapped, "big-endian"),
    _file(95, "keys_max", lambda file: setattr(file, "counts", (None, _HUGE)), "keys|count"),
    _file(95, "keys_2_32", lambda file: setattr(file, "counts", (None, 2**32)), "keys|count"),
    _file(95, "tensors_max", lambda file: setattr(file, "counts", (_HUGE, None)), "tensors|count"),
    _file(95, "tensors_2_32", lambda file: setattr(file, "counts", (2**32, None)), "tensor|count"),
    _key(96, "string_past_end", "x.s", (8, struct.pack("<Q", 2**40) + b"abc"), "x.s"),
    _key(96, "array_past_end", "x.a", (9, array(4, [], 2**40)), "x.a"),
    _key(96, "array_amplified", "x.a", (9, array(0, [b"\0"], 10**9)), "x.a"),
    _key(96, "nested_129", "x.n", _nested(129), "x.n"),
    _file(
        97,
        "key_twice",
        lambda file: file.more_keys.append(("llama.block_count", *u32(1))),
        "llama.block_count",
    ),  # fmt: skip
    _file(
        97,
        "tensor_twice",
        lambda file: file.more_tensors.append(dict(file.tensors[_EMBED])),
        "token_embd",
    ),  # fmt: skip
    _key(97, "key_empty", "", u32(1), "key"),
    *(
        _key(98, f"alignment_{value}", "general.alignment", u32(value), "alignment")
        for value in (0, 3, 2**31)
    ),
    _key(98, "alignment_text", "general.alignment", text("32"), "alignment"),
    _tensor(99, "no_dimension", "dimensions", dims=[]),
    _tensor(99, "five_dimensions", "dimensions", dims=[1, 1, 1, 1, 1]),
    _tensor(99, "dimensions_2_32", "dimensions", dim_count=2**32 - 1),
    _tensor(99, "dimension_zero", "token_embd", dims=[0, 257]),
    _tensor(99, "product_wraps", "token_embd", dims=[2**32, 2**32]),
    _tensor(99, "size_wraps", "token_embd", dims=[2**62, 1]),
    _tensor(100, "type_unknown", "type", type=4_000),
    _tensor(100, "type_removed", "type", type=4),
    _tensor(100, "type_negative", "type", type=-1),
    _tensor(101, "offset_unaligned", "offset", offset=1),
    _tensor(101, "offset_past_end", "inside the file", offset=2**40),
    _tensor(101, "offset_overlaps", "offset|overlap|token_embd|attn_norm", offset=32 * 1024),
    _tensor(101, "offset_wraps", "inside the file", offset=2**64 - 32),
    _key(
        102,
        "token_of_2_31",
        _TOKENS,
        (9, struct.pack("<IQQ", 8, 257, 2**31 + 1) + b"a"),
        "tokens",
    ),  # fmt: skip
    _file(
        102,
        "scores_of_another_count",
        lambda file: file.keys.update(
            {
                "tokenizer.ggml.model": text("llama"),
                "tokenizer.ggml.scores": (9, array(6, [b"\0\0\0\0"] * 3)),
            }
        ),
        "scores",
    ),  # fmt: skip
    _key(102, "end_token_out_of_range", "tokenizer.ggml.eos_token_id", u32(10**6), "eos_token_id"),
    _key(102, "merges_of_no_token", "tokenizer.ggml.merges", strings(["zz yy"]), "merges"),
    _key(103, "bool_of_two", "tokenizer.ggml.add_bos_token", (7, b"\2"), "add_bos_token"),
    _key(103, "key_value_not_utf8", "x.t", (8, string(b"\xff\xfe")), "x.t"),
]
