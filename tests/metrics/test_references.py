"""Several references: the best score over them; nulls, empty lists, and metrics that take the list as one reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.metrics import load
from scorer.metrics.references import best_scores, listed

metric = cache(load)
texts = st.text(st.sampled_from("ab c"), max_size=6)
references = st.one_of(st.none(), texts, st.lists(texts, max_size=3))


@given(st.lists(st.tuples(st.none() | texts, references), max_size=8))
def test_best_scores_take_highest_score_over_references(rows: list[tuple[str | None, str | list[str] | None]]) -> None:
    f1 = metric("token_f1")
    scores = best_scores("token_f1", f1, [row[0] for row in rows], [row[1] for row in rows])
    for (response, reference), score in zip(rows, scores, strict=True):
        each = reference if isinstance(reference, list) else [reference]
        alone = [f1([response], [one])[0] for one in each]
        assert score == max((one for one in alone if one is not None), default=None)


def test_best_scores_skip_references_without_score() -> None:
    pytest.importorskip("rouge_score")
    assert best_scores("rouge1", metric("rouge1"), ["a cat", "a cat"], [["?!", "a dog"], ["?!"]]) == [0.5, None]


def test_best_scores_of_reference_free_metric_ignore_references() -> None:
    assert best_scores("words", metric("words"), ["a b", "a"], [["x", "y"], []]) == [2.0, 1.0]


def test_best_scores_pass_list_to_metric_that_takes_lists() -> None:
    assert best_scores("keyword_match", metric("keyword_match"), ["red and blue"], [["red", "green"]]) == [0.5]


def test_best_scores_refuse_metric_returning_too_few_scores() -> None:
    class Loses:
        needs_reference = True

        def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
            return [1.0]

    with pytest.raises(ValueError, match="own gave 1 scores for 2 rows"):
        best_scores("own", Loses(), ["x"], [["y", "z"]])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["a", None, "b"], ["a", "b"]),
        ([], []),
        ([None], []),
        ("a", None),
        (None, None),
        ([1], None),
        ([{"a": 1}], None),
    ],
)
def test_listed_reads_list_of_texts_as_several_references(value: object, found: list[str] | None) -> None:
    assert listed(value) == found
