"""The choices that a run leaves open (model, samples, criteria, tier, batches): money, time and known agreement.

A choice is a set of changed keys. Its agreement with people is known only where that very choice was run on labelled
rows; nothing is concluded from the name or the price of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from scorer.analysis.agree import agree
from scorer.analysis.bootstrap import Bootstrap, Interval
from scorer.analysis.open_table import open_table
from scorer.build.plan import RunPlan, check
from scorer.config.cost import STANDARD
from scorer.config.model_prices import halves_in_batches, tariff
from scorer.config.price_table import BATCHES
from scorer.errors import SpecError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.job.choice_changes import TOGETHER, Asked, candidates, changed, criteria_asked
from scorer.job.estimate import Estimate, estimate
from scorer.output.layout import Layout
from scorer.output.manifest import load, no_run

COUNTED_ROWS = 2_000
"""So many rows are counted for each choice; the totals are estimated from them."""
STATISTIC = "spearman"
FLEX_NOTE = (
    "At the tier flex a request waits where there is no capacity: it may end later than said, and scores are the same."
)

DEADLINE_NOTE = (
    "At limits.deadline batches are cancelled, and rows without a reply are asked online at the standard price. The "
    "end is that of all rows online from then on."
)
BATCH_NOTE = (
    "A provider answers a batch within 24 h, and when is not known before; a judge that asks again needs another "
    "batch. Scores are the same."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Spearman's correlation with human values over the rows of a folder, and its 95 % interval over items."""

    folder: str
    value: float | None
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class RunChoice:
    """One way to do the run. `changes` are the keys that differ from the run file; empty for the run file's own.

    `cost_usd` is None where no price is known. `seconds` is the time at the run file's limits; in
    batches the time within which providers answer one, and when the run ends is not known. `criteria` is how several
    criteria are asked, "together" or "apart", None where there are not several. `measured` is None where
    this choice was not run on labelled rows. `mode` is how requests are sent, `tier` the service tier; scores do not
    depend on it, so neither does `measured`. `deadline` is when batches are cancelled, as the run file has it, None
    where they are not; all rows online take `online_seconds`.
    """

    model: str
    samples: int
    changes: Mapping[str, Any]
    cost_usd: float | None
    cost_worst: float | None
    seconds: float
    binding_limit: str
    measured: Measured | None = None
    criteria: str | None = None
    mode: str = "online"
    tier: str = STANDARD
    deadline: str | None = None
    online_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """All choices, the run file's own first, and notes on what was left out."""

    choices: Sequence[RunChoice]
    notes: Sequence[str] = field(default=())


def run_choices(tree: Mapping[str, Any], files: Files, asked: Asked, *, sample: str | None = None) -> Choices:
    """The choices of a run file. Reads the input and the folders, sends nothing.

    Models are the run file's own, those `asked` for, those of `model.price_file` where they are few, and those of the
    folders. With several [[models]] only the criteria vary. Raises SpecError for a wrong run file or folder.
    """
    own = check(tree)
    if asked.folders and not asked.human:
        raise SpecError(["--measured needs --human COLUMN: the human values that the judge is compared with."])
    notes: list[str] = []
    measured = {path: _measured(files, path, asked) for path in asked.folders}
    choices: dict[tuple[str, str, str], RunChoice] = {}
    known = {_identity(covered): one for covered, one in measured.values()}
    for changes in candidates(tree, own, asked, files, notes):
        try:
            for sent, plan in _each_way(tree, changes, notes):
                identity = _identity(plan.covers)
                key = identity, _tier(plan), _mode(plan)
                if key not in choices:
                    needed = estimate(plan, files, sample=sample, counted=COUNTED_ROWS)
                    if sent.get("model.mode") != "batch" or needed.binding_limit == "batch":  # else it fills none
                        choices[key] = _choice(plan, sent, needed, known.get(identity))
            _time_online(choices, _identity(check(changed(tree, changes)).covers))
        except SpecError as error:
            notes.append(f"Left out, {_named(changes)}: {error.problems[0]}")
    if len({one.tier for one in choices.values()}) > 1:
        notes.append(FLEX_NOTE)
    if any(one.mode == "batch" for one in choices.values()):
        notes.append(BATCH_NOTE)
    if any(one.online_seconds is not None for one in choices.values()):
        notes.append(DEADLINE_NOTE)
    judged = {identity for identity, *_ in choices}
    for path, (covered, one) in measured.items():
        if _identity(covered) not in judged:
            notes.append(f"{path} ({one.n:,} labelled rows) was judged in another way than any choice; it is left out.")
    return Choices(list(choices.values()), notes)


