"""The text of a reply, prepared for the patterns: reasoning removed, the middle of a long one cut, spelling normalised.

Every character keeps its place. Searches a scale's statements, applies corrections, gives places in the reply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from scorer.frozen import dataclass
from scorer.judges.reading.json_verdicts import Object, objects
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.phrases import plain
from scorer.judges.reading.scales import Scale
from scorer.judges.reading.statements import Statement, Tier
from scorer.patterns import pattern


@dataclass(frozen=True, slots=True)
class Verdict:
    """A value on the scale; `text[start:end]` says it, `text[opened:closed]` is the whole statement with its label."""

    value: float
    start: int
    end: int
    opened: int
    closed: int


def read_ends(text: str) -> str:
    """The text, of which all that is never read of a very long one is spaces; every character stays where it was."""
    head, tail = ends(text)
    return text if head == tail else text[:head] + " " * (tail - head) + text[tail:]


def ends(text: str) -> tuple[int, int]:
    """What is never read of a text is text[head:tail]; nothing, but of a very long one."""
    begun = len(text) - len(after_thought(text))
    return (begun + _HALF, len(text) - _HALF) if len(text) - begun > LONGEST_WHOLE else (len(text), len(text))


_HALF = 8_000
LONGEST_WHOLE = 2 * _HALF
"""Characters of a reply that is read as a whole."""
_QUOTATION = pattern(r'"[^"\n]{1,400}"(\s?:)?')
_QUOTED_LINE = pattern(r"^ {0,3}>[^\n]{0,20000}", re.MULTILINE)
_FENCES = (("```json", "```"), ("```", "```"))
ABSENT = Verdict(math.nan, -1, -1, -1, -1)
_CORRECTION = pattern(
    r"[^\w\n]{0,20}\n?\s?[^\w\n]{0,20}(?:actually|correction|on (?:second thoughts?|reflection)|upon reflection|wait|"
    r"sorry|scratch that|no(?= ?[,:])|rather|i mean|let me (?:revise|correct|reconsider|change)|make (?:it|that))\b"
    r"(?:[,. ]{1,3}(?:no|wait|actually)\b)?[,.:]?(?P<sentence>(?:[^\n.!?]|\.(?=\d)){0,200})"
)


class ReplyBody:
    """What is read of a reply: its two ends without reasoning, normalised; no character moves."""

    def __init__(self, text: str, scale: Scale | None) -> None:
        body = after_thought(text)
        self._shift, self._cut = len(text) - len(body), max(0, len(body) - LONGEST_WHOLE)
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
        values = {None if verdict is None or verdict is ABSENT else verdict.value for verdict in said}
        # The last of equal ones: where a reply ends on its verdict, that is the one it settled on.
        found = said[-1] if len(values) == 1 and None not in values else None
        if scale is not None and said and (first := said[-1] if found else said[0]) is not None and first is not ABSENT:
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


def after_thought(text: str) -> str:
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
