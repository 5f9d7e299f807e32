"""Fixtures of the tests of the output folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.inprocess import Run


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Where a ledger's files go; it is made by the first one."""
    return f"{tmp_path}/ledger"


@pytest.fixture
def sealed_run(tmp_path: Path) -> Run:
    """Two sealed shards of 12 and 9 rows, as the next start leaves them."""
    made = Run(tmp_path, 12, 9)
    made.run()
    made.run()
    assert made.segments() == made.segments("b") == []
    made.exact()
    return made


@pytest.fixture
def unfinished_run(tmp_path: Path) -> Run:
    """A sealed shard, and one of 20 rows of which at least 4 are stored in segments and some are not scored yet."""
    made = Run(tmp_path, 8, 20)
    made.stop_after(16)
    assert made.sealed().exists()
    assert len(made.segments("b")) >= 2
    assert not made.sealed("b").exists()
    return made
