"""Life and death of an engine, from Python: import, threads, signals, forks, exits."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tokenmill import LLM, DrainingError, InvalidRequestError, SamplingParams

LONG = SamplingParams(temperature=0.0, max_tokens=400, ignore_eos=True)
SHORT = SamplingParams(temperature=0.0, max_tokens=8)


@pytest.fixture
def script(repository, default_model, monkeypatch):
    """Run Python with the package importable and MODEL set; gives code, output, errors."""
    monkeypatch.setenv("PYTHONPATH", str(repository / "python"), prepend=os.pathsep)
    monkeypatch.setenv("MODEL", str(default_model))

    def start(code):
        return subprocess.Popen(
            [sys.executable, "-c", "import os\nmodel = os.environ['MODEL']\n" + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_the_import_is_quick_and_takes_no_tensor_library(script):
    code = """
import sys, time
started = time.process_time()
from tokenmill import LLM, SamplingParams
took = time.process_time() - started
assert not {'torch', 'numpy', 'transformers', 'huggingface_hub'} & set(sys.modules), sys.modules
print(took)
"""
    took = []
    for _ in range(5):
        child = script(code)
        out, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        took.append(float(out))
    assert min(took) < 0.1


def test_case_119_a_dropped_stream_frees_its_blocks(real, wait_until):
    stream = real.stream("Count to a thousand:", LONG)
    next(stream)
    assert real.get_metrics()["requests_live"] == 1
    del stream
    gc.collect()
    wait_until(lambda: real.get_metrics()["requests_live"] == 0)
    wait_until(lambda: real.get_metrics()["blocks_used"] == 0)


def test_case_119_a_stream_raised_into_frees_its_blocks(real, wait_until):
    def read():
        with real.stream("Count:", LONG) as stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    wait_until(lambda: real.get_metrics()["requests_live"] == 0)


def test_an_interrupt_during_generation_is_a_keyboard_interrupt(real, wait_until):
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        real.generate(["Count to a thousand:"] * 8, LONG.replace(max_tokens=4000))
    assert time.monotonic() - started < 5
    wait_until(lambda: real.get_metrics()["requests_live"] == 0)
    assert real.generate("Still", SHORT)[0].finished


def test_other_threads_run_while_one_generates(real):
    ticks = 0
    is_done = threading.Event()

    def tick():
        nonlocal ticks
        while not is_done.is_set():
            ticks += 1
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    real.generate("Count:", LONG.replace(max_tokens=100))
    took = time.monotonic() - started
    is_done.set()
    thread.join()
    assert ticks > took / 0.005 / 10


def test_case_118_many_threads_share_one_engine(real):
    expected = real.generate("One two three", SHORT)[0].outputs[0].token_ids
    results = []

    def ask():
        results.append(real.generate("One two three", SHORT)[0].outputs[0].token_ids)

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [expected] * 32


def test_case_118_a_closed_engine_refuses_and_ends_what_ran(default_model):
    llm = LLM(default_model, max_model_len=512)
    stream = llm.stream("Count:", LONG)
    next(stream)
    llm.close()
    llm.close()
    rest = list(stream)
    assert not rest or rest[-1].finish_reason in ("abort", "error", "length")
    for call in (
        lambda: llm.generate("x", SHORT),
        lambda: llm.stream("x", SHORT),
        llm.reset_prefix_cache,
    ):
        with pytest.raises(DrainingError):
            call()


def test_two_engines_live_in_one_process(default_model):
    with LLM(default_model, max_model_len=256) as one, LLM(default_model, block_size=32) as two:
        tokens = [m.generate("Rivers", SHORT)[0].outputs[0].token_ids for m in (one, two)]
        one.close()
        assert two.generate("Rivers", SHORT)[0].outputs[0].token_ids == tokens[0] == tokens[1]


def test_case_118_f19_a_forked_child_is_refused_and_the_parent_goes_on(script):
    child = script("""
