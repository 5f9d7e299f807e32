"""Reads verdicts from replies: numbers, labels, JSON, criteria, and the reason.

`find` and its kin return None for "unread": no verdict, two different ones, a range, another denominator, a value off
the scale. A broken verdict that is labelled as one is unread too: it never gives way to a stray number. What a verdict
is followed by may correct it: "Score: 3. Actually, 4."

The scale's first tier that finds anything decides, and all it finds must agree. A very long reply is read at its two
ends, where verdicts stand, so that none takes more than some milliseconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from scorer.judges.phrases import plain
from scorer.judges.scales import Labels, Numbers, Scale, named_tiers
from scorer.judges.statements import Statement, Tier
from scorer.judges.verdict_json import REASON_KEYS, Object, entry, objects
from scorer.judges.verdict_json import key as normal


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
    if isinstance(scale, Numbers) and (bare := _BARE.fullmatch(text)):
        return _bare(bare, scale)
    body = _Body(text, scale)
    said = [_in_json(body, thing, "", scale) for thing in body.objects]
    said = [verdict for verdict in said if verdict is not _ABSENT]
    if body.is_one_object(scale):
        return body.agreed(said)
    return _find_stated(body, said, scale)


def _find_stated(body: _Body, said: Sequence[Verdict | None], scale: Scale) -> Verdict | None:
    """The verdict of a reply with `said` in its JSON and whatever its other text states."""
    body.blank_objects()
    # Prose beside a verdict in JSON may add a reason, but no other labelled verdict.
    tiers = () if body.silent(scale) else scale.tiers[: scale.sure] if said else scale.tiers
    return body.agreed([*said, *next(filter(None, (body.search(tier, scale) for tier in tiers)), [])], scale)


def _bare(match: re.Match[str], scale: Numbers) -> Verdict | None:
    """The verdict of a reply that is a number alone, or one with a label; as the tiers read it, without them."""
    if match["of"] and float(match["of"]) != scale.high:
        return None
    value = scale.on_scale(float(match["n"]))
    return None if value is None else Verdict(value, *match.span("n"), 0, match.end("said"))


_BARE = re.compile(
    r"(?P<said>(?:(?:\*\*)?(?:[Ss]core|[Rr]ating|SCORE|RATING):(?:\*\*)? ?|\*\*)?"
    r"(?P<n>[0-9]{1,6}(?:\.[0-9]{1,6})?)(?:/(?P<of>[0-9]{1,3}))?)(?:\*\*)?[ \t\r\n]{0,9}"
)
"""A whole reply: "4", "4/5", "Score: 4", "**Score:** 4.5"; most replies are one."""
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
        found[name] = body.agreed(said, scale)
    return found


def find_json(text: str, names: Sequence[str], scale: Scale) -> dict[str, Verdict | None]:
    """Verdicts by name from the first JSON object, fenced or bare, that has one of the names ("": the score's key).

    A value is a number, text that reads as one on the scale, or an object that holds either under a key such as score.
    A key that is there twice with different values has none.
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
            if normal(key) in REASON_KEYS and isinstance(value, str):
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
    head, tail = ends(text)
    return text if head == tail else text[:head] + " " * (tail - head) + text[tail:]


def ends(text: str) -> tuple[int, int]:
    """What is never read of a text is text[head:tail]; nothing, but of a very long one."""
    begun = len(text) - len(_after_thought(text))
    return (begun + _HALF, len(text) - _HALF) if len(text) - begun > 2 * _HALF else (len(text), len(text))


# --- the parts --------------------------------------------------------------------------------------------------------

_HALF = 8_000
_QUOTATION = re.compile(r'"[^"\n]{1,400}"(\s?:)?')
_REASON_LABEL = re.compile(rf"^\W{{0,8}}(?:{'|'.join(REASON_KEYS)})\W{{0,4}}[:=]\s{{0,20}}", re.IGNORECASE)
_QUOTED_LINE = re.compile(r"^ {0,3}>[^\n]{0,20000}", re.MULTILINE)
_FENCES = (("```json", "```"), ("```", "```"))
_ABSENT = Verdict(math.nan, -1, -1, -1, -1)
_CORRECTION = re.compile(
    r"[^\w\n]{0,20}\n?\s?[^\w\n]{0,20}(?:actually|correction|on (?:second thoughts?|reflection)|upon reflection|wait|"
    r"sorry|scratch that|no(?= ?[,:])|rather|i mean|let me (?:revise|correct|reconsider|change)|make (?:it|that))\b"
    r"(?:[,. ]{1,3}(?:no|wait|actually)\b)?[,.:]?(?P<sentence>(?:[^\n.!?]|\.(?=\d)){0,200})"
)


class _Body:
    """What is read of a reply: its two ends, without its thoughts, flattened with no character moved."""

    def __init__(self, text: str, scale: Scale | None) -> None:
        body = _after_thought(text)
        self._shift, self._cut = len(text) - len(body), max(0, len(body) - 2 * _HALF)
        self._raw = body[: _HALF - 1] + "\n" + body[-_HALF:] if self._cut else body
        self._starts: dict[str, list[int]] = {}
        self._scale = scale
        self.objects = list(objects(self._raw))
        self._blank: list[Object] = []

    @cached_property
    def _flat(self) -> str:
        """The body in the scale's words, without what Markdown quotes of somebody else."""
        flat = plain(self._raw)
        if ">" in flat and any(line and not line.lstrip().startswith(">") for line in flat.split("\n")):
            # What somebody else said, as Markdown quotes it.
            flat = _QUOTED_LINE.sub(lambda m: " " * len(m[0]), flat)
        return flat if self._scale is None else self._scale.prepare(flat)

    @cached_property
    def _plain(self) -> str:
        """The body without quotations that could hold a verdict of somebody else's, and without blanked objects."""
        if '"' not in self._flat:
            return self._without_objects(self._flat)
        whole = self._flat.strip()
        said = _QUOTATION.sub(lambda m: m[0] if m[0] == whole else _unspoken(m), self._flat)
        return self._without_objects(said.replace('"', " "))

    @cached_property
    def _unquoted(self) -> str:
        """The body without any quotation, and without blanked objects."""
        if '"' not in self._flat:
            return self._plain
        return self._without_objects(_QUOTATION.sub(lambda m: " " * len(m[0]), self._flat).replace('"', " "))

    def _without_objects(self, text: str) -> str:
        text = text.rstrip()
        for thing in self._blank:
            blank = " " * (thing.end - thing.start)
            text = (text[: thing.start] + blank + text[thing.end :]).rstrip()
        return text

    def silent(self, scale: Scale) -> bool:
        """Whether no token of the scale is in the text at all."""
        return not scale.starts(self._plain) if isinstance(scale, Numbers) else False

    def blank_objects(self) -> None:
        """Searches and corrections from now on meet spaces instead of the JSON objects."""
        self._blank = self.objects
        self.__dict__.pop("_plain", None)
        self.__dict__.pop("_unquoted", None)

    def is_one_object(self, scale: Scale) -> bool:
        """Whether the body is one JSON object, bare or for numbers in a fence: no other text can state a verdict."""
        if len(self.objects) != 1:
            return False
        around = self._raw[: self.objects[0].start].strip(), self._raw[self.objects[0].end :].strip()
        return around == ("", "") or (isinstance(scale, Numbers) and around in _FENCES)

    def search(self, tier: Tier, scale: Scale) -> list[Verdict | None]:
        """Every verdict that a tier's patterns find, in their order, None for one that is broken."""
        if tier.bracketed:
            if "[[" not in self._raw:
                return []
            text = "".join(
                raw if raw in "[]" else flat
                for raw, flat in zip(self._raw, self._unquoted.ljust(len(self._raw)), strict=True)
            )
        else:
            text = self._unquoted if tier.unquoted else self._plain
        found: list[tuple[re.Match[str], Verdict | None]] = []
        for statement in tier.statements:
            if statement.needs and not any(word in text for word in statement.needs):
                continue
            for match in self._leading(statement, scale, text) if statement.leads else statement.pattern.finditer(text):
                value = scale.value(match, tier.weak, self._raw[slice(*match.span("n"))])
                if value is None:
                    found.append((match, None))
                elif not math.isnan(value):
                    found.append((match, Verdict(value, *scale.place(match), *match.span())))
        mains = [match for match, _ in found if match.groupdict().get("aside") is None]
        if not mains or (tier.at_an_end and not any(map(_at_an_end, mains))):
            return []
        if len(found) > 1:
            found.sort(key=lambda one: one[0].start("n"))
        return [verdict for _, verdict in found]

    def _leading(self, statement: Statement, scale: Scale, text: str) -> Iterator[re.Match[str]]:
        """The statement's matches, none within another, of those that begin where a token does."""
        if text not in self._starts:
            self._starts[text] = scale.starts(text)
        end = 0
        for at in self._starts[text]:
            if at >= end and (match := statement.pattern.match(text, at)):
                end = match.end()
                yield match

    def raw(self, thing: Object) -> str:
        return self._raw[thing.start : thing.end]

    def is_all(self, thing: Object) -> bool:
        """Whether nothing but a fence stands around the object."""
        return not re.sub(r"\bjson\b|\W+", "", self._raw[: thing.start] + " " + self._raw[thing.end :])

    def agreed(self, said: Sequence[Verdict | None], scale: Scale | None = None) -> Verdict | None:
        """The one verdict that is said, at its place in the reply; None where there are several, or a broken one."""
        values = {None if verdict is None or verdict is _ABSENT else verdict.value for verdict in said}
        # The last of equal ones: where a reply ends on its verdict, that is the one it settled on.
        found = said[-1] if len(values) == 1 and None not in values else None
        if (
            scale is not None
            and said
            and (first := said[-1] if found else said[0]) is not None
            and first is not _ABSENT
        ):
            corrected = self._corrected(first, scale)
            if corrected is not first:
                later = {None if verdict is None else verdict.value for verdict in said[1:]} if found is None else set()
                found = corrected if corrected and later <= {corrected.value} else None
        if found is None:
            return None
        return replace(
            found,
            **{place: self._origin(getattr(found, place)) for place in ("start", "end", "opened", "closed")},
        )

    def _corrected(self, verdict: Verdict, scale: Scale) -> Verdict | None:
        """The verdict, or the one that corrects it in the words right after it; None where these give no clear one."""
        cue = _CORRECTION.match(self._plain, verdict.closed)
        if cue is None:
            return verdict
        found = list(scale.correction.pattern.finditer(self._plain, *cue.span("sentence")))
        if not found:
            return verdict
        value = scale.value(found[0], False, self._raw[slice(*found[0].span("n"))]) if len(found) == 1 else None
        return None if value is None or math.isnan(value) else Verdict(value, *scale.place(found[0]), *found[0].span())

    def _origin(self, at: int) -> int:
        return at + self._shift + (self._cut if self._cut and at >= _HALF else 0)


def _at_an_end(match: re.Match[str]) -> bool:
    text = match.string
    return not text[: match.start()].strip() or not text[match.end() :].strip(" \t\n.:") or text.endswith("rating:")


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


def _in_json(body: _Body, thing: Object, name: str, scale: Scale) -> Verdict | None:
    """The verdict under a name, None for one that is broken, _ABSENT where there is none."""
    found = entry(thing.content, name, lambda value: _parsed(value, scale), isinstance(scale, Labels))
    path, number = (found.path, found.value) if found else ((), None)
    if found is None and not name and len(thing.content) == 1 and body.is_all(thing):
        # A judge of one thing may call its score by the thing's name: {"coherence": 4}.
        ((only, value),) = thing.content.items()
        if normal(only) not in REASON_KEYS:
            path, number = (only,), _parsed(value, scale)
    if not path:
        return _ABSENT
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
