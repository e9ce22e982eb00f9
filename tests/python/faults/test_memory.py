"""F15: an address space that is too small, at the start or later, is a refusal or an end; never a
wrong answer, never a wait.
"""

import re

import pytest

CHILD = """
import resource
limit = int(os.environ["LIMIT"])

def squeeze():
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + limit,) * 2)

when = os.environ["WHEN"]
if when == "start":
    squeeze()
try:
    llm = LLM(model, threads=int(os.environ["THREADS"]))
    if when == "use":
        squeeze()
    # Tens of megabytes of answers.
    asked = greedy.replace(logprobs=20) if when == "use" else greedy
    answers = llm.generate(["hello"] * (1500 if when == "use" else 8), asked)
    print({str(answer.outputs[0].token_ids) for answer in answers if answer.finished})
except Exception as error:
    print("refused", type(error).__name__, str(error)[:200])
"""
# From less than a thread's stack to more than the whole.
LIMITS = {
    "start": [0, 1 << 20, 8 << 20, 64 << 20, 2 << 30],
    "use": [0, 1 << 18, 3 << 20, 24 << 20, 2 << 30],
}
_REFUSALS = re.compile(
    r"refused (MemoryError|InternalError|CorruptModelError|TokenmillIoError|OSError"
    # The last is the interpreter's word where it has no memory for a MemoryError.
    r"|InvalidRequestError|OverloadedError|RuntimeError|SystemError)\b"
)


@pytest.mark.parametrize(("when", "threads"), [("start", 1), ("start", 2), ("use", 2)])
def test_f15_too_little_memory_is_a_refusal_or_an_end_never_a_wrong_answer(
    when, threads, program, answer
):
    outcomes = []
    for limit in LIMITS[when]:
        child = program(CHILD, LIMIT=str(limit), WHEN=when, THREADS=str(threads))
        out, errors = child.communicate(timeout=60)
        said = out.strip().splitlines()[-1] if out.strip() else ""
        is_right = said == f"{{'{answer}'}}"
        is_refusal = _REFUSALS.match(said) is not None
        # Where not even an error fits, Rust aborts and says so, or Python cannot begin.
        is_end = child.returncode != 0 and ("memory allocation" in errors or "Memory" in errors)
        outcomes.append("answer" if is_right else "refusal" if is_refusal else "end")
        assert is_right or is_refusal or is_end, (limit, child.returncode, said, errors[-2000:])
    print(when, outcomes)
    assert outcomes[-1] == "answer", outcomes
    assert len(set(outcomes)) > 1, f"no limit was small enough: {outcomes}"
