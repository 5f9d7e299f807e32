"""Promise: a row whose id is a UUID is asked about, found and shown by its usual text."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scorer
from scorer.analysis.binary_text import binary_text, binary_values
from scorer.cli.app import _exit_code

IDS = [UUID(int=number << 100 | 0xFF) for number in range(1, 4)]


@given(value=st.binary(max_size=20))
def test_the_text_of_a_binary_value_leads_back_to_it(value: bytes) -> None:
    assert value in binary_values(binary_text(value))


def test_a_uuid_is_prompted_kept_and_found_by_its_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = pa.array([one.bytes for one in IDS], pa.uuid())
    pq.write_table(pa.table({"id": ids, "said": ["4", "5", "3"]}), tmp_path / "a.parquet")
    path = str(tmp_path / "a.parquet")
    out = str(tmp_path / "out")
    found = scorer.run(
        {
            "input": {"shards": [path], "id": "id"},
            "judge": {"prompt": "Rate {id}.", "scale": [1, 5]},
            "model": {"provider": "recorded", "path": path, "keys": ["id"], "replies": "said"},
            "output": {"path": out},
        }
    )
    assert found.scored == 3
    assert pq.read_table(f"{out}/scores/a.parquet").column("id").type == pa.uuid()
    capsys.readouterr()
    assert _exit_code(["show", out, "--row", str(IDS[1]), "--json"]) == 0
    ((row,),) = [pick["rows"] for pick in json.loads(capsys.readouterr().out)["picks"]]
    assert (row["row"], row["id"], row["score"]) == (1, str(IDS[1]), 5.0)
    assert row["texts"]["prompt"] == f"Rate {IDS[1]}."
