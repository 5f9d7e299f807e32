"""What a rehearsal says about the real run: its pace, each limit's use, money, when it ends, what would end it sooner.

Pure. Latency is the simulated judge's, so the use of `concurrency` is as good as `rehearsal.latency_median_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scorer.frozen import dataclass
from scorer.html_tables import preformatted_html
from scorer.output.cost_text import cost_text
from scorer.output.limit_history import Sample, curves
from scorer.output.progress import Snapshot
from scorer.output.progress_lines import FARTHEST_ETA_S, clock, duration
from scorer.output.status import Status
from scorer.report.watch.limiting import LIMITS, NAMES, over_budget, percent, what_limits
from scorer.report.watch.lines import LABEL, limit_lines, wrapped_lines

WIDTH = 100
"""Columns of the picture where no terminal says how many there are."""


class Steady:
    """Keeps the snapshot that shows the pace: the last one with rows that were not begun yet, else the last one."""

    def __init__(self) -> None:
        self._steady: Snapshot | None = None
        self._last: Snapshot | None = None
        self._busiest: Snapshot | None = None
        self._history: list[Sample] = []

    def see(self, snapshot: Snapshot) -> None:
        """Takes a snapshot of the run."""
        self._last = snapshot
        self._history = list(snapshot.history)
        if self._busiest is None or snapshot.in_flight > self._busiest.in_flight:
            self._busiest = snapshot
        if (
            snapshot.state == "running"
            and snapshot.rows
            and snapshot.finished + snapshot.in_flight < snapshot.rows_total
        ):
            self._steady = snapshot

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot, with the history of the whole run; None where there was none.

        Where all rows were begun at once, the last one comes after them: it has the most requests in flight instead.
        """
        found = self._steady or self._last
        if found is None or self._busiest is None:
            return None
        if self._steady is None:
            most = self._busiest
            use = found.use | ({"concurrency": most.use["concurrency"]} if "concurrency" in most.use else {})
            found = replace(found, in_flight=most.in_flight, use=use)
        return replace(found, history=self._history)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The real run at the pace of its rehearsal, begun at `snapshot.updated_at`.

    `snapshot` has the pace and the limits of the rehearsal, over all rows of the real run, none of them finished.
    `seconds` is None where no row was finished in the last minute. `cost_usd` is that of all rows, at the cost of a
    rehearsed one.
    """

    snapshot: Snapshot
    seconds: float | None
    cost_usd: float
    limited_by: str

    def __str__(self) -> str:
        return "\n".join(rehearsed_lines(self, WIDTH))

    def _repr_html_(self) -> str:
        title, *lines = rehearsed_lines(self, WIDTH)
        return preformatted_html(title, lines)

    def json(self) -> dict[str, object]:
        """The figures, for --json."""
        s = self.snapshot
        return {
            "rows": s.rows_total,
            "rows_per_s": s.rows_per_s,
            "seconds": self.seconds,
            "cost_usd": self.cost_usd,
            "use": {name: share for name, share in s.use.items() if name in LIMITS},
            "held_back_by": s.held_back_by,
            "limited_by": self.limited_by,
            "history": self.snapshot.history,
        }


def rehearsed(snapshot: Snapshot, found: Status) -> Rehearsed:
    """What the snapshot of a rehearsal and its status at the end say about the whole run."""
    finished = found.scored + found.failed
    rows = found.rows
    if found.selection is not None and found.selection["where"] is None:
        rows = max(rows, found.selection["of"])
    whole = replace(snapshot, rows_total=rows, rows_before=0, rows=0, state="running", why=None, outage_s=None)
    cost = found.cost_usd / max(1, finished) * rows
    return Rehearsed(whole, whole.eta_s, cost, what_limits(whole))


BLOCKS = " ▁▂▃▄▅▆▇█"
CURVE = 40
"""Columns of a curve."""


def held_back_lines(history: Sequence[Sample], width: int) -> list[str]:
    """A curve over the time of the run for each limit that held requests back, from 0 to all of the minute before."""
    room = min(CURVE, width - LABEL - 20)
    if len(history) < 2 or room < 8:
        return []
    lines = []
    for name, shares in curves(history).items():
        size = min(room, len(shares))
        parts = [shares[at * len(shares) // size : (at + 1) * len(shares) // size] for at in range(size)]
        means = [sum(part) / len(part) for part in parts]
        curve = "".join(BLOCKS[round(min(1.0, mean) * (len(BLOCKS) - 1))] for mean in means)
        lines.append(f"{'held back by':<{LABEL}}|{curve}|  {NAMES.get(name, name)}")
    return lines


def rehearsed_lines(of: Rehearsed, width: int) -> list[str]:
    """The same as lines of at most `width` columns."""
    s = of.snapshot
    lines = [f"The real run of {s.rows_total:,} rows, at this pace:"]
    if of.seconds is None or of.seconds > FARTHEST_ETA_S:
        lines.append("ends nobody knows when: no row was finished in the last minute")
    else:
        ends = clock(s.updated_at + of.seconds, of.seconds)
        lines.append(f"{s.rows_per_s:,.1f} rows/s: begun now it ends at {ends} ({duration(of.seconds)})")
    lines += [line.text for line in limit_lines(s, width - 2)]
    cap = s.limits.get("max_usd")
    cost = cost_text(of.cost_usd, priced=s.priced)
    money = f"about {of.cost_usd:,.4f} of {cap:,.2f} USD ({percent(of.cost_usd / cap)})" if cap else f"about {cost}"
    lines.append(f"{'money':<{LABEL}}{money if s.priced else cost}")
    if (latency := s.latency_s.get("p50")) is not None:
        lines.append(f"{'latency':<{LABEL}}{latency:,.2f} s in the median, by rehearsal.latency_median_s")
    lines += held_back_lines(s.history, width - 2)
    lines += wrapped_lines(of.limited_by, width - 2)
    whole = replace(
        s, cost_usd=of.cost_usd, maybe_billed_usd=0.0, rows=s.rows_total, prompt_tokens=0, completion_tokens=0
    )
    if (budget := over_budget(whole)) is not None:
        lines += wrapped_lines(budget, width - 2)
    return [lines[0], *(f"  {line}" for line in lines[1:])]
