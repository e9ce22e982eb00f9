"""What the package says of its public names: said of every one, and its examples run."""

import doctest
import importlib
import inspect

import pytest

import tokenmill

# Where public names with examples live; a module without an example fails below.
MODULES = (
    "tokenmill",
    "tokenmill.api.llm",
    "tokenmill.api.async_llm",
    "tokenmill.api.params",
    "tokenmill.api.tokenizer",
    "tokenmill.evaluate.choices",
    "tokenmill.evaluate.intervals",
    "tokenmill.evaluate.perplexity",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_run(name, default_model):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for test in finder.find(module, name) if test.examples]
    assert tests, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    told = []
    for test in tests:
        runner.run(test, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


def test_every_public_name_and_method_says_what_it_is():
    silent = []
    for name in tokenmill.__all__:
        value = getattr(tokenmill, name)
        if not inspect.isclass(value):
            continue
        if not inspect.getdoc(value):
            silent.append(name)
        for method, found in vars(value).items():
            is_public = not method.startswith("_") and callable(getattr(value, method))
            if is_public and not inspect.getdoc(found) and not issubclass(value, Exception):
                silent.append(f"{name}.{method}")
    assert silent == []
