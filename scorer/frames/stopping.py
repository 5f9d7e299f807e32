"""How a call of `score_frame` ends: failed rows as a warning, an early end as an error that carries the rows so far."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from scorer.build.plan import RunPlan
from scorer.errors import ScorerError
from scorer.frames.result_columns import result_names, with_results
from scorer.output.status import Status


def warn_of_failures(status: Status) -> None:
    """Warns where rows failed: how many, and by which errors."""
    if status.failed:
        names = ", ".join(f"{name} {count}" for name, count in status.errors.items())
        warn(
            f"{status.failed} of {status.rows} rows failed ({names}). Their score is null; the columns error and "
            "error_detail say why.",
            4,
        )


def warn(text: str, level: int) -> None:
    """A UserWarning at the caller `level` frames up."""
    warnings.warn(text, stacklevel=level)


@contextmanager
def no_further_interrupt() -> Iterator[None]:
    """Ctrl-C does nothing within: the call is ending, and another one would end it without its frame."""
    mine = threading.current_thread() is threading.main_thread()  # signals are the main thread's
    if not mine or signal.getsignal(signal.SIGINT) is None:  # None: not Python's to put back
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def attach_rows(error: BaseException, frame: pl.DataFrame, folder: Path, planned: RunPlan) -> None:
    """Gives the error `frame` and `folder`, and tells of them in its text."""
    found: pl.DataFrame | None
    try:
        found = with_results(frame, folder, planned)
    except (ScorerError, pl.exceptions.PolarsError, OSError):  # no run was begun in it, or it cannot be read
        found = None
    scored = found[result_names(frame, ["score"])["score"]].count() if found is not None else 0
    error.frame, error.folder = found, str(folder)  # type: ignore[attr-defined]
    paid = f"{scored} of {frame.height} rows are scored: they are in the error's `frame`, and stored in {folder}, which"
    kept = f"What is stored is in {folder}, which" if found is None else paid
    hint = f"{kept} stays. score_frame(..., out=that folder) goes on from there."
    if isinstance(error, ScorerError):
        error.args = (f"{error} {hint}",)
    else:
        error.add_note(hint)
