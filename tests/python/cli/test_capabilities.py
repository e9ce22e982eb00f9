"""The capability matrix: the page, the command and the data say what the validator does."""

import json

import pytest

from tokenmill import InvalidRequestError, SamplingParams, options
from tokenmill.cli.commands.capabilities import page
from tokenmill.cli.main import main

# A value that makes the option active, for options whose rules are tried in pairs.
ACTIVE = {
    "mirostat": 2,
    "adaptive_target": 0.3,
    "top_n_sigma": 1.0,
    "top_h": 0.5,
    "top_k": 5,
    "top_p": 0.9,
    "min_p": 0.1,
    "typical_p": 0.9,
    "epsilon_cutoff": 0.1,
    "eta_cutoff": 0.1,
    "xtc_probability": 0.5,
}


def test_the_page_is_the_recorded_one(repository):
    recorded = (repository / "docs" / "capabilities.md").read_text("utf-8")
    assert recorded == page(options.capabilities()), "if that is meant: make pages"


def test_every_option_has_one_row_on_the_page(repository):
    text = (repository / "docs" / "capabilities.md").read_text("utf-8")
    names = [row["name"] for rows in options.capabilities().values() for row in rows.values()]
    assert len(names) == len(options.table())
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert sorted(line.split("`")[1] for line in rows) == sorted(names)


@pytest.mark.parametrize("name", ACTIVE)
@pytest.mark.parametrize("other", ACTIVE)
def test_two_cuts_run_together_exactly_where_the_matrix_says_so(name, other):
    if name == other:
        return
    met = [one for one, _ in options.capabilities()["sampling"][name]["meets"]]
    values = {name: ACTIVE[name], other: ACTIVE[other]}
    if other not in met:
        SamplingParams(**values)
        return
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**values)
    assert name in str(caught.value)
    assert other in str(caught.value)


def test_the_command_gives_the_same_as_data(capfd):
    assert main(["capabilities", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads(json.dumps(options.capabilities()))


def test_one_option_is_shown_whole(capfd):
    assert main(["capabilities", "--adaptive-target".removeprefix("--")]) == 0
    out = capfd.readouterr().out
    assert "refused with mirostat together" in out
    assert "pipelines: tokenmill" in out
    assert main(["capabilities", "best_off"]) == 2
    assert "did you mean best_of?" in capfd.readouterr().err


def test_the_list_names_every_option(capfd):
    assert main(["capabilities"]) == 0
    out = capfd.readouterr().out
    assert all(option.name in out for option in options.table())
