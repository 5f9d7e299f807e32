"""The result type of `choose`: its parts, its JSON and its frame. `scorer.analysis.choose` computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import polars as pl

from scorer.analysis.bootstrap import Interval
from scorer.analysis.repeated_answers import RepeatedAnswer
from scorer.analysis.run_coverage import RunCoverage
from scorer.html_tables import rows_html


@dataclass(frozen=True, slots=True)
class ByMargin:
    """For margins above `above`, up to `to` (None: any larger one), `system` is the choice."""

    system: str
    above: float
    to: float | None


@dataclass(frozen=True, slots=True)
class ByWeight:
    """Where `task` has a share from `low` to `high` of the weight the choice is `system`; None: unknown."""

    task: str
    low: float
    high: float
    system: str | None


@dataclass(frozen=True, slots=True)
class Favour:
    """By how much the judge favours one system over another, by `rows` labelled rows: the mean of score less human."""

    value: float
    interval: Interval | None
    rows: int


@dataclass(frozen=True, slots=True)
class Tipping:
    """How unfair the judge must be for the answer to be another.

    "stands": the choice stands unless the judge favours `system` (the choice) over `against` by more than
    `by_more_than` points; and, allowing for which items there are, surely unless by more than `surely` (below 0: it may
    already not stand). "leads": no system is chosen, and the same is said of the order of the two. "passed over":
    `system` is preferred to the choice, and would be within the margin if the judge favours `against` over it by more
    than `by_more_than`. `labels` is what labelled rows say of that favour; None without labels on the judge's scale.
    """

    kind: Literal["stands", "leads", "passed over"]
    system: str
    against: str
    by_more_than: float
    surely: float | None
    labels: Favour | None = None


@dataclass(frozen=True, slots=True)
class LabelNext:
    """What to label next: both systems' answers to these `items`, drawn at random among those without labels.

    The systems are the choice and the one of which labels are nearest to a tipping point, or say nothing.

    `needed` is how many items with both labels would settle the tipping point; None where that cannot be known yet.
    """

    systems: tuple[str, str]
    items: Sequence[str]
    needed: int | None


@dataclass(frozen=True, slots=True)
class ByPeople:
    """What labels say of the choice, by prediction-powered inference (`scorer.analysis.prediction_powered`).

    `agrees`: True where the choice is surely less than the margin behind every other system on people's scale, False
    where some system is surely ahead of it by the margin or more, None where the labels do not say, or people's scale
    is not the judge's. `ahead` is by how much `rival` is ahead of the choice.
    """

    labels: int
    agrees: bool | None
    rival: str | None
    ahead: float | None
    interval: Interval | None
    same_scale: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The system to choose, and what would change that.

    `chosen` is the first system in the order of preference (least cost, else highest mean) that is surely less than
    `margin` behind the best one; None where these rows do not tell. `systems`, in that order: system, chosen, mean,
    low, high, behind (the best mean less its own), behind_at_most (its upper 95 % limit; all of these hold together;
    null where unknown), each cost, on_front (no other system is as good for less, or better for as much), beaten_by (a
    system that costs no more and is surely better), acceptable and people's figures where asked for, rows, unread.

    `withheld` is why nothing is chosen from rows that are no sample. `needed` is by system how many items would show it
    within the margin, if things are as they seem: of those preferred to the choice, or of all where there is none.
    `loses` has the tasks in which another system is ahead of the choice: task, system, ahead, low, high, sure.
    """

    score: str
    chosen: str | None
    margin: float
    items: int
    systems: pl.DataFrame
    by_margin: Sequence[ByMargin]
    weights: Mapping[str, float]
    by_weight: Sequence[ByWeight] = field(default=())
    needed: Mapping[str, int] = field(default_factory=dict)
    loses: pl.DataFrame | None = None
    tipping: Sequence[Tipping] = field(default=())
    label_next: LabelNext | None = None
    people: ByPeople | None = None
    repeated: Sequence[RepeatedAnswer] = field(default=())
    notes: Sequence[str] = field(default=())
    withheld: str | None = None

    def over(self, coverage: RunCoverage | None) -> Choice:
        """The same over a run: nothing is chosen before it is finished, since rows that finish first are no sample."""
        if coverage is None or coverage.rows >= coverage.rows_total:
            return self
        why = f"the run is not finished, {coverage.rows:,} of {coverage.rows_total:,} rows"
        if coverage.answer is not None:
            why = "[stop] ended the run at its answer, so systems were judged on different items"
        return replace(
            self,
            chosen=None,
            withheld=why,
            systems=self.systems.with_columns(chosen=pl.lit(False)),
            by_margin=(),
            by_weight=(),
            tipping=(),
            needed={},
            loses=None,
            people=None,
            label_next=None,
        )

    @property
    def costs(self) -> list[str]:
        """The columns of `systems` that are costs, in the order of their importance."""
        names = self.systems.columns
        if "on_front" not in names:
            return []
        found = names[names.index("unread") + 1 : names.index("on_front")]
        return [name for name in found if not name.endswith(("_low", "_high")) or name.rpartition("_")[0] not in found]

    @property
    def frame(self) -> pl.DataFrame:
        """`systems`."""
        return self.systems

    def json(self) -> dict[str, Any]:
        return {
            "chosen": self.chosen,
            "withheld": self.withheld,
            "score": self.score,
            "margin": self.margin,
            "items": self.items,
            "systems": self.systems.to_dicts(),
            "by_margin": [asdict(one) for one in self.by_margin],
            "weights": dict(self.weights),
            "by_weight": [asdict(one) for one in self.by_weight],
            "needed": dict(self.needed),
            "loses": [] if self.loses is None else self.loses.to_dicts(),
            "tipping": [asdict(one) for one in self.tipping],
            "label_next": None if self.label_next is None else asdict(self.label_next),
            "people": None if self.people is None else asdict(self.people),
            "repeated": [asdict(one) for one in self.repeated],
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        title = "No choice" if self.chosen is None else f"Choice: {self.chosen}"
        return rows_html(f"{title} (margin {self.margin:g})", self.systems.to_dicts(), self.notes)
