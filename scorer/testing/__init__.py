"""Contracts that plug-ins are tested against with pytest: one class for judges, providers, metrics and publishers each.

    from scorer.testing import MetricContract

    class TestMine(MetricContract):
        def make(self):
            return Mine()

Needs pytest, which scorer itself does not install.
"""

import pytest

pytest.register_assert_rewrite(
    f"{__name__}.judge", f"{__name__}.metric", f"{__name__}.provider", f"{__name__}.publisher"
)

from scorer.testing.judge import JudgeContract  # noqa: E402
from scorer.testing.metric import MetricContract  # noqa: E402
from scorer.testing.provider import ProviderContract  # noqa: E402
from scorer.testing.publisher import PublisherContract  # noqa: E402

__all__ = ["JudgeContract", "MetricContract", "ProviderContract", "PublisherContract"]
