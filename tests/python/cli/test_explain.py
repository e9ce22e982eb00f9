"""`tokenmill explain`: what it shows, that no token's text acts, and that it changes no token."""

import html.parser
import json
import re
import unicodedata

import pytest

from tokenmill import LLM, Explained, SamplingParams
from tokenmill.cli.views import page, text, words
from tokenmill.cli.views.tree import grow

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;&amp;",
    "\x1b[31mred\x07",
    "a\nb\tc\r",
    "\u202ereversed\u2066",
    "\u0301",
    "\\n",
    "</code></td>",
    "\u6c34\u8eca",
]


def step(chosen: int, tokens: list[int]) -> dict:
    """A draw among `tokens`, each less likely than the one before."""
    total = sum(2.0**-i for i in range(len(tokens)))
    shares = [2.0**-i / total for i in range(len(tokens))]
    best = [
        {"token": token, "score": -float(i), "probability": share}
        for i, (token, share) in enumerate(zip(tokens, shares, strict=True))
    ]
    first = {"name": "logits", "option": None, "value": None, "left": 50, "best": best}
    cut = {"name": "top_k", "option": "top_k", "value": "1", "left": 1, "best": best[:1]}
    racers = [
        {"token": token, "probability": share, "noise": 0.5, "time": 0.5 / share, "place": i + 1}
        for i, (token, share) in enumerate(zip(tokens, shares, strict=True))
    ]
    return {
        "position": 3,
        "stages": [{**first, "dropped": []}, {**cut, "dropped": tokens[1:]}],
        "lifted": [],
        "pick": {"kind": "race", "token": chosen, "runner_up": tokens[1], "racers": racers},
    }


def explained(texts: list[str]) -> Explained:
    """One drawn token among tokens with these texts."""
    ids = list(range(len(texts)))
    return Explained(
        prompt=texts[0],
        prompt_token_ids=[1, 2, 3],
        outputs=[texts[0]],
        token_ids=[[0]],
        seed=7,
        steps=[step(0, ids)],
        texts=dict(enumerate(texts)),
    )


class Reader(html.parser.HTMLParser):
    """Checks that tags nest, and gathers them with what they say."""

    VOID = ("meta", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(content: str) -> Reader:
    reader = Reader()
    reader.feed(content)
    reader.close()
    assert reader.open == []
    return reader


def test_a_token_that_spells_markup_is_text_on_the_page():
    content = page.render(explained(HOSTILE), "<b>model</b>")
    reader = read(content)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "img", "b", "link", "iframe"}, tags
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    assert any('"<script>alert(1)</script>"' in text for text in reader.words)


def test_the_page_is_complete_in_itself():
    content = page.render(explained(HOSTILE), "model")
    for _, attrs in read(content).tags:
        assert not {"src", "href", "srcset", "action"} & set(attrs)
    assert "url(" not in content
    assert "@import" not in content
    assert "http:" not in content
    assert "prefers-color-scheme: dark" in content
    assert "@media print" in content


def test_every_table_of_the_page_has_a_caption_and_heads():
    content = page.render(explained(HOSTILE), "model")
    count = content.count("<table>")
    assert count == content.count("<caption>") == 3
    assert content.count('scope="col"') >= 3 * count


@pytest.mark.parametrize("width", [1, 40, 60, 100, 300])
def test_lines_are_plain_and_no_wider_than_the_terminal(width):
    shown = text.render(explained(HOSTILE), width)
    for line in shown.splitlines():
        assert text.columns(line) <= max(40, width), line
        assert line.isprintable()
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Mn")]


def test_a_tokens_text_is_quoted_so_that_two_texts_never_look_alike():
    assert words.quoted("a\n") == '"a\\n"'
    assert words.quoted("a\\n") == '"a\\\\n"'
    assert words.quoted("\x1b") == '"\\x1b"'
    assert len({words.quoted(one) for one in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, ""), (1.0, "\u2588" * 4), (0.5, "\u2588" * 2), (1 / 32, "\u258f"), (7, "\u2588" * 4)],
)
def test_bars_are_as_long_as_their_share(share, shown):
    assert text.bar(share, 4) == shown


def test_a_model_without_a_tokenizer_shows_ids():
    found = explained(["a", "b"])
    shown = text.render(Explained(**{**_fields(found), "texts": {0: None, 1: None}}), 100)
    assert "#0" in shown
    assert "#1" in shown


def _fields(found: Explained) -> dict:
    return {name: getattr(found, name) for name in found.__slots__}


def beams(*candidates: tuple) -> dict:
    names = ("parent", "token", "score", "fate", "beam")
    found = [dict(zip(names, one, strict=True)) for one in candidates]
    return {
        "position": 0,
        "stages": [],
        "lifted": [],
        "pick": {"kind": "beams", "candidates": found},
    }


def test_a_beam_search_is_a_tree_by_its_parents():
    steps = [
        beams((0, 1, -0.1, "kept", 0), (0, 2, -0.9, "kept", 1), (0, 3, -2.0, "dropped", None)),
        beams((1, 4, -1.0, "kept", 0), (0, 5, -1.5, "ended", None)),
        beams((0, 6, -1.2, "ended", None)),
    ]

    def shape(nodes):
        return {node.candidate["token"]: shape(node.children) for node in nodes}

    assert shape(grow(steps)) == {1: {5: {}}, 2: {4: {6: {}}}, 3: {}}
    found = Explained(None, [1], ["x"], [[2, 4, 6]], 0, steps, {i: f"t{i}" for i in range(7)})
    lines = text.render(found, 100).splitlines()
    assert any(line.split() == ["-1.2000", "finished", '"t2"', '"t4"', '"t6"'] for line in lines)
    content = page.render(found, "model")
    read(content)
    nested = re.sub(r"\s", "", content)
    assert "t4&quot;</code>-1.0000</span><ulclass" in nested


