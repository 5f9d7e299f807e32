"""ROUGE equals the package rouge-score, and is null on scripts that it cannot tokenize."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.metrics import load
from scorer.metrics.protocol import Metric

pytest.importorskip("rouge_score", reason="Left out: ROUGE, for want of batch-scorer[metrics].")

NAMES = ["rouge1", "rouge2", "rougeL"]
ALPACA = Path(__file__).resolve().parents[2] / "../shared/data/alpaca_sample.parquet"

texts = st.lists(
    st.sampled_from(["the", "The", "cat", "cats", "sitting", "sat", "on", "mat.", "x_y", "don't", "é", "1"]),
    max_size=12,
).map(" ".join)

metric = cache(load)


@cache
def package(stemmer: bool = False) -> Any:
    """The scorer of rouge-score, imported where a test needs it: a second of CPU, in each process that collects."""
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(NAMES, use_stemmer=stemmer)


@cache
def stemmed(name: str) -> Metric:
    return load(name, {"stemmer": True})


def one(name: str, response: str | None, reference: str | None) -> float | None:
    return metric(name)([response], [reference])[0]


def test_rouge_equals_example_of_paper() -> None:
    reference, response = "police killed the gunman", "the gunman kill police"
    assert one("rouge1", response, reference) == pytest.approx(3 / 4)
    assert one("rouge2", response, reference) == pytest.approx(1 / 3)
    assert one("rougeL", response, reference) == pytest.approx(2 / 4)  # "the gunman", section 3.1


@settings(max_examples=60)
@given(response=texts, reference=texts)
def test_rouge_equals_rouge_score_package(response: str, reference: str) -> None:
    theirs = package().score(reference, response)
    for name in NAMES:
        ours = one(name, response, reference)
        if ours is None:
            assert not any(c.isascii() and c.isalnum() for c in reference)
        else:
            assert ours == theirs[name].fmeasure


@settings(max_examples=40)
@given(a=texts, b=texts)
def test_rouge_is_symmetric(a: str, b: str) -> None:
    for name in NAMES:
        here, there = one(name, a, b), one(name, b, a)
        if here is not None and there is not None:
            assert here == pytest.approx(there, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_rouge_is_null_for_null_and_unsupported_script_and_0_for_empty(name: str) -> None:
    responses = [None, "a cat", "", "a cat", "你好", "a cat", "a cat"]
    references = ["a cat", None, "a cat", "", "你好", "?!", "a cat"]
    assert load(name)(responses, references) == [None, None, 0.0, 0.0, None, None, 1.0]


def test_rouge_equals_rouge_score_package_on_real_generations() -> None:
    if not ALPACA.exists():
        pytest.skip("Left out: ROUGE on real generations, whose folder shared/data is not here.")
    outputs = pq.read_table(ALPACA, columns=["output"]).column("output").to_pylist()
    short = [text for text in outputs if 200 < len(text) < 500][:9]
    assert len(short) == 9
    for response, reference in pairwise(short):
        theirs = package().score(reference, response)
        assert [one(name, response, reference) for name in NAMES] == [theirs[name].fmeasure for name in NAMES]


@settings(max_examples=40)
@given(response=texts, reference=texts)
def test_rouge_with_stemmer_equals_rouge_score_package(response: str, reference: str) -> None:
    theirs = package(stemmer=True).score(reference, response)
    for name in NAMES:
        ours = stemmed(name)([response], [reference])[0]
        assert ours is None or ours == theirs[name].fmeasure


def test_rouge_with_stemmer_compares_stems() -> None:
    assert stemmed("rougeL")(["the dogs barked"], ["the dog barks"]) == [1.0]
    assert one("rougeL", "the dogs barked", "the dog barks") == pytest.approx(1 / 3)
