"""Cases 81 to 92 and 104 to 108: safetensors folders, configs and tokenizers that do not hold
together.
"""

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases.row import Row
from fakes.checkpoints import ROWS, TOKENS, Folder, safetensors

_NORM = "model.norm.weight"
_INDEX = "model.safetensors.index.json"


def _folder(number: int, name: str, spoil: Callable[[Folder], object], says: str, **more) -> Row:
    def make(folder: Path) -> Path:
        model = Folder()
        spoil(model)
        return model.write(folder)

    return Row(number, name, make, says, **more)


def _bytes(number: int, name: str, content: bytes, says: str = "model.safetensors") -> Row:
    files = {"model.safetensors": content}
    return _folder(number, name, lambda model: model.files.update(files), says)


def _entry(number: int, name: str, says: str, **fields: Any) -> Row:
    return _folder(number, name, lambda model: model.header[_NORM].update(fields), says)


def _config(number: int, name: str, kind: str = "corrupt", says: str = "", **keys: Any) -> Row:
    said = says or next(iter(keys))
    return _folder(number, name, lambda model: model.config.update(keys), said, kind=kind)


def _nested(depth: int) -> bytes:
    return b'{"__metadata__":' + b"[" * depth + b"]" * depth + b"}"


def _twice(model: Folder) -> None:
    text = json.dumps(model.header)
    text = text[:-1] + f', "{_NORM}": ' + json.dumps(model.header[_NORM]) + "}"
    model.files["model.safetensors"] = safetensors(text.encode(), model.data)


def _shift(by: int) -> Callable[[Folder], None]:
    def spoil(model: Folder) -> None:
        begin, end = model.header[_NORM]["data_offsets"]
        model.header[_NORM]["data_offsets"] = [begin + by, end + by]
        model.data += bytes(max(by, 0))

    return spoil


def _index(content: object) -> Callable[[Folder], None]:
    def spoil(model: Folder) -> None:
        model.files["part.safetensors"] = model.weights_file()
        model.files["model.safetensors"] = None
        model.files[_INDEX] = json.dumps(content).encode()

    return spoil


def _map(**changes: str | None) -> dict[str, Any]:
    named = dict.fromkeys(Folder().header, "part.safetensors")
    for key, value in changes.items():
        named[_NORM if key == "norm" else key] = value  # type: ignore[assignment]
    return {"metadata": {}, "weight_map": named}


def _weight_map_without_the_norm() -> dict[str, Any]:
    named = _map()
    del named["weight_map"][_NORM]
    return named


def _link_outside(folder: Path) -> Path:
    inside = folder / "model"
    inside.mkdir()
    model = Folder()
    _index(_map())(model)
    (folder / "outside.safetensors").write_bytes(model.files.pop("part.safetensors") or b"")
    model.write(inside)
    (inside / "part.safetensors").symlink_to(folder / "outside.safetensors")
    return inside


def _nan(model: Folder) -> None:
    model.data = struct.pack("<f", float("nan")) + model.data[4:]


def _fifo(folder: Path) -> Path:
    Folder().write(folder)
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    return folder


def _socket(folder: Path) -> Path:
    here = os.getcwd()
    # The name of a socket may be 108 bytes long, and temporary folders have long names.
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("model.gguf")
    finally:
        os.chdir(here)
    return folder / "model.gguf"