@pytest.fixture(scope="module")
def llm(default_model):
    """The default model."""
    with LLM(default_model, max_model_len=256) as loaded:
        yield loaded


DRAWN = {"seed": 3, "temperature": 0.8, "top_k": 20, "top_p": 0.9, "max_tokens": 4}


@pytest.mark.parametrize(
    "values",
    [
        DRAWN,
        {"temperature": 0.0, "frequency_penalty": 0.7, "max_tokens": 6},
        {"temperature": 0.0, "penalty_alpha": 0.6, "top_k": 4, "max_tokens": 4},
        {"seed": 1, "guidance_scale": 1.5, "max_tokens": 3},
    ],
)
def test_the_tokens_are_those_of_generate(llm, values):
    params = SamplingParams(**values)
    (output,) = llm.generate(["The sea is"], params, use_tqdm=False)
    found = llm.explain("The sea is", params, top=3)
    assert found.token_ids == [output.outputs[0].token_ids]
    assert found.outputs == [output.outputs[0].text]
    assert [step["pick"]["token"] for step in found.steps] == found.token_ids[0]


def test_stages_follow_the_pipeline_and_fewer_tokens_are_left_at_each(llm):
    found = llm.explain("The sea is", SamplingParams(**DRAWN), top=5)
    assert len(found.steps) == 4
    for one in found.steps:
        assert [stage["name"] for stage in one["stages"]] == [
            *("logits", "temperature", "top_k", "top_p")
        ]
        left = [stage["left"] for stage in one["stages"]]
        assert left == sorted(left, reverse=True)
        assert left[2] == 20
        winner = min(one["pick"]["racers"], key=lambda racer: racer["time"])
        assert winner["token"] == one["pick"]["token"]
        assert winner["place"] == 1
    named = {shown["token"] for one in found.steps for s in one["stages"] for shown in s["best"]}
    assert named <= set(found.texts)


def test_a_beam_search_is_explained_by_its_candidates(llm):
    params = SamplingParams(beam_width=3, temperature=0.0, max_tokens=4)
    found = llm.explain("The sea is", params, top=3)
    assert len(found.outputs) == 3
    assert len(found.steps) == 4
    paths = []

    def walk(nodes, path):
        for node in nodes:
            token = node.candidate["token"]
            if node.candidate["fate"] == "ended":
                paths.append([*path, token])
            walk(node.children, [*path, token])

    walk(grow(found.steps), [])
    for tokens in found.token_ids:
        assert tokens in paths


@pytest.mark.parametrize(
    ("params", "top", "named"),
    [
        ({"max_tokens": 4}, 0, "top"),
        ({"max_tokens": 4}, 51, "top"),
        ({"max_tokens": 4}, -1, "top"),
        ({"max_tokens": 4}, 2.5, "top"),
        ({"max_tokens": 4}, True, "top"),
        ({"max_tokens": 4, "n": 2}, 5, "n"),
        ({"max_tokens": 4, "seed": 1, "best_of": 2, "logprobs": 1}, 5, "best_of"),
    ],
)
def test_what_cannot_be_explained_is_refused_by_name(llm, params, top, named):
    with pytest.raises(ValueError) as refused:
        llm.explain("x", SamplingParams(**params), top=top)
    assert refused.value.param == named


@pytest.fixture
def real(monkeypatch, default_model):
    """The command on the default model, in place of the engine that only echoes."""
    from tokenmill import _tokenmill

    monkeypatch.setattr(_tokenmill, "Engine", ENGINE)
    return str(default_model)


ENGINE = __import__("tokenmill")._tokenmill.Engine


def test_the_command_prints_tables_and_writes_both_files(command, real, tmp_path):
    files = [tmp_path / "a.html", tmp_path / "a.json"]
    ran = command(
        *("explain", "The sea is", "-m", real, "--max-model-len", "256", "--seed", "3"),
        *("--top-k", "20", "--max-tokens", "2", "--top", "4"),
        *("--html", str(files[0]), "--json", str(files[1])),
    )
    assert (ran.code, ran.err) == (0, "")
    assert "top_k (top_k 20): 20 tokens left" in ran.out
    assert "wins the race" in ran.out
    assert "\x1b" not in ran.out
    read(files[0].read_text("utf-8"))
    record = json.loads(files[1].read_text("utf-8"))
    assert len(record["steps"]) == 2
    assert record["seed"] == 3
    chosen = str(record["steps"][0]["pick"]["token"])
    assert record["texts"][chosen] in record["outputs"][0]
    assert len(record["steps"][0]["stages"][0]["best"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0"], "top must be an integer from 1 to 50"),
        (["--top", "51"], "top must be an integer from 1 to 50"),
        (["--top", "x"], "top must be an integer from 1 to 50"),
        (["--html", ""], "html must name a file"),
        (["--json", ""], "json must name a file"),
        (["--html", "/nowhere/a.html"], "html must name a file in a folder that exists"),
        (["--html", "/"], "html must name a file in a folder that exists"),
        (["--logprobs", "2"], "logprobs are shown by"),
        (["--tpo", "2"], "unknown option --tpo"),
    ],
)
def test_bad_arguments_are_told_before_a_model_is_loaded(command, model, arguments, message):
    ran = command("explain", "x", "-m", model, *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_a_prompt_is_needed(command, model):
    ran = command("explain", "-m", model)
    assert ran.code == 2
    assert "PROMPT" in ran.err
