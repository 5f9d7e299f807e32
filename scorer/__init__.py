"""Scores model generations with a language-model judge, and writes the scores as Parquet.

    result = scorer.run("run.toml")             # result.scores, result.path, result.state
    frame = scorer.scan_scores("out")           # polars.LazyFrame
    scored = scorer.score_frame(df, judge={...}, model={...})
    board = scorer.leaderboard("out", system="model").frame
    scorer.plot.leaderboard("out", system="model")  # an Altair chart

Names are loaded at their first use, so that `import scorer` is fast.
"""

from scorer.processes.search_path import settle_command

settle_command()  # before any other import: a typing.py in the current folder must not shadow the standard library's

TYPE_CHECKING = False  # type checkers take it for typing's, whose 5 ms come where Ctrl-C has a sentence (__main__.py)
if TYPE_CHECKING:
    from typing import Any

    from scorer import plot as plot
    from scorer.api.by_hand import BatchImport as BatchImport
    from scorer.api.by_hand import export_batch as export_batch
    from scorer.api.by_hand import import_batch as import_batch
    from scorer.api.outputs import publish_scores as publish_scores
    from scorer.api.outputs import status as status
    from scorer.api.outputs import verify as verify
    from scorer.api.run_result import RunResult as RunResult
    from scorer.api.runs import plan as plan
    from scorer.api.runs import reread as reread
    from scorer.api.runs import retry as retry
    from scorer.api.runs import run as run
    from scorer.api.runs import run_async as run_async
    from scorer.config.run_file_types import RunFileDict as RunFileDict
    from scorer.config.spec import Spec as Spec
    from scorer.errors import ScorerError as ScorerError
    from scorer.frames.decisions import choose as choose
    from scorer.frames.decisions import choose_judge as choose_judge
    from scorer.frames.decisions import gate as gate
    from scorer.frames.judge_analyses import agree as agree
    from scorer.frames.judge_analyses import bias as bias
    from scorer.frames.judge_analyses import samples as samples
    from scorer.frames.judge_analyses import scale as scale
    from scorer.frames.labels import label as label
    from scorer.frames.score_frame import score_frame as score_frame
    from scorer.frames.show import show as show
    from scorer.frames.system_analyses import bradley_terry as bradley_terry
    from scorer.frames.system_analyses import compare as compare
    from scorer.frames.system_analyses import estimate as estimate
    from scorer.frames.system_analyses import leaderboard as leaderboard
    from scorer.frames.training import cascade as cascade
    from scorer.frames.training import curves as curves
    from scorer.job.estimate import Estimate as Estimate
    from scorer.judges.function_table import judge as judge
    from scorer.output.scan import scan_scores as scan_scores
    from scorer.output.status import Status as Status
    from scorer.report.rehearse import rehearse as rehearse
    from scorer.report.write import write_report as write_report

__version__ = "0.1.0"

_HOMES = {
    "BatchImport": "scorer.api.by_hand",
    "Estimate": "scorer.job.estimate",
    "RunFileDict": "scorer.config.run_file_types",
    "RunResult": "scorer.api.run_result",
    "ScorerError": "scorer.errors",
    "Spec": "scorer.config.spec",
    "Status": "scorer.output.status",
    "agree": "scorer.frames.judge_analyses",
    "bias": "scorer.frames.judge_analyses",
    "bradley_terry": "scorer.frames.system_analyses",
    "choose": "scorer.frames.decisions",
    "choose_judge": "scorer.frames.decisions",
    "cascade": "scorer.frames.training",
    "compare": "scorer.frames.system_analyses",
    "curves": "scorer.frames.training",
    "estimate": "scorer.frames.system_analyses",
    "export_batch": "scorer.api.by_hand",
    "gate": "scorer.frames.decisions",
    "import_batch": "scorer.api.by_hand",
    "judge": "scorer.judges.function_table",
    "label": "scorer.frames.labels",
    "leaderboard": "scorer.frames.system_analyses",
    "plan": "scorer.api.runs",
    "publish_scores": "scorer.api.outputs",
    "rehearse": "scorer.report.rehearse",
    "reread": "scorer.api.runs",
    "retry": "scorer.api.runs",
    "run": "scorer.api.runs",
    "run_async": "scorer.api.runs",
    "samples": "scorer.frames.judge_analyses",
    "scale": "scorer.frames.judge_analyses",
    "scan_scores": "scorer.output.scan",
    "score_frame": "scorer.frames.score_frame",
    "show": "scorer.frames.show",
    "status": "scorer.api.outputs",
    "verify": "scorer.api.outputs",
    "write_report": "scorer.report.write",
}
"""Where each public name is defined."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> "Any":
    import importlib

    if name == "plot":
        return importlib.import_module("scorer.plot")
    if name not in _HOMES:
        raise AttributeError(f"module 'scorer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "plot", "__version__"]
