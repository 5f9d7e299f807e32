"""The likelihood judge sends one request; its score and field come from the response's token log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import BadRow, SetupError, SpecError, TooLong, Unreadable
from scorer.judges.likelihood import RUBRICS, Likelihood, quantile
from scorer.types import Completion, Request, Row, Score, TokenLogprob

VALUES = {"id": 7, "source": "Rain.", "instruction": "Sum up.", "response": " It rained. "}


def row(**values: Any) -> Row:
    return Row(shard="s", number=0, values=VALUES | values, tokens=11)


def scored(*logprobs: float) -> Score:
    conversation = Likelihood(rubric="grounded")(row())
    next(conversation)
    with pytest.raises(StopIteration) as end:
        conversation.send([Completion("", logprobs=tuple(TokenLogprob("t", one) for one in logprobs))])
    score = end.value.value
    assert isinstance(score, Score)
    return score


def test_likelihood_sends_one_request_with_raw_prompt_and_unchanged_response() -> None:
    judge = Likelihood(prompt="{source}\n{{TL;DR}}:", keys=("id",))
    assert next(judge(row())) == [
        Request(prompt="Rain.\n{TL;DR}:", continuation=" It rained. ", key={"id": 7}, tokens=11)
    ]
    assert judge.columns == ("source", "response", "id")
    assert judge.constant == "\n{TL;DR}: "
    assert [field.name for field in judge.fields] == ["score_q10"]


def test_likelihood_scores_mean_logprob_and_keeps_tenth_percentile() -> None:
    # Place 0.1 x 4 = 0.4 of the way from the lowest, -5, to the next, -4.
    score = scored(-1.0, -5.0, -2.0, -4.0, -3.0)
    assert score.value == -3.0
    assert score.fields["score_q10"] == pytest.approx(-4.6)
    assert (score.method, score.samples, score.reason) == ("likelihood", 1, None)


def test_likelihood_of_one_token_is_its_logprob() -> None:
    assert (scored(-0.5).value, scored(-0.5).fields["score_q10"]) == (-0.5, -0.5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 0), min_size=1, max_size=30), st.floats(0, 1))
def test_quantile_equals_numpy(values: list[float], q: float) -> None:
    assert quantile(values, q) == pytest.approx(float(np.quantile(values, q)), abs=1e-6)


@pytest.mark.parametrize("response", [None, "", " \n", 4, ["a"]])
def test_likelihood_rejects_response_that_is_not_text(response: Any) -> None:
    with pytest.raises(BadRow, match="'response' is "):
        next(Likelihood(rubric="grounded")(row(response=response)))


def test_likelihood_rejects_null_prompt_column() -> None:
    with pytest.raises(BadRow, match="'source' is null"):
        next(Likelihood(rubric="grounded")(row(source=None)))


@pytest.mark.parametrize("logprob", [math.nan, -math.inf])
def test_likelihood_is_unreadable_with_logprob_that_is_not_finite(logprob: float) -> None:
    conversation = Likelihood(rubric="grounded")(row())
    next(conversation)
    with pytest.raises(Unreadable):
        conversation.send([Completion("", logprobs=(TokenLogprob("a", -1.0), TokenLogprob("b", logprob)))])


@pytest.mark.parametrize("logprobs", [None, ()])
def test_likelihood_raises_setup_error_without_logprobs(logprobs: Any) -> None:
    conversation = Likelihood(rubric="grounded")(row())
    next(conversation)
    with pytest.raises(SetupError, match="log-probabilities"):
        conversation.send([Completion("5", logprobs=logprobs)])


def test_likelihood_gives_request_error_to_row() -> None:
    conversation = Likelihood(rubric="grounded")(row())
    next(conversation)
    error = TooLong("9 tokens")
    with pytest.raises(TooLong) as caught:
        conversation.send([error])
    assert caught.value is error


@pytest.mark.parametrize("rubric", RUBRICS)
def test_likelihood_built_in_rubrics_build_requests(rubric: str) -> None:
    (request,) = next(Likelihood(rubric=rubric)(row()))
    assert "Rain." in request.prompt
    assert not request.prompt.endswith(" ")  # the one space before the response is the provider's


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "judge.prompt: missing"),
        ({"prompt": "{a}", "rubric": "grounded"}, "both are given"),
        ({"rubric": "direct"}, "'direct' is unknown to likelihood; allowed: grounded"),
        ({"prompt": "no column"}, r"holds no \{column\}"),
        ({"prompt": "{response}"}, r"shows \{response\}"),
        ({"prompt": "{a"}, "single '{'"),
        ({"prompt": "{a}", "system": "x"}, 'judge.system: is for kind = "rating"'),
        ({"prompt": "{a}", "ask_criteria": "apart"}, 'judge.ask_criteria: is for kind = "rating"'),
        ({"prompt": "{a}", "colour": 1}, "judge.colour: is unknown to likelihood"),
    ],
)
def test_likelihood_rejects_wrong_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Likelihood(**options)


def test_likelihood_reports_all_wrong_options_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Likelihood(prompt="{a", samples=3, scale=(1, 5))
    assert len(caught.value.problems) == 3
