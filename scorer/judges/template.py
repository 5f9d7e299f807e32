"""A prompt with `{column}` placeholders: parsed once, filled in one pass, so no value is ever read as a template."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scorer.errors import BadRow, SpecError

_PIECES = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")
_NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_]+")
_NONCE_LENGTH = 6


class Template:
    """Text that becomes a prompt when `fill` puts a row's values in.

    `{column}` is the value as it stands; `{column:fenced}` puts it between `<column-NONCE>` and `</column-NONCE>`; `{{`
    and `}}` are braces. NONCE occurs in none of the prompt's values, so that no value can end its own fence or open
    another. `key` is the run file's name for the text, for messages.

    `columns` are the placeholders' names, each once, in order of appearance. `constant` is what every filled prompt
    holds beside the row's values.

    Raises: SpecError, with one sentence for each mistake.
    """

    __slots__ = ("_parts", "columns", "constant")

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
        self.constant = self._join(dict.fromkeys(self.columns, ""), "0" * _NONCE_LENGTH)

    def fill(self, values: Mapping[str, Any]) -> str:
        """The prompt for one row; the same values always give the same prompt.

        Raises: BadRow where a column is null, NaN, or no string, number or boolean.
        """
        shown = {column: _plain(column, values.get(column)) for column in self.columns}
        return self._join(shown, _absent_nonce(shown) if any(fenced for _, fenced in self._parts) else "")

    def _join(self, shown: Mapping[str, str], nonce: str) -> str:
        return "".join(
            name if fenced is None else _fence(name, shown[name], nonce) if fenced else shown[name]
            for name, fenced in self._parts
        )


def _plain(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal) or (isinstance(value, float) and not math.isnan(value)):
        return str(value)
    what = "null" if value is None else "NaN" if isinstance(value, float) else f"a {type(value).__name__}"
    raise BadRow(f"Column {column!r} is {what}; the prompt needs a string, a number or a boolean.")


def _fence(column: str, value: str, nonce: str) -> str:
    tag = f"{_NOT_IN_A_TAG.sub('_', column)}-{nonce}"
    return f"<{tag}>\n{value}\n</{tag}>"


def _absent_nonce(shown: Mapping[str, str]) -> str:
    # Hashed from the values, so that a prompt is the same in every run; lengthened, so that even a value written to
    # hold its own hash cannot close its fence.
    digest = hashlib.sha256("\0".join(shown.values()).encode("utf-8", "surrogatepass")).hexdigest()
    length = _NONCE_LENGTH
    while any(digest[:length] in value for value in shown.values()):
        length += 1
        if length > len(digest):
            digest += hashlib.sha256(digest.encode()).hexdigest()
    return digest[:length]