def _each_way(
    tree: Mapping[str, Any], changes: Mapping[str, Any], notes: list[str]
) -> Iterator[tuple[Mapping[str, Any], RunPlan]]:
    """The plan with these changes, and those of the same judge served in other ways: `_ways`."""
    plan = check(changed(tree, changes))
    yield changes, plan
    for way in _ways(plan):
        other = {**changes, **way}
        try:
            planned = check(changed(tree, other))
        except SpecError as error:
            problem = f"Left out, {_named(way)}: {error.problems[0]}"
            notes += [problem] if problem not in notes else []
        else:
            yield other, planned


def _ways(plan: RunPlan) -> Iterator[Mapping[str, Any]]:
    """The keys that have the same requests served in another way.

    Online at the standard tier: at the tier "flex" where a source lists its price, and in batches where one does or
    the provider has half of its prices in batches. In batches: online. A run that fills no batch has no such choice.
    """
    model = plan.spec.model
    if model is None or model.tier != STANDARD:
        return
    if model.mode == "batch":
        yield {"model.mode": "online", "limits.deadline": None}
        return
    listed = tariff(model)
    if listed is None:
        return
    if "flex" in listed.tiers:
        yield {"model.tier": "flex"}
    if BATCHES in listed.tiers or halves_in_batches(model):
        yield {"model.mode": "batch"}


def _mode(plan: RunPlan) -> str:
    return "batch" if plan.spec.batched else "online"


def _tier(plan: RunPlan) -> str:
    return STANDARD if plan.spec.model is None else plan.spec.model.tier


def _measured(files: Files, path: str, asked: Asked) -> tuple[Mapping[str, Any], Measured]:
    """What the scores of a folder depend on, and how they agree with the human values."""
    manifest = load(files, Layout(path))
    if manifest is None:
        raise no_run(files, Layout(path))
    if manifest.rehearsal:
        raise SpecError([f"{path} is a rehearsal: its scores are simulated. Give a run with a real judge."])
    assert asked.human is not None
    agreed = agree(open_table(path), ["score"], [asked.human], item=asked.item, bootstrap=Bootstrap(1000))
    whole = agreed.scores["score"].whole
    level = whole.dataset
    return manifest.covered, Measured(path, level.statistics[STATISTIC], level.intervals.get(STATISTIC), whole.n)


def _choice(plan: RunPlan, changes: Mapping[str, Any], needed: Estimate, measured: Measured | None) -> RunChoice:
    return RunChoice(
        model=", ".join(model.name or model.provider for model in plan.spec.all_models),
        samples=plan.spec.judge.options.get("samples", 1),
        changes=changes,
        cost_usd=needed.cost_usd,
        cost_worst=needed.cost_worst,
        seconds=needed.seconds,
        binding_limit=needed.binding_limit,
        measured=measured,
        criteria=criteria_asked(plan),
        tier=_tier(plan),
        mode=_mode(plan),
        deadline=plan.spec.limits.deadline,
    )


def _time_online(choices: dict[tuple[str, str, str], RunChoice], identity: str) -> None:
    """Gives the choice in batches that has a deadline the time of the same online."""
    batched, online = choices.get((identity, STANDARD, "batch")), choices.get((identity, STANDARD, "online"))
    if batched is not None and batched.deadline is not None and online is not None:
        choices[identity, STANDARD, "batch"] = replace(batched, online_seconds=online.seconds)


def _identity(covered: Mapping[str, Any]) -> str:
    """What scores depend on: the judge and its models."""
    judge = {"samples": 1, "ask_criteria": TOGETHER, **covered.get("judge", {})}
    models = covered.get("models", ())
    return repr((sorted(judge.items(), key=repr), [sorted(model.items(), key=repr) for model in models]))


def _named(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in changes.items() if value is not None) or "the run file"
