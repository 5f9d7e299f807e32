"""HTML elements from plain values: every text is escaped, and invisible characters in it are shown as marks.

Markup is `Html`; any other string is foreign text. A page made by `tag` alone can therefore not be broken by a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from html import escape

from scorer.escapes import HARMFUL, printable_line

_EMOJI = "\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
_JOINED = f"(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])|(?<=[\u0600-\u06ff])\u200c(?=[\u0600-\u06ff])"
"""Joiners where they shape what is read: within an emoji, and between letters of Persian and its neighbours."""

_PERHAPS_HIDDEN = re.compile(_JOINED + r"|([^\x20-\x7e\n\t])\1*")
_LINE_BREAKS = re.compile(r"[\n\t]")
_VOID = frozenset({"br", "hr", "input", "link", "meta"})
_SELF_CLOSING = frozenset({"circle", "line", "path", "rect"})

LONGEST_NAME = 200
"""Characters of a name that is shown whole."""


class Html(str):
    """Markup, which `tag` takes as it is."""

    __slots__ = ()


Child = str | None
Attribute = str | int | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """The element with its attributes and children; None is left out, and so is an attribute that is None or False.

    Names of attributes are written with underscores for hyphens and may end in one: `class_`, `aria_label`.
    """
    head = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}"
    if name in _SELF_CLOSING:
        return Html(f"{head}/>")
    return Html(f"{head}>" if name in _VOID else f"{head}>{join(children)}</{name}>")


def join(children: Iterable[Child], separator: str = "") -> Html:
    """The children one after another, with `separator`, a text, between them."""
    return Html(text(separator).join(text(child) for child in children if child is not None))


def text(value: str) -> Html:
    """The text as markup: escaped, control and invisible characters as marks, line ends as line feeds."""
    if isinstance(value, Html):
        return value
    return Html(_PERHAPS_HIDDEN.sub(_shown, escape(value.replace("\r\n", "\n"), quote=False)))


def name(value: str) -> Html:
    """A foreign name in its line, isolated from the direction of the text around it; a long one without its middle."""
    if len(value) > LONGEST_NAME:
        value = f"{value[: LONGEST_NAME - 60]} … {value[-50:]}"
    return tag("bdi", Html(_LINE_BREAKS.sub(lambda found: str(_mark(found[0])), text(value))))


def _attribute(key: str, value: Attribute) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {key}" if value is True else f' {key}="{escape(printable_line(str(value)))}"'


def _shown(found: re.Match[str]) -> str:
    character, count = found[1], len(found[0])
    mark = _mark(character) if character else None
    if mark is None:
        return found[0]
    return f"{mark}<i>×{count}</i>" if count > 1 else mark


@cache
def _mark(character: str) -> str | None:
    """How a character that cannot be seen is shown; None where it can."""
    if unicodedata.category(character) not in HARMFUL:
        return None
    title = unicodedata.name(character, "control character").lower()
    return f'<i title="{title}">U+{ord(character):04X}</i>'
