"""The text that the default model's chat template makes, against transformers' Jinja.

transformers reads the template out of the same GGUF file; only its tokenizer is loaded.
"""

import pytest

from parity.texts.prompts import CHATS, LONG

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}
CONVERSATIONS = {
    "user alone": [USER],
    "ends with an answer": [USER, ANSWER],
    "system leads": [{"role": "system", "content": "Be brief."}, USER],
    "empty system": [{"role": "system", "content": ""}, USER],
    "empty user": [{"role": "user", "content": ""}],
    "system in the middle": [USER, {"role": "system", "content": "Now rhyme."}, USER],
    "answer first": [ANSWER, USER],
    "two users in a row": [USER, USER],
    "another role": [USER, {"role": "critic", "content": "Hm."}],
    "white space at the ends": [{"role": "user", "content": "  \n padded \t\n"}],
    "template marks in the text": [{"role": "user", "content": "{{ x }} {% if %} {# #} \\n <|im_"}],
    "markup and quotes": [{"role": "user", "content": "<b>&amp; \"q\" 'q' \\ / \u2028 \u0000 |"}],
    "other scripts": [{"role": "user", "content": "你好 שלום สวัสดี 👩‍👩‍👧‍👦 e\u0301 ﬁ \u200b"}],
    "many turns": [USER, ANSWER] * 20 + [USER],
    "unused field": [{"role": "user", "content": "Hi", "name": "Mira"}],
}
CONVERSATIONS |= {p.name: p.content for p in CHATS + LONG if not isinstance(p.content, str)}


@pytest.fixture(scope="module")
def tokenizer(gguf):
    """transformers' tokenizer of the file."""
    from parity.oracles import transformers_model

    return transformers_model.load_tokenizer(gguf)


@pytest.mark.parametrize("is_prompt", [True, False], ids=["prompt", "transcript"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_template_text_equals_that_of_transformers(exact, tokenizer, name, is_prompt):
    messages = CONVERSATIONS[name]
    expected = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=is_prompt
    )
    got = exact.get_tokenizer().apply_chat_template(messages, add_generation_prompt=is_prompt)
    assert got == expected
