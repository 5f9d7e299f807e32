"""Promise: a run through batches is rehearsed through batches, by its protocol, at its price, within seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest
from support.inprocess import PROMPT

import scorer
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.job.rehearse import rehearsal


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_run_through_batches_is_rehearsed_through_batches(tmp_path: Path, provider: str) -> None:
    rows = {"id": [f"r{number}" for number in range(40)], "response": ["said"] * 40}
    pl.DataFrame(rows).write_parquet(tmp_path / "in.parquet")
    tree = {
        "input": {"shards": [f"{tmp_path}/in.parquet"], "id": "id"},
        "judge": {"prompt": PROMPT, "scale": [1, 10]},
        "model": {
            "provider": provider,
            "name": "no-such-model",
            "mode": "batch",
            "batch": {"max_requests": 20, "min_requests": 1},
            "price": {"input": 1.0, "output": 2.0},
        },
        "output": {"path": f"{tmp_path}/out"},
        "rehearsal": {"batch": {"validate_s": 0.0, "work_s": 0.1, "finalize_s": 0.0, "create_502": 0.5}},
    }
    with rehearsal(tree) as (planned, judge):
        status = asyncio.run(Job(planned, LocalFiles()).run())
        made, rows = judge.stats()["batches"], judge.rows()
    assert (status.scored, status.state) == (40, "complete")
    assert (made["batches"], made["paid"], made["paid_again"], made["paid_not_fetched"]) == (2, 40, 0, 0)
    assert rows == {}  # nothing was asked online
    found = scorer.scan_scores(f"{tmp_path}/out-rehearsal").collect()
    assert found["batch"].n_unique() == 2
    assert status.cost_usd == pytest.approx((made["prompt_tokens"] + 2 * made["completion_tokens"]) / 1e6 / 2)
