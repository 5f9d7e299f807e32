"""Escapes control and invisible characters, so that foreign text cannot move a cursor, forge a link or reverse a line.

A judge, a shard's name or a server's error may hold escape sequences. `printable` shows them as Python
writes them (`\\x1b[31m`).
"""

from __future__ import annotations

import re
import unicodedata

from scorer.patterns import pattern

# Categories of Unicode (UAX #44): controls, format characters (bidirectional overrides, zero width, tags), surrogates,
# and the separators of lines and paragraphs.
HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")
_MAY_HARM = pattern(r"[^\x20-\x7e\n\t]")
_MAY_HARM_IN_LINE = pattern(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    """The text with every control and invisible character but line breaks and tabs written as an escape."""
    return _MAY_HARM.sub(_escaped, text)


def printable_line(text: str) -> str:
    """The same with line breaks and tabs escaped too: for a name or a cell, which must stay in its line."""
    return _MAY_HARM_IN_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if unicodedata.category(character) not in HARMFUL:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
