"""`scorer export` and `scorer import`: batches that a person sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json, RunFile, Sets
from scorer.cli.run_file import tree_of
from scorer.cli.stdio import to_stderr
from scorer.counted import counted
from scorer.errors import BatchesOut, SpecError

if TYPE_CHECKING:
    from scorer.job.by_hand import ByHand


def export(
    run_file: RunFile,
    /,
    *,
    out: Annotated[str, Parameter(name=("-o", "--out"), help="Folder for the files of requests.")],
    format: Annotated[Literal["openai-batch"], Parameter(help="The format of the files.")] = "openai-batch",
    sets: Sets = (),
    json: Json = False,
) -> int:
    """Write the requests of a run as files for a batch that you send yourself. Sends nothing.

    What is exported counts at its worst case, and no other start asks it, until its results are imported.

    Example: scorer export run.toml --format openai-batch -o requests
    """
    from scorer.job.by_hand import ByHand

    by_hand = ByHand(folder=out)
    _start(run_file, sets, by_hand)
    value = {"format": format, "files": [{"file": file, "requests": count} for file, count in by_hand.written]}
    return answer(json, value, lambda: _exported(run_file, by_hand))


def import_results(
    run_file: RunFile,
    /,
    *files: Annotated[str, Parameter(help="Files of results; with --give-up files of requests.")],
    give_up: Annotated[
        bool, Parameter(negative="", help="Give exports up: their rows are asked anew; without FILE all that are out.")
    ] = False,
    sets: Sets = (),
    json: Json = False,
) -> int:
    """Take the results of exported requests into the run. Give all files of a batch at once.

    A request without a result returns to the run. A result that was taken before, or is of no export, changes nothing.

    Example: scorer import run.toml results/output.jsonl results/errors.jsonl
    """
    from scorer.job.by_hand import ByHand

    if not files and not give_up:
        raise SpecError(["scorer import needs the files of results, or --give-up."])
    by_hand = ByHand(give_up=True, files=files) if give_up else ByHand(results=files)
    _start(run_file, sets, by_hand)
    names = ("taken", "before", "nobodys", "given_up")
    value = {**{name: getattr(by_hand, name) for name in names}, "out": by_hand.left.json(0.0)}
    answer(json, value, lambda: _imported(by_hand))
    return BatchesOut.exit_code if by_hand.left.out else 0


def _start(run_file: str, sets: Sets, by_hand: ByHand) -> None:
    from scorer.api.by_hand import start_by_hand
    from scorer.build.plan import check
    from scorer.processes.event_loop import on_loop

    on_loop(start_by_hand(check(tree_of(run_file, sets)), by_hand, to_stderr))


def _exported(run_file: str, by_hand: ByHand) -> str:
    if not by_hand.written:
        return "Nothing is left to export."
    lines = [f"{file}  {count:,} requests" for file, count in by_hand.written]
    return "\n".join([*lines, f"Send them, then: scorer import {run_file} RESULTS..."])


def _imported(by_hand: ByHand) -> str:
    done = counted(by_hand.given_up, "row") if by_hand.give_up else counted(by_hand.taken, "result")
    said = [f"{done} {'returned' if by_hand.give_up else 'taken'}."]
    if by_hand.before:
        said.append(f"{by_hand.before:,} were taken before.")
    if by_hand.left.out:
        said.append(f"Still out: {counted(by_hand.left.out, 'export')} with {counted(by_hand.left.rows, 'row')}.")
    return " ".join(said)
