"""Promises of the real command under kill -9 and a faulty judge: no row lost, no score invented, no cap exceeded.

All of it at small scale, 600 rows; docs/project/log.md has the figures of the large one.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pyarrow.parquet as pq
import pytest
from support.command import ended, own_score, run_file, scorer, scores, shard, standing, started, wait_until
from support.formats import WRITERS, written
from support.http_server import HttpHandler, HttpServer

from scorer.errors import ROW_ERRORS
from scorer.rehearsal.config import FAULTS
from scorer.rehearsal.process import RehearsalProcess

pytestmark = pytest.mark.slow

ROWS = 600
IN_FLIGHT = 32
FLUSH_ROWS = 20
FAULTY = dict.fromkeys([f"fault_{name}" for name in FAULTS], 0.02)
PACE = {"latency_median_s": 0.05, "hang_s": 12.0, "slow_s": 0.1}
TO_BE_KILLED = {"latency_median_s": 0.4}
"""Slow enough that a run is killed amid its work also by a test that stands still for five seconds."""
TABLES: dict[str, dict[str, Any]] = {
    "model": {"timeout_s": 60.0, "retries": 12},
    "judge": {"attempts": 6},
    "limits": {"concurrency": IN_FLIGHT},
    "output": {"flush_rows": FLUSH_ROWS, "flush_s": 0.2},
}


@pytest.fixture
def judge(judge: RehearsalProcess) -> RehearsalProcess:
    judge.configure(**PACE)
    return judge


def whole(folder: Path) -> list[dict[str, Any]]:
    """The finished table, after proving that it has every row exactly once with its own score or a typed error."""
    rows = scores(folder)
    assert [row["id"] for row in rows] == [f"r{number}" for number in range(ROWS)]
    for row in rows:
        assert (row["score"] is None) != (row["error"] is None)
        assert row["score"] in (None, own_score(row["id"]))
        assert row["error"] is None or row["error"] in ROW_ERRORS
    return rows


def input_of(folder: Path) -> None:
    for number in range(3):
        shard(folder / f"in/{number}.parquet", ROWS // 3, first=number * ROWS // 3)


def test_run_gives_every_row_exactly_one_result_whatever_the_judge_does(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: 600 rows at 2 % of each of 14 faults, with their waits and timeouts."""
    judge.configure(**FAULTY)
    input_of(tmp_path)
    # Each 429 makes everyone wait a second: the more at once, the fewer waits. On a machine that stands still
    # for seconds a good reply takes as long; one that hangs takes `hang_s`.
    tables = {**TABLES, "model": {**TABLES["model"], "timeout_s": 10.0}, "limits": {"concurrency": 128}}
    ran = scorer("run", run_file(tmp_path, judge.url, **tables), "--json")
    assert ran.code == 0, ran.err
    rows, stats, asked = whole(tmp_path), judge.stats(), judge.rows()
    assert set(stats["faults"]) == set(FAULTS)
    assert [row["attempts"] for row in rows] == [asked[row["id"]]["recv"] for row in rows]
    # Only a paid reply without a verdict is asked again.
    assert stats["paid_again"] <= stats["faults"]["prose"] + stats["faults"]["null"]
    assert Counter(row["error"] for row in rows)[None] >= ROWS - 3
    value = ran.json()
    assert value["prompt_tokens"] + value["completion_tokens"] <= stats["prompt_tokens"] + stats["completion_tokens"]
    assert scorer("verify", tmp_path / "out").code == 0


