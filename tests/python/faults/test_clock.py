"""F16: a wall clock that jumps by an hour changes neither the tokens nor how long anything takes.

That nothing which decides reads a clock at all is a rule of the tree (`tidy`): here the clock
that the C library tells is replaced under a whole program.
"""

import shutil
import subprocess
import time

import pytest

JUMPS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>

static long calls;

static long jump(void) {
    return (__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) % 2) ? 3600 : -3600;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += jump();
    return code;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""
CHILD = """
import time
before = [time.time() for _ in range(4)]
print("jumps", max(before) - min(before) > 3000)
llm = LLM(model)
for _ in range(20):
    said = llm.generate("hello", greedy)[0].outputs[0].token_ids
print(said)
# A deadline is a length of time: no jump ends a request early, nor lets one run on.
patient = llm.generate("hello", greedy.replace(deadline_ms=3_000_000))[0].outputs[0]
hasty = llm.generate("hello", greedy.replace(deadline_ms=1, max_tokens=60, ignore_eos=True, n=1))
print(patient.token_ids == said, hasty[0].outputs[0].finish_reason in ("error", "length"))
stream = llm.stream("hello", greedy)
print("".join(chunk.text for chunk in stream) != "")
llm.close()
"""


@pytest.fixture
def jumping(tmp_path):
    """A library that makes the wall clock jump by an hour at every look."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "jumps.c", tmp_path / "jumps.so"
    source.write_text(JUMPS)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def test_f16_a_wall_clock_that_jumps_by_hours_changes_nothing(program, answer, jumping):
    started = time.monotonic()
    child = program(CHILD, LD_PRELOAD=str(jumping))
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert out.split("\n")[3] == "True"
    assert out.split("\n")[:3] == ["jumps True", answer, "True True"], out
    assert time.monotonic() - started < 30
