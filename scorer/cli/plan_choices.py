"""The choices of `scorer plan`: its options, the table that it prints, and the run file that it writes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.config.cost import STANDARD
from scorer.errors import SpecError
from scorer.frozen import dataclass

if TYPE_CHECKING:
    from scorer.job.pick_choice import Wanted
    from scorer.job.run_choices import Choices, RunChoice

_REPEATED = Parameter(negative="", allow_repeating=True)


def _above_zero(type_: Any, value: Any) -> None:
    """A validator of cyclopts. Raises ValueError."""
    if value is not None and not value > 0:
        raise ValueError("Must be > 0.")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ChoiceOptions:
    """The options of `scorer plan` that compare choices."""

    choices: Annotated[
        bool, Parameter(help="Compare models, samples, criteria, tiers, batches: money, time, agreement.", negative="")
    ] = False
    by: Annotated[str | None, Parameter(help='When it has to end: "07:00", the next one, or ISO 8601.')] = None
    max_usd: Annotated[float | None, Parameter(help="What it may cost at most, USD.", validator=_above_zero)] = None
    output: Annotated[
        str | None, Parameter(name=("--output", "-o"), help="Write the picked choice to this new run file.")
    ] = None
    model: Annotated[tuple[str, ...], _REPEATED, Parameter(help="Another model at the same address; repeatable.")] = ()
    measured: Annotated[
        tuple[str, ...], _REPEATED, Parameter(help="The output of a run on labelled rows; may be repeated.")
    ] = ()
    human: Annotated[str | None, Parameter(help="The column of human values in --measured.")] = None
    item: Annotated[str | None, Parameter(help="The column that names what was answered, in --measured.")] = None

    @property
    def wanted(self) -> bool:
        """Whether choices are asked for."""
        return self != NO_CHOICES

    @property
    def picks(self) -> bool:
        """Whether one of them is to be picked."""
        return self.by is not None or self.max_usd is not None or self.output is not None


NO_CHOICES = ChoiceOptions()
"""The plan of the run file alone."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The choices of a run, the picked one (None where nothing was to be picked), why, and the file it is in."""

    found: Choices
    wanted: Wanted
    picked: RunChoice | None = None
    why: str = ""
    file: str | None = None

    def json(self) -> dict[str, Any]:
        """The keys beside those of the plan: choices, picked (a place in them, null without a pick), why, notes.

        `ends_at` of a choice is null in batches: when a provider answers is not known.
        """
        from scorer.job.pick_choice import frontier

        choices = self.found.choices
        rows = [
            {
                **asdict(one),
                "ends_at": None if one.mode == "batch" else self.wanted.ends(one).isoformat(timespec="seconds"),
                "fits": self.wanted.fits(one),
                "frontier": on_it,
            }
            for one, on_it in zip(choices, frontier(choices), strict=True)
        ]
        place = None if self.picked is None else list(choices).index(self.picked)
        notes = list(self.found.notes)
        return {"choices": rows, "picked": place, "why": self.why or None, "written": self.file, "choice_notes": notes}


def answered(run_file: str, tree: dict[str, Any], options: ChoiceOptions, sample: str | None) -> Answer:
    """Finds the choices, picks one where asked to, and writes it. Raises SpecError."""
    from datetime import datetime

    from scorer.config.moments import moment
    from scorer.files.router import AnyFiles
    from scorer.job.choice_changes import Asked
    from scorer.job.pick_choice import Wanted, pick
    from scorer.job.run_choices import run_choices

    now = datetime.now().astimezone()
    wanted = Wanted(now, moment(options.by, now, "--by") if options.by is not None else None, options.max_usd)
    if options.output is not None and Path(options.output).exists():
        raise SpecError([f"-o {options.output}: the file is there already. Give a new name; nothing is overwritten."])
    if options.output is not None and not options.output.lower().endswith(".toml"):
        raise SpecError([f"-o {options.output}: the picked choice is a run file. Name a file that ends in .toml."])
    asked = Asked(options.model, options.measured, options.human, options.item)
    found = run_choices(tree, AnyFiles(), asked, sample=sample)
    if not options.picks:
        return Answer(found, wanted)
    picked, why = pick(found.choices, wanted)
    if options.output is not None:
        _write(run_file, tree, options, picked)
    return Answer(found, wanted, picked, why, options.output)


