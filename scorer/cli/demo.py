"""`python -m scorer.cli.demo [FOLDER]`: scores the bundled sample with the embedded judge and prints the result."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from scorer.cli.app import main as command
from scorer.cli.init import starter
from scorer.errors import ScorerError
from scorer.files.files import replace
from scorer.files.local_files import LocalFiles

WHAT_IT_SEES = """\
A model this small notices text that has nothing to do with its source. It cannot see wrong facts, copying or tone: on
this sample its ranking is close to chance. It shows that the path works; a real judge is needed for the rest."""
METRICS = ("length", "rouge1", "embedding_similarity")
BESIDE = f"""
[metrics]
names = {json.dumps(METRICS)}
response = "response"
reference = "reference"
"""


def demo(folder: str) -> int:
    """Runs or resumes the demo in `folder` and prints its tables. Returns the exit code of `scorer run`."""
    import polars as pl

    from scorer.output.scan import scan_scores

    run_file, out = f"{folder}/run.toml", f"{folder}/out"
    if not Path(run_file).exists():
        replace(LocalFiles(), run_file, (starter(run_file, out) + BESIDE).encode())
    if code := _typed("run", run_file):
        return code
    scores = scan_scores(out).collect()
    means = (
        scores.group_by("model", "task")
        .agg(
            pl.len().alias("rows"), pl.col("error").is_not_null().sum().alias("failed"), pl.col("score", "human").mean()
        )
        .sort("model", "task")
    )
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_rows=-1, float_precision=3):
        print("\nMean score (log-probability, higher is likelier) and mean human grade:")
        print(means)
    columns = ["score", *(f"metric_{name}" for name in METRICS)]
    asked = [word for column in columns for word in ("--score", column)]
    print("\nHow far each score agrees with the human grades:")
    if code := _typed("agree", out, *asked, "--human", "human", "--item", "item", "--system", "model"):
        return code
    print(f"\n{WHAT_IT_SEES}")
    print(
        f"\nScores: {out}/scores/generations.parquet. Read them: scorer.scan_scores({out!r}), or any Parquet reader.\n"
        f"Rows where the judge is most wrong: {_program()} show {out} --disagree human\n"
    )
    named = ("--human", "human", "--item", "item", "--system", "model", "--task", "task")
    return _typed("report", out, "-o", f"{folder}/report.html", *named)


def _program() -> str:
    """The command as it can be typed here: by its path where the environment of this Python is not active."""
    return "scorer" if shutil.which("scorer") else os.path.relpath(Path(sys.executable).with_name("scorer"))


def _typed(*words: str) -> int:
    """Shows and runs a command; its exit code."""
    print(f"$ scorer {' '.join(words)}", flush=True)
    try:
        command(list(words))
    except SystemExit as ended:
        return int(str(ended.code or 0))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(demo(sys.argv[1] if len(sys.argv) > 1 else "demo-out"))
    except ScorerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
