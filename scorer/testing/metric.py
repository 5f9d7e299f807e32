"""The contract of a metric: what `scorer.metrics.protocol.Metric` promises."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest

from scorer.metrics.protocol import Metric
from scorer.metrics.references import best_scores
from scorer.testing.pure import other_moment


class MetricContract(ABC):
    """Tests of a metric. Derive a class `Test...` and give `make`; change `pairs` where yours reads other texts."""

    pairs: Sequence[tuple[str, str]] = (
        ("The cat sat on the mat.", "A cat sat on a mat."),
        ("42", "42"),
        ("Nothing of it.", "Wholly other words"),
        ("", "An empty response"),
        ("An empty reference", ""),
        ("naïve 日本語 👩‍🚀\n\ttabs", "naive 日本 👩\n"),
    )
    """Responses and their references; all texts."""
    tolerance: float = 1e-6
    """Two scores of one pair may differ by so much, for instance where a model computes in batches."""

    @abstractmethod
    def make(self) -> Metric:
        """A new metric, made as a run makes it: its options are its keyword arguments, by default none."""

    @pytest.fixture
    def metric(self) -> Metric:
        return self.make()

    def test_metric_needs_reference_is_a_boolean(self, metric: Metric) -> None:
        assert isinstance(metric.needs_reference, bool)

    def test_metric_gives_a_finite_number_or_none_for_each_row(self, metric: Metric) -> None:
        scores = self._scores(metric, self.pairs)
        assert len(scores) == len(self.pairs)
        for score in scores:
            assert score is None or math.isfinite(float(score)), "write None where there is no score"

    def test_metric_scores_some_row(self, metric: Metric) -> None:
        assert any(score is not None for score in self._scores(metric, self.pairs))

    def test_metric_of_no_rows_is_empty(self, metric: Metric) -> None:
        assert list(metric([], [])) == []

    def test_metric_of_a_null_response_is_none_and_changes_no_other_row(self, metric: Metric) -> None:
        whole = self._scores(metric, self.pairs)
        for null in range(len(self.pairs)):
            responses = [None if n == null else pair[0] for n, pair in enumerate(self.pairs)]
            scores = list(metric(responses, [pair[1] for pair in self.pairs]))
            assert scores[null] is None
            self._same(scores, [None if n == null else score for n, score in enumerate(whole)])

    def test_metric_of_a_null_reference_is_none_only_where_needed(self, metric: Metric) -> None:
        whole = self._scores(metric, self.pairs)
        scores = list(metric([pair[0] for pair in self.pairs], [None] * len(self.pairs)))
        self._same(scores, [None] * len(whole) if metric.needs_reference else whole)

    def test_metric_is_the_same_in_any_batch_and_order(self, metric: Metric) -> None:
        whole = self._scores(metric, self.pairs)
        self._same([self._scores(metric, [pair])[0] for pair in self.pairs], whole)
        self._same(self._scores(metric, self.pairs[::-1])[::-1], whole)
        self._same(self._scores(metric, [*self.pairs, *self.pairs]), [*whole, *whole])

    def test_metric_is_the_same_for_another_instance(self, metric: Metric) -> None:
        whole = self._scores(metric, self.pairs)
        with other_moment(7):
            self._same(self._scores(self.make(), self.pairs), whole)

    def test_metric_over_several_references_is_the_highest(self, metric: Metric) -> None:
        references = [pair[1] for pair in self.pairs]
        for response, _ in self.pairs:
            (score,) = best_scores("metric", metric, [response], [references])
            assert score is None or math.isfinite(float(score))
            if not getattr(metric, "takes_lists", False):
                alone = [next(iter(metric([response], [reference]))) for reference in references]
                self._same([score], [max((one for one in alone if one is not None), default=None)])

    def test_metric_does_not_change_the_given_lists(self, metric: Metric) -> None:
        responses, references = [pair[0] for pair in self.pairs], [pair[1] for pair in self.pairs]
        metric(responses, references)
        assert list(zip(responses, references, strict=True)) == [tuple(pair) for pair in self.pairs]

    def _scores(self, metric: Metric, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        return list(metric([pair[0] for pair in pairs], [pair[1] for pair in pairs]))

    def _same(self, scores: Sequence[float | None], expected: Sequence[float | None]) -> None:
        assert len(scores) == len(expected)
        for row, (score, other) in enumerate(zip(scores, expected, strict=True)):
            if score is None or other is None:
                assert score is other, f"row {row}: {score} and {other}"
            else:
                assert math.isclose(score, other, rel_tol=self.tolerance, abs_tol=self.tolerance), f"row {row}"
