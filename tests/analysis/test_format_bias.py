"""A form changes how an answer is set and not what it says; drift is a paired difference, lost answers are counted."""

import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.format_bias import FORMATS, as_bullets, as_json, as_markdown, as_upper_case, drift, reformatted
from scorer.errors import SpecError

TEXT = "It is 3.5 m long. Is it?  Yes!\nSo it is"


def test_forms_are_those_written_by_hand():
    assert as_json('Say "yes".') == '{"response": "Say \\"yes\\"."}'
    assert as_markdown(TEXT) == "## Response\n\n**It is 3.5 m long.** Is it?  Yes!\nSo it is"
    assert as_markdown("Yes") == "## Response\n\n**Yes**"
    assert as_bullets(TEXT) == "- It is 3.5 m long.\n- Is it?\n- Yes!\n- So it is"
    assert as_upper_case("groß, 3 m") == "GROSS, 3 M"
    assert FORMATS["as_is"](TEXT) == TEXT


@settings(max_examples=30)
@given(st.text())
def test_json_form_can_be_reversed(text):
    assert json.loads(as_json(text)) == {"response": text}


@settings(max_examples=30)
@given(st.text().filter(lambda text: text.strip() and "**" not in text))
def test_markdown_form_can_be_reversed_but_for_leading_space(text):
    formed = as_markdown(text).removeprefix("## Response\n\n").replace("**", "", 1)
    cut = formed.index("**")
    assert formed[:cut] + formed[cut + 2 :] == text.lstrip()


@settings(max_examples=30)
@given(st.text())
def test_bullet_and_capital_forms_keep_the_words_in_order(text):
    said = [word for line in as_bullets(text).split("\n") for word in line.removeprefix("- ").split()]
    assert said == re.sub(r"\s+", " ", text).split()
    assert as_upper_case(text).lower() == text.upper().lower()


def test_reformatted_has_a_row_for_each_answer_and_form():
    answers = pl.DataFrame({"bias_answer": [0, 1], "text": ["a b", "c"], "prompt": ["p", "q"]})
    rows = reformatted(answers, "text")
    assert rows.columns == ["bias_answer", "text", "prompt", "bias_format"]
    assert rows["bias_answer"].to_list() == [0] * 5 + [1] * 5
    assert rows["bias_format"].to_list() == list(FORMATS) * 2
    assert rows["text"].to_list()[5:] == ["c", '{"response": "c"}', "## Response\n\n**c**", "- c", "C"]
    assert rows["prompt"].to_list() == ["p"] * 5 + ["q"] * 5


def scored(**forms):
    """A frame of scores by form; each list holds those of answers 0, 1, 2, ..."""
    rows = [
        {"bias_answer": answer, "bias_format": form, "score": value, "doc": answer // 2}
        for form, values in forms.items()
        for answer, value in enumerate(values)
    ]
    return pl.LazyFrame(
        rows, schema={"bias_answer": pl.Int64, "bias_format": pl.String, "score": pl.Float64, "doc": int}
    )


def test_drift_has_the_values_computed_by_hand():
    frame = scored(as_is=[1.0, 2, 3, None], json=[2.0, 2, None, 5], markdown=[1.0, 2, 3, 4], bullets=[], upper_case=[])
    stored = pl.DataFrame({"bias_answer": [2, 0, 1], "value": [3.0, 1.0, 4.0]})
    found = drift(frame, "score", stored=stored, bootstrap=Bootstrap(0))
    assert found.answers == 4
    json_form = found.formats["json"]
    assert (json_form.n, json_form.lost, json_form.mean, json_form.drift, json_form.moved) == (2, 1, 2.0, 0.5, 0.5)
    assert json_form.in_sd == pytest.approx(0.5 / np.std([1, 2, 3]))
    assert found.formats["markdown"].drift == 0.0
    assert (found.formats["bullets"].n, found.formats["bullets"].lost, found.formats["bullets"].drift) == (0, 3, None)
    assert (found.again.n, found.again.drift) == (3, pytest.approx(-2 / 3))
    json.dumps(found.json(), allow_nan=False)


def test_drift_finds_a_planted_bias_and_its_absence():
    rng = np.random.default_rng(3)
    plain = rng.normal(3, 1, 200)
    noise = {form: plain + rng.normal(0, 0.3, 200) for form in ("json", "bullets", "upper_case")}
    frame = scored(as_is=plain, markdown=plain + 0.4 + rng.normal(0, 0.3, 200), **noise)
    found = drift(frame, "score", item="doc")
    low, high = found.formats["markdown"].interval
    assert 0.3 < low < 0.4 < high < 0.5
    for form in noise:
        low, high = found.formats[form].interval
        assert low < 0 < high


def test_drift_has_no_deviation_for_equal_decimal_fractions():
    found = drift(scored(as_is=[4 / 9] * 20, json=[0.4] * 20), "score", bootstrap=Bootstrap(0))
    assert found.formats["json"].drift == pytest.approx(-2 / 45)
    assert found.formats["json"].in_sd is None


def test_drift_refuses_fewer_than_two_answers():
    with pytest.raises(SpecError, match="1 answers have a score as they are; drift with their form needs two or more"):
        drift(scored(as_is=[1.0, None], json=[1.0, 2.0]), "score")
