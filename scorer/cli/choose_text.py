"""What `scorer choose` shows: the choice in a sentence, the systems, what would tip it, what to label next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from scorer.analysis.choose_result import ByWeight, Choice, Favour, LabelNext, Tipping
from scorer.analysis.columns import listed
from scorer.cli.text_table import aligned, noted, paragraphs, with_intervals, wrapped
from scorer.escapes import printable_line

_HEADERS = {
    "behind_at_most": "behind, at most",
    "on_front": "on front",
    "beaten_by": "beaten by",
    "unread": "no verdict",
    "people": "by people",
    "acceptable_people": "acceptable by people",
    "acceptable": "acceptable by judge",
}


def choose_text(found: Choice) -> str:
    """The whole answer, the most important first."""
    return paragraphs(
        noted([printable_line(one.note()) for one in found.repeated]),
        noted(list(_answer(found))),
        aligned(_systems(found)),
        noted(list(_further(found))),
        noted(list(_tipping(found))),
        _listing(_weights(found)),
        _listing(_loses(found)),
        noted(found.notes),
    )


def _listing(lines: Iterable[str]) -> str:
    """A sentence and its points, which begin with two spaces, in lines that the terminal holds."""
    return "\n".join(wrapped(line, indent=4 if line.startswith("  ") else 2) for line in lines)


def _answer(found: Choice) -> Iterator[str]:
    by = _cost_names(found)
    cheapest = f"the first by {by or 'mean'}"
    if found.withheld is not None:
        yield f"Nothing is chosen: {found.withheld}."
        return
    over = f"{_name(found.score)} (95 %, {found.items:,} item{'s' * (found.items != 1)})"
    if found.chosen is not None:
        row = next(row for row in found.systems.to_dicts() if row["chosen"])
        limit = row["behind_at_most"]
        if found.systems.height == 1:
            yield f"{_name(found.chosen)} is the only system: there is nothing to choose from."
        elif found.margin:
            yield (
                f"Choose {_name(found.chosen)}: {cheapest} that is surely less than {found.margin:g} behind the best "
                f"in {over}: at most {limit:.3f}."
            )
        else:
            yield f"Choose {_name(found.chosen)}: it is surely the best in {over}."
    else:
        what = f"less than {found.margin:g} behind the best" if found.margin else "the best"
        yield f"Cannot tell: no system is surely {what} in {over}."
        for system, items in list(found.needed.items())[:2]:
            yield (
                f"About {items:,} items would show it of {_name(system)}, in four of five cases, if things are as they "
                "seem."
            )
    if found.chosen is not None:
        for system, items in list(found.needed.items())[:2]:
            yield (
                f"About {items:,} items would show that {_name(system)}, preferred to it by {by or 'mean'}, is within "
                "the margin too, in four of five cases, if things are as they seem."
            )
    steps = [
        f"{_name(one.system)} above {one.above:.3f}" + (f" up to {one.to:.3f}" if one.to is not None else "")
        for one in found.by_margin
    ]
    if len(found.by_margin) > 1 or (found.chosen is None and steps):
        yield f"By margin: {', '.join(steps)}."
    if found.people is not None:
        yield _people(found)


def _people(found: Choice) -> str:
    people = found.people
    assert people is not None
    if not people.labels:
        return "People do not say: no judged row has a label."
    if found.chosen is None and found.systems["people"].null_count() < found.systems.height:
        return f"{people.labels:,} labels: see the column by people."
    if found.chosen is None or people.rival is None or people.ahead is None:
        return f"People do not say: the {people.labels:,} labels are too few, or of too few systems."
    ends = "" if people.interval is None else f" [{-people.interval[1]:+.3f}, {-people.interval[0]:+.3f}]"
    gap = f"it leads {_name(people.rival)} by {-people.ahead:+.3f}{ends} on people's scale"
    if not people.same_scale:
        return f"By {people.labels:,} labels {gap}, which is not the judge's: the margin does not apply there."
    said = {True: "People say the same", False: "People say otherwise", None: "People's labels do not decide it"}
    return f"{said[people.agrees]} ({people.labels:,} labels): {gap}."


MOST_SYSTEMS = 12


def _systems(found: Choice) -> list[dict[str, Any]]:
    table = found.systems
    if table.height > MOST_SYSTEMS:
        table = table.filter(~_hidden(table))
    if not table["unread"].sum():
        table = table.drop("unread")
    if "beaten_by" in table.columns and table["beaten_by"].null_count() == table.height:
        table = table.drop("beaten_by")
    rows = []
    for row in with_intervals(table):
        shown = {_HEADERS.get(key, key): value for key, value in row.items() if key != "chosen"}
        rows.append({key: _yes(value) if isinstance(value, bool) else value for key, value in shown.items()})
    return rows


def _hidden(table: pl.DataFrame) -> pl.Series:
    """Of many systems those for which another is as good for less; without costs those after the first by mean."""
    if "on_front" in table.columns:
        return ~table["on_front"] & ~table["chosen"]
    return table["mean"].rank("ordinal", descending=True).fill_null(table.height) > MOST_SYSTEMS


def _further(found: Choice) -> Iterator[str]:
    if found.systems.height > MOST_SYSTEMS and (count := int(_hidden(found.systems).sum())):
        why = "another is as good for less" if "on_front" in found.systems.columns else "their means are lower"
        yield f"{count:,} further systems are in --json: {why}."


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tipping(found: Choice) -> Iterator[str]:
    stands = [one for one in found.tipping if one.kind != "passed over"]
    for at, one in enumerate(stands):
        if at == 0 or (found.label_next is not None and found.label_next.systems == (one.system, one.against)):
            yield _stands(one)
    for one in [one for one in found.tipping if one.kind == "passed over"][:1]:
        yield (
            f"{_name(one.system)}, preferred to it by {_cost_names(found)}, would be within the margin if the judge "
            f"favours {_name(one.against)} over it by more than {one.by_more_than:.3f}."
            f"{_favour(one.labels, one.against)}"
        )
    if found.label_next is not None:
        yield _label_next(found.label_next, found.items)


def _stands(one: Tipping) -> str:
    system, against = _name(one.system), _name(one.against)
    if one.kind == "leads":
        said = (
            f"{system} leads {against} unless the judge favours it over {against} by more than {one.by_more_than:.3f}."
        )
    else:
        said = (
            f"{system} stays the choice unless the judge favours it over {against} by more than {one.by_more_than:.3f}"
        )
        said += f", surely unless by more than {one.surely:.3f}." if one.surely is not None and one.surely > 0 else "."
    return said + _favour(one.labels, one.system)


def _favour(found: Favour | None, system: str) -> str:
    if found is None:
        return ""
    ends = "" if found.interval is None else f" [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}]"
    return f" {found.rows:,} labelled rows say that it favours {_name(system)} by {found.value:+.3f}{ends}."


def _label_next(found: LabelNext, there: int) -> str:
    a, b = map(_name, found.systems)
    if not found.items:
        return f"Every item of {a} and {b} has labels of both."
    needed = ""
    if found.needed is not None:
        of = f"; there are {there:,}" if found.needed > there else ""
        needed = f" About {found.needed:,} items with labels of both would settle it{of}."
    items = listed([_name(item) for item in found.items], 10)
    return f"Label next {a} and {b} on the same items, such as {items}.{needed}"


def _weights(found: Choice) -> Iterator[str]:
    by_task: dict[str, list[ByWeight]] = {}
    for one in found.by_weight:
        by_task.setdefault(one.task, []).append(one)
    if not by_task:
        return
    if all(len(steps) == 1 for steps in by_task.values()) and len({steps[0].system for steps in by_task.values()}) == 1:
        yield f"By the weights of tasks: {_choice_text(found.by_weight[0])} at any share of each task (95 %)."
        return
    yield "By the share of a task in the weights, the others in proportion (all shares together, 95 %):"
    alike: dict[str, list[str]] = {}
    for task, steps in by_task.items():
        if len(steps) == 1:
            alike.setdefault(_choice_text(steps[0]), []).append(_name(task))
            continue
        said = [f"{_choice_text(step)} {_between(step)}" for step in steps]
        yield f"  {_name(task)}: {', '.join(said)}."
    for choice, tasks in alike.items():
        yield f"  {listed(tasks, 20)}: {choice} at any share."


def _choice_text(step: ByWeight) -> str:
    return "cannot tell" if step.system is None else _name(step.system)


def _between(step: ByWeight) -> str:
    if step.low == 0:
        return f"below {step.high:.2f}"
    return f"above {step.low:.2f}" if step.high == 1 else f"from {step.low:.2f} to {step.high:.2f}"


def _loses(found: Choice) -> Iterator[str]:
    if found.loses is None or not found.loses.height:
        return
    assert found.chosen is not None
    yield f"Where {_name(found.chosen)} loses (all tasks and systems together, 95 %):"
    for row in found.loses.to_dicts()[:6]:
        ends = "" if row["low"] is None else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
        sure = ", surely" if row["sure"] else ""
        yield f"  {_name(row['task'])}: {_name(row['system'])} is ahead by {row['ahead']:+.3f}{ends}{sure}."


def _cost_names(found: Choice) -> str:
    return ", then ".join(map(_name, found.costs))


def _name(text: str) -> str:
    return printable_line(text)
