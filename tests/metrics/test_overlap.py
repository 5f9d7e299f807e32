"""BLEU and chrF equal hand-computed scores and sacrebleu's own, within [0, 1]."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.metrics import load

sacrebleu = pytest.importorskip("sacrebleu", reason="Left out: BLEU and chrF, for want of batch-scorer[metrics].")

texts = st.lists(st.sampled_from(["the", "The", "cat", "sat,", "mat.", "é", "東京", "1"]), max_size=8).map(" ".join)

metric = cache(load)


def one(name: str, response: str | None, reference: str | None) -> float | None:
    return metric(name)([response], [reference])[0]


def test_bleu_equals_hand_computed_score() -> None:
    # 5, 4, 3, 2 n-grams, of which 5, 3, 2, 1 are in the reference; one word short of 6.
    expected = math.exp(1 - 6 / 5) * (5 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
    assert one("bleu", "the cat sat on mat", "the cat sat on the mat") == pytest.approx(expected)


def test_bleu_of_short_text_uses_available_ngram_orders() -> None:
    assert one("bleu", "Paris", "Paris") == 1
    assert one("bleu", "the cat", "the cat") == 1


def test_chrf_equals_hand_computed_score() -> None:
    # Orders 1 and 2: precision 2/2 and 1/1, recall 2/3 and 1/2; "ab" has no longer n-gram.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    expected = (1 + 2**2) * precision * recall / (2**2 * precision + recall)
    assert one("chrf", "ab", "abc") == pytest.approx(expected)


@given(response=texts, reference=texts)
def test_bleu_and_chrf_equal_sacrebleu(response: str, reference: str) -> None:
    bleu, chrf = one("bleu", response, reference), one("chrf", response, reference)
    assert bleu == pytest.approx(sacrebleu.sentence_bleu(response, [reference]).score / 100)
    assert chrf == pytest.approx(sacrebleu.sentence_chrf(response, [reference]).score / 100)
    assert bleu is not None
    assert chrf is not None
    assert 0 <= bleu <= 1
    assert 0 <= chrf <= 1


@pytest.mark.parametrize("name", ["bleu", "chrf"])
@given(text=texts.filter(bool))
def test_bleu_and_chrf_are_1_for_equal_texts(name: str, text: str) -> None:
    assert one(name, text, text) == pytest.approx(1)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_bleu_and_chrf_score_empty_text_but_not_null(name: str) -> None:
    assert load(name)([None, "x", "", "x"], ["x", None, "x", ""]) == [None, None, 0.0, 0.0]
