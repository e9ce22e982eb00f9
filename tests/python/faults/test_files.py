"""F9 and F10 through Python: a disk that takes nothing, a checkpoint with any byte changed."""

import os
import random

import pytest

from fakes.checkpoints import Gguf, gguf_file
from fakes.wheels import make_model
from tokenmill import LLM, CorruptModelError, SamplingParams, UnsupportedError
from tokenmill.models.atomic import AtomicFile
from tokenmill.models.cache import ModelCache

SHORT = SamplingParams(temperature=0.0, max_tokens=2)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_f09_the_nth_call_that_fails_keeps_the_old_file_and_leaves_no_other(
    call, tmp_path, monkeypatch
):
    """Every call of this name fails once, the first, the second and so on, until none is left."""
    target = tmp_path / "folder" / "model.bin"
    target.parent.mkdir()
    real = getattr(os, call)
    for failing in range(1, 50):
        target.write_bytes(b"old")
        calls, is_said = 0, None

        def fail(*args, at=failing, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                with AtomicFile(target) as file:
                    for _ in range(3):
                        file.write(b"x" * 1000)
                    file.commit()
            except OSError as error:
                is_said = "No space" in str(error)
        kept = target.read_bytes()
        if calls < failing:
            assert kept == b"x" * 3000
            assert failing > 1, f"{call} is never called: nothing was tried"
            return
        assert is_said
        assert kept in (b"old", b"x" * 3000), f"{call} {failing}"
        assert [path.name for path in target.parent.iterdir()] == [target.name]
    pytest.fail("no end of calls")


def test_f10_a_checksum_finds_every_one_of_a_thousand_flips(tmp_path, monkeypatch):
    model = make_model(20_000)
    monkeypatch.setenv("TOKENMILL_CACHE", str(tmp_path))
    cache = ModelCache()
    path = cache.path(model.known)
    path.parent.mkdir(parents=True)
    rng = random.Random(10)
    for _ in range(1_000):
        content = bytearray(model.content)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(content))
        with pytest.raises(CorruptModelError, match="sha256"):
            cache.verify(model.known)
    path.write_bytes(model.content)
    assert cache.verify(model.known) == path


@pytest.mark.timeout(600)
def test_f10_a_flipped_header_is_refused_or_answers(tmp_path, monkeypatch):
    """Three hundred bytes of the header, one at a time: an ordinary error, or a model that runs."""
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
    whole = Gguf()
    good, header_len = whole.bytes(), len(whole.header())
    rng = random.Random(11)
    refused, odd = 0, []
    for at in rng.sample(range(header_len), 300):
        content = bytearray(good)
        content[at] ^= 1 << rng.randrange(8)
        path = gguf_file(tmp_path, bytes(content))
        try:
            with LLM(path, threads=1) as llm:
                llm.generate("hello", SHORT)
        except (CorruptModelError, UnsupportedError) as error:
            refused += 1
            odd += [str(error)] if not str(error).isprintable() else []
    print(f"{refused} of 300 flips of the header refused")
    assert refused > 20
    assert odd == []


def test_f10_a_cut_file_is_corrupt(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
    good = Gguf().bytes()
    rng = random.Random(12)
    for length in [0, 3, 4, 23, 24, *rng.sample(range(len(good)), 40), len(good) - 32]:
        with pytest.raises(CorruptModelError):
            LLM(gguf_file(tmp_path, good[:length]))
