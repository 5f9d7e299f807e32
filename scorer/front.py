"""The front door from Python: what the command line does, as functions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scorer.build import Plan, check
from scorer.errors import SpecError
from scorer.job import Ears, Job
from scorer.lake.places import Places
from scorer.offload import on_loop as on_loop
from scorer.offload import to_the_end
from scorer.planning import Estimate, estimate
from scorer.progress import Snapshot
from scorer.runfile import read_toml
from scorer.spec import Spec
from scorer.status import Status

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")


def run(
    spec: Spec | str | Path | Mapping[str, Any],
    *,
    watch: Callable[[Snapshot], None] | None = None,
    workers: int = 1,
) -> Status:
    """Scores what is left to score and returns how the run stands; calling it again resumes.

    `spec` is a run file's path, a `Spec`, or a tree with a run file's names. `watch` gets a snapshot a second. More
    than one of `workers` are processes of their own.
    Raises a ScorerError (its `exit_code` is the command's), and KeyboardInterrupt after storing what is finished.
    Inside a running event loop, such as a notebook's, it holds that loop up until it is done, and `watch` is called on
    another thread; `run_async` holds up nothing.
    """
    return to_the_end(run_async(spec, watch=watch, workers=workers))


async def run_async(
    spec: Spec | str | Path | Mapping[str, Any],
    *,
    watch: Callable[[Snapshot], None] | None = None,
    workers: int = 1,
) -> Status:
    """`run` for a running event loop. Cancelling it stores what is finished; rows in flight are asked again."""
    return await Job(plan_of(spec), Places(), ears=Ears(watch), workers=workers).run()


def plan(spec: Spec | str | Path | Mapping[str, Any], *, exact: bool = False) -> Estimate:
    """What the run would need: rows, tokens, money, time. Reads the input, sends nothing."""
    return estimate(plan_of(spec), Places(), exact=exact)


def score_frame(
    df: pl.DataFrame,
    *,
    judge: Mapping[str, Any],
    model: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> pl.DataFrame:
    """The same rows in the same order with the result columns beside them.

    `judge`, `model` and `limits` are the tables of a run file. Durable and resumable only with `out`, a folder; without
    it nothing is left behind. Failed rows have a null score and an `error`. A result column whose name the frame has
    already is `judge_<name>`. Raises a ScorerError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(out) if out is not None else Path(scratch) / "out"
        return _score_frame(df, folder, {"judge": dict(judge), "model": dict(model), "limits": dict(limits or {})})


def _score_frame(df: pl.DataFrame, folder: Path, tables: dict[str, Any]) -> pl.DataFrame:
    import polars as pl

    from scorer.scan import scan_scores

    shard = folder / "input" / "frame.parquet"
    if not shard.exists():
        shard.parent.mkdir(parents=True, exist_ok=True)
        partial = shard.with_suffix(".partial")
        df.write_parquet(partial)
        partial.rename(shard)
    elif not pl.read_parquet(shard).equals(df):
        raise SpecError([f"{folder} holds the scores of another frame. Give another folder, or the same frame again."])
    run({**tables, "input": {"shards": [str(shard)]}, "output": {"path": str(folder)}})
    scores = scan_scores(str(folder)).collect()
    scores = scores.drop("shard", "row")
    taken = {name: f"judge_{name}" for name in scores.columns if name in df.columns}
    return pl.concat([df, scores.rename(taken)], how="horizontal")


def plan_of(spec: Spec | str | Path | Mapping[str, Any]) -> Plan:
    """The checked plan of a run file, a Spec, or a tree. Raises SpecError with every mistake."""
    if isinstance(spec, Spec):
        return check(spec.model_dump(exclude_unset=True))
    return check(spec if isinstance(spec, Mapping) else read_toml(str(spec)))
