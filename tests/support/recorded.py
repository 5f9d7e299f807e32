"""Finished runs over rows and stored replies, made by the real command's function and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import scorer

PROMPT = "Rate from 1 to 5.\n{question}\n\n{response}"


def recorded_run(
    root: Path,
    rows: Sequence[Mapping[str, Any]],
    replies: Sequence[Sequence[str | None]],
    name: str = "out",
    **judge: Any,
) -> str:
    """The output folder `root`/`name` of a run over `root`/in.parquet, which is written where it is not there.

    Each of `rows` has an id; `replies` has those that its requests get. `keep` is taken out of the judge's options.
    """
    if not (root / "in.parquet").exists():
        pl.DataFrame(list(rows), infer_schema_length=None).write_parquet(root / "in.parquet")
    ids = [row["id"] for row in rows]
    stored = pl.DataFrame(
        {"id": ids, "replies": [list(some) for some in replies]}, schema_overrides={"replies": pl.List(pl.String)}
    )
    stored.write_parquet(root / f"{name}.replies.parquet")
    keep = judge.pop("keep", ())
    models = judge.get("models", ())
    options = {"prompt": PROMPT, "scale": [1, 5], "attempts": 1, **judge}
    model = {"provider": "recorded", "path": f"{root}/{name}.replies.parquet", "keys": ["id"], "replies": "replies"}
    scorer.run(
        {
            "input": {"shards": [f"{root}/in.parquet"], "id": "id", "keep": list(keep)},
            "judge": {name: value for name, value in options.items() if value is not None},
            **({"models": [{"alias": alias, **model} for alias in models]} if models else {"model": model}),
            "limits": {"max_failed_share": 1.0},
            "output": {"path": f"{root}/{name}"},
        },
        progress=False,
    )
    return f"{root}/{name}"