def test_run_without_faults_sends_no_row_twice(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: 600 rows at 50 ms."""
    input_of(tmp_path)
    assert scorer("run", run_file(tmp_path, judge.url, **TABLES)).code == 0
    assert all(row["error"] is None and row["attempts"] == 1 for row in whole(tmp_path))
    assert {(row["recv"], row["paid"], row["lost"]) for row in judge.rows().values()} == {(1, 1, 0)}


@pytest.mark.parametrize(("end", "kills"), [("parquet", 3), ("jsonl.zst", 1)])
def test_kill_loses_no_stored_row_and_changes_no_score(
    judge: RehearsalProcess, tmp_path: Path, end: str, kills: int
) -> None:
    """Slow: up to three runs killed at random moments, and one that ends, at 2 % of the faults that a retry mends."""
    mended = {f"fault_{name}": 0.02 for name in ("429", "500", "reset", "cut", "html", "error_200", "prose")}
    judge.configure(**mended, **TO_BE_KILLED)
    input_of(tmp_path)
    for path in (tmp_path / "in").iterdir():
        written(path.with_suffix(f".{end}"), WRITERS[end](pq.read_table(path).to_pylist()))
    run = run_file(tmp_path, judge.url, **TABLES, input={"shards": [f"{tmp_path}/in/*.{end}"]})
    moments = sorted(random.Random(7).sample(range(40, ROWS // 2), kills))
    for moment in moments:
        with started("run", run) as process:
            wait_until(lambda moment=moment: judge.stats()["rows_paid"] >= moment)  # type: ignore[misc]
            assert ended(process, signal.SIGKILL).code == -signal.SIGKILL
        wait_until(lambda: judge.stats()["in_flight"] == 0)
        left = standing(tmp_path)
        assert left is not None
        assert left.state == "interrupted"
        # What was paid for and not stored was in flight or not yet flushed.
        assert judge.stats()["rows_paid"] - left.scored <= IN_FLIGHT + 2 * FLUSH_ROWS
    judge.configure(**PACE)
    last = scorer("run", run, "--json")
    assert last.code == 0, last.err
    assert [row["score"] for row in whole(tmp_path)] == [own_score(f"r{number}") for number in range(ROWS)]
    stats = judge.stats()
    assert stats["paid_again"] - stats["faults"]["prose"] <= kills * (IN_FLIGHT + 2 * FLUSH_ROWS)
    assert scorer("verify", tmp_path / "out").code == 0


@pytest.mark.parametrize(("cap", "most"), [("max_tokens", 14_000), ("max_usd", 0.015)])
def test_cap_holds_by_the_judges_own_count_across_a_kill(
    cap: str, most: float, judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: a run killed half-way, its resume, and one more that has nothing left to spend."""
    judge.configure(**{f"fault_{name}": 0.02 for name in ("reset", "cut", "truncate", "prose")}, latency_median_s=0.1)
    input_of(tmp_path)
    run = run_file(tmp_path, judge.url, **{**TABLES, "limits": {"concurrency": 8, cap: most}})
    with started("run", run) as process:
        wait_until(lambda: judge.stats()["rows_paid"] >= 60)
        assert ended(process, signal.SIGKILL).code == -signal.SIGKILL
    wait_until(lambda: judge.stats()["in_flight"] == 0)
    killed_at = judge.stats()["rows_paid"]
    judge.configure(**PACE)
    stopped = scorer("run", run)
    assert stopped.code == 3, stopped.err
    assert f"limits.{cap} = {most:g} is used up" in stopped.err
    stats = judge.stats()
    assert killed_at < stats["rows_paid"] < ROWS
    output = stats["completion_tokens"] + stats["lost_completion_tokens"]
    prompt = stats["prompt_tokens"] + stats["lost_prompt_tokens"]
    assert (prompt + output if cap == "max_tokens" else (prompt + 2 * output) / 1e6) <= most
    assert scorer("run", run).code == 3
    assert judge.stats()["requests"] - stats["requests"] <= 1


class _Gossip(HttpHandler):
    """A judge that repeats the key it was given, wherever it can."""

    keys: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        asked = self.body().decode()
        key = self.headers["authorization"]
        self.keys.add(key)
        if "r0]" in asked:
            status, said = 400, {"error": {"message": f"What is {key}?", "code": "content_filter"}}
        elif "r1]" in asked:
            status, said = 401, {"error": {"message": f"Incorrect API key provided: {key}."}}
        else:
            status, said = 200, {"choices": [{"message": {"content": "Score: 3"}, "finish_reason": "stop"}]}
        self.reply(status, orjson.dumps(said))


def test_api_key_is_in_no_file_no_output_and_no_traceback(tmp_path: Path) -> None:
    """Slow: three starts of the real command against a server of its own."""
    key = "sk-test-4f1d0c9b8a7e6d5c4b3a"
    (tmp_path / "mine.py").write_text(
        "from scorer.judges.rating import Rating\n"
        "class Broken(Rating):\n"
        "    def __call__(self, row):\n"
        "        try:\n"
        "            return (yield from super().__call__(row))\n"
        "        finally:\n"
        "            raise RuntimeError('a bug')\n"
    )
    shard(tmp_path / "in/a.parquet", 12)
    with HttpServer(_Gossip) as server:
        tables = {
            "model": {"api_key_env": "GOSSIP_KEY", "headers": {"X-Token": "${GOSSIP_KEY}"}},
            "output": {"keep_raw": "full"},
            "limits": {"concurrency": 1},
        }
        run = run_file(tmp_path, f"{server.url}/v1", **tables)
        said = [
            scorer("run", run, GOSSIP_KEY=key, PYTHONPATH=str(tmp_path)),
            scorer("run", run, "--set", "judge.kind=mine:Broken", "--set", f"output.path={tmp_path}/out/bug",
                   GOSSIP_KEY=key, PYTHONPATH=str(tmp_path)),
            scorer("status", tmp_path / "out", GOSSIP_KEY=key),
        ]  # fmt: skip
    assert [one.code for one in said] == [4, 1, 0]
    assert "RuntimeError: a bug" in said[1].err
    assert {f"Bearer {key}"} == _Gossip.keys
    assert "Incorrect API key provided: Bearer ***" in said[0].err
    refused = [
        row for path in (tmp_path / "out/segments").rglob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert [row["error_detail"] for row in refused] == ["What is Bearer ***?"]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 6
    for text in [one.out + one.err for one in said]:
        assert key not in text
    for path in files:
        data = path.read_bytes()
        assert key.encode() not in data, path
        assert key[8:].encode() not in data, path
