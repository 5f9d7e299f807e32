"""LLMBar's published numbers out of its judges' raw replies, and where our reading of them differs.

The data stays outside the repository. Its `winner` is the published reading: a tied pair of ratings goes to the output
shown second, a pair with an unreadable one to the output shown first, and of a reply's verdicts (a) wins if it occurs.

Source: Zeng et al. 2023, "Evaluating Large Language Models at Evaluating Instruction Following", table 2, and the
statistics published with it.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from scorer.errors import Unreadable
from scorer.judges.pairwise import Pairwise
from scorer.judges.rating import Rating
from scorer.types import Completion, Conversation, Row, Score

DATA = Path(__file__).resolve().parents[2] / "../shared/data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "llmbar_judge_outputs.parquet").exists(),
        reason="left out: LLMBar's 125 published settings; their data is not in ../shared/data",
    ),
]

Key = tuple[str, str, str]  # subset, judge, strategy
ANYWHERE = (r"Output \(a\) is better", r"Output \(b\) is better")
OPENING = (r"(?:^|\n) ?Output \(a\)", r"(?:^|\n) ?Output \(b\)")


def published_patterns(key: Key) -> tuple[str, str]:
    _, judge, strategy = key
    return ANYWHERE if "CoT" in strategy and (judge, strategy) != ("PaLM2", "CoT") else OPENING


@lru_cache
def table(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(DATA / f"llmbar_{name}.parquet").to_pylist()
    return rows


@lru_cache
def settings_of(kind: str) -> dict[Key, dict[str, dict[bool, dict[str, Any]]]]:
    """The stored rows of each setting by pair and by whether they were swapped."""
    settings: dict[Key, dict[str, dict[bool, dict[str, Any]]]] = {}
    for row in table("judge_outputs"):
        if row["kind"] == kind:
            setting = settings.setdefault((row["subset"], row["judge_model"], row["strategy"]), {})
            setting.setdefault(row["id"], {})[row["swapped"]] = row
    return settings


def score_of(conversation: Conversation, *replies: str) -> Score | None:
    """The score where the judge is answered with these replies; None for a row that it cannot read."""
    asked = next(conversation)
    assert len(asked) == len(replies)
    try:
        conversation.send([Completion(reply) for reply in replies])
    except StopIteration as end:
        score = end.value
        assert isinstance(score, Score)
        return score
    except Unreadable:
        return None
    raise AssertionError("asks again")


def given(judge: Pairwise, row: dict[str, Any]) -> str | None:
    """Which output the judge reads as the winner, "1" or "2", of one stored reply."""
    score = score_of(judge(Row("s", 0, {"a": "x", "b": "y"})), row["judge_raw_output"])
    if score is None:
        return None
    assert score.value in (0, 1)
    return "1" if (score.value == 1) != row["swapped"] else "2"


def rated(judge: Rating, row: dict[str, Any]) -> str:
    """Which output has won by the published rule over what the judge reads."""
    scores = [score_of(judge(Row("s", 0, {"a": "x"})), row[f"rating_raw_{n}"]) for n in (1, 2)]
    shown = scores[::-1] if row["swapped"] else scores
    second = shown[0] is not None and shown[1] is not None and shown[1].value >= shown[0].value
    return "2" if second != row["swapped"] else "1"


def statistics(winners: dict[str, dict[bool, str | None]]) -> dict[str, float]:
    gold = {pair["id"]: str(pair["label"]) for pair in table("pairs")}
    pairs = [(gold[name], by_order[False], by_order[True]) for name, by_order in winners.items()]
    n = len(pairs)
    right = [sum(first == label for label, first, _ in pairs), sum(second == label for label, _, second in pairs)]
    return {
        "correct_False": right[0],
        "correct_True": right[1],
        "correct_average": (right[0] / n + right[1] / n) * 50,
        "correct_both": sum(label == first == second for label, first, second in pairs),
        "equal": sum(first == second for _, first, second in pairs),
    }


@lru_cache
def published() -> dict[Key, dict[str, float]]:
    parsed = {}
    for row in table("published_statistics"):
        said = json.loads(row["statistics"])
        counts = {name: float(said[name].split(" /")[0].rstrip("%")) for name in said if name[:5] in ("corre", "equal")}
        parsed[row["subset"], row["judge_model"], row["strategy"]] = counts
    return parsed


def test_pairwise_reproduces_published_llmbar_statistics_from_raw_verdicts() -> None:
    """Slow: 16,760 replies through the judge."""
    found = {
        key: statistics(
            {
                name: {swapped: given(judge, row) for swapped, row in by_order.items()}
                for name, by_order in setting.items()
            }
        )
        for key, setting in settings_of("pairwise").items()
        for judge in [Pairwise(prompt="{first}{second}", a="a", b="b", orders="given", attempts=1, read="pattern",
                               patterns=published_patterns(key))]
    }  # fmt: skip
    assert len(found) == 100
    for key, numbers in found.items():
        assert numbers == pytest.approx(published()[key], abs=1e-9), key


def test_rating_reproduces_published_llmbar_statistics_from_raw_ratings() -> None:
    """Slow: 8,380 replies through the judge. Asked for 0 to 9, four of them are a 10 and were taken."""
    judge = Rating(prompt="{a}", scale=(0, 10), attempts=1)
    found = {
        key: statistics(
            {
                name: {swapped: rated(judge, row) for swapped, row in by_order.items()}
                for name, by_order in setting.items()
            }
        )
        for key, setting in settings_of("rating").items()
    }
    assert len(found) == 25
    for key, numbers in found.items():
        assert numbers == pytest.approx(published()[key], abs=1e-9), key


def test_pairwise_reading_differs_from_published_only_in_known_misreadings() -> None:
    """Slow: 16,760 replies through the judge.

    The published reader gives (a) to every reply that also names (a): to PaLM2's "Output (b) is better.", followed by
    what (a) lacks, and to debates that quote the other side before they conclude. It takes (b) from "I cannot claim
    that either Output (a) or Output (b) is better", which says neither (docs/project/decisions/0022). All else is read
    alike. The judges were asked for one of two, so that a tie is no verdict here.
    """
    judge = Pairwise(prompt="{first}{second}", a="a", b="b", orders="given", attempts=1, labels=["A", "B"])
    other: Counter[tuple[str, str]] = Counter()
    unread = alike = 0
    for key, setting in settings_of("pairwise").items():
        winners: dict[str, dict[bool, str | None]] = {}
        for name, by_order in setting.items():
            winners[name] = {swapped: given(judge, row) for swapped, row in by_order.items()}
            for swapped, row in by_order.items():
                ours = winners[name][swapped]
                other[key[1:]] += ours != row["winner"]
                unread += ours is None and row["winner"] is not None
        alike += statistics(winners) == pytest.approx(published()[key], abs=1e-9)
    assert +other == {
        ("PaLM2", "CoT"): 147,
        ("ChatGPT", "Swap_CoT"): 30,
        ("LLaMA2", "Swap_CoT"): 8,
        ("LLaMA2", "CoT"): 1,
        ("GPT-4", "Swap_CoT"): 1,
    }
    assert (unread, alike) == (6, 85)


def test_pairwise_both_orders_make_flips_ties_and_keep_average_accuracy() -> None:
    """Slow: 16,760 replies through the judge.

    Over the pairs that are read in both orders the mean preference for the better output is `correct_average`.
    """
    gold = {pair["id"]: str(pair["label"]) for pair in table("pairs")}
    for key, setting in settings_of("pairwise").items():
        judge = Pairwise(prompt="{first}{second}", a="a", b="b", attempts=1, read="pattern",
                         patterns=published_patterns(key))  # fmt: skip
        preferred, read = 0.0, []
        for name, by_order in setting.items():
            replies = [by_order[swapped]["judge_raw_output"] for swapped in (False, True)]
            winners = [by_order[swapped]["winner"] for swapped in (False, True)]
            score = score_of(judge(Row("s", 0, {"a": "x", "b": "y"})), *replies)
            assert (score is None) == (None in winners)
            if score is None:
                continue
            flipped = winners[0] != winners[1]
            assert score.fields["flipped"] is flipped
            assert score.fields["verdict"] == ("tie" if flipped else {"1": "a", "2": "b"}[winners[0]])
            preferred += score.value if gold[name] == "1" else 1 - score.value
            read.append((gold[name], *winners))
        assert preferred == sum((label == one) / 2 for label, *both in read for one in both)
