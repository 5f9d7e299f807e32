"""Reads verdicts from replies: numbers, labels, JSON, criteria, and the reason.

The functions return None for "unread": no verdict, two different ones, a range, another denominator, a value off the
scale. A labelled verdict that is broken is unread too; no other number in the text replaces it. A correction right
behind a verdict counts: "Score: 3. Actually, 4."

The scale's first tier that finds anything decides, and all it finds must agree. A very long reply is read at its two
ends, where verdicts stand, so that none takes more than some milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from scorer.judges.reading.json_verdicts import REASON_KEYS, Object, entry
from scorer.judges.reading.json_verdicts import key as normal
from scorer.judges.reading.labels import Labels
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.reply_body import ABSENT, ReplyBody, Verdict
from scorer.judges.reading.scales import Scale, named_tiers
from scorer.judges.reading.usual_replies import find_usual

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
    if isinstance(scale, Numbers) and (usual := find_usual(text, scale)):
        return usual[0]
    body = ReplyBody(text, scale)
    said = [_in_json(body, thing, "", scale) for thing in body.objects]
    said = [verdict for verdict in said if verdict is not ABSENT]
    if body.is_one_object(scale):
        return body.agreed(said)
    return _find_stated(body, said, scale)


def _find_stated(body: ReplyBody, said: Sequence[Verdict | None], scale: Scale) -> Verdict | None:
    """The verdict of a reply with `said` in its JSON and whatever its other text states."""
    body.blank_objects()
    # Prose beside a verdict in JSON may add a reason, but no other labelled verdict.
    tiers = () if body.silent(scale) else scale.tiers[: scale.sure] if said else scale.tiers
    return body.agreed([*said, *next(filter(None, (body.search(tier, scale) for tier in tiers)), [])], scale)


_SHORT = 64
_find_short = lru_cache(maxsize=4096)(_find)  # "Score: 4" and its like come again and again


def find_each(text: str, names: Sequence[str], scale: Scale) -> dict[str, Verdict | None]:
    """Each criterion's verdict: from JSON, or from "name: verdict" in lines, bullets, tables or prose."""
    from_json = find_json(text, names, scale)
    if any(from_json.values()):
        return from_json
    body = ReplyBody(text, scale)
    found = {}
    for name in names:
        said = next(filter(None, (body.search(tier, scale) for tier in named_tiers(name, scale))), [])
        found[name] = body.agreed(said, scale)
    return found


def find_one(text: str, name: str, scale: Scale, *, in_json: bool = False) -> Verdict | None:
    """The verdict of a reply about one criterion alone: under its name in JSON, where it calls one its verdict, in a
    line that begins with the name, or else anywhere. `in_json`: in its JSON only.
    """
    body = ReplyBody(text, scale)
    for thing in body.objects:
        said = _in_json(body, thing, name, scale)
        if said is not ABSENT:
            return body.agreed([said])
    if in_json:
        return find_json(text, ("",), scale)[""]
    if not any(body.search(tier, scale) for tier in scale.tiers[: scale.sure]):
        stated = body.search(named_tiers(name, scale)[0], scale)
        if stated:
            return body.agreed(stated, scale)
    return find(text, scale)


def find_json(text: str, names: Sequence[str], scale: Scale) -> dict[str, Verdict | None]:
    """Verdicts by name from the first JSON object, fenced or bare, that has one of the names ("": the score's key).

    A value is a number, text that reads as one on the scale, or an object that holds either under a key such as score.
    A key that is there twice with different values has none.
    """
    body = ReplyBody(text, scale)
    for thing in body.objects:
        said = {name: _in_json(body, thing, name, scale) for name in names}
        if any(verdict is not ABSENT for verdict in said.values()):
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


def _in_json(body: ReplyBody, thing: Object, name: str, scale: Scale) -> Verdict | None:
    """The verdict under a name, None for one that is broken, ABSENT where there is none."""
    found = entry(thing.content, name, lambda value: _parsed(value, scale), isinstance(scale, Labels))
    path, number = (found.path, found.value) if found else ((), None)
    if found is None and not name and len(thing.content) == 1 and body.is_all(thing):
        # A judge of one thing may call its score by the thing's name: {"coherence": 4}.
        ((only, value),) = thing.content.items()
        if normal(only) not in REASON_KEYS:
            path, number = (only,), _parsed(value, scale)
    if not path:
        return ABSENT
    if number is None:
        return None
    # Each criterion may have a "score" of its own: look for it behind the criterion's name.
    raw, at = body.raw(thing), 0
    for step in path:
        quoted = re.escape(json.dumps(step, ensure_ascii=False))
        said = re.compile(rf'(?<!\\){quoted}\s{{0,20}}:\s{{0,20}}"?').search(raw, at)
        at = said.end() if said else 0
    return Verdict(number, thing.start + at, thing.start + at + 1, thing.start, thing.end)


def _parsed(value: Any, scale: Scale) -> float | None:
    """What a JSON value says: a number, or text that reads as one on the scale; a boolean is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) or isinstance(scale, Labels):
        said = str(value)
        # A word such as "both" is a verdict where it is called one.
        verdict = find(said, scale) or (find(f"verdict: {said}", scale) if said.isalpha() else None)
        return None if verdict is None else verdict.value
    # An integer may be too long for a float.
    return scale.on_scale(float(value)) if abs(value) < 1e300 else None
