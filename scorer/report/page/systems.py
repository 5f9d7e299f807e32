"""Panel 2: the systems by mean score, their differences, and histograms of the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl

from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.leaderboard import RAW_BESIDE, Leaderboard, leaderboard
from scorer.counted import counted
from scorer.report.page.bins import Bins, bins_of
from scorer.report.page.conditions import equals
from scorer.report.page.data import Histogram, Interval, Pair, System, Systems
from scorer.report.page.groups import Group, RowsOf, crossed
from scorer.report.page.means import grouped_means
from scorer.report.page.page_rows import PageRows
from scorer.report.page.population import Population
from scorer.report.page.row_list import RowId, Rows

MOST_SYSTEMS = 60
MOST_PAIRS = 300
PAIRS_WITH_ROWS, ITEMS_OF_PAIR = 5, 4
"""So many pairs of neighbours have rows in the page, where they differ most."""

Ranking = Leaderboard
COST = "cost_microusd"


def ranking(of: Population) -> Ranking | None:
    """The leaderboard of the systems over the page's rows; None without a column of systems, or without a score."""
    system = of.columns.system
    if system is None or not of.has_scores or of.drawn is None:  # the panels share what is drawn from here on
        return None
    return leaderboard(
        of.lazy,
        of.score,
        system,
        task=of.columns.task,
        item=of.columns.item,
        scale=of.scale,
        bootstrap=of.bootstrap,
        rank_within_tasks=False,
    )


def shown_systems(board: Ranking) -> list[str]:
    """The systems in the page, best first."""
    return board.systems["system"].head(MOST_SYSTEMS).to_list()


def score_bins(of: Population) -> Bins | None:
    """The bins of all histograms; None without a score."""
    return bins_of(of.score, of.summary(of.score), of.scale)


def groups(of: Population, board: Ranking | None) -> dict[str, Group]:
    """The groups of rows behind the panel's marks: of a system, of a bin, of both."""
    found = {}
    bins = score_bins(of)
    if bins is not None:
        found["bin"] = Group(lambda part: bins.codes(part.scores), bins.size, bins.where, weight=4.0)
    if board is not None and of.columns.system is not None:
        found["system"] = named_group(of, of.columns.system, shown_systems(board), weight=8.0)
        if bins is not None:
            found["system bin"] = crossed(found["system"], found["bin"], weight=0.5)
    return found


def named_group(of: Population, column: str, shown: Sequence[str], weight: float) -> Group:
    """The rows by their value in a column, those of the values `shown`, in that order."""
    names = of.names(column)
    place = {name: at for at, name in enumerate(shown)}
    number_of = np.array([place.get(name, -1) for name in names] or [-1], dtype=np.int64)
    values = of.values(column)

    def codes(part: PageRows) -> Codes:
        return number_of[part.codes(column)]

    return Group(codes, len(shown), lambda code: equals(column, values.get(shown[code])), weight)


def panel(
    of: Population,
    board: Ranking | None,
    rows: RowsOf,
    withheld: str | None,
    pairs: Mapping[tuple[str, str], Sequence[tuple[RowId, RowId]]],
) -> Systems | None:
    """The panel; None without a score. `withheld` says why ranks are, `pairs` are rows where two systems differ."""
    bins = score_bins(of)
    if bins is None:
        return None
    known = of.summary(of.score)
    shown = [] if board is None else shown_systems(board)
    return Systems(
        score=of.score,
        scale=of.scale or (known.low, known.high),
        systems=[] if board is None else list(_systems(of, board, rows, withheld)),
        pairs=[] if board is None or withheld else list(_pairs(board, shown, pairs)),
        histograms=list(_histograms(bins, rows, shown)),
        withheld=withheld,
        interval=_interval(of, board),
        notes=[] if board is None else [note for note in board.notes if note != RAW_BESIDE],
        observed=of.scale is None,
        hidden=0 if board is None else board.systems.height - len(shown),
    )


def _systems(of: Population, board: Ranking, rows: RowsOf, withheld: str | None) -> Iterator[System]:
    listed = board.systems.head(MOST_SYSTEMS).to_dicts()
    acceptable = _acceptable(of)
    tied = {} if withheld else not_told_apart(board)
    others = {name: _by_system(of, partial(PageRows.floats, name=name)) for name in of.columns.scores[1:]}
    costs = _costs(of)
    for at, row in enumerate(listed):
        name = row["system"]
        ranked = withheld is None and row["rank"] is not None and board.systems.height > 1
        yield System(
            name=name,
            score=Interval(row["mean"], row["low"], row["high"], row["rows"]),
            rank=(row["rank"], row["rank_last"]) if ranked else None,
            tied=[other["system"] for other in listed if other["system"] in tied.get(name, ())],
            acceptable=acceptable.get(name),
            unscored=row["unread"],
            mean_cost_usd=costs.get(name),
            rows=rows("system", at),
            others={of.run_of(score): means[name] for score, means in others.items()},
        )


