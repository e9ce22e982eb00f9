"""What a caller may give as a prompt, told apart and made one shape.

A text, token ids, a dict of either with a salt, or an iterable of those. It refuses what is none of
them before anything is submitted; what a prompt may contain is the engine's business.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenmill import _tokenmill
from tokenmill.errors import InvalidRequestError, UnsupportedError, refusal
from tokenmill.options import nearest

_ROLES = ("system", "developer", "user", "assistant", "tool")
_KEYS = ("prompt", "prompt_token_ids", "cache_salt")
# As many as a text may have bytes.
_IDS_MAX = 4 << 20
_BINARY = (bytes, bytearray, memoryview)
_UNSUPPORTED_KEYS = ("multi_modal_data", "prompt_embeds", "mm_processor_kwargs", "type")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: text, ids or a rendered conversation, and whose cached prefixes it may use."""

    content: Any
    cache_salt: str | None = None

    @property
    def text(self) -> str | None:
        """The prompt as text, if it came as text."""
        if isinstance(self.content, _tokenmill.Rendered):
            return self.content.text
        return self.content if isinstance(self.content, str) else None


def read_prompts(prompts: Any) -> tuple[Iterator[Prompt], int | None]:
    """Every prompt of an argument, lazily, and their number where it is known."""
    if isinstance(prompts, (str, Mapping)):
        return iter([read_prompt(prompts)]), 1
    if isinstance(prompts, _BINARY):
        raise refusal("prompts", f"prompts must be text or ids, got {type(prompts).__name__}")
    first, items = _peek(prompts, "prompts")
    if first is _NOTHING:
        return iter([]), 0
    if is_integer(first):
        return iter([Prompt(_ids(items))]), 1
    count = len(prompts) if hasattr(prompts, "__len__") else None
    return (read_prompt(item) for item in items), count


def read_prompt(item: Any) -> Prompt:
    """One prompt."""
    if isinstance(item, str):
        return Prompt(item)
    if isinstance(item, Mapping):
        return _from_mapping(item)
    if item is None or isinstance(item, (*_BINARY, int, float)):
        kind = type(item).__name__
        raise refusal("prompt", f"prompt must be text or a list of token ids, got {kind}")
    _, ids = _peek(item, "prompt")
    return Prompt(_ids(ids))


def is_conversation(item: Any) -> bool:
    """Whether this is a list of messages."""
    return isinstance(item, list) and bool(item) and all(isinstance(m, Mapping) for m in item)


def read_conversations(messages: Any) -> tuple[list[list[dict[str, Any]]], bool]:
    """A list of conversations, and whether one alone was given."""
    if is_conversation(messages):
        return [_turns(messages)], True
    if not isinstance(messages, list) or not messages or not all(map(is_conversation, messages)):
        raise refusal(
            "messages", "messages must be a list of dicts with role and content, or a list of those"
        )
    return [_turns(conversation) for conversation in messages], False


def _check_roles(messages: Iterable[Mapping[Any, Any]]) -> None:
    """Refuse a role that no template is asked for; a template may pass over one in silence."""
    for message in messages:
        role = message.get("role")
        if role == "tool":
            raise refusal(
                "messages", "messages: a tool message must follow a call, and there are none yet"
            )
        if isinstance(role, str) and role not in _ROLES:
            known = ", ".join(_ROLES)
            raise refusal("messages", f"messages: unknown role {role[:64]!r}; known are {known}")


def _turns(messages: Any) -> list[dict[str, Any]]:
    turns = [dict(message) for message in messages]
    _check_roles(turns)
    return turns


def _from_mapping(item: Mapping[Any, Any]) -> Prompt:
    for key in item:
        if key in _UNSUPPORTED_KEYS:
            raise UnsupportedError(f"{key} of a prompt is not supported: text models only")
        if key not in _KEYS:
            close = nearest(key, _KEYS) if isinstance(key, str) else None
            hint = f"; did you mean {close}?" if close else ""
            shown = key[:64] if isinstance(key, str) else type(key).__name__
            raise refusal("prompt", f"a prompt has no key {shown}{hint}")
    text, ids = item.get("prompt"), item.get("prompt_token_ids")
    if (text is None) == (ids is None):
        raise refusal("prompt", "a prompt must have either prompt or prompt_token_ids")
    if text is not None and not isinstance(text, str):
        raise refusal("prompt", f"prompt must be text, got {type(text).__name__}")
    salt = item.get("cache_salt")
    if salt is not None and not isinstance(salt, str):
        raise refusal("cache_salt", f"cache_salt must be text, got {type(salt).__name__}")
    content = text if text is not None else read_prompt(ids).content
    return Prompt(content, salt)


def _ids(items: Iterable[Any]) -> list[Any]:
    """The ids as a list, up to a bound, because an iterator may have no end."""
    ids = list(itertools.islice(items, _IDS_MAX + 1))
    if len(ids) > _IDS_MAX:
        raise refusal("prompt", f"prompt must hold at most {_IDS_MAX} token ids")
    return ids


_NOTHING = object()


def _peek(items: Any, name: str) -> tuple[Any, Iterable[Any]]:
    try:
        iterator = iter(items)
    except TypeError:
        kind = type(items).__name__
        raise InvalidRequestError(
            f"{name} must be text, token ids or an iterable of those, got {kind}"
        ) from None
    first = next(iterator, _NOTHING)
    return first, iterator if first is _NOTHING else itertools.chain([first], iterator)


def is_integer(item: Any) -> bool:
    """Whether this is one integer, Python's or another library's; a bool is none."""
    # An array has `__index__` too; one with a dimension is a prompt.
    is_scalar = getattr(item, "shape", ()) == ()
    return hasattr(item, "__index__") and is_scalar and not isinstance(item, bool)
