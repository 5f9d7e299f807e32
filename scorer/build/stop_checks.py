"""Checks `[stop]`: which keys its question needs, and the range of the judge's score."""

from __future__ import annotations

from collections.abc import Iterator

from scorer.config.messages import shown
from scorer.config.spec import Spec, Stop
from scorer.config.stop_question import parse_question


def stop_columns(stop: Stop | None) -> tuple[str, ...]:
    """The input's columns that `[stop]` names: of the system, the item and the task."""
    if stop is None:
        return ()
    return tuple(dict.fromkeys(name for name in (stop.by, stop.item, stop.task) if name is not None))


def score_bounds(spec: Spec) -> tuple[float, float] | None:
    """The lowest and the highest score of a row: `stop.bounds`, else the judge's scale; None where it has none."""
    if spec.stop is not None and spec.stop.bounds is not None:
        return spec.stop.bounds
    from scorer.analysis.score_range import scale_of_judge  # it imports polars

    judge = spec.judge.model_dump(exclude_unset=True)
    return scale_of_judge({**judge, **spec.judge.options, "kind": spec.judge.kind}, "score")


def stop_problems(spec: Spec) -> Iterator[str]:
    """One sentence for each mistake in `[stop]`."""
    stop = spec.stop
    if stop is None:
        return
    question = parse_question(stop.question)
    said = f"stop.question = {shown('question', stop.question)}"
    if question.kind == "mean":
        if stop.width is None:
            yield f"{said} needs stop.width, the half width at which a mean is known, in points of the score."
        if stop.margin:
            yield f"stop.margin = {stop.margin:g} does not go with {said}, which takes stop.width: leave it out."
    else:
        if stop.by is None:
            yield f"{said} needs stop.by, the column that names the system of a row."
        if stop.item is None:
            yield f"{said} needs stop.item, the column that is the same for all systems' answers to one item."
        if stop.width is not None:
            yield f'stop.width = {stop.width:g} goes with stop.question = "mean": leave it out.'
    if question.kind == "compare" and stop.margin:
        yield f'stop.margin = {stop.margin:g} does not go with {said}: write "a >= b - {stop.margin:g}" instead.'
    if question.kind == "ranking" and stop.population == "future" and not stop.margin:
        yield (
            f'{said} with stop.population = "future" needs a stop.margin above 0: two systems that are equally good '
            "are never told apart."
        )
    if stop.weights and stop.task is None:
        yield "stop.weights needs stop.task, the column that names the task of a row."
    if stop.method == "asymptotic" and question.kind == "mean":
        yield f'stop.method = "asymptotic" does not go with {said}: leave it out.'
    yield from _bounds_problems(spec, stop)


def _bounds_problems(spec: Spec, stop: Stop) -> Iterator[str]:
    bounds = score_bounds(spec)
    if bounds is None:
        yield (
            f'[stop] needs the lowest and the highest score, and judge.kind = "{spec.judge.kind}" does not say them. '
            "Add stop.bounds = [lowest, highest]."
        )
        return
    low, high = bounds
    if not low < high:
        yield f"stop.bounds = [{low:g}, {high:g}] must be the lowest and then the highest score."
        return
    if stop.unread != "bounds" and not low <= stop.unread <= high:
        yield f"stop.unread = {stop.unread:g} must lie in the score's range, {low:g} to {high:g}."
    if stop.margin >= high - low:
        yield f"stop.margin = {stop.margin:g} must be below the width of the score's range, {high - low:g}."
    if stop.width is not None and stop.width >= (high - low) / 2:
        yield (
            f"stop.width = {stop.width:g} must be below {(high - low) / 2:g}, half of the score's range of {low:g} to "
            f"{high:g}: every mean in it is within that of its middle, so nothing would be judged."
        )
