"""`tokenmill info` on a GGUF of every element type: what it says is what a load then does."""

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

from tokenmill import LLM, _tokenmill
from tokenmill.cli.main import main
from tokenmill.errors import TokenmillError

_VOCAB, _HIDDEN, _INNER = 258, 256, 512
_RUN = {
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ2_0", "MXFP4"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
}


def tokens():
    """The 256 bytes as byte-level vocabularies spell them, and two control tokens."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    letters = [chr(byte if byte in printed else next(others)) for byte in range(256)]
    return [*letters, "<|begin|>", "<|end|>"]


def make(path, kind=GGMLQuantizationType.Q8_0, architecture="llama", tokenizer="gpt2"):
    """A layer of zeros: what matters here are the headers."""
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_INNER)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(tokenizer)
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens())
    writer.add_token_types([1] * 256 + [3, 3])
    writer.add_token_merges([])
    writer.add_eos_token_id(257)
    block, size = GGML_QUANT_SIZES[kind]

    def matrix(name, rows, columns):
        data = np.zeros((rows, columns // block * size), np.uint8)
        if kind == GGMLQuantizationType.F32:
            data = np.zeros((rows, columns), np.float32)
        writer.add_tensor(name, data, raw_dtype=kind)

    writer.add_tensor("token_embd.weight", np.ones((_VOCAB, _HIDDEN), np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(_HIDDEN, np.float32))
    matrix("output.weight", _VOCAB, _HIDDEN)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        matrix(f"blk.0.{name}.weight", _HIDDEN, _HIDDEN)
    for name in ("ffn_gate", "ffn_up"):
        matrix(f"blk.0.{name}.weight", _INNER, _HIDDEN)
    matrix("blk.0.ffn_down.weight", _HIDDEN, _INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def info(capsys):
    """What the command prints for a file, and its exit code."""

    def run(path, *arguments):
        code = main(["info", str(path), *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize("kind", list(GGMLQuantizationType), ids=lambda kind: kind.name)
def test_info_says_of_every_element_type_what_a_load_does(kind, info, tmp_path):
    path = make(tmp_path / "a.gguf", kind)
    code, out, err = info(path)
    refusal = refusal_of_a_load(path)
    assert (refusal is None) == (kind.name in _RUN)
    if refusal is None:
        assert (code, err) == (0, "")
        (runs_on,) = [line for line in out.splitlines() if line.startswith("runs on ")]
        assert f"{kind.name} in " in runs_on
    else:
        assert code == refusal.exit_code == 3
        assert str(refusal) in err
        # The reason names the type and a tensor of it.
        assert kind.name in err
        assert ".weight" in err


def refusal_of_a_load(path):
    try:
        LLM(path).close()
    except TokenmillError as error:
        return error
    return None


@pytest.mark.parametrize("architecture", ["mamba", "bert", "t5", "llama9"])
def test_an_architecture_that_is_not_known_is_refused_with_those_that_are(
    architecture, info, tmp_path
):
    code, out, err = info(make(tmp_path / "a.gguf", architecture=architecture))
    assert (code, out) == (3, "")
    assert f"unknown architecture {architecture}; known are llama, " in err


def test_a_tokenizer_that_cannot_be_read_is_said_after_the_sizes(info, tmp_path):
    path = make(tmp_path / "a.gguf", tokenizer="t5")
    code, out, err = info(path)
    assert code == 3
    assert "memory of an engine" in out
    assert "tokenizer.ggml.model" in err
    with pytest.raises(TokenmillError, match="tokenizer.ggml.model"):
        LLM(path)


def test_the_arithmetic_is_the_one_that_was_asked_for(info, tmp_path):
    path = make(tmp_path / "a.gguf")
    assert "Q8_0 in int8" in info(path)[1]
    assert "Q8_0 in float32" in info(path, "--activations", "exact")[1]
    assert "all in float32" in info(path, "--backend", "reference")[1]
    code, _, err = info(path, "--block-size", "8")
    assert code == 2
    assert "block_size must be a multiple of 16" in err


def test_a_model_is_priced_as_the_backend_will_hold_it(tmp_path):
    path = make(tmp_path / "a.gguf", GGMLQuantizationType.F16)
    sizes = {
        dtype: _tokenmill.inspect(str(path), {"dtype": dtype})["memory_plan"]["weights"]
        for dtype in ("float32", "bfloat16")
    }
    assert sizes["float32"] > 1.5 * sizes["bfloat16"]
    with LLM(path, dtype="float32") as llm:
        assert llm.plan_memory()["weights"] == sizes["float32"]
