"""`scorer status` says where rows are unread more often than elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from scorer.analysis.unread_by_column import MOST_SHARDS, unread_by_column
from scorer.api.runs import run
from scorer.cli.app import _exit_code


def finished(folder: Path, *, lost: str) -> str:
    """40 rows of two systems; 8 rows of the system `lost`, or of both alike, have no stored reply."""
    rows = pl.DataFrame({"id": range(40), "system": ["ant", "bee"] * 20, "response": "text"})
    without = rows.filter(pl.col("system").str.contains(lost))[:8]
    rows.write_parquet(folder / "in.parquet")
    replies = rows.join(without, on="id", how="anti").select("id", reply=pl.lit("4"))
    replies.write_parquet(folder / "replies.parquet")
    run(
        {
            "input": {"shards": [str(folder / "in.parquet")], "id": "id", "keep": ["system"]},
            "judge": {"prompt": "{response}", "attempts": 1},
            "model": {
                "provider": "recorded", "path": str(folder / "replies.parquet"), "keys": ["id"], "replies": "reply"
            },
            "limits": {"max_failed_share": 0.5},
            "output": {"path": str(folder / "out")},
        }
    )  # fmt: skip
    return str(folder / "out")


def test_status_names_the_system_with_more_unread_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = finished(tmp_path, lost="bee")
    assert _exit_code(["status", out]) == 0
    assert (
        "The share of rows with no verdict differs by system: more often in bee 40.0% against 0.0%"
        in capsys.readouterr().out
    )
    assert _exit_code(["status", out, "--json"]) == 0
    found = {one["group"]: one for one in json.loads(capsys.readouterr().out)["unread_differs"]}
    assert (found["bee"]["unread"], found["bee"]["here"], found["ant"]["here"]) == (8, 0.4, 0.0)


def test_status_adds_nothing_where_systems_are_unread_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["status", finished(tmp_path, lost="ant|bee")]) == 0
    assert "unevenly" not in capsys.readouterr().out


def test_unread_by_column_reads_nothing_for_few_failed_rows_or_many_files() -> None:
    for errors, shards in (({"Unreadable": 4, "BadRow": 90, "Damaged": 9}, 1), ({"Unreadable": 90}, MOST_SHARDS + 1)):
        status: Any = SimpleNamespace(errors=errors, shards=shards)
        assert not unread_by_column("no/such/folder", status).notes
