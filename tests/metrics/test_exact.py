"""Exact match, SQuAD's scores, edit similarity and lengths: hand-computed scores and properties of any two texts."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.metrics import METRICS, REFERENCE_FREE, load
from scorer.metrics.squad import squad_words

pytest.importorskip("rapidfuzz", reason="Left out: edit similarity, for want of batch-scorer[metrics].")

OPTIONS = {"well_formed": {"pattern": "x"}}
PAIRED = ["exact_match", "squad_em", "token_f1", "edit_similarity"]
texts = st.text(st.sampled_from("ab theAN.,!\n é東"), max_size=40)

metric = cache(load)


def one(name: str, response: str | None, reference: str | None) -> float | None:
    return metric(name)([response], [reference])[0]


@pytest.mark.parametrize(
    ("name", "response", "reference", "score"),
    [
        ("exact_match", "Paris", "Paris", 1.0),
        ("exact_match", "Paris", "paris", 0.0),
        ("exact_match", "Paris\n", "Paris", 0.0),
        ("squad_em", "The Paris!\n", "paris", 1.0),
        ("squad_em", "an apple, a pear", "apple pear", 1.0),
        ("squad_em", "theatre", "atre", 0.0),
        ("token_f1", "the big red dog", "a red dog", 2 * 2 / (3 + 2)),
        ("token_f1", "no no no yes", "no no", 2 * 2 / (4 + 2)),
        ("token_f1", "cat", "dog", 0.0),
        ("token_f1", "", "dog", 0.0),
        ("token_f1", "the", "a.", 1.0),
        ("edit_similarity", "kitten", "sitting", 1 - 3 / 7),
        ("edit_similarity", "", "", 1.0),
        ("edit_similarity", "", "abc", 0.0),
        ("length", "naïve 東京", None, 8.0),
        ("length", "", None, 0.0),
        ("words", " one  two\nthree ", None, 3.0),
        ("words", "", None, 0.0),
    ],
)
def test_exact_metrics_equal_hand_computed_scores(
    name: str, response: str, reference: str | None, score: float
) -> None:
    assert one(name, response, reference) == pytest.approx(score)


def test_squad_words_normalise_as_official_script() -> None:
    assert squad_words("The U.S.'s  an-swer: a CAT") == ["uss", "answer", "cat"]


@pytest.mark.parametrize("name", PAIRED)
@settings(max_examples=40)
@given(a=texts, b=texts)
def test_exact_metrics_are_in_range_symmetric_and_1_for_equal_texts(name: str, a: str, b: str) -> None:
    score = one(name, a, b)
    assert score is not None
    assert 0 <= score <= 1
    assert score == one(name, b, a)
    assert one(name, a, a) == 1


@given(texts, texts)
def test_exact_match_is_at_most_squad_em_at_most_token_f1(a: str, b: str) -> None:
    exact, squad, f1 = (one(name, a, b) for name in ("exact_match", "squad_em", "token_f1"))
    assert exact is not None
    assert squad is not None
    assert f1 is not None
    assert exact <= squad <= f1


@pytest.mark.parametrize("name", [*PAIRED, "length", "words"])
def test_exact_metrics_score_empty_text_but_not_null(name: str) -> None:
    responses, references = [None, "x", "", None], ["x", None, "x", None]
    lacking = [True, name not in REFERENCE_FREE, False, True]
    assert [score is None for score in load(name)(responses, references)] == lacking


def test_metrics_declare_needs_reference_correctly() -> None:
    cheap = [name for name in METRICS if name not in ("embedding_similarity", "bert_score")]
    for package in ("rouge_score", "sacrebleu"):
        pytest.importorskip(package, reason="Left out: what metrics declare, for want of batch-scorer[metrics].")
    assert {name for name in cheap if not load(name, OPTIONS.get(name)).needs_reference} == REFERENCE_FREE
