"""Promise: each model is asked independently; their scores become one, and their disagreement is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import BadRow, NoReply, Refused, RowError, SpecError, Truncated, Unreadable
from scorer.judges import JUDGES
from scorer.judges.panel import Panel, majority
from scorer.types import Completion, Request, Row, Score

Answer = Completion | RowError | str


def row(**values: Any) -> Row:
    return Row("shard.parquet", 0, {"a": "So.", **values}, tokens=7)


def panel(*models: str, **options: Any) -> Panel:
    return Panel(**{"prompt": "{a}", "models": models or ("x", "y", "z")} | options)


def rate(judge: Panel, said: Mapping[str, Sequence[Answer]], **values: Any) -> tuple[Score, list[list[Request]]]:
    """The judge's score when each model gives its replies one after the other, and what was asked in each turn."""
    queues = {alias: iter(replies) for alias, replies in said.items()}
    conversation = judge(row(**values))
    asked = [next(conversation)]
    while True:
        replies = [next(queues[request.model]) for request in asked[-1]]
        try:
            asked.append(conversation.send([Completion(one) if isinstance(one, str) else one for one in replies]))
        except StopIteration as end:
            return end.value, asked


def test_panel_asks_all_models_at_once_and_averages_scores() -> None:
    judge = panel(keys=("id",), system="Be fair.")
    score, asked = rate(judge, {"x": ["1"], "y": ["2"], "z": ["3"]}, id=3)
    # By hand: the mean of 1, 2, 3 is 2, the population variance (1 + 0 + 1) / 3.
    assert score == Score(
        2.0,
        method="number",
        samples=3,
        fields={"score_x": 1.0, "score_y": 2.0, "score_z": 3.0, "disagreement": pytest.approx((2 / 3) ** 0.5)},
    )
    assert [field.name for field in judge.fields] == list(score.fields)
    assert [(request.model, request.index, request.key) for request in asked[0]] == [
        (alias, 0, {"id": 3}) for alias in ("x", "y", "z")
    ]
    assert len({request.messages for request in asked[0]}) == 1
    assert (judge.columns, judge.constant) == (("a", "id"), "Be fair.\n")
    assert judge.models == ("x", "y", "z")


def test_panel_counts_samples_attempts_and_index_per_model() -> None:
    score, asked = rate(panel("x", "y", samples=2), {"x": ["1", "3"], "y": ["?", "5", "??", "3"]})
    assert [[(request.model, request.index) for request in turn] for turn in asked] == [
        [("x", 0), ("x", 1), ("y", 0), ("y", 1)],
        [("y", 2)],
        [("y", 3)],
    ]
    assert (score.value, score.samples, score.fields["disagreement"]) == (3.0, 4, 1.0)


def test_panel_retries_each_model_by_its_own_temperature() -> None:
    judge = panel("x", "y", temperatures={"x": 0.0, "y": 0.9})
    _, asked = rate(judge, {"x": ["?", "1"], "y": ["?", "1"]})
    assert [(request.model, request.temperature) for request in asked[1]] == [("x", 0.3), ("y", None)]


def test_panel_grades_response_and_reference_with_each_model() -> None:
    judge = panel("x", "y", prompt="{first}{second}", versus_reference=True, response="a", reference="g", scale=(0, 5))
    said = {"x": ["First: 4\nSecond: 5", "First: 5\nSecond: 4"], "y": ["First: 2\nSecond: 0", "First: 0\nSecond: 2"]}
    score, _ = rate(judge, said, g="Because.")
    # The second model's reference has 0, so that it gives no ratio.
    assert score.fields["score_ratio"] == pytest.approx(0.8)
    assert (score.value, score.fields["score_reference"]) == (3.0, 2.5)
    assert [field.name for field in judge.fields] == list(score.fields)


def test_panel_scores_row_by_readable_models() -> None:
    score, _ = rate(panel(attempts=1), {"x": ["?"], "y": [NoReply("gone")], "z": ["4"]})
    assert (score.value, score.samples) == (4.0, 1)
    assert score.fields == {"score_x": None, "score_y": None, "score_z": 4.0, "disagreement": None}


