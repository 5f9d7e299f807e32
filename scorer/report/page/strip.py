"""Panel 0: which run the page is of, how far it is, and what to be warned of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from scorer.analysis.score_range import scale_of_judge
from scorer.counted import counted
from scorer.output.status import Status
from scorer.report.collecting import collect_all
from scorer.report.page.data import Notice, Strip, Suspect
from scorer.report.page.population import Population

UNREAD_SHARE = 0.05
"""From this share of rows without a score on the strip warns of it."""


EARLY = (
    "the run ended early at an answer. Means of the systems that went out on the way are too low, that of the best one "
    "is too high, and ordinary intervals of them are too narrow."
)


def _stopped(state: Status) -> bool:
    """Whether [stop] ended the run before its last row."""
    return state.selection is not None and state.selection.get("stop") is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the runs of a page are: `done` of `rows` rows of the one with the least; `withheld` says why ranks are.

    It is None where they are not withheld. Of a rehearsal the scores are `simulated`.
    """

    done: int
    rows: int
    state: str
    withheld: str | None
    simulated: bool = False


def progress(states: Mapping[str, Status], systems: Sequence[str]) -> Progress:
    """The progress of the runs; ranks are withheld while one of them lacks rows, and of a rehearsal."""
    least = min(states.values(), key=lambda state: (state.scored + state.failed) / max(state.rows, 1))
    done, rows = least.scored + least.failed, least.rows
    states_seen = dict.fromkeys(state.state for state in states.values())
    simulated = any(state.rehearsal for state in states.values())
    withheld = None
    if any(_stopped(state) for state in states.values()):
        withheld = f"Ranks are withheld: {EARLY}"
    elif done < rows:
        withheld = f"Ranks are withheld: {done:,} of {rows:,} rows are finished, of {len(systems)} systems so far."
    elif simulated:
        withheld = "Ranks are withheld: this is a rehearsal, and its scores are simulated."
    return Progress(done, rows, ", ".join(states_seen), withheld, simulated)


def strip(of: Population, states: Mapping[str, Status], far: Progress, suspects: Sequence[Suspect]) -> Strip:
    """The panel."""
    last = _last(of) if far.done >= far.rows else None
    return Strip(
        runs=[name or run.out for name, run in of.table.runs.items()],
        judges=list(_judges(of)),
        finished_at=None if last is None else f"{last:%Y-%m-%d %H:%M} UTC",
        rows_done=far.done,
        rows=far.rows,
        state=far.state,
        cost_usd=_cost(of, states),
        maybe_billed_usd=sum(state.maybe_billed_usd for state in states.values()) or None,
        notices=[*map(_drifted, suspects), *_notices(of, states, far)],
    )


def _last(of: Population) -> datetime | None:
    """When the last row of the first run was finished."""
    finished = of.table.of_run(next(iter(of.table.runs)), "finished_at")
    if finished not in of.table.schema:
        return None
    ends = [collect_all([part.select(pl.col(finished).max())])[0].item() for part in of.table.parts([finished])]
    return max((end for end in ends if end is not None), default=None)


def _cost(of: Population, states: Mapping[str, Status]) -> float | None:
    """The cost of the runs; None where no row has one, so that the model has no price."""
    cost = sum(state.cost_usd for state in states.values())
    of_rows = of.first("cost_microusd")
    return None if not cost and of_rows is not None and of.rows and not of.count(of_rows) else cost


def _judges(of: Population) -> Iterator[str]:
    """The model of each run's judge as the server names it, else as the run file does, and the kind of judge."""
    for name, run in of.table.runs.items():
        column = of.table.of_run(name, "judge_model")
        names: list[str] = []
        if column in of.frame.schema:
            names = of.names(column)[:3]
        model = run.manifest.spec.get("model", {}).get("name")
        kind = str(of.table.judges[name].options.get("kind", "rating"))
        models = ", ".join(names) or str(model or "")
        yield f"{name}: {models}, {kind}" if name else ", ".join(part for part in (models, kind) if part)


def _drifted(one: Suspect) -> Notice:
    run = f"{one.run}: " if one.run else ""
    rows = counted(one.rows.count, "row")
    return Notice(
        f"{run}The judge had drifted: {rows} finished from {one.since} to {one.until} UTC are suspect.", "run"
    )


def _notices(of: Population, states: Mapping[str, Status], far: Progress) -> Iterator[Notice]:
    for name, state in states.items():
        run = f"{name}: " if name else ""
        if _stopped(state) and state.answer is not None:
            yield Notice(f"{run}{state.answer['text']}", "run")
        if state.rehearsal:
            yield Notice(f"{run}This is a rehearsal: the scores are simulated and mean nothing.", "how")
        if state.why:
            yield Notice(f"{run}The judge does not answer: {state.why}", "run")
        if state.unreadable:
            yield Notice(
                f"{run}{len(state.unreadable)} files of the output cannot be read; `scorer verify` lists them.", "run"
            )
    scales = {
        name: f"{scale[0]:g} to {scale[1]:g}"
        for name, score in zip(of.table.runs, of.columns.scores, strict=True)
        if (scale := scale_of_judge(of.table.judges[name].options, score.removeprefix(f"{name}.")))
    }
    if len(set(scales.values())) > 1:
        each = ", ".join(f"{name} {scale}" for name, scale in scales.items())
        yield Notice(f"The judges' scales differ: {each}. Compare orders, not values.", "systems")
    if far.done < far.rows:
        yield Notice(f"{far.state}: {far.done:,} of {far.rows:,} rows are finished. Ranks are withheld.", "systems")
    for note in of.notes:
        yield Notice(note, "systems")
    missing = of.rows - of.count(of.score)
    if missing and missing >= UNREAD_SHARE * of.rows:
        yield Notice(f"{missing:,} of {of.rows:,} rows ({100 * missing / of.rows:.0f} %) have no score.", "run")
    judges = [judge for run in of.table.runs.values() for judge in run.manifest.judges]
    if judges:
        yield Notice("A retry changed keys of the model, so the rows are of several judges.", "how")
