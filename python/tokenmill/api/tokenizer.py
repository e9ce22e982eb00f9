"""The loaded model's own tokenizer and chat template, as one small value.

It forwards to the engine and caches the text of single tokens for log-probabilities.
"""

from collections.abc import Sequence
from typing import Any

from tokenmill import _tokenmill


class Tokenizer:
    """Text to ids and back, exactly as the engine does it.

    >>> from tokenmill import LLM
    >>> with LLM(max_model_len=256) as llm:
    ...     tokenizer = llm.get_tokenizer()
    ...     ids = tokenizer.encode("The sea is blue")
    ...     tokenizer.decode(ids), len(ids)
    ('The sea is blue', 4)
    """

    def __init__(self, engine: _tokenmill.Engine) -> None:
        self._engine = engine
        self._texts: dict[int, str] = {}
        info = engine.info()
        self.has_text = info["has_tokenizer"]
        self.vocab_size = info["vocab_len"]
        self.eos_token_ids = list(info["eos_token_ids"])

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Ids of `text`; control tokens written in it stay text."""
        return self._engine.encode(text, add_special_tokens)

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of ids."""
        return self._engine.decode(token_ids, skip_special_tokens)

    def apply_chat_template(
        self, messages: list[dict[str, Any]], add_generation_prompt: bool = False
    ) -> str:
        """The text that the model's template makes of a conversation."""
        return self._engine.render(messages, add_generation_prompt).text

    def token_text(self, token_id: int) -> str | None:
        """The text of one token alone; part of a character shows as U+FFFD.

        None for a model that was loaded without a tokenizer.
        """
        if not self.has_text:
            return None
        text = self._texts.get(token_id)
        if text is None:
            text = self._texts[token_id] = self._engine.decode([token_id], False)
        return text
