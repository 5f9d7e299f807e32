"""Scores model generations in Parquet files with a language-model judge, and writes the scores as Parquet.

    result = scorer.run("run.toml")
    frame = scorer.scan_scores("out")           # polars.LazyFrame
    scored = scorer.score_frame(df, judge={...}, model={...})

Names are loaded at their first use, so that `import scorer` is fast.
"""

from scorer.processes.search_path import settle_command

settle_command()  # before any other import: a typing.py in the current folder must not shadow the standard library's

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from scorer.api import plan as plan
    from scorer.api import run as run
    from scorer.api import run_async as run_async
    from scorer.config.spec import Spec as Spec
    from scorer.errors import ScorerError as ScorerError
    from scorer.frames.score_frame import score_frame as score_frame
    from scorer.job.estimate import Estimate as Estimate
    from scorer.judges.function_table import judge as judge
    from scorer.output.scan import scan_scores as scan_scores
    from scorer.output.status import Status as Status

__version__ = "0.1.0"

_HOMES = {
    "Estimate": "scorer.job.estimate",
    "ScorerError": "scorer.errors",
    "Spec": "scorer.config.spec",
    "Status": "scorer.output.status",
    "judge": "scorer.judges.function_table",
    "plan": "scorer.api",
    "run": "scorer.api",
    "run_async": "scorer.api",
    "scan_scores": "scorer.output.scan",
    "score_frame": "scorer.frames.score_frame",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'scorer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
