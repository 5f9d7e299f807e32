"""Verdicts out of what judges write: numbers, labels, JSON, criteria, and the reason beside them.

`find` and its kin return None for "unread": no verdict, two different ones, a range, another denominator, a value off
the scale. A broken verdict that is labelled as one is unread too: it never gives way to a stray number.

The scale's first tier that finds anything decides, and all it finds must agree. A very long reply is read at its two
ends, where verdicts stand, so that none takes more than some milliseconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scorer.judges.scales import Labels, Numbers, Scale, Tier, named_tiers, plain


@dataclass(frozen=True, slots=True)
class Verdict:
    """A value on the scale; `text[start:end]` says it, `text[opened:closed]` is the whole statement with its label."""

    value: float
    start: int
    end: int
    opened: int
    closed: int


# --- reading ----------------------------------------------------------------------------------------------------------


def read_number(text: str, low: float, high: float) -> float | None:
    """The number that the reply gives as its verdict; None if it gives none, several, or one outside the scale."""
    verdict = find(text, Numbers(low, high))
    return None if verdict is None else verdict.value


def read_label(text: str, labels: Mapping[str, float]) -> float | None:
    """The value of the one label that the reply gives as its verdict; None if it gives none or several."""
    verdict = find(text, Labels(labels))
    return None if verdict is None else verdict.value


def find(text: str, scale: Scale) -> Verdict | None:
    """The reply's one verdict and its place in `text`."""
    return _find_short(text, scale) if len(text) <= _SHORT else _find(text, scale)


def _find(text: str, scale: Scale) -> Verdict | None:
    body = _Body(text, scale)
    said = [_in_json(body, thing, "", scale) for thing in body.objects]
    said = [verdict for verdict in said if verdict is not _ABSENT]
    body.blank_objects()
    # Prose beside a verdict in JSON may add a reason, but no other labelled verdict.
    tiers = scale.tiers[:3] if said else scale.tiers
    return body.agreed([*said, *next(filter(None, (body.search(tier, scale) for tier in tiers)), [])])


_SHORT = 64
_find_short = lru_cache(maxsize=4096)(_find)  # "Score: 4" and its like come again and again


def find_each(text: str, names: Sequence[str], scale: Scale) -> dict[str, Verdict | None]:
    """Each criterion's verdict: from JSON, or from "name: verdict" in lines, bullets, tables or prose."""
    from_json = find_json(text, names, scale)
    if any(from_json.values()):
        return from_json
    body = _Body(text, scale)
    found = {}
    for name in names:
        said = next(filter(None, (body.search(tier, scale) for tier in named_tiers(name, scale))), [])
        found[name] = body.agreed(said)
    return found


def find_json(text: str, names: Sequence[str], scale: Scale) -> dict[str, Verdict | None]:
    """Verdicts by name from the first JSON object, fenced or bare, that has one of the names ("": the score's key).

    A value is a number, text that reads as one on the scale, or an object that holds either under a key such as score.
    """
    body = _Body(text, scale)
    for thing in body.objects:
        said = {name: _in_json(body, thing, name, scale) for name in names}
        if any(verdict is not _ABSENT for verdict in said.values()):
            return {name: body.agreed([verdict]) for name, verdict in said.items()}
    return dict.fromkeys(names)


def find_pattern(text: str, pattern: re.Pattern[str], scale: Numbers) -> Verdict | None:
    """What the pattern matches first, its first group if it has one; None where that is no number of the scale."""
    match = pattern.search(text)
    if match is None:
        return None
    group = 1 if pattern.groups else 0
    try:
        value = scale.on_scale(float(match[group] or ""))
    except ValueError:
        return None
    return None if value is None else Verdict(value, *match.span(group), *match.span())


