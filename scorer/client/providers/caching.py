"""Marks prefixes of prompts to be cached, in the form of each provider. The text itself stays as it is.

Sources: Anthropic, "Prompt caching" (`cache_control`); Amazon Bedrock, "Prompt caching" (`cachePoint`); OpenAI, "Prompt
caching" (`prompt_cache_key`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scorer.types import Prefix

_MARK = {"type": "ephemeral"}
"""For five minutes."""
_LASTING = {"type": "ephemeral", "ttl": "1h"}
_POINT = {"cachePoint": {"type": "default"}}


def parts(content: str, ends: Sequence[int]) -> list[tuple[str, bool]]:
    """A text cut at `ends`, each part with whether a mark stands at its end.

    No part is blank, which servers refuse: a mark that would make one is left out.
    """
    found: list[tuple[str, bool]] = []
    done = 0
    for end in ends:
        if content[done:end].strip() and (end == len(content) or content[end:].strip()):
            found.append((content[done:end], True))
            done = end
    return [*found, (content[done:], False)] if done < len(content) or not found else found


def ends_of(prefixes: Sequence[Prefix], message: int) -> list[int]:
    """Where prefixes end within a message, in rising order."""
    return [prefix.end for prefix in prefixes if prefix.message == message]


def anthropic_mark(prefixes: Sequence[Prefix]) -> dict[str, str]:
    """The mark of Anthropic's Messages. All marks of a request ask for the same time."""
    return _LASTING if any(prefix.lasting for prefix in prefixes) else _MARK


def anthropic_content(content: str, ends: Sequence[int], mark: Mapping[str, str]) -> str | list[dict[str, Any]]:
    """The content of a message or a system prompt for Anthropic's Messages; the text alone where nothing is marked."""
    cut = parts(content, ends)
    if not any(marked for _, marked in cut):
        return content
    return [{"type": "text", "text": text, **({"cache_control": mark} if marked else {})} for text, marked in cut]


def converse_content(content: str, ends: Sequence[int]) -> list[dict[str, Any]]:
    """The same for Bedrock's Converse."""
    blocks: list[dict[str, Any]] = []
    for text, marked in parts(content, ends):
        blocks += [{"text": text}, _POINT] if marked else [{"text": text}]
    return blocks


def cache_key(prefixes: Sequence[Prefix]) -> str | None:
    """OpenAI's `prompt_cache_key`: requests of one key go to the same cache.

    None where the prefix is the constant one: requests with equal beginnings go to the same cache anyway.
    """
    return None if not prefixes or prefixes[-1].constant else prefixes[-1].key.hex()
