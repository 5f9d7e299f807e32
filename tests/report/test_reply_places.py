"""Promise: replies about criteria that are asked apart are shown by criterion, and samples are compared as wholes."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.output.manifest import Manifest
from scorer.report.reply_places import ReplyPlaces
from scorer.report.stored_judge import StoredJudge
from scorer.types import Message, Request, Row

TABLES = [{"name": "wit", "weight": 0}, {"name": "tact", "scale": [0, 10]}]


def stored(**judge: Any) -> StoredJudge:
    spec = {
        "input": {"shards": ["x"]},
        "judge": {"prompt": "Rate it.\n\n{a}", "ask_criteria": "apart", "criteria": TABLES, **judge},
        "model": {"name": "m", "base_url": "http://127.0.0.1:1/v1", "temperature": 0.7},
        "output": {"path": "out"},
    }
    return StoredJudge(Manifest("0", {}, spec, ""))


def test_replies_are_named_and_read_by_criterion() -> None:
    raw = ["Ha\nScore: 4", "none", "No\nScore: 10", "No\nScore: 5", "Hm\nScore: 2"]
    asked = stored(samples=2, reason="before").asked(Row("x", 0, {"a": "So."}), {"raw": raw})
    assert [(reply.of, reply.value, reply.reason) for reply in asked.replies] == [
        ("wit, sample 1", "4", "Ha"),
        ("wit, sample 2", "Unreadable", None),
        ("tact, sample 1", "10", "No"),
        ("tact, sample 2", "5", "No"),
        ("wit, asked again", "2", "Hm"),
    ]
    assert asked.replies[2].numbers == {"score_tact": 10.0}


def test_prompts_are_what_all_begin_with_and_what_follows_for_each_criterion() -> None:
    prompts = stored().asked(Row("x", 0, {"a": "So."}), {"raw": ["4", "5"]}).prompts
    assert [of for of, _ in prompts] == ["for each criterion", "wit", "tact"]
    assert prompts[0][1] == "Rate it.\n\nSo."
    assert prompts[1][1].startswith("Rate by this criterion alone:\nwit\n\nReply with")


def test_prompts_that_begin_differently_are_shown_whole() -> None:
    requests = [Request((Message("user", f"{name}: rate\n\nit."),)) for name in ("wit", "tact")]
    places = ReplyPlaces("rating", {"criteria": TABLES, "ask_criteria": "apart"})
    assert places.prompts(requests) == [("wit", "wit: rate\n\nit."), ("tact", "tact: rate\n\nit.")]


@pytest.mark.parametrize("criteria", [TABLES, [{"name": "wit", "weight": 1}, {"name": "tact", "weight": 1}]])
def test_samples_are_scores_of_all_criteria_together(criteria: list[dict[str, Any]]) -> None:
    judge = stored(samples=2, criteria=criteria)
    raw = ["Score: 1", "Score: 5", "Score: 5", "Score: 3"]
    expected = [3.0, 2.2] if criteria is TABLES else [3.0, 4.0]
    assert judge.readings(raw) == pytest.approx(expected)
    assert judge.sampled(raw, "score") == [pytest.approx(expected)]
    assert judge.sampled(raw, "score_wit") == [[1.0, 5.0]]
    assert judge.sampled(raw, "score_tact") == [[5.0, 3.0]]


def test_sample_without_a_criterion_is_none() -> None:
    assert stored(samples=2).readings(["Score: 1", "Score: 5", "none", "Score: 3", "none", "none"]) == [
        pytest.approx(2.2)
    ]
