"""Systems that give nearly one answer to many items: a constant text can lead a leaderboard, so it is named first."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from scorer.analysis.columns import require
from scorer.analysis.reading import TEXTS, collected
from scorer.errors import SpecError

USUAL_TEXTS = ("response", "output", "answer", "completion", "generation")
"""The columns that are taken for the answers where none is named, the likeliest first."""
MOST_UNASKED = 50_000
"""The texts of more rows are read only where their column is named: they may be gigabytes."""
SAMPLE = 200
"""So many answers of each system are looked at."""
SHARE = 0.2
"""A smaller share of items with nearly one answer is not named."""
WORDS = 100
_NEAR, _HASHES, _SHINGLE = 0.7, 128, 3


@dataclass(frozen=True, slots=True)
class RepeatedAnswer:
    """Nearly this answer, cut to a line, was given by `system` to a `share` of its `answers` that were looked at."""

    system: str
    share: float
    answers: int
    text: str

    def note(self) -> str:
        """A sentence to read before the system's place."""
        return (
            f"Look at {self.system} before you read on: {self.share:.0%} of its answers ({self.answers:,} were looked "
            f'at) are nearly one text: "{self.text}".'
        )


def text_column(schema: pl.Schema, named: str | None) -> str | None:
    """The column of answers: the one named, else one with a usual name; None where there is none. Raises SpecError."""
    if named is not None:
        require(schema, [named])
        if schema[named] not in TEXTS:
            raise SpecError([f"Column {named} holds {schema[named]}, not texts; give --text the column of answers."])
        return named
    return next((name for name in USUAL_TEXTS if schema.get(name) in TEXTS), None)


def repeated_answers(frame: pl.LazyFrame, system: str, text: str, rows: int) -> list[RepeatedAnswer]:
    """The systems that give nearly one answer to a fifth of items or more, the largest share first.

    Two answers are nearly one where 70 % of their three-word sequences, within their first 100 words, are common
    (Jaccard). Labels and forms repeat in the answers of all systems: one is named only where it gives its commonest
    answer at least twice as often as the others usually give theirs. Of a table of many `rows` a sample is looked at.
    Source: Broder (1997), "On the resemblance and containment of documents": resemblance estimated by minima of hashes.
    """
    name = pl.col(system).cast(pl.String).alias("system")
    answer = pl.col(text).cast(pl.String).str.slice(0, 12 * WORDS).alias("text")
    step = max(1, rows // (50 * SAMPLE))
    kept = frame.select(name, answer, place=pl.int_range(pl.len(), dtype=pl.UInt64).hash(0))
    if step > 1:
        kept = kept.filter(pl.col("place") % step == 0)
    taken = collected(
        kept.drop_nulls().sort("place").group_by("system").agg(pl.col("text").head(SAMPLE)).sort("system")
    )
    found = [_commonest(one, texts) for one, texts in taken.iter_rows()]
    named = [one for one in found if one.share >= max(SHARE, 2 * _usual(found, one))]
    return sorted(named, key=lambda one: (-one.share, one.system))


def _usual(found: Sequence[RepeatedAnswer], one: RepeatedAnswer) -> float:
    """The median share of the other systems; a quarter where there are none."""
    others = [other.share for other in found if other is not one]
    return float(np.median(others)) if others else 0.25


def _commonest(system: str, texts: Sequence[str]) -> RepeatedAnswer:
    signatures = np.stack([_signature(text) for text in texts])
    alike = np.zeros((len(texts), len(texts)))
    for column in signatures.T:
        alike += column[:, None] == column[None, :]
    near = (alike >= _NEAR * _HASHES).sum(axis=1)
    most = int(near.argmax())
    share = float(near[most]) / len(texts) if near[most] > 1 else 0.0
    return RepeatedAnswer(system, share, len(texts), " ".join(texts[most].split())[:80])


_RNG = np.random.default_rng(0)
_FACTORS = _RNG.integers(1, 2**31, _HASHES, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _RNG.integers(0, 2**31, _HASHES, dtype=np.uint64)
_PRIME = np.uint64(2**61 - 1)


def _signature(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The least of each hash over the text's sequences of three words."""
    words = text.lower().split()[:WORDS] or [""]
    runs = [" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))]
    hashed = np.array([zlib.crc32(run.encode("utf-8", "replace")) for run in runs], dtype=np.uint64)
    with np.errstate(over="ignore"):
        least: np.ndarray[tuple[int], np.dtype[np.uint64]] = ((hashed[:, None] * _FACTORS + _OFFSETS) % _PRIME).min(
            axis=0
        )
    return least