def _in_the_way(folder: Path) -> Path:
    Folder().write(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    return folder


def _drop(model: Folder) -> None:
    begin, end = model.header.pop(_NORM)["data_offsets"]
    model.data = model.data[:begin] + model.data[end:]


def _extra(model: Folder) -> None:
    span = [len(model.data), len(model.data) + 4]
    model.header["model.layers.7.odd.weight"] = {
        "dtype": "F32", "shape": [1], "data_offsets": span,
    }  # fmt: skip
    model.data += bytes(4)


def _merge(**changes: Any) -> Callable[[Folder], None]:
    return lambda model: model.tokenizer["model"].update(changes)


def _added(**changes: Any) -> Callable[[Folder], None]:
    return lambda model: model.tokenizer["added_tokens"][0].update(changes)


def _set(**changes: Any) -> Callable[[Folder], None]:
    return lambda model: model.tokenizer.update(changes)


_VOCAB = {token: index for index, token in enumerate(TOKENS)}
_REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
_TOKENIZER_DEPTH = b'{"version":' + b"[" * 129 + b"]" * 129 + b"}"

WEIGHT_ROWS = [
    *(_bytes(81, f"{count}_bytes", b"\1" * count) for count in range(8)),
    _bytes(81, "length_2_64", safetensors({}, b"", 2**64 - 1), "header length"),
    _bytes(81, "length_past_end", safetensors({}, b"", 3), "header length"),
    _bytes(81, "length_over_the_limit", safetensors(b"{}", bytes(64), (16 << 20) + 1)),
    _bytes(82, "not_utf8", safetensors(b'{"\xff": 1}', b""), "header"),
    _bytes(82, "no_object", safetensors(b"[]", b""), "header"),
    _bytes(82, "depth_129", safetensors(_nested(129), b""), "header|metadata"),
    _folder(83, "gap", _shift(4), "data_offsets|cover|gap"),
    _folder(83, "overlap", _shift(-4), "data_offsets|overlap|cover"),
    _folder(83, "trailing", lambda model: setattr(model, "data", model.data + b"x"), "end|size"),
    _entry(83, "reversed", "data_offsets", data_offsets=[128, 0]),
    _entry(83, "negative", "data_offsets|header", data_offsets=[-4, 124]),
    _entry(83, "past_end", "data_offsets|past|cover", data_offsets=[10**9, 10**9 + 128]),
    _entry(84, "overflow", "shape", shape=[2**33, 2**33]),
    _entry(84, "zero_times_2_63", "shape|header", shape=[0, 2**63]),
    _entry(84, "dimensions_10_5", "shape|dimensions|header", shape=[1] * 10**5),
    _entry(85, "dtype_unknown", "dtype", dtype="F33"),
    _entry(85, "sub_byte_odd", "dtype|shape|data_offsets|F4", dtype="F4", shape=[3]),
    _folder(86, "name_twice", _twice, "model.norm.weight|twice|duplicate"),
    _folder(
        86,
        "name_of_a_megabyte",
        lambda model: model.header.update({"n" * (1 << 20): model.header.pop(_NORM)}),
        "name",
    ),  # fmt: skip
    _folder(
        86,
        "name_with_a_path",
        lambda model: model.header.update({"../../x": model.header.pop(_NORM)}),
        "name",
    ),  # fmt: skip
    _folder(
        87,
        "metadata_of_numbers",
        lambda model: model.header.update({"__metadata__": {"format": 1}}),
        "metadata",
    ),  # fmt: skip
    _folder(
        87, "metadata_a_list", lambda model: model.header.update({"__metadata__": []}), "metadata"
    ),
    _folder(88, "missing_file", _index(_map(norm="gone.safetensors")), "gone.safetensors"),
    _folder(88, "path_upwards", _index(_map(norm="../x.safetensors")), "index"),
    _folder(88, "absolute", _index(_map(norm="/etc/passwd")), "index"),
    _folder(88, "tensor_absent", _index(_map(**{"model.odd.weight": "part.safetensors"})), "odd"),
    _folder(88, "tensor_unnamed", _index(_weight_map_without_the_norm()), "model.norm.weight"),
    _folder(88, "no_map", _index({"weight_map": []}), "weight_map"),
    Row(88, "link_outside", _link_outside, "part.safetensors"),
    _folder(89, "tensor_missing", _drop, "model.norm.weight"),
    _folder(89, "tensor_extra", _extra, "model.layers.7.odd.weight"),
    _folder(
        89,
        "tensor_of_another_shape",
        lambda model: model.config.update(vocab_size=ROWS - 1),
        "embed_tokens",
    ),  # fmt: skip
    _entry(89, "tensor_of_another_dtype", "model.norm.weight", dtype="I32"),
    _folder(90, "weights_not_a_number", _nan, "embed_tokens"),
    Row(92, "a_pipe", _fifo, "model.safetensors", kind="io"),
    Row(92, "a_socket", _socket, "model.gguf", kind="io"),
    Row(92, "a_folder_in_the_way", _in_the_way, "model.safetensors", kind="io"),
    Row(92, "a_device", lambda folder: Path("/dev/zero"), "zero", kind="io"),
]

CONFIG_ROWS = [
    _config(104, "heads_zero", num_attention_heads=0),
    _config(104, "heads_that_do_not_divide", num_attention_heads=5, says="heads|hidden"),
    _config(104, "kv_heads_over_heads", num_key_value_heads=4),
    _config(104, "layers_10_9", num_hidden_layers=10**9),
    _config(104, "vocabulary_zero", vocab_size=0),
    _config(104, "vocabulary_of_other_rows", vocab_size=ROWS + 5, says="embed_tokens"),
    _config(104, "rope_theta_zero", rope_theta=0),
    _config(104, "rope_theta_text", rope_theta="NaN"),
    _config(104, "context_2_63", max_position_embeddings=2**63),
    _config(104, "eps_negative", rms_norm_eps=-1e-5),
    _config(
        104,
        "architecture_unknown",
        "unsupported",
        says="OddForCausalLM",
        architectures=["OddForCausalLM"],
    ),  # fmt: skip
    _folder(
        104,
        "rope_theta_not_a_number",
        lambda model: model.files.update(
            {
                "config.json": json.dumps({**model.config, "rope_theta": float("nan")}).encode(),
            }
        ),
        "config.json",
    ),  # fmt: skip
    *(
        _config(
            105, name, "unsupported", says="quantization_config|quant", quantization_config=block
        )
        for name, block in {
            "group_zero": {"quant_method": "gptq", "bits": 4, "group_size": 0},
            "bits_17": {"quant_method": "gptq", "bits": 17, "group_size": 32},
            "method_unknown": {"quant_method": "odd"},
            "group_that_does_not_divide": {"quant_method": "awq", "bits": 4, "group_size": 7},
        }.items()
    ),
    _folder(
        107,
        "regex_bomb",
        _set(
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "("},
                "behavior": "Isolated",
                "invert": False,
            }
        ),
        "pre_tokenizer|pattern",
    ),  # fmt: skip
    _folder(
        107,
        "replacements_that_grow",
        _set(normalizer={"type": "Sequence", "normalizers": [_REPLACE] * 9}),
        "normalizer",
    ),  # fmt: skip
    _folder(
        107,
        "precompiled_map",
        _set(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "normalizer",
        kind="unsupported",
    ),  # fmt: skip
    _folder(
        107,
        "post_processor_of_no_token",
        _set(
            post_processor={
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<gone>", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        ),
        "post_processor",
    ),  # fmt: skip
    _folder(
        107,
        "depth_129",
        lambda model: model.files.update({"tokenizer.json": _TOKENIZER_DEPTH}),
        "tokenizer.json|deep",
    ),  # fmt: skip
    _folder(107, "ids_twice", _merge(vocab={**_VOCAB, "twice": 7}), "7|twice"),
    _folder(107, "id_2_32", _merge(vocab={**_VOCAB, "far": 2**32 - 1}), "id|vocab"),
    _folder(107, "merge_of_no_token", _merge(merges=["zz yy"]), "merge"),
    _folder(107, "added_empty", _added(content=""), "added_tokens|empty"),
    _folder(107, "added_on_another", _added(id=3), "added_tokens|added"),
    _folder(
        108,
        "more_tokens_than_rows",
        _merge(vocab={**_VOCAB, **{f"t{i}": 257 + i for i in range(9)}}),
        "rows",
    ),  # fmt: skip
]
