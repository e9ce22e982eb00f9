"""A model of 20 thousand weights, written by hand as GGUF or as a folder of safetensors, whole or
spoiled.

It is a llama of one layer over bytes, so it loads and answers (nonsense) in milliseconds. Every
key, tensor and byte of it can be changed before it is written.
"""

import json
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HIDDEN, FFN, ROWS = 32, 64, 257
END = "<|end|>"
_BOOL, _U32, _F32, _STRING, _ARRAY, _I32 = 7, 4, 6, 8, 9, 5
_SHAPES = {
    "token_embd.weight": ("model.embed_tokens.weight", (ROWS, HIDDEN)),
    "blk.0.attn_norm.weight": ("model.layers.0.input_layernorm.weight", (HIDDEN,)),
    "blk.0.attn_q.weight": ("model.layers.0.self_attn.q_proj.weight", (HIDDEN, HIDDEN)),
    "blk.0.attn_k.weight": ("model.layers.0.self_attn.k_proj.weight", (HIDDEN, HIDDEN)),
    "blk.0.attn_v.weight": ("model.layers.0.self_attn.v_proj.weight", (HIDDEN, HIDDEN)),
    "blk.0.attn_output.weight": ("model.layers.0.self_attn.o_proj.weight", (HIDDEN, HIDDEN)),
    "blk.0.ffn_norm.weight": ("model.layers.0.post_attention_layernorm.weight", (HIDDEN,)),
    "blk.0.ffn_gate.weight": ("model.layers.0.mlp.gate_proj.weight", (FFN, HIDDEN)),
    "blk.0.ffn_up.weight": ("model.layers.0.mlp.up_proj.weight", (FFN, HIDDEN)),
    "blk.0.ffn_down.weight": ("model.layers.0.mlp.down_proj.weight", (HIDDEN, FFN)),
    "output_norm.weight": ("model.norm.weight", (HIDDEN,)),
}


def spell(byte: int) -> str:
    """The character of GPT-2's alphabet for a byte."""
    shown = [b for b in range(256) if 33 <= b <= 126 or 0xA1 <= b <= 0xAC or b >= 0xAE]
    if byte in shown:
        return chr(byte)
    return chr(256 + sum(1 for other in range(byte) if other not in shown))


TOKENS = [spell(byte) for byte in range(256)] + [END]
CHATML = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def string(text: str | bytes) -> bytes:
    """A string as GGUF holds it."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def array(kind: int, items: list[bytes], count: int | None = None) -> bytes:
    """An array as GGUF holds it, of `count` where that is a lie."""
    return struct.pack("<IQ", kind, len(items) if count is None else count) + b"".join(items)


def u32(value: int) -> tuple[int, bytes]:
    """A key's type and bytes."""
    return _U32, struct.pack("<I", value)


def f32(value: float) -> tuple[int, bytes]:
    """A key's type and bytes."""
    return _F32, struct.pack("<f", value)


def strings(texts: list[str]) -> tuple[int, bytes]:
    """A key's type and bytes."""
    return _ARRAY, array(_STRING, [string(text) for text in texts])


def text(value: str | bytes) -> tuple[int, bytes]:
    """A key's type and bytes."""
    return _STRING, string(value)


def weights(seed: int, shape: tuple[int, ...]) -> bytes:
    """Small numbers, ones for norms."""
    rng = random.Random(seed)
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    values = [1.0] * count if len(shape) == 1 else [rng.gauss(0, 0.2) for _ in range(count)]
    return struct.pack(f"<{count}f", *values)


def _keys() -> dict[str, tuple[int, bytes]]:
    types = [struct.pack("<i", 1)] * 256 + [struct.pack("<i", 3)]
    return {
        "general.architecture": text("llama"),
        "general.alignment": u32(32),
        "llama.context_length": u32(128),
        "llama.embedding_length": u32(HIDDEN),
        "llama.block_count": u32(1),
        "llama.feed_forward_length": u32(FFN),
        "llama.attention.head_count": u32(2),
        "llama.attention.head_count_kv": u32(2),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.rope.freq_base": f32(10000.0),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("smollm"),
        "tokenizer.ggml.tokens": strings(TOKENS),
        "tokenizer.ggml.token_type": (_ARRAY, array(_I32, types)),
        "tokenizer.ggml.merges": strings([]),
        "tokenizer.ggml.eos_token_id": u32(256),
        "tokenizer.ggml.add_bos_token": (_BOOL, b"\0"),
        "tokenizer.chat_template": text(CHATML),
    }