def test_panel_gives_row_most_informative_error_when_all_models_fail() -> None:
    judge = panel(attempts=1)
    with pytest.raises(Truncated):
        rate(judge, {"x": ["?"], "y": [NoReply("gone")], "z": [Completion("The", "length")]})
    with pytest.raises(Refused):
        rate(judge, {"x": ["?"], "y": [Completion("", "content_filter")], "z": [Completion("The", "length")]})
    with pytest.raises(BadRow):
        next(judge(row(a=None)))


def test_panel_of_one_model_has_null_disagreement() -> None:
    assert rate(panel("x"), {"x": ["4"]})[0].fields == {"score_x": 4.0, "disagreement": None}


def test_panel_aggregates_by_median_and_majority() -> None:
    said = {"x": ["1"], "y": ["5"], "z": ["5"]}
    assert rate(panel(aggregate="median"), said)[0].value == 5
    assert rate(panel(aggregate="majority"), said)[0].value == 5
    labels = {"read": "label", "labels": {"no": 0, "yes": 1}, "scale": (0, 1)}
    said = {"x": ["yes"], "y": ["no"], "z": ["no"]}
    assert rate(panel(aggregate="majority", **labels), said)[0].value == 0


def test_majority_of_tied_votes_is_mean_of_tied_values() -> None:
    assert majority([1, 5]) == 3
    assert majority([1, 1, 4, 4, 9]) == 2.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=9))
def test_majority_of_any_votes_is_in_range_and_takes_absolute_majority(votes: list[int]) -> None:
    chosen = majority(votes)
    assert min(votes) <= chosen <= max(votes)
    if chosen in votes and votes.count(int(chosen)) > len(votes) / 2:
        assert chosen == median(votes)
    if len(set(votes)) == len(votes):
        assert chosen == pytest.approx(mean(votes))


def test_panel_aggregates_each_criterion_separately() -> None:
    judge = panel("x", "y", criteria=["wit", "tact"])
    score, _ = rate(judge, {"x": ["wit: 5\ntact: 1"], "y": ["wit: 3\ntact: 1"]})
    assert score.fields == {"score_wit": 4.0, "score_tact": 1.0, "score_x": 3.0, "score_y": 2.0, "disagreement": 0.5}
    assert [field.name for field in judge.fields] == list(score.fields)


def test_panel_prefixes_reasons_with_model() -> None:
    score, _ = rate(panel("x", "y", reason="before"), {"x": ["It drifts.\nScore: 2"], "y": ["Score: 4"]})
    assert score.reason == "x: It drifts"


def test_panel_is_registered_and_reads_its_specimens() -> None:
    judge = panel("x")
    assert [rate(judge, {"x": [judge.specimen(n)]})[0].value for n in range(3)] == [1, 2, 3]
    assert JUDGES["panel"] == f"{Panel.__module__}:{Panel.__qualname__}"


@given(st.lists(st.text(max_size=20) | st.sampled_from(["1", "Score: 5"]), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_panel_of_any_replies_gives_score_on_scale_or_unreadable(replies: list[str]) -> None:
    try:
        score, _ = rate(panel(attempts=1), {alias: [one] for alias, one in zip("xyz", replies, strict=True)})
    except Unreadable:
        return
    assert 1 <= score.value <= 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ()}, "judge.models: () is not allowed"),
        ({"models": "x"}, "judge.models: 'x' is not allowed"),
        ({"models": ["x", "y", "x"]}, "judge.models: 'x' is there twice"),
        ({"aggregate": "max"}, "judge.aggregate: 'max' is unknown; allowed are mean, median, majority."),
        ({"criteria": ["x", "wit"]}, "judge.models: 'x' is a criterion too"),
        ({"order": "both"}, "judge.order: is unknown to panel; allowed are models, aggregate, prompt,"),
        ({"orders": "given"}, "judge.orders: belongs to versus_reference = true"),
        ({"prompt": None}, "judge.prompt: missing"),
        (
            {"models": ["ratio"], "prompt": "{first}{second}", "versus_reference": True},
            "judge.models: 'ratio' is a column too; both would be column score_ratio.",
        ),
    ],
)
def test_panel_reports_each_wrong_option_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        panel(**options)
    (problem,) = caught.value.problems
    assert problem.startswith(message)


def test_panel_reports_all_wrong_options_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Panel(models=[], aggregate="max", orders="given", samples=0)
    assert len(caught.value.problems) == 5
