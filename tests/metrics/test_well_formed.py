"""well_formed is 1 for the required form only; wrong options are explained before anything is scored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import SpecError
from scorer.metrics import MOST_OPTION_BYTES, load, problems

pytest.importorskip("jsonschema", reason="Left out: JSON schemas, for want of batch-scorer[metrics].")

SCHEMA = '{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}}'


def one(response: str | None, **options: Any) -> float | None:
    return load("well_formed", options)([response], [None])[0]


@pytest.mark.parametrize(
    ("options", "good", "bad"),
    [
        ({"pattern": r"Answer: \d+"}, ["Answer: 42"], ["Answer: 42\n", "The Answer: 42", "", "answer: 42"]),
        ({"labels": ["yes", "no"]}, ["yes", " no\n"], ["Yes", "yes.", "", "yes no"]),
        (
            {"schema": SCHEMA},
            ['{"n": 1}', ' {"n": 2, "more": [1]}\n'],
            ['{"n": 0}', '{"n": "1"}', "{}", "[]", '```json\n{"n": 1}\n```', '{"n": 1} x', '{"n": NaN}', ""],
        ),
        ({"schema": {"enum": [1, None]}}, ["1", "null"], ["2", "nul", "[" * 5000]),
        ({"schema": {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True}},
         ["2"], ["3"]),
        ({"schema": "false"}, [], ["1", "null"]),
    ],
)  # fmt: skip
def test_well_formed_is_1_for_required_form_only(options: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert [one(response, **options) for response in good] == [1.0] * len(good)
    assert [one(response, **options) for response in bad] == [0.0] * len(bad)
    assert one(None, **options) is None


@given(st.text())
def test_well_formed_is_0_or_1_for_any_text(text: str) -> None:
    assert one(text, schema=SCHEMA) in (0.0, 1.0)


def test_well_formed_refuses_remote_schema_reference() -> None:
    with pytest.raises(Exception, match="Unresolvable"):
        one("1", schema={"$ref": "http://127.0.0.1:9/schema.json"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing given; give one of pattern, schema, labels"),
        ({"pattern": "x", "labels": ["x"]}, "pattern and labels given; give one of"),
        ({"pattern": "("}, "pattern: '\\(' is no regular expression"),
        ({"pattern": 3}, "pattern: 3 is not allowed; a string"),
        ({"schema": "{"}, "schema is not JSON"),
        ({"schema": [1]}, "schema is a list"),
        ({"schema": {"type": "text"}}, "schema is no JSON schema: at type, 'text' is not valid"),
        ({"labels": "yes"}, "labels: 'yes' is not allowed; a list of strings"),
        ({"labels": ["yes", True]}, "labels: True is no string"),
        ({"regex": "x"}, "regex is no option of well_formed. Known: pattern, schema, labels"),
    ],
)
def test_well_formed_refuses_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load("well_formed", options)
    assert problems(["well_formed"], {"well_formed": options})


def test_problems_report_all_mistakes_in_names_and_options_at_once() -> None:
    options = {
        "rougeL": {"stemmer": "yes"},
        "bleu": {"stemmer": True},
        "length": {},
        "keyword_match": {"separator": ""},
    }
    messages = problems(["rouge9", "rougeL", "bleu", "keyword_match", "well_formed"], options)
    assert [text.partition(":")[0].partition(" ")[0] for text in messages] == [
        "metrics.names", "metrics.options.length", "metrics.options.rougeL.stemmer", "metrics.options.bleu.stemmer",
        "metrics.options.keyword_match.separator", "metrics.options.well_formed",
    ]  # fmt: skip
    assert "Shorten them" in problems(["well_formed"], {"well_formed": {"pattern": "x" * MOST_OPTION_BYTES}})[0]
