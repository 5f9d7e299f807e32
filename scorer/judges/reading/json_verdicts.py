"""Verdicts in JSON: the objects of a reply, fenced or bare, and which of their entries is the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scorer.frozen import dataclass
from scorer.judges.reading.phrases import word_set
from scorer.patterns import pattern

MOST_OBJECTS = 16
REASON_KEYS = ("reason", "reasoning", "explanation", "rationale", "justification", "analysis", "feedback", "thought")

_SCORE_KEYS = word_set(
    "score rating grade mark marks points stars value bewertung punktzahl note nota puntuación puntuacion calificación "
    "calificacion pontuação avaliação punteggio voto оценка 评分 得分 分数 スコア 評価 点数 점수 평점"
)
_NOTES = frozenset(("note", "nota", "mark", "marks", "value"))
"""Scores where they have a number, remarks where they have a text."""
_VERDICT_KEYS = word_set(
    "verdict label answer judgement judgment result winner preferred preference choice better best selected pick "
    "decision conclusion gewinner gagnant ganador vencedor vincitore 胜者 選択 勝者 승자"
)
_FINAL = pattern(r"(?:final|overall|total)(?: |\Z)")
_NOUN = pattern(r" (?:response|answer|output|model|assistant|option|one)\Z")


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object at text[start:end]."""

    start: int
    end: int
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """What an object says under the keys of `path`; `value` is None where that is no verdict, or two of them."""

    path: tuple[str, ...]
    value: float | None


class _Clash:
    """What stands for the value of a key that occurs twice with different values."""


_CLASH = _Clash()


def _not_json(constant: str) -> float:
    raise ValueError(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        content[key] = _CLASH if key in content and content[key] != value else value
    return content


_DECODER = json.JSONDecoder(parse_constant=_not_json, object_pairs_hook=_once)


def objects(text: str) -> Iterator[Object]:
    """The first objects of a text that are whole, without those inside of others."""
    at = 0
    for _ in range(MOST_OBJECTS):
        start = text.find("{", at)
        if start < 0:
            return
        try:
            content, at = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
        else:
            yield Object(start, at, content)


def entry(content: Mapping[str, Any], name: str, parse: Callable[[Any], float | None], words: bool) -> Entry | None:
    """The verdict under a name, or the object's own where `name` is ""; None where it has no such key.

    Of its own verdicts a final one counts, then a score; for labels (`words`) a choice comes before a score. All of the
    kind that counts must agree. Another object may hold it, one level down.
    """
    if name:
        return _named(content, name, parse, words)
    found = _own(content, parse, words)
    if found is None:
        inner = [(outer, value) for outer, value in content.items() if isinstance(value, dict)]
        if len(inner) == 1:
            # {"evaluation": {"score": 4}}
            held = _own(inner[0][1], parse, words)
            found = held and _under(inner[0][0], held)
    return found


def _named(content: Mapping[str, Any], name: str, parse: Callable[[Any], float | None], words: bool) -> Entry | None:
    for outer, held in (("", content), *((k, v) for k, v in content.items() if isinstance(v, dict))):
        for own, value in held.items():
            if key(own) == key(name):
                # {"coherence": {"score": 4, "reason": "..."}}
                inner = _own(value, parse, words) if isinstance(value, dict) else Entry((), parse(value))
                found = _under(own, inner or Entry((), None))
                return _under(outer, found) if outer else found
        if not outer and sum(isinstance(value, dict) for value in content.values()) != 1:
            return None
    return None


def _own(content: Mapping[str, Any], parse: Callable[[Any], float | None], words: bool) -> Entry | None:
    """The object's own verdict, by its key."""
    for kind in ("final", "choice", "score") if words else ("final", "score", "choice"):
        found = [
            _under(
                own,
                (_own(value, parse, words) or Entry((), None)) if isinstance(value, dict) else Entry((), parse(value)),
            )
            for own, value in content.items()
            if _kind(own) == kind and not (key(own) in _NOTES and isinstance(value, str))
        ]
        if not found:
            continue
        if any(value is _CLASH for own, value in content.items() if _kind(own) == kind):
            return Entry(found[0].path, None)
        # {"answer": "Paris", "verdict": "good"}
        verdicts = [one for one in found if one.value is not None] if kind == "choice" else found
        values = {one.value for one in verdicts}
        return verdicts[0] if len(values) == 1 else Entry(found[0].path, None)
    return None


def _kind(own: str) -> str | None:
    said = _NOUN.sub("", key(own))
    plain = _FINAL.sub("", said)
    if plain != said and (not plain or plain in _SCORE_KEYS or plain in _VERDICT_KEYS):
        return "final"
    return "score" if plain in _SCORE_KEYS else "choice" if plain in _VERDICT_KEYS else None


def _under(outer: str, found: Entry) -> Entry:
    return Entry((outer, *found.path), found.value)


def key(name: str) -> str:
    """A key as it is compared."""
    return name.casefold().replace("_", " ").strip()
