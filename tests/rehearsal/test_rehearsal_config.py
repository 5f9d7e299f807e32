"""The rehearsal's options survive JSON, and each mistake in them is a sentence."""

from __future__ import annotations

import json

import pytest
from support.rehearsal_questions import STORM

from scorer.errors import SpecError
from scorer.rehearsal.config import RehearsalConfig


def test_rehearsal_config_round_trips_through_json() -> None:
    config = STORM.changed({"labels": ["good", "bad"], "scale": [0, 1], "names": ["a"], "seed": 7})
    assert RehearsalConfig.from_json(config.to_json()) == config


def test_rehearsal_config_reports_all_mistakes_at_once() -> None:
    wrong = {
        "requests_per_minute": 0,
        "window": "fixed",
        "fault_500": 1.5,
        "capacity": 1.5,
        "poison": "(",
        "row_regex": "row",
        "scale": [5, 1],
        "labels": "good",
        "usage": 1,
        "always": "418",
    }
    with pytest.raises(SpecError) as raised:
        RehearsalConfig.from_json(json.dumps(wrong))
    assert sorted({problem.split()[0] for problem in raised.value.problems}) == sorted(wrong)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"rpm": 5}', "rpm is not a key"),
        ('{"fault_500": 0.6, "fault_429": 0.6}', "add up to more than 1"),
        ('{"scale": [0, 1e9]}', "may span at most 10,000"),
    ],
)
def test_rehearsal_config_explains_each_mistake_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        RehearsalConfig.from_json(text)
