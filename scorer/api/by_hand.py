"""Batches that a person sends, as functions: `export_batch` writes requests, `import_batch` takes results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from scorer.api.runs import RunFile, plan_of
from scorer.build.plan import RunPlan
from scorer.config.loader import Sets
from scorer.errors import BatchesOut, SpecError
from scorer.files.router import AnyFiles
from scorer.frozen import dataclass
from scorer.job.by_hand import ByHand
from scorer.job.callbacks import Callbacks
from scorer.job.job import Job
from scorer.processes.event_loop import run_blocking


@dataclass(frozen=True, slots=True)
class BatchImport:
    """What an import changed. Counts are of results, but for `given_up` and `rows_out`, which are of rows.

    `taken`: now; `taken_before`: by an earlier import, so nothing changed. `unknown` has by file how many belong to no
    export of the run and were not taken. `given_up` returned to the run. `exports_out` exports with `rows_out` rows
    still wait for results.
    """

    taken: int = 0
    taken_before: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    given_up: int = 0
    exports_out: int = 0
    rows_out: int = 0


def export_batch(spec: RunFile, folder: str | Path, *, set: Sets = ()) -> dict[Path, int]:
    """Writes the requests of a run as files for a batch that you send yourself. Sends nothing.

    Returns the files, in OpenAI's batch format, each with its number of requests; {} where nothing is left to export.
    `spec` and `set` are those of `run`. `folder` gets the files, and is made where it is missing. What is exported
    counts at its worst case, and no other start asks it, until `import_batch` takes its results or gives it up.
    Raises BudgetSpent where the caps hold no row's requests, SpecError, InputError and StorageError.
    """
    by_hand = ByHand(folder=str(folder))
    run_blocking(start_by_hand(plan_of(spec, set), by_hand))
    return {Path(file): requests for file, requests in by_hand.written}


def import_batch(spec: RunFile, *files: str | Path, give_up: bool = False, set: Sets = ()) -> BatchImport:
    """Takes the results of exported requests into a run, and returns how many it took.

    `spec` and `set` are those of `run`. `files` are all files of results of a batch, also that of its errors: a request
    without a result returns to the run, and counts as possibly billed. A result that was taken before, or that belongs
    to no export of the run, changes nothing. With `give_up` the exports are given up and their rows return; `files` are
    then files of requests, and none stands for all that are out.
    Raises SpecError without files, InputError for a file without results, and StorageError.
    """
    if not files and not give_up:
        raise SpecError(["import_batch needs the files of results, or give_up=True."])
    names = tuple(map(str, files))
    by_hand = ByHand(give_up=True, files=names) if give_up else ByHand(results=names)
    run_blocking(start_by_hand(plan_of(spec, set), by_hand))
    return BatchImport(
        by_hand.taken, by_hand.before, by_hand.nobodys, by_hand.given_up, by_hand.left.out, by_hand.left.rows
    )


async def start_by_hand(planned: RunPlan, by_hand: ByHand, say: Callable[[str], None] = lambda _: None) -> None:
    """One start that sends nothing. `by_hand` then has what came of it; `say` gets sentences for the user."""
    with suppress(BatchesOut):  # rows without a result are what this is about
        await Job(planned, AnyFiles(), callbacks=Callbacks(say=say), by_hand=by_hand).run()
