"""Runs from a bucket into a bucket: shards, run files, starts with a short lease, and what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from support.command import IN_FLIGHT, PROMPT, own_score, shard, started, toml, wait_until
from support.formats import WRITERS
from support.warm_starts import WarmProcess

from scorer.files.files import Files, replace
from scorer.output.layout import Layout
from scorer.output.scan import scan_scores
from scorer.rehearsal.process import RehearsalProcess

ROWS = 300


def shards(files: Files, root: str, scratch: Path, end: str = "parquet") -> None:
    """Three shards of a hundred rows in `root`/in."""
    for number in range(3):
        path = shard(scratch / f"{number}.parquet", ROWS // 3, first=number * ROWS // 3)
        replace(files, f"{root}/in/{number}.{end}", WRITERS[end](pq.read_table(path).to_pylist()))


def run_file(folder: Path, root_in: str, root_out: str, url: str, **tables: Any) -> Path:
    tree: dict[str, dict[str, Any]] = {
        "input": {"shards": [f"{root_in}/in/*.parquet"], "id": "id"},
        "judge": {"prompt": PROMPT, "scale": [1, 10]},
        "model": {"name": "rehearsal-judge", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
        "limits": {"concurrency": IN_FLIGHT, "max_usd": 5.0},
        "output": {"path": f"{root_out}/out", "flush_rows": 20, "flush_s": 0.2},
    }
    for name, keys in tables.items():
        tree[name] = {**tree.get(name, {}), **keys}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.toml"
    path.write_text(toml(tree))
    return path


def prepared(judge: RehearsalProcess, files: Files, root: str, folder: Path) -> Path:
    """Shards at `root`, and the run file, in `folder`, of a run from there to there."""
    shards(files, root, folder / "scratch")
    return run_file(folder, root, root, judge.url)


def whole(out: str) -> pl.DataFrame:
    """The scores, after proving that each row is there once, in order, with its own score."""
    scores = scan_scores(out).collect()
    assert scores["id"].to_list() == [f"r{number}" for number in range(ROWS)]
    assert scores["score"].to_list() == [own_score(f"r{number}") for number in range(ROWS)]
    return scores


LEASE_S = 0.6
_START = """
import os, sys, tomllib
from scorer.build.plan import check
from scorer.errors import ScorerError
from scorer.processes.event_loop import on_loop
from scorer.job.callbacks import Callbacks
from scorer.job.job import Job
from scorer.files.router import AnyFiles
os.chdir(sys.argv[3])
plan = check(tomllib.loads(open("run.toml").read()))
say = lambda text: print(text, file=sys.stderr)
try:
    files = AnyFiles(lease_s=float(sys.argv[1]), patience_s=float(sys.argv[2]))
    on_loop(Job(plan, files, callbacks=Callbacks(say=say)).run())
except ScorerError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
"""`scorer run run.toml` with a lease of its own length, so that a test need not wait for the usual one."""


class Machine:
    """A working folder of its own with nothing in it but the run file."""

    def __init__(self, run: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "run.toml").write_text(run.read_text())
        self._folder = folder

    def start(self, *, patience_s: float = 30.0, lease_s: float = LEASE_S) -> WarmProcess:
        """A run under way; it does not outlive the block."""
        return started("-c", _START, lease_s, patience_s, self._folder)


def renewals_end(files: Files, out: str) -> None:
    """Waits for the last renewal of an owner that was killed or stopped: its request may still be at the store."""
    wait_until(lambda: not files.locked(Layout(out).lock))


def rows_stored(files: Files, out: str) -> int:
    """Rows in segments and sealed files."""
    layout = Layout(out)
    stems = files.folders(layout.segments)
    stored = [segment for stem in stems for segment in layout.segments_of(files, stem)]
    return 20 * len(stored) + 100 * len(files.listing(layout.scores))
