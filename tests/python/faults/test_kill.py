"""F6: a program killed at any moment while it generates leaves nothing behind, and starts again."""

import random
import time

BUSY = """
llm = LLM(model)
print("ready", flush=True)
while True:
    llm.generate(["hello"] * 8, greedy)
"""


def test_f06_twenty_kills_while_generating_leave_nothing_and_the_next_start_is_clean(
    program, answer, temporaries, tiny
):
    rng = random.Random(6)
    before = tiny.read_bytes()
    restarts = []
    for _ in range(20):
        child = program(BUSY)
        # Some die while loading, most while generating.
        if rng.random() < 0.8:
            assert child.stdout.readline() == "ready\n"
        time.sleep(rng.random() * 0.15)
        child.kill()
        child.communicate()
        assert child.returncode == -9
        started = time.monotonic()
        again = program("print(LLM(model).generate('hello', greedy)[0].outputs[0].token_ids)")
        out, errors = again.communicate(timeout=60)
        restarts.append(time.monotonic() - started)
        assert (again.returncode, out.strip()) == (0, answer), errors
    assert list(temporaries.rglob("*")) == []
    assert [path.name for path in tiny.parent.iterdir()] == [tiny.name]
    assert tiny.read_bytes() == before
    print(f"restart to answer: {max(restarts):.2f} s at most")