def choices_text(answer: Answer) -> str:
    """The table of choices, what was picked and why."""
    from scorer.cli.text_table import aligned, wrapped
    from scorer.job.pick_choice import frontier

    choices = answer.found.choices
    measured = any(one.measured for one in choices)
    tiers, limits = len({_tier(one) for one in choices}) > 1, {one.binding_limit for one in choices} - {"batch"}
    rows = [
        {
            "": ">" if one == answer.picked else "*" if measured and on_it and one.measured else "",
            "model": one.model,
            "samples": one.samples,
            **({"criteria": one.criteria} if any(other.criteria for other in choices) else {}),
            **({"tier": _ONLINE if _tier(one) == STANDARD else _tier(one)} if tiers else {}),
            "USD": _usd(one.cost_usd),
            "ends": _ends(one, answer.wanted),
            **({"agreement": _agreement(one)} if measured else {}),
            **({"limited by": None if one.mode == "batch" else _limit(one.binding_limit)} if len(limits) > 1 else {}),
        }
        for one, on_it in zip(choices, frontier(choices), strict=True)
    ]
    limited = f", limited by {_limit(*limits)}" if len(limits) == 1 else ""
    lines = [f"Choices, begun now{limited}:", "", aligned(rows), ""]
    if measured:
        lines.append(wrapped(_MEASURED, indent=0))
    else:
        lines.append(
            wrapped("Agreement with people is not known for any: --measured OUT --human COLUMN tells.", indent=0)
        )
    lines += [wrapped(note, indent=0) for note in answer.found.notes]
    if answer.picked is not None:
        tier = f", {_SERVED.get(_tier(answer.picked), f'tier = {answer.picked.tier}')}" if tiers else ""
        criteria = f", criteria {answer.picked.criteria}" if answer.picked.criteria else ""
        named = f"{answer.picked.model}, samples = {answer.picked.samples}{criteria}{tier}"
        picked = f"Picked: {named}: {answer.why}"
        lines += ["", wrapped(picked, indent=0)]
    if answer.file is not None:
        lines.append(f"Wrote {answer.file}. Next: scorer plan {answer.file}, then scorer run {answer.file}")
    return "\n".join(lines)


_WITHIN = "< 24 h"
"""What is known of the end of a batch."""
_ONLINE = "online"
"""What the standard tier is called beside others."""
_SERVED = {"batch": "in batches", STANDARD: _ONLINE}
"""How the requests of a choice are served; by the name of a tier where it is none of these."""


def _tier(one: RunChoice) -> str:
    """The tier as providers' price lists have it, of which batches are one."""
    return "batch" if one.mode == "batch" else one.tier


def _limit(name: str) -> str:
    from scorer.report.watch.limiting import LIMITS

    return LIMITS.get(name, name)


def _ends(one: RunChoice, wanted: Wanted) -> str:
    """The local time, with `by` where it is the latest one; of batches without a deadline what providers promise."""
    from scorer.output.progress_lines import clock

    end = wanted.ends(one)
    ahead = (end - wanted.now).total_seconds()
    if one.mode == "batch":
        return _WITHIN if ahead >= one.seconds else f"by {clock(end.timestamp(), ahead)}"
    return clock(end.timestamp(), ahead)


_MEASURED = (
    "Agreement is Spearman's, with its 95 % interval; * is on the frontier: no measured choice that agrees as "
    "well is as cheap and as soon."
)


def _usd(cost: float | None) -> str | None:
    if cost is None:
        return None
    return f"{cost:,.2f}" if cost >= 1 else f"{cost:.4f}"


def _agreement(one: RunChoice) -> str | None:
    if one.measured is None or one.measured.value is None:
        return None
    ends = one.measured.interval
    return _share(one.measured.value) + (f" ({_share(ends[0])}–{_share(ends[1])})" if ends is not None else "")


def _share(value: float) -> str:
    """A correlation without its leading zero."""
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.2f}"


def _write(run_file: str, tree: dict[str, Any], options: ChoiceOptions, picked: RunChoice) -> None:
    """Writes the run file with the keys of the picked choice, after a check that it is one."""
    import tomllib

    from scorer.build.plan import check
    from scorer.config.edited_run_file import edited
    from scorer.config.loader import run_file_text
    from scorer.files.files import replace
    from scorer.files.local_files import LocalFiles
    from scorer.files.router import AnyFiles
    from scorer.output.layout import Layout
    from scorer.output.manifest import load

    assert options.output is not None
    text = run_file_text(run_file)
    changes = {**_set_keys(tomllib.loads(text), tree), **picked.changes}
    if options.max_usd is not None:
        changes["limits.max_usd"] = options.max_usd
    planned = check(tomllib.loads(edited(text, changes)))
    out = planned.spec.output.path
    there = load(AnyFiles(), Layout(out))
    if there is not None and there.fingerprint != planned.fingerprint:  # the scores of another judge
        changes["output.path"] = f"{out.rstrip('/')}-{planned.fingerprint[:8]}"
    replace(LocalFiles(), options.output, edited(text, changes).encode())


def _set_keys(given: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    """The keys that --set changed; a list such as [[models]] as a whole."""
    changes: dict[str, Any] = {}
    for section, table in tree.items():
        old = given.get(section, {})
        if isinstance(table, dict) and isinstance(old, dict):
            changes |= {f"{section}.{key}": value for key, value in table.items() if old.get(key) != value}
        elif table != old:
            changes[section] = table
    return changes
