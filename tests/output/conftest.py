"""Fixtures of the tests of the output folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Where a ledger's files go; it is made by the first one."""
    return f"{tmp_path}/ledger"
