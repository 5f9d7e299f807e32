"""Peak memory and CPU of the report page and of the analysis, by the number of rows; by hand, some minutes.

    python -m benchmarks.report [--rows 1000000 4000000] [--of report leaderboard agree show] [--real] [--keep FOLDER]

Runs of 20 systems in 8 tasks, 100,000 rows a shard, 20 rows an item, human values for a tenth, responses in the input
alone. Scores are 1 to 5 by halves; with `--real` nearly all are different. Each command runs in a process of its own.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEMS, TASKS, ROWS_OF_ITEM, SHARD = 20, 8, 20, 100_000
COLUMNS = ("--score", "score", "--system", "model", "--item", "item")
COMMANDS = {
    "report": ("report", "{out}", "--human", "human", "-o", "{root}/page.html"),
    "leaderboard": ("leaderboard", "{out}", *COLUMNS, "--task", "task"),
    "agree": ("agree", "{out}", *COLUMNS, "--human", "human"),
    "show": ("show", "{out}", "--disagree", "human"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--of", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--real", action="store_true", help="scores that nearly all are different")
    parser.add_argument("--keep", type=Path, help="make the runs here, or find them here")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="report-"))
    found: dict[str, dict[int, tuple[float, float]]] = {}
    try:
        for rows in options.rows:
            root = folder / f"{rows}{'-real' if options.real else ''}"
            if not root.exists():
                root.mkdir(parents=True)
                # In a process of its own: a command begins with the peak of the process that starts it.
                arguments = f"{str(root)!r}, {rows}, real={options.real}"
                subprocess.run(
                    [sys.executable, "-c", f"from benchmarks.report import make; make({arguments})"], check=True
                )
            for name in options.of:
                words = [word.format(out=root / "out", root=root) for word in COMMANDS[name]]
                peak, cpu = measured(words)
                found.setdefault(name, {})[rows] = peak, cpu
                print(f"{name:12}{rows:>12,} rows {peak:8.1f} MB {cpu:7.1f} s CPU", flush=True)
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    print(json.dumps(found))


def make(folder: str, rows: int, *, real: bool) -> None:
    """A finished run in a folder."""
    import numpy as np
    import polars as pl

    from tests.support.finished_runs import finished_run

    rng = np.random.default_rng(0)
    row = np.arange(rows)
    item, system = row // ROWS_OF_ITEM, row % SYSTEMS
    human = np.where(rng.random(rows) < 0.1, rng.integers(1, 6, rows).astype(float), np.nan)
    score = 3 + (system - SYSTEMS / 2) / 20 + rng.normal(0, 0.8, rows)
    score = np.clip(score if real else np.round(2 * score) / 2, 1, 5)
    words = pl.Series(["a word and more of it " * n for n in range(60)])
    named = {
        "id": pl.Series(row).cast(pl.String),
        "model": pl.Series([f"system-{n:02d}" for n in range(SYSTEMS)])[system],
        "item": "item-" + pl.Series(item).cast(pl.String),
        "task": pl.Series([f"task {n}" for n in range(TASKS)])[item % TASKS],
        "human": pl.Series(human).fill_nan(None),
        "response": words[rng.integers(1, 60, rows)],
    }
    results = {
        "score": pl.Series(np.where(rng.random(rows) < 0.002, np.nan, score)).fill_nan(None),
        "prompt_tokens": pl.Series(rng.integers(200, 900, rows)),
        "cost_microusd": pl.Series(rng.integers(20, 90, rows)),
        "finished_at": 1_700_000_000_000_000 + pl.Series(row) * 300,
    }
    kept = ["model", "item", "task"]
    finished_run(Path(folder), pl.DataFrame(named), results, keep=kept, shards=max(1, rows // SHARD))


def measured(words: list[str]) -> tuple[float, float]:
    """Peak resident memory in MB and CPU seconds of a command of scorer."""
    child = subprocess.Popen([sys.executable, "-m", "scorer", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"scorer {' '.join(words)} ended with {child.returncode}")
    return used.ru_maxrss / (1024 if sys.platform == "darwin" else 1) / 1024, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