def _costs(of: Population) -> dict[str, float]:
    """The mean cost in USD of a row of each system; none where no row cost anything."""
    assert of.columns.system is not None
    cost = of.first(COST)
    if cost is None or not of.summary(cost).high > 0:
        return {}
    mean = pl.col(cost).mean() / 1e6
    found = of.lazy.group_by(of.columns.system).agg(mean).drop_nulls().collect(engine="streaming")
    return dict(found.iter_rows())


def not_told_apart(board: Ranking) -> dict[str, set[str]]:
    """For each system those that it can be compared with and not surely told apart from."""
    found: dict[str, set[str]] = {}
    if board.leads is not None:
        for a, b in board.leads.filter(~pl.col("sure")).select("system", "against").iter_rows():
            found.setdefault(a, set()).add(b)
            found.setdefault(b, set()).add(a)
    return found


def _by_system(of: Population, values: Callable[[PageRows], Floats]) -> dict[str, Interval]:
    assert of.columns.system is not None
    names = of.names(of.columns.system)
    means = grouped_means(of, values, partial(PageRows.codes, name=of.columns.system), len(names))
    return dict(zip(names, means, strict=True))


def _acceptable(of: Population) -> dict[str, Interval]:
    """The share of scores at or above the bar."""
    bar = of.options.acceptable
    if bar is None:
        return {}
    reached = bar

    def acceptable(part: PageRows) -> Floats:
        return np.where(np.isfinite(part.scores), (part.scores >= reached).astype(np.float64), np.nan)

    return _by_system(of, acceptable)


def _pairs(
    board: Ranking, shown: Sequence[str], rows: Mapping[tuple[str, str], Sequence[tuple[RowId, RowId]]]
) -> Iterator[Pair]:
    assert board.leads is not None
    counts = dict(board.systems.select("system", "rows").iter_rows())
    listed = board.leads.filter(pl.col("system").is_in(shown) & pl.col("against").is_in(shown)).head(MOST_PAIRS)
    for one in listed.iter_rows(named=True):
        a, b = one["system"], one["against"]
        n = min(counts[a], counts[b])
        yield Pair(a, b, Interval(one["value"], one["low"], one["high"], n), rows.get((a, b), ()))


def _histograms(bins: Bins, rows: RowsOf, shown: Sequence[str]) -> Iterator[Histogram]:
    counts = rows.groups["bin"].counts.tolist()
    yield Histogram(bins.edges, counts, [rows("bin", code) for code in range(bins.size)])
    for at, name in enumerate(shown if len(shown) > 1 else ()):
        codes = range(at * bins.size, (at + 1) * bins.size)
        marks: list[Rows] = [rows("system bin", code) for code in codes]
        yield Histogram(bins.edges, [mark.count for mark in marks], marks, system=name)


def _interval(of: Population, board: Ranking | None) -> str:
    drawn = of.bootstrap.resamples
    size, noun = (of.items, "item") if of.columns.item is not None else (of.rows, "row")
    if size < 2:
        return f"There is no interval: all rows are of one {noun}."
    items = f"the {counted(size, noun)}"
    first = f"95 % intervals: cluster bootstrap of {items}, {drawn:,} resamples, each interval by itself."
    if board is None or board.systems.height < 2:
        return first
    return (
        f"{first} Differences and ranks hold for all systems together: studentised max-t bootstrap (Romano and Wolf "
        "2005)."
    )


def differing(of: Population, board: Ranking | None) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """The rows, by their place, where two neighbours in the ranking differ most: of each item one row of each."""
    item, system = of.columns.item, of.columns.system
    if board is None or item is None or system is None:
        return {}
    names = of.names(system)

    def of_system(name: str) -> pl.DataFrame:
        code, found = names.index(name), []
        for part in of.parts():
            mine = (part.codes(system) == code) & np.isfinite(part.scores)
            columns = {"\0place": part.places, "\0item": part.items, "\0score": part.scores}
            found.append(pl.DataFrame({name: values[mine] for name, values in columns.items()}))
        return pl.concat(found).unique("\0item", keep="first", maintain_order=True)

    found = {}
    neighbours = shown_systems(board)[: PAIRS_WITH_ROWS + 1]
    for (a, one), (b, other) in pairwise((name, of_system(name)) for name in neighbours):
        gap = (pl.col("\0score") - pl.col("\0score_right")).abs()
        far = one.join(other, on="\0item").filter(gap > 0).top_k(ITEMS_OF_PAIR, by=gap)
        found[(a, b)] = list(far.select("\0place", "\0place_right").iter_rows())
    return found