@dataclass
class Gguf:
    """A GGUF file under construction; what is wrong is set before `bytes`."""

    keys: dict[str, tuple[int, bytes]] = field(default_factory=_keys)
    # Keys and tensors once more, as they would stand in the file.
    more_keys: list[tuple[str, int, bytes]] = field(default_factory=list)
    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)
    more_tensors: list[dict[str, Any]] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    counts: tuple[int | None, int | None] = (None, None)

    def __post_init__(self) -> None:
        offset = 0
        for seed, (name, (_, shape)) in enumerate(_SHAPES.items()):
            data = weights(seed, shape)
            dims = list(reversed(shape))
            self.tensors[name] = {
                "name": name, "dims": dims, "type": 0, "offset": offset, "data": data,
            }  # fmt: skip
            offset += -(-len(data) // 32) * 32

    def header(self) -> bytes:
        """Everything before the data."""
        keys = [(name, *value) for name, value in self.keys.items()] + self.more_keys
        tensors = [*self.tensors.values(), *self.more_tensors]
        tensor_count, key_count = self.counts
        out = self.magic + struct.pack("<I", self.version)
        out += struct.pack("<Q", len(tensors) if tensor_count is None else tensor_count)
        out += struct.pack("<Q", len(keys) if key_count is None else key_count)
        for name, kind, value in keys:
            out += string(name) + struct.pack("<I", kind) + value
        for tensor in tensors:
            dims = tensor["dims"]
            out += string(tensor["name"]) + struct.pack("<I", tensor.get("dim_count", len(dims)))
            out += b"".join(struct.pack("<Q", dim) for dim in dims)
            out += struct.pack("<I", tensor["type"] & 0xFFFFFFFF)
            out += struct.pack("<Q", tensor["offset"])
        return out + b"\0" * (-len(out) % 32)

    def bytes(self) -> bytes:
        """The file."""
        out = self.header()
        for tensor in self.tensors.values():
            out += tensor["data"] + b"\0" * (-len(tensor["data"]) % 32)
        return out


def gguf_file(folder: Path, file: Gguf | bytes) -> Path:
    """Writes it, and says where."""
    path = folder / "model.gguf"
    path.write_bytes(file if isinstance(file, bytes) else file.bytes())
    return path


def safetensors(header: object, data: bytes, length: int | None = None) -> bytes:
    """A safetensors file from its header, as an object or as bytes."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data


def _config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": ROWS,
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "eos_token_id": 256,
    }


def _tokenizer() -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    byte_level["use_regex"] = True
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": 256, "content": END, **flags, "special": True}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(TOKENS)},
            "merges": [],
        },
    }


@dataclass
class Folder:
    """A safetensors folder under construction."""

    config: Any = field(default_factory=_config)
    tokenizer: Any = field(default_factory=_tokenizer)
    tokenizer_config: Any = field(default_factory=lambda: {"chat_template": CHATML})
    generation: Any = None
    header: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""
    # Files by name that are written over, or beside, the others.
    files: dict[str, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for seed, (name, shape) in enumerate(_SHAPES.values()):
            data = weights(seed, shape)
            span = [len(self.data), len(self.data) + len(data)]
            self.header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": span}
            self.data += data

    def weights_file(self) -> bytes:
        """`model.safetensors`."""
        return safetensors(self.header, self.data)

    def write(self, folder: Path) -> Path:
        """Writes everything, and says where."""
        said = {
            "config.json": self.config,
            "generation_config.json": self.generation,
            "tokenizer.json": self.tokenizer,
            "tokenizer_config.json": self.tokenizer_config,
        }
        contents: dict[str, bytes | None] = {
            name: json.dumps(value).encode() for name, value in said.items() if value is not None
        }
        contents["model.safetensors"] = self.weights_file()
        for name, content in {**contents, **self.files}.items():
            if content is not None:
                (folder / name).write_bytes(content)
        return folder
