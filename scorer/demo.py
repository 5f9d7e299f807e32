"""`python -m scorer.demo [FOLDER]`: the main job on the bundled sample with the embedded judge, and what came of it."""

from __future__ import annotations

import sys
from pathlib import Path

from scorer.cli import main as command
from scorer.errors import ScorerError
from scorer.files import LocalFiles, replace
from scorer.starter import starter

WHAT_IT_SEES = (
    "A model this small notices text that has nothing to do with its source. It cannot see wrong facts, copying or "
    "tone: on this\nsample its ranking is close to chance. It shows that the path works; a real judge is needed for the rest."
)


def demo(folder: str) -> int:
    """Runs or resumes the demo in `folder` and prints its tables. Returns the exit code of `scorer run`."""
    import polars as pl

    from scorer.scan import scan_scores

    run_file, out = f"{folder}/run.toml", f"{folder}/out"
    if not Path(run_file).exists():
        replace(LocalFiles(), run_file, starter(run_file, out).encode())
    print(f"$ scorer run {run_file}", flush=True)
    try:
        command(["run", run_file])
    except SystemExit as ended:
        if ended.code:
            return int(str(ended.code))
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
    print(WHAT_IT_SEES)
    print(f"\nScores: {out}/scores/generations.parquet. Read them: scorer.scan_scores({out!r}), or any Parquet reader.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(demo(sys.argv[1] if len(sys.argv) > 1 else "demo-out"))
    except ScorerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
