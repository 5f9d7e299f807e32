"""A prompt with `{column}` placeholders: parsed once, filled in one pass, so no value is ever read as a template."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from scorer.errors import SpecError
from scorer.judges.shown_values import Shown, plain, shown
from scorer.types import Message

_PIECES = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")
_NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_]+")
_NONCE_LENGTH = 6


class Template:
    """Text that becomes a prompt when `fill` puts a row's values in.

    `{column}` is the value as it stands; `{column:fenced}` puts it between `<column-NONCE>` and `</column-NONCE>`; `{{`
    and `}}` are braces. NONCE occurs in none of the prompt's values, whatever the case of its letters, so that no value
    can end its own fence or open another; the messages of a conversation stand within tags of their roles with the
    same NONCE. It is made of the values up to its own: prompts whose first values are the
    same begin with the same text, for servers that keep what they have read. `key` is the run file's name for the text,
    for messages.

    `columns` are the placeholders' names, each once, in order of appearance; `unfenced` are those of them that stand
    somewhere without a fence. `constant` is what every filled prompt
    holds beside the row's values.

    Raises: SpecError, with one sentence for each mistake.
    """

    __slots__ = ("_fenced", "_head", "_parts", "_pieces", "_slots", "_steps", "columns", "constant", "unfenced")

    def __init__(self, text: str, key: str = "judge.prompt") -> None:
        # A part is (literal, None) or (column, fenced).
        self._parts: list[tuple[str, bool | None]] = []
        problems = []
        for piece in _PIECES.split(text):
            if piece in ("{{", "}}"):
                self._parts.append((piece[0], None))
            elif piece in ("{", "}"):
                problems.append(f"{key}: a single {piece!r}; write {piece * 2!r} for a brace that is text.")
            elif piece.startswith("{"):
                column, _, form = piece[1:-1].partition(":")
                if not column.strip() or form not in ("", "fenced") or column.endswith(("!r", "!s", "!a")):
                    problems.append(
                        f"{key}: {piece!r} is no placeholder; allowed are {{column}} and {{column:fenced}}, "
                        "and {{ }} for braces that are text."
                    )
                else:
                    self._parts.append((column, form == "fenced"))
            elif piece:
                self._parts.append((piece, None))
        if problems:
            raise SpecError(problems)
        self.columns = tuple(dict.fromkeys(name for name, fenced in self._parts if fenced is not None))
        self.unfenced = tuple(dict.fromkeys(name for name, fenced in self._parts if fenced is False))
        self._fenced = any(fenced for _, fenced in self._parts)
        self._pieces = [name if fenced is None else "" for name, fenced in self._parts]
        self._slots = [(place, name) for place, (name, fenced) in enumerate(self._parts) if fenced is not None]
        self._head = sum(map(len, self._pieces[: self._slots[0][0]] if self._slots else self._pieces))
        places = [place for place, _ in self._slots]
        # For each placeholder but the first: the place of the one before, and the length of the text between.
        self._steps = [(a, sum(map(len, self._pieces[a:b]))) for a, b in pairwise(places)]
        nonces = dict.fromkeys(self.columns, "0" * _NONCE_LENGTH)
        self.constant = "".join(self._filled(dict.fromkeys(self.columns, ""), nonces))

    def fill(self, values: Mapping[str, Any]) -> str:
        """The prompt for one row; the same values always give the same prompt.

        Raises: BadRow where a column holds what no prompt can show (`shown_values.shown`).
        """
        return "".join(self._row(values))

    def message(self, values: Mapping[str, Any]) -> Message:
        """The same prompt as a message of the user that says where its prefixes end: before each placeholder.

        Rows whose first n values are equal have the text before placeholder n + 1 in common. Raises: BadRow.
        """
        pieces, at = self._row(values), self._head
        ends = []
        for before, between in self._steps:
            at += len(pieces[before]) + between
            ends.append(at)
        return Message("user", "".join(pieces), self._head, tuple(ends))

    def _row(self, values: Mapping[str, Any]) -> list[str]:
        if self._fenced:
            return self._row_with_fences(values)
        pieces = self._pieces.copy()
        for place, column in self._slots:
            value = values.get(column)
            pieces[place] = value if value.__class__ is str else plain(shown(column, value))
        return pieces

    def _row_with_fences(self, values: Mapping[str, Any]) -> list[str]:
        found = {column: shown(column, values.get(column)) for column in self.columns}
        return self._filled(found, _absent_nonces(found))

    def _filled(self, found: Mapping[str, Shown], nonces: Mapping[str, str]) -> list[str]:
        return [
            name if fenced is None else _fence(name, found[name], nonces[name]) if fenced else plain(found[name])
            for name, fenced in self._parts
        ]


def _fence(column: str, value: Shown, nonce: str) -> str:
    if not isinstance(value, str):
        value = "\n".join(_fence(turn.role, turn.text, nonce) for turn in value)
    tag = f"{_NOT_IN_A_TAG.sub('_', column)}-{nonce}"
    return f"<{tag}>\n{value}\n</{tag}>"


def _absent_nonces(found: Mapping[str, Shown]) -> dict[str, str]:
    texts = [plain(value) for value in found.values()]
    lowered = [text.lower() for text in texts]
    upto = list(accumulate(texts, lambda before, value: f"{before}\0{value}"))
    return {name: _absent_nonce(text, lowered) for name, text in zip(found, upto, strict=True)}


def _absent_nonce(text: str, lowered: Sequence[str]) -> str:
    # Hashed from the values, so that a prompt is the same in every run; lengthened, so that even a value written to
    # hold a hash that its author could know cannot close or open a fence.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    length = _NONCE_LENGTH
    while any(digest[:length] in value for value in lowered):
        length += 1
        if length > len(digest):
            digest += hashlib.sha256(digest.encode()).hexdigest()
    return digest[:length]
