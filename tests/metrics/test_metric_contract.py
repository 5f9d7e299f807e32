"""Our own metrics keep the contract that plug-ins are tested against."""

from __future__ import annotations

import pytest

from scorer.metrics import METRICS, load
from scorer.metrics.protocol import Metric
from scorer.testing import MetricContract

MODELS = ("embedding_similarity", "bert_score")
"""They need weights, and have tests of their own."""

OPTIONS = {"well_formed": {"labels": ["42", "Nothing of it."]}}


@pytest.mark.parametrize("name", [name for name in METRICS if name not in MODELS])
class TestOurMetrics(MetricContract):
    @pytest.fixture(autouse=True)
    def named(self, name: str) -> None:
        if METRICS[name].startswith(("scorer.metrics.rouge", "scorer.metrics.bleu_chrf", "scorer.metrics.edit")):
            pytest.importorskip("rouge_score")
            pytest.importorskip("sacrebleu")
            pytest.importorskip("rapidfuzz")
        self.name = name

    @pytest.fixture
    def metric(self, named: None) -> Metric:
        return self.make()

    def make(self) -> Metric:
        return load(self.name, OPTIONS.get(self.name))
