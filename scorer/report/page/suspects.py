"""Rows of a page that were finished while the judge had drifted: the suspect span of each run's canaries."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

import polars as pl

from scorer.files.router import AnyFiles
from scorer.output.canary_files import load_state
from scorer.output.layout import Layout
from scorer.report.collecting import collect_all
from scorer.report.page.conditions import column, together
from scorer.report.page.data import Suspect
from scorer.report.page.groups import MOST_IDS
from scorer.report.page.population import Population
from scorer.report.page.row_list import Card, Rows


def suspects(of: Population, cards: Collection[Card]) -> Iterator[Suspect]:
    """The suspect rows of each run among those that the page counts; nothing of a run without any.

    Raises OutputError where the state of a run's canaries is damaged.
    """
    keys = pl.DataFrame([(one.shard, one.row) for one in cards], {"shard": pl.String, "row": pl.Int64}, orient="row")
    ids = {(one.shard, one.row): one.id for one in cards}
    for name, run in of.table.runs.items():
        span = load_state(AnyFiles(), Layout(run.out)).suspect
        finished = of.table.of_run(name, "finished_at")
        if span is None or finished not in of.table.schema:
            continue
        within = pl.col(finished).dt.epoch("us").is_between(*span)
        count, shown = 0, []
        for part in of.again(["shard", "row", finished]):
            mine = part.filter(within)
            counted, found = collect_all(
                [mine.select(pl.len()), mine.select("shard", "row").join(keys.lazy(), on=["shard", "row"], how="semi")]
            )
            count += counted.item()
            shown += [ids[key] for key in found.iter_rows()]
        if count:
            where = together([of.where, f"CAST({column(finished)} AS BIGINT) BETWEEN {span[0]} AND {span[1]}"])
            yield Suspect(name, run.out, _utc(span[0]), _utc(span[1]), Rows(count, shown[:MOST_IDS], where))


def _utc(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S}"
