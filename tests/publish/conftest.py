"""The tables that every test of this folder is run for."""

from __future__ import annotations

from pathlib import Path

import pytest
from publish.lakes import LAKES, Lake


@pytest.fixture(params=LAKES)
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A place for a table, in each format whose library is installed."""
    pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[request.param])
    made: Lake = LAKES[request.param](tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    if request.param == "iceberg":
        from pyiceberg.utils.config import Config

        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # read once a process; here it changes
    return made
