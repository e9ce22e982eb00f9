"""The same answers on an event loop, and nothing left behind whatever ends an iteration."""

import asyncio
import threading

import pytest

from tokenmill import LLM, AsyncLLM, DrainingError, InvalidRequestError, SamplingParams

LONG = SamplingParams(temperature=0.0, max_tokens=400, ignore_eos=True)
PROMPTS = [f"{word} is" for word in ("Rain", "The sea", "A watermill", "Paris", "Time", "Bread")]


@pytest.fixture(scope="module")
def model(default_model):
    """One engine for this file, by whatever loop."""
    llm = AsyncLLM(default_model, activations="exact", kv_cache_dtype="float32")
    yield llm
    asyncio.run(llm.close())


async def last(llm, prompt, params, **options):
    """The final output of a request."""
    outputs = [output async for output in llm.generate(prompt, params, **options)]
    return outputs[-1]


async def is_free(llm):
    """Wait until the engine holds no request."""
    for _ in range(200):
        if llm.get_metrics()["requests_live"] == 0:
            return True
        await asyncio.sleep(0.01)
    return False


def test_many_at_once_equal_one_after_another(model, real):
    params = [
        SamplingParams(temperature=t, seed=i, max_tokens=12, logprobs=1)
        for i, t in enumerate((0.0, 0.8, 1.2) * 12)
    ]
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(len(params))]
    expected = real.generate(prompts, params, use_tqdm=False)

    async def run():
        jobs = (last(model, *job) for job in zip(prompts, params, strict=True))
        return await asyncio.gather(*jobs)

    for got, want in zip(asyncio.run(run()), expected, strict=True):
        assert got.finished
        assert got.outputs[0].token_ids == want.outputs[0].token_ids
        assert got.outputs[0].text == want.outputs[0].text
        assert got.outputs[0].cumulative_logprob == want.outputs[0].cumulative_logprob


def test_outputs_grow_and_chunks_join(model):
    async def run():
        grown = [o async for o in model.generate("The sea", LONG.replace(max_tokens=20))]
        chunks = [c async for c in model.stream("The sea", LONG.replace(max_tokens=20))]
        return grown, chunks

    grown, chunks = asyncio.run(run())
    texts = [output.outputs[0].text for output in grown]
    assert len(texts) > 5
    assert all(after.startswith(before) for before, after in zip(texts, texts[1:], strict=False))
    assert "".join(chunk.text for chunk in chunks) == texts[-1]
    assert chunks[-1].finish_reason == grown[-1].outputs[0].finish_reason == "length"


def test_the_caller_s_id_is_echoed(model):
    output = asyncio.run(last(model, "a", SamplingParams(max_tokens=1), request_id="job 7"))
    assert output.request_id == "job 7"


def test_a_conversation_runs(model):
    talk = [{"role": "user", "content": "Hello"}]
    output = asyncio.run(last(model, talk, SamplingParams(temperature=0.0, max_tokens=4)))
    assert len(output.outputs[0].token_ids) == 4


@pytest.mark.parametrize("ending", ["break", "cancel", "error", "timeout", "queued"])
def test_whatever_ends_an_iteration_cancels_the_request(ending, model):
    async def consume():
        async for _ in model.generate("a", LONG):
            if ending == "break":
                break
            if ending == "error":
                raise ZeroDivisionError

    async def run():
        if ending == "break":
            await consume()
        elif ending == "error":
            with pytest.raises(ZeroDivisionError):
                await consume()
        elif ending == "timeout":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(consume(), 0.2)
        else:
            task = asyncio.ensure_future(consume())
            await asyncio.sleep(0.2 if ending == "cancel" else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await is_free(model)

    asyncio.run(run())


def test_a_refusal_is_raised_where_it_is_awaited(model):
    async def run():
        with pytest.raises(InvalidRequestError, match="max_tokens"):
            await last(model, "a", SamplingParams(max_tokens=10**6))
        assert (await last(model, "a", SamplingParams(max_tokens=1))).finished

    asyncio.run(run())


def test_a_loop_that_ends_while_requests_run_leaves_nothing(model):
    async def run():
        jobs = [asyncio.ensure_future(last(model, "a", LONG)) for _ in range(4)]
        await asyncio.sleep(0.1)
        del jobs

    for _ in range(3):
        asyncio.run(run())
    assert asyncio.run(is_free(model))


def test_loops_in_two_threads_share_an_engine(model):
    texts = {}

    def work(name):
        params = SamplingParams(temperature=0.0, max_tokens=16)
        texts[name] = asyncio.run(last(model, "The sea is", params)).outputs[0].text

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(texts) == 4
    assert len(set(texts.values())) == 1


def test_it_loads_beside_the_loop_and_is_closed_by_its_block(default_model):
    async def run():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.002)

        ticking = asyncio.ensure_future(tick())
        async with await AsyncLLM.load(default_model, max_model_len=128) as llm:
            assert ticks > 3, "the loop stood still"
            assert (await last(llm, "a", SamplingParams(max_tokens=1))).finished
        ticking.cancel()
        with pytest.raises(DrainingError):
            await last(llm, "a", SamplingParams(max_tokens=1))

    asyncio.run(run())


def test_closing_ends_who_waits(default_model):
    async def run():
        llm = await AsyncLLM.load(default_model)
        waiting = asyncio.ensure_future(last(llm, "a", LONG))
        await asyncio.sleep(0.2)
        await llm.close()
        output = await asyncio.wait_for(waiting, 5)
        assert output.outputs[0].finish_reason == "error"

    asyncio.run(run())


def test_a_program_without_a_loop_imports_no_asyncio(repository):
    import subprocess
    import sys

    code = "import sys, tokenmill; assert 'asyncio' not in sys.modules; tokenmill.AsyncLLM"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert LLM.__name__ == "LLM"
