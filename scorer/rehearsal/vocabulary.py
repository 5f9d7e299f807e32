"""A simulated tokeniser: pieces of text with stable ids, and log-probabilities drawn by hashing.

It replaces llama.cpp's /tokenize and its token-level grammars, so that forced decoding can be simulated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

# Every character belongs to exactly one piece, so the pieces of a text always concatenate to it. As in OpenAI's
# tokenisers a word takes the space before it and a number does not.
_PIECE = re.compile(r" ?[^\W\d_]{1,12}|\d{1,3}|\s|[^\w\s]|_")
_FORCED = re.compile(r"\s*root\s*::=\s*((?:<\[\d{1,9}\]>\s*)+)")
_END_ID = 2  # as in llama's vocabularies
_FIRST_ID = 1000  # below are the special tokens of real vocabularies


def pieces(text: str) -> list[str]:
    """The tokens of a text; they concatenate to it."""
    return _PIECE.findall(text)


def forced_ids(grammar: str) -> tuple[int, ...] | None:
    """The token ids that `root ::= <[id]> <[id]> ...` forces, None for any other grammar."""
    found = _FORCED.fullmatch(grammar)
    return tuple(int(number) for number in re.findall(r"\d+", found[1])) if found else None


def forced_logprobs(prompt: str, tokens: Sequence[str]) -> list[float]:
    """The natural log-probability of each token after the prompt and the tokens before it: all in (-6.1, -0.1]."""
    state = crc32(prompt.encode())
    logprobs = []
    for token in tokens:
        state = crc32(token.encode(), state)
        logprobs.append(-0.1 - 6 * (state / 2**32) ** 2)
    return logprobs


class Vocabulary:
    """Gives each piece an id when first seen and remembers it."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._tokens: list[str] = []

    def ids(self, text: str) -> list[int]:
        return [self.id(token) for token in pieces(text)]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Raises: KeyError for an id that was never given."""
        for number in ids:
            if not _FIRST_ID <= number < _FIRST_ID + len(self._tokens):
                raise KeyError(number)
        return [self._tokens[number - _FIRST_ID] for number in ids]

    def id(self, token: str) -> int:
        """The id of one piece; the empty one is the end of the text."""
        if not token:
            return _END_ID
        number = self._ids.get(token)
        if number is None:
            number = self._ids[token] = _FIRST_ID + len(self._tokens)
            self._tokens.append(token)
        return number
