"""Promise: a cascade killed at any moment, by workers or in batches, asks the strong model about its own rows alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.command import JUDGE, ended, own_score, scorer, scores, shard, started, toml, wait_until

from scorer.files.local_files import LocalFiles
from scorer.output import ledger
from scorer.output.verify.folder import verify
from scorer.rehearsal.process import RehearsalProcess

ROWS, SAMPLES, IN_FLIGHT, FLUSH_ROWS = 48, 2, 4, 3
HARD = r"\[row:r\d*[02468]\]"
"""The rows that the cheap model refuses: they go to the strong one."""
Judges = dict[str, RehearsalProcess]
PRICES = {"cheap": 1.0, "strong": 10.0}


@pytest.fixture(scope="module")
def refusing() -> Iterator[RehearsalProcess]:
    with RehearsalProcess(replace(JUDGE, refuse=HARD)) as process:
        yield process


@pytest.fixture
def judges(judge: RehearsalProcess, refusing: RehearsalProcess) -> Judges:
    found = {"cheap": refusing, "strong": judge}
    for one in found.values():
        one.reset()
        one.configure(latency_median_s=0.02, batch={"work_s": 0.3, "validate_s": 0.1})
    return found


def run_file(folder: Path, judges: Judges, **model: Any) -> Path:
    for number in range(2):
        shard(folder / f"in/{number}.parquet", ROWS // 2, first=number * ROWS // 2)
    tree = {
        "input": {"shards": [f"{folder}/in/*.parquet"], "id": "id"},
        "judge": {
            "kind": "cascade", "models": ["cheap", "strong"], "threshold": 0.9, "samples": SAMPLES, "attempts": 1,
            "scale": [1, 10], "prompt": "[row:{id}] Rate the response from 1 to 10.\n{response}\nScore:",
        },
        "limits": {"concurrency": IN_FLIGHT, "max_usd": 10.0},
        "output": {"path": f"{folder}/out", "flush_rows": FLUSH_ROWS, "flush_s": 0.1},
    }  # fmt: skip
    text = toml(tree)
    for alias, price in PRICES.items():
        one = {"alias": alias, "name": f"{alias}-judge", "base_url": judges[alias].url, **model}
        text += "\n" + toml({"[models]": {**one, "price": {"input": price, "output": price}}})
    path = folder / "run.toml"
    path.write_text(text + "\n")
    return path


def paid(judge: RehearsalProcess) -> dict[str, int]:
    """How many requests of each row the model was paid for, online and in batches."""
    counts = {row: stats["paid"] for row, stats in judge.rows().items()}
    for one in judge.payments().values():
        counts[one["row"]] = counts.get(one["row"], 0) + one["paid"]
    return counts


def spent_usd(judges: Judges) -> float:
    """What the models were paid, online and at half the price in batches."""
    usd = 0.0
    for alias, judge in judges.items():
        stats = judge.stats()
        usd += PRICES[alias] * sum(
            stats[name] for name in ("prompt_tokens", "completion_tokens", "lost_completion_tokens")
        )
        for one in judge.payments().values():
            usd += PRICES[alias] / 2 * one["paid"] * (one["prompt_tokens"] + one["completion_tokens"])
    return usd / 1e6


def ledger_usd(folder: Path) -> float:
    totals = ledger.totals(LocalFiles(), f"{folder}/out/ledger")
    return (totals.pico + totals.maybe_pico) / 10**12


@pytest.mark.slow
@pytest.mark.parametrize("way", ["workers", "batches"])
def test_killed_cascade_has_every_row_once_from_the_model_that_decides_it(
    way: str, judges: Judges, tmp_path: Path
) -> None:
    """Slow: a run killed half-way, and its end.

    Until then the judges are slow, so that it is killed amid its work also by a test that stands still for seconds.
    """
    for judge in judges.values():
        judge.configure(latency_median_s=0.25)
    judges["strong"].configure(batch={"work_s": 6.0})
    batch = {"mode": "batch", "batch": {"max_requests": 12, "poll_s": 0.1, "min_requests": 1}}
    run = run_file(tmp_path, judges, **(batch if way == "batches" else {}))
    command = ["run", run, *(["--workers", "2"] if way == "workers" else [])]
    with started(*command) as process:
        wait_until(lambda: len(paid(judges["strong"])) >= ROWS // 8)
        assert ended(process, signal.SIGKILL).code == -signal.SIGKILL
    for judge in judges.values():
        wait_until(lambda judge=judge: judge.stats()["in_flight"] == 0)  # type: ignore[misc]
        judge.configure(latency_median_s=0.02, batch={"work_s": 0.3})
    last = scorer(*command, "--json")
    assert last.code == 0, last.err
    found = {row["id"]: row for row in scores(tmp_path)}
    assert len(found) == ROWS
    for name, row in found.items():
        hard = int(name[1:]) % 2 == 0
        assert (row["score"], row["error"], row["decided_by"], row["kept"]) == (
            own_score(name), None, "strong" if hard else "cheap", not hard,
        )  # fmt: skip
    most_again = {"workers": 2, "batches": 0}[way] * (IN_FLIGHT + 2 * FLUSH_ROWS)
    for alias, once, rows in (("cheap", SAMPLES, range(ROWS)), ("strong", 1, range(0, ROWS, 2))):
        requests = paid(judges[alias])
        assert set(requests) == {f"r{number}" for number in rows}
        assert sum(times > once for times in requests.values()) <= most_again
    assert verify(LocalFiles(), f"{tmp_path}/out").findings == ()
    assert ledger_usd(tmp_path) >= spent_usd(judges) > 0
