"""Promise: a reply gives the verdict that a person reads in it; where a person reads none, none.

The forms stand in `battery.toml`, real replies in `battery_real.toml`; a person decided each verdict before the reader
was changed. `python tests/judges/test_battery.py` prints the counts by form.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scorer.judges.reading.labels import Labels
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.preferences import PreferenceReader
from scorer.judges.reading.verdicts import find

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "../shared/data"
SCALES = {"naturalness": (1, 3), "coherence": (1, 3), "engagingness": (1, 3), "groundedness": (0, 1)}
LETTERS = PreferenceReader(("A", "B", "tie"))


@dataclass(frozen=True)
class Entry:
    """A reply, how it is read, and the verdict that a person reads in it: None for unread."""

    form: str
    reader: Any
    text: str
    verdict: float | None

    def read(self) -> float | None:
        found = (
            self.reader.find(self.text) if isinstance(self.reader, PreferenceReader) else find(self.text, self.reader)
        )
        return None if found is None else found.value

    def outcome(self) -> str:
        """right, missed (unread, though it has a verdict), invented (it has none) or misread (it has another one)."""
        read = self.read()
        if read == self.verdict:
            return "right"
        return "missed" if read is None else "invented" if self.verdict is None else "misread"


def verdict(stated: float | str) -> float | None:
    return None if stated == "unread" else float(stated)


@cache
def written() -> dict[str, list[Entry]]:
    """The forms made up for this battery."""
    forms: dict[str, list[Entry]] = {}
    for group in tomllib.loads((HERE / "battery.toml").read_text())["group"]:
        reader: Any
        if "scale" in group:
            reader = Numbers(*group["scale"])
        else:
            reader = PreferenceReader(group["choice"]) if "choice" in group else Labels(group["labels"])
        entries = [Entry(group["form"], reader, text, float(stated)) for stated, text in group["read"]]
        forms[group["form"]] = entries + [Entry(group["form"], reader, text, None) for text in group["unread"]]
    return forms


def embedded(rows: list[list[Any]]) -> Iterator[Entry]:
    for kind, stated, text in rows:
        reader = LETTERS if kind == "choice" else Numbers(*map(float, kind.split("-")))
        yield Entry("replies of the embedded judge", reader, text, verdict(stated))


def topical_chat(rows: list[list[Any]]) -> Iterator[Entry]:
    stored = {
        (row["prompt_kind"], row["id"], row["dimension"]): row["judge_raw_outputs"]
        for row in pl.read_parquet(DATA / "topical_chat_judge_outputs.parquet").iter_rows(named=True)
    }
    for kind, item, dimension, place, stated in rows:
        text = stored[kind, item, dimension][place]
        yield Entry("replies on Topical-Chat", Numbers(*SCALES[dimension]), text, verdict(stated))


def llmbar(rows: list[list[Any]]) -> Iterator[Entry]:
    stored = {
        (row["id"], row["judge_model"], row["strategy"], row["swapped"]): row["judge_raw_output"] or ""
        for row in pl.read_parquet(DATA / "llmbar_judge_outputs.parquet").iter_rows(named=True)
    }
    for *key, stated in rows:
        yield Entry("replies of LLMBar's judges", LETTERS, stored[tuple(key)], verdict(stated))


def real(source: str) -> list[Entry]:
    rows = tomllib.loads((HERE / "battery_real.toml").read_text())[source]
    return list({"embedded": embedded, "topical_chat": topical_chat, "llmbar": llmbar}[source](rows))


def wrong(entries: list[Entry]) -> list[tuple[str, str, float | None, float | None]]:
    return [
        (outcome, entry.text[-300:], entry.verdict, entry.read())
        for entry in entries
        if (outcome := entry.outcome()) != "right"
    ]


@pytest.mark.parametrize("form", written())
def test_readers_agree_with_person_on_battery(form: str) -> None:
    assert wrong(written()[form]) == []


@pytest.mark.parametrize("source", ["embedded", "topical_chat", "llmbar"])
def test_readers_agree_with_person_on_real_replies(source: str) -> None:
    if source != "embedded" and not DATA.is_dir():
        pytest.skip(f"left out: the stored replies of {source}, which are no part of the repository")
    assert wrong(real(source)) == []


def counts() -> dict[str, dict[str, int]]:
    """By form: replies, with a verdict, without one, and how each was read."""
    every = {**written(), **{entries[0].form: entries for entries in map(real, ("embedded", "topical_chat", "llmbar"))}}
    found = {}
    for form, entries in every.items():
        outcomes = [entry.outcome() for entry in entries]
        stated = sum(entry.verdict is not None for entry in entries)
        found[form] = {"verdict": stated, "none": len(entries) - stated} | {
            name: outcomes.count(name) for name in ("right", "missed", "misread", "invented")
        }
    return found


def counted() -> str:
    """The counts as a table in Markdown."""
    columns = ("verdict", "none", "right", "missed", "misread", "invented")
    lines = [f"| form | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    total = dict.fromkeys(columns, 0)
    for form, row in counts().items():
        lines.append(f"| {form} | {' | '.join(str(row[name]) for name in columns)} |")
        total = {name: total[name] + row[name] for name in columns}
    return "\n".join([*lines, f"| all | {' | '.join(str(total[name]) for name in columns)} |", ""])


if __name__ == "__main__":
    sys.stdout.write(counted())
