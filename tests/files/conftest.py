"""An empty prefix in the S3 server for each test of this folder."""

from __future__ import annotations

import importlib.util
import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.seaweed import Weed

_PLACES = itertools.count()

collect_ignore_glob = [] if importlib.util.find_spec("obstore") else ["test_*.py"]
"""Without the extra lake there is nothing here to test."""


@pytest.fixture
def root(weed: Weed, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder of the bucket, which the environment leads to."""
    from support.seaweed import BUCKET

    for name, value in weed.variables().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{next(_PLACES)}"