def find_reason(text: str, verdicts: Sequence[Verdict]) -> str | None:
    """What the reply says beside its verdicts: the reason in its JSON, else the prose around them; None if nothing."""
    body = _Body(text, None)
    for thing in body.objects:
        for key, value in thing.content.items():
            if _key(key) in _REASON_KEYS and isinstance(value, str):
                return value.strip() or None
    pieces, at = [], len(text) - len(_after_thought(text))
    for verdict in sorted(verdicts, key=lambda v: v.opened):
        pieces.append(text[at : max(at, verdict.opened)])
        at = max(at, verdict.closed)
    pieces.append(text[at:])
    kept = (_REASON_LABEL.sub("", piece.strip(" \t\r\n*-:;,.)|")) for piece in pieces)
    return "\n".join(filter(None, kept)) or None


def read_ends(text: str) -> str:
    """The text, of which all that is never read of a very long one is spaces; every character stays where it was."""
    begun = len(text) - len(_after_thought(text))
    unread = len(text) - begun - 2 * _HALF
    if unread <= 0:
        return text
    return text[: begun + _HALF] + " " * unread + text[-_HALF:]


# --- the parts --------------------------------------------------------------------------------------------------------

_HALF = 8_000
_MOST_OBJECTS = 16
_QUOTATION = re.compile(r'"[^"\n]{1,400}"(\s?:)?')
_VERDICT_KEYS = ("score", "rating", "verdict", "grade", "label", "answer", "judgement", "judgment", "result")
_FINAL_KEYS = ("final score", "overall score", "final rating", "overall rating", "overall")
_REASON_KEYS = ("reason", "reasoning", "explanation", "rationale", "justification", "analysis", "feedback", "thought")
_REASON_LABEL = re.compile(rf"^\W{{0,8}}(?:{'|'.join(_REASON_KEYS)})\W{{0,4}}[:=]\s{{0,20}}", re.IGNORECASE)


def _not_json(constant: str) -> float:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_constant=_not_json)


@dataclass(frozen=True, slots=True)
class _Object:
    start: int
    end: int
    content: dict[str, Any]


_ABSENT = Verdict(math.nan, -1, -1, -1, -1)


class _Body:
    """What is read of a reply: its two ends, without its thoughts, flattened with no character moved."""

    def __init__(self, text: str, scale: Scale | None) -> None:
        body = _after_thought(text)
        self._shift, self._cut = len(text) - len(body), max(0, len(body) - 2 * _HALF)
        self._raw = body[: _HALF - 1] + "\n" + body[-_HALF:] if self._cut else body
        self.objects = list(_objects(self._raw))
        flat = plain(self._raw)
        if scale is not None:
            flat = scale.prepare(flat)
        whole = flat.strip()
        self._plain = _QUOTATION.sub(lambda m: m[0] if m[0] == whole else _unspoken(m), flat).replace('"', " ").rstrip()
        self._unquoted = _QUOTATION.sub(lambda m: " " * len(m[0]), flat).replace('"', " ").rstrip()

    def blank_objects(self) -> None:
        for thing in self.objects:
            blank = " " * (thing.end - thing.start)
            self._plain = (self._plain[: thing.start] + blank + self._plain[thing.end :]).rstrip()
            self._unquoted = (self._unquoted[: thing.start] + blank + self._unquoted[thing.end :]).rstrip()

    def search(self, tier: Tier, scale: Scale) -> list[Verdict | None]:
        """Every verdict that a tier's patterns find, None for one that is broken."""
        text = self._unquoted if tier.unquoted else self._plain
        found: list[Verdict | None] = []
        for pattern in tier.patterns:
            for match in pattern.finditer(text):
                value = scale.value(match)
                found.append(None if value is None else self.verdict(value, match.span("n"), match.span()))
        return found

    def verdict(self, value: float, said: tuple[int, int], whole: tuple[int, int]) -> Verdict:
        return Verdict(value, *(self._origin(at) for at in (*said, *whole)))

    def _origin(self, at: int) -> int:
        return at + self._shift + (self._cut if self._cut and at >= _HALF else 0)

    def raw(self, thing: _Object) -> str:
        return self._raw[thing.start : thing.end]

    def is_all(self, thing: _Object) -> bool:
        """Whether nothing but a fence stands around the object."""
        return not re.sub(r"\bjson\b|\W+", "", self._raw[: thing.start] + " " + self._raw[thing.end :])

    @staticmethod
    def agreed(said: Sequence[Verdict | None]) -> Verdict | None:
        values = {None if verdict is None or verdict is _ABSENT else verdict.value for verdict in said}
        # The last of equal ones: where a reply ends on its verdict, that is the one it settled on.
        return said[-1] if len(values) == 1 and None not in values else None