from tokenmill import LLM, SamplingParams
llm = LLM(model)
params = SamplingParams(max_tokens=4)
llm.generate('a', params)
pid = os.fork()
if pid == 0:
    try:
        llm.generate('a', params)
    except Exception as error:
        print(type(error).__name__, 'forked' in str(error), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(len(llm.generate('a', params)))
""")
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert out.split() == ["DrainingError", "True", "1"]


@pytest.mark.parametrize(
    "childhood",
    [
        "raise SystemExit(0)",
        "del stream, llm",
        "llm.close()",
        "stream.close()",
        "list(stream)",
        "two = LLM(model); print(two.generate('a', params)[0].finished); two.close()",
        "two = LLM(model); llm.generate('a', params)",
        "two = LLM(model); llm.close(); two.generate('a', params)",
    ],
)
def test_case_118_f19_a_forked_child_lives_and_dies_in_peace(childhood, script):
    child = script(f"""
import gc, sys
from tokenmill import DrainingError, LLM, SamplingParams
llm = LLM(model)
params = SamplingParams(max_tokens=4, ignore_eos=True)
stream = llm.stream('a', SamplingParams(max_tokens=400, ignore_eos=True))
if os.fork() == 0:
    try:
        {childhood}
    except DrainingError as error:
        assert 'forked' in str(error), error
    gc.collect()
    sys.exit(7)
code = os.waitstatus_to_exitcode(os.wait()[1])
print(code, len(llm.generate('a', params)))
""")
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert out.split()[-2:] in (["7", "1"], ["0", "1"]), (out, errors)
    assert "Panic" not in errors, errors


def test_a_stream_closed_by_another_thread_ends_its_reader_at_once(default_model, wait_until):
    with LLM(default_model, max_num_seqs=1) as llm:
        first = llm.stream("a", LONG)
        waiting = llm.stream("b", LONG)
        read = []
        reader = threading.Thread(target=lambda: read.extend(waiting))
        reader.start()
        time.sleep(0.1)
        waiting.close()
        reader.join(timeout=2)
        assert not reader.is_alive(), "the reader waits for a request that was cancelled"
        wait_until(lambda: llm.get_metrics()["requests_live"] == 1, 2)
        first.close()


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "raise SystemExit(0)",
        "import threading; threading.Thread(target=lambda: list(stream)).start()",
        "import threading; threading.Thread(target=lambda: list(stream), daemon=True).start()",
        "del llm",
    ],
)
def test_case_118_f19_the_interpreter_ends_while_a_request_runs(ending, script):
    child = script(f"""
from tokenmill import LLM, SamplingParams
llm = LLM(model)
stream = llm.stream('Count:', SamplingParams(max_tokens=60, ignore_eos=True))
next(stream)
{ending}
""")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert errors == ""


def test_case_118_generating_inside_a_signal_handler_works(script):
    child = script("""
import signal
from tokenmill import LLM, SamplingParams
llm = LLM(model)
params = SamplingParams(max_tokens=4)
def handler(number, frame):
    print(len(llm.generate('a', params)), flush=True)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.3)
print(len(llm.generate(['Count:'] * 4, SamplingParams(max_tokens=200, ignore_eos=True))))
""")
    out, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert out.split() == ["1", "4"]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"blok_size": 16}, "block_size"),
        ({"block_size": 0}, "block_size"),
        ({"block_size": "16"}, "block_size"),
        ({"block_size": 16.5}, "block_size"),
        ({"dtype": "float8"}, "dtype"),
        ({"threads": 0}, "threads"),
        ({"kv_cache_memory_bytes": 1}, "kv_cache_memory_bytes must be at least"),
        ({"max_model_len": 0}, "max_model_len"),
        ({"scheduling_policy": "fair"}, "scheduling_policy"),
        ({"enable_prefix_caching": 1}, "enable_prefix_caching"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size"),
        ({"gpu_memory_utilization": 0.5}, "gpu_memory_utilization"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"hf_overrides": {}}, "hf_overrides"),
    ],
)
def test_case_111_a_wrong_engine_option_is_refused_by_name(values, part, default_model):
    with pytest.raises(ValueError, match=part) as caught:
        LLM(default_model, **values)
    if isinstance(caught.value, InvalidRequestError):
        assert caught.value.param == next(iter(values))


def test_case_110_a_folder_without_a_model_and_a_file_that_is_none_are_errors(tmp_path):
    with pytest.raises((ValueError, OSError, LookupError)):
        LLM(tmp_path)
    file = tmp_path / "x.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="x.gguf"):
        LLM(file)
