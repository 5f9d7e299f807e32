"""Our own publishers keep the contract that plug-ins are tested against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from publish.lakes import Lake

from scorer.publish.publish import publisher
from scorer.publish.sealed import Publisher
from scorer.testing import PublisherContract


@pytest.mark.slow
class TestOurPublishers(PublisherContract):
    """Slow: a table library is imported."""

    @pytest.fixture(autouse=True)
    def of_lake(self, lake: Lake) -> None:
        self.lake = lake

    def place(self, folder: Path) -> str:
        return self.lake.address.partition("://")[2]

    def make(self, place: str, partition_by: Sequence[str] = ()) -> Publisher:
        return publisher(f"{self.lake.scheme}://{place}", partition_by)

    def rows(self, place: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.lake.library().to_pylist()
        return found