def _after_thought(text: str) -> str:
    lowered = text[:40].lower()
    for tag in ("think", "thinking", "thought", "reasoning"):
        closing = text.rfind(f"</{tag}>")
        if closing >= 0:
            text = text[closing + len(tag) + 3 :]
        elif f"<{tag}>" in lowered:
            return ""  # it never came to its verdict
    return text


def _unspoken(quotation: re.Match[str]) -> str:
    """A JSON key or a mere word as it is; a quotation that could hold a verdict of somebody else's as spaces."""
    said = quotation[0]
    return said if quotation[1] or " " not in said or not re.search(r"[:=\d]", said) else " " * len(said)


def _objects(text: str) -> Iterator[_Object]:
    at = 0
    for _ in range(_MOST_OBJECTS):
        start = text.find("{", at)
        if start < 0:
            return
        try:
            content, at = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
        else:
            yield _Object(start, at, content)


def _in_json(body: _Body, thing: _Object, name: str, scale: Scale) -> Verdict | None:
    """The verdict under a name, None for one that is broken, _ABSENT where there is none."""
    key, value = _entry(thing.content, name)
    if key is None and not name and len(thing.content) == 1 and body.is_all(thing):
        # A judge of one thing may call its score by the thing's name: {"coherence": 4}.
        key, value = next(iter(thing.content.items()))
    if key is None:
        return _ABSENT
    number = _parsed(value, scale)
    if number is None:
        return None
    # Each criterion may have a "score" of its own: look for it behind the criterion's name.
    outer = next((other for other in _keys(thing.content) if name and _key(other) == _key(name)), key)
    raw, at = body.raw(thing), 0
    for step in dict.fromkeys((outer, key)):
        quoted = re.escape(json.dumps(step, ensure_ascii=False))
        said = re.compile(rf'(?<!\\){quoted}\s{{0,20}}:\s{{0,20}}"?').search(raw, at)
        at = said.end() if said else 0
    return body.verdict(number, (thing.start + at, thing.start + at + 1), (thing.start, thing.end))


def _keys(content: Mapping[str, Any]) -> Iterator[str]:
    yield from content
    for value in content.values():
        if isinstance(value, dict):
            yield from value


def _entry(content: Mapping[str, Any], name: str, deep: bool = True) -> tuple[str | None, Any]:
    """The key and value of a criterion, or of the verdict itself where `name` is "", one object down if `deep`."""
    wanted = (_key(name),) if name else (*_FINAL_KEYS, *_VERDICT_KEYS)
    for key, value in content.items():
        if _key(key) in wanted:
            # {"coherence": {"score": 4, "reason": "..."}}
            return _entry(value, "", deep=False) if isinstance(value, dict) and deep else (key, value)
    inner = [value for value in content.values() if isinstance(value, dict)]
    if name and deep and len(inner) == 1:
        # {"scores": {"coherence": 4}}; the deepest that judges write holds {"score": 4} once more.
        found, value = _entry(inner[0], name, deep=False)
        return _entry(value, "", deep=False) if isinstance(value, dict) else (found, value)
    return None, None


def _key(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


def _parsed(value: Any, scale: Scale) -> float | None:
    """What a JSON value says: a number, or text that reads as one on the scale; a boolean is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) or isinstance(scale, Labels):
        verdict = find(str(value), scale)
        return None if verdict is None else verdict.value
    # An integer may be too long for a float.
    return scale.on_scale(float(value)) if abs(value) < 1e300 else None
