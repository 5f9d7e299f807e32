"""Runs the real command in a process: run files, shards, processes, and the files that they leave.

Every start is a process of its own, so that signals and exit codes are those of life. It is forked from a process that
has imported scorer (`warm_starts`); its workers start cold.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from support.warm_starts import WarmProcess, WarmStarts

from scorer.files.local_files import LocalFiles
from scorer.output.status import Status, status
from scorer.output.verify.folder import verify
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess
from scorer.rehearsal.reply_writer import ReplyWriter

_WARM = WarmStarts()
COMMAND = (sys.executable, "-m", "scorer")
PATIENCE_S = 120.0
JUDGE = RehearsalConfig(latency_median_s=0.0, scale=(1, 10), retry_after_s=0.05)
"""Answers at once and without fault; a row's own score is `crc32(row) % 10 + 1`."""
PROMPT = "[row:{id}] Rate the response from 1 to 10.\n{response}\nScore:"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its output, which is one JSON value and nothing else."""
        return json.loads(self.out)


def scorer(*arguments: object, stdin: str | None = None, **variables: str) -> Ended:
    """Runs a command to its end, with `variables` in its environment; a variable of Python's own means a cold start."""
    if not any(name.startswith("PYTHON") for name in variables):
        return Ended(*_WARM.run([*map(str, arguments)], {**os.environ, **variables}, stdin, PATIENCE_S))
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **variables},
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def started(*arguments: object, **variables: str) -> WarmProcess:
    """A command under way, with `variables` in its environment; used as a block, it does not outlive it."""
    return _WARM.start([*map(str, arguments)], {**os.environ, **variables})


def ended(process: WarmProcess, *signals: signal.Signals) -> Ended:
    """Sends the signals, each when the one before was answered in a line, and waits for the end."""
    said = ""
    for number in signals:
        process.send_signal(number)
        if number is not signal.SIGKILL:
            said += answer(process)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode is not None
    return Ended(process.returncode, out, said + err)


def answer(process: WarmProcess) -> str:
    """The next line on stderr that is no progress."""
    assert process.stderr is not None
    return next(line for line in process.stderr if " rows | " not in line)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def all_places_wait(judge: RehearsalProcess) -> bool:
    """The judge has `IN_FLIGHT` requests, and has answered none for half a second: none is on its way, nor a reply."""
    answered = judge.stats()["ok"]
    time.sleep(0.5)
    now = judge.stats()
    return bool((now["ok"], now["in_flight"]) == (answered, IN_FLIGHT))


def assert_pace(judge: RehearsalProcess, per_s: float) -> None:
    """Until each second the judge got no more than it allows by then, and a third of a second's worth.

    Counted from the first second: a judge that stands still takes many at once afterwards, but none too early.
    """
    timeline, arrived = judge.stats()["timeline"], 0
    for second, requests, *_ in timeline:
        arrived += requests
        assert arrived <= per_s * (second - timeline[0][0] + 1.35)


def slow_disk(folder: Path, seconds: float) -> dict[str, str]:
    """What to put into the environment of a command whose fsync, and that of its workers, takes so long."""
    (folder / "slow").mkdir(exist_ok=True)
    (folder / "slow/sitecustomize.py").write_text(
        "import os, time\n"
        "at_once = os.fsync\n"
        "def fsync(descriptor):\n"
        f"    time.sleep({seconds})\n"
        "    at_once(descriptor)\n"
        "os.fsync = fsync\n"
    )
    return {"PYTHONPATH": f"{folder}/slow"}


def children(owner: int, marked: Callable[[bytes], bool]) -> list[int]:
    """The living processes that `owner` started and whose command line is `marked`, by the kernel's word."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(state[1]) == owner and state[0] != "Z" and marked(command):
                found.append(int(folder.name))
    return sorted(found)


def workers_of(owner: int) -> list[int]:
    """The worker processes of a run: not one that is forked and has the command line of its parent still."""
    return children(owner, lambda command: b"\0scorer.workers\0" in command)


def shard(path: Path, rows: int, first: int = 0, response: str | None = "It is right, more or less.") -> Path:
    """A shard of rows named r<first>, r<first + 1>, ..."""
    ids = [f"r{number}" for number in range(first, first + rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": pa.array(ids, pa.string()), "response": pa.array([response] * rows, pa.string())}
    pq.write_table(pa.table(columns), path)
    return path


IN_FLIGHT = 16
FLUSH_ROWS = 10
SMALL_STEPS: dict[str, dict[str, Any]] = {
    "limits": {"concurrency": IN_FLIGHT},
    "output": {"flush_rows": FLUSH_ROWS, "flush_s": 0.2},
}
"""For a run whose workers are killed: little is in flight, and little unwritten. The timeout is the usual one, so that
only kills leave bills unknown, however loaded the machine is."""


def run_file(folder: Path, url: str, **tables: Mapping[str, Any]) -> Path:
    """A run of `folder`/in/*.parquet into `folder`/out, whose judge is at `url`; `tables` add keys or change them."""
    tree: dict[str, dict[str, Any]] = {
        "input": {"shards": [f"{folder}/in/*.parquet"], "id": "id"},
        "judge": {"prompt": PROMPT, "scale": [1, 10]},
        "model": {"name": "rehearsal-judge", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
        "limits": {"concurrency": 16},
        "output": {"path": f"{folder}/out"},
    }
    for name, keys in tables.items():
        tree[name] = {**tree.get(name, {}), **keys}
    path = folder / "run.toml"
    path.write_text(toml(tree))
    return path


def toml(tree: Mapping[str, Mapping[str, Any]]) -> str:
    """Two levels of tables as TOML."""
    lines = []
    for table, keys in tree.items():
        lines += [f"[{table}]", *(f"{key} = {_value(value)}" for key, value in keys.items())]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def standing(folder: Path) -> Status | None:
    """How the run into `folder`/out stands, None before it has begun."""
    try:
        return status(LocalFiles(), f"{folder}/out")
    except Exception as error:
        if type(error).__name__ == "SpecError":
            return None
        raise


def scores(folder: Path, out: str = "out") -> list[dict[str, Any]]:
    """The sealed results, shard by shard."""
    found: list[dict[str, Any]] = []
    for path in sorted((folder / out / "scores").glob("*.parquet")):
        found += pq.read_table(path).to_pylist()
    return found


def whole(folder: Path, rows: int) -> None:
    """Every row of `folder`/out is there exactly once, with its own score, and `verify` agrees.

    What needs no process of its own has none: each costs most of a second of CPU.
    """
    found = scores(folder)
    assert [row["id"] for row in found] == [f"r{number}" for number in range(rows)]
    assert [row["score"] for row in found] == [own_score(row["id"]) for row in found]
    assert verify(LocalFiles(), f"{folder}/out").findings == ()


def own_score(row: str) -> float:
    """What the rehearsal judge thinks of this row, and of no other."""
    return float(ReplyWriter(JUDGE).verdict(row).label)
