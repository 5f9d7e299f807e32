"""Panel 5: lists of rows by kind, and the cards of the rows in the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import orjson
import polars as pl

from scorer.report.folding import fold_bytes
from scorer.report.page.conditions import column, literal, together
from scorer.report.page.cover import cover
from scorer.report.page.groups import Counted
from scorer.report.page.population import Population
from scorer.report.page.row_list import Card, RowId, RowList, Rows, Tab
from scorer.report.page.text_lengths import LENGTH
from scorer.report.pick_kinds import UNREAD
from scorer.report.picks import Picked, Wanted, pick_rows
from scorer.report.row_texts import row_texts
from scorer.report.run_table import RowKey

TABS = {
    "random": "Random",
    "too_high": "Judge too high",
    "too_low": "Judge too low",
    "judges": "Judges differ",
    "flips": "Order flips the verdict",
    "spread": "Samples differ",
    "unread": "No verdict",
    "worst": "Lowest",
    "best": "Highest",
}
"""The lists of the panel in its order, by the kinds of picks, and their titles."""
RANDOM, LISTED, SOONEST = 50, 30, 15
"""Rows of the random list, of any other, and so many of each list before the rows that stand for marks."""
FIELD_BYTES = 4096
CARD_BYTES = 1_600_000
BATCH_CHARACTERS = 100_000_000
"""So much text is read at once at most, as far as lengths are known."""
CHARACTERS_OF_TOKEN = 4
MARK = "mark"
"""Why a row is in the page that stands for a number of another panel."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows of the page, by their place in its population and in the order of their importance, and the lists."""

    places: Sequence[int]
    picks: Sequence[Picked]


def choose(of: Population, groups: Mapping[str, Counted], pairs: Iterable[Sequence[tuple[int, int]]]) -> Chosen:
    """Picks the lists, and chooses rows: random ones, the heads of lists, pairs, rows for marks, the lists' rest."""
    most = of.options.rows
    if not of.rows or not most:
        return Chosen((), ())
    sizes = {"random": min(RANDOM, max(1, most // 4))}
    wanted = [Wanted(kind, min(most, sizes.get(kind, LISTED))) for kind in TABS]
    # The spread of samples is in the replies, which are not in memory.
    stored = [one for one in wanted if one.kind == "spread" and of.first("disagreement") is None]
    found = pick_rows(of.picking, [one for one in wanted if one not in stored])
    found += pick_rows(of.table, stored, where=of.where or None)
    order = list(TABS)
    picks = sorted(found, key=lambda pick: order.index(pick.kind))
    place = _places(of, {key for pick in picks for key in pick.rows})
    lists = {pick.kind: [place[key] for key in pick.rows] for pick in picks}
    soonest = max(1, min(SOONEST, most // (2 * len(TABS))))
    first = lists["random"] + [row for rows in lists.values() for row in rows[:soonest]]
    first += [row for pair in pairs for both in pair for row in both]
    rest = [row for rank in range(LISTED) for rows in lists.values() for row in rows[rank : rank + 1]]
    weighed = [one for one in groups.values() if one.group.weight > 0]
    return Chosen(cover(weighed, of.at, of.rows, first, rest, most), picks)


def cards(of: Population, chosen: Chosen) -> tuple[list[Card], list[int], list[str]]:
    """The cards that fit into the page's bytes, their places, and sentences on what could not be shown.

    Texts are read a batch of rows at a time, so that long ones never are in memory together.
    """
    keys = _keys(of, chosen.places)
    place_of = {key: place for place, key in keys.items()}
    made: list[Card] = []
    notes: dict[str, None] = {}
    budget = CARD_BYTES
    for batch in _batches(of, chosen.places):
        found = row_texts(of.table, [keys[place] for place in batch], picks=chosen.picks, fold=fold_bytes(FIELD_BYTES))
        notes |= dict.fromkeys(found.notes)
        for card in found.cards:
            budget -= _bytes(card)
            if budget < 0:
                break
            made.append(card)
        if budget < 0:
            break
    kept = [place_of[card.shard, card.row] for card in made]
    human = of.at(kept).floats(of.human).tolist() if of.people and len(of.people) > 1 else None
    randoms = sum("random" in card.picked for card in made)
    whole = next((pick.count for pick in chosen.picks if pick.kind == "random"), 0)
    shown = []
    for at, card in enumerate(made):
        weight = whole / randoms if "random" in card.picked else None
        card = replace(card, picked=card.picked or [MARK], weight=weight)
        if human is not None:
            card = replace(card, human=None if np.isnan(human[at]) else human[at])
        shown.append(card)
    return shown, kept, list(notes)


def panel(of: Population, chosen: Chosen, shown: Sequence[Card], left_out: Sequence[str]) -> RowList | None:
    """The panel; None without a row, and where no text may be in the page."""
    if not of.rows or not of.options.rows:
        return None
    number = {(card.shard, card.row): card.id for card in shown}
    tabs = [
        Tab(
            pick.kind,
            TABS[pick.kind],
            Rows(pick.count, list(_ids(pick, number)), _where(of, pick.kind)),
            pick.missing or "There are none of this kind.",
        )
        for pick in chosen.picks
        if pick.missing is None or pick.kind in ("too_high", "too_low")
    ]
    return RowList(tabs, shown, " ".join(left_out) or None)


def _ids(pick: Picked, number: Mapping[RowKey, RowId]) -> Iterator[RowId]:
    return (number[key] for key in pick.rows if key in number)


def _keys(of: Population, places: Sequence[int]) -> dict[int, RowKey]:
    rows = of.frame.rows(places, ["shard", "row"]).select(pl.col("shard").cast(pl.String), "row")
    return dict(zip(places, rows.iter_rows(), strict=True))


def _places(of: Population, keys: Iterable[RowKey]) -> dict[RowKey, int]:
    """The places of rows in the population."""
    wanted = pl.DataFrame(list(keys), schema={"shard": pl.String, "row": pl.Int64}, orient="row")
    found = (
        of.lazy.select("shard", "row")
        .with_row_index("\0place")
        .join(wanted.lazy().with_columns(pl.col("shard").cast(of.frame.schema["shard"])), on=["shard", "row"])
        .select(pl.col("shard").cast(pl.String), "row", "\0place")
        .collect(engine="streaming")
    )
    return {(shard, row): place for shard, row, place in found.iter_rows()}


def _batches(of: Population, places: Sequence[int]) -> Iterator[list[int]]:
    """The rows in order, a batch of which has about BATCH_CHARACTERS of text at most, or one row."""
    sizes = _sizes(of, list(places))
    batch: list[int] = []
    left = BATCH_CHARACTERS
    for place, size in zip(places, sizes, strict=True):
        if batch and size > left:
            yield batch
            batch, left = [], BATCH_CHARACTERS
        batch.append(place)
        left -= size
    if batch:
        yield batch


def _sizes(of: Population, places: list[int]) -> list[int]:
    """About how many characters of text some rows have: by the response, else by the tokens, as many as the mean."""
    if LENGTH in of.frame.schema:
        return of.frame.rows(places, [LENGTH])[LENGTH].fill_null(0).to_list()
    mean, tokens = int(of.lengths.mean), of.first("prompt_tokens")
    if tokens is None:
        return [mean] * len(places)
    return [
        max(mean, (count or 0) * CHARACTERS_OF_TOKEN) for count in of.frame.rows(places, [tokens])[tokens].to_list()
    ]


def _bytes(card: Card) -> int:
    """The bytes of a card as JSON, with each `<` escaped."""
    said = orjson.dumps(asdict(card), default=str)
    return len(said) + 5 * said.count(b"<")


def _where(of: Population, kind: str) -> str | None:
    """The SQL condition of a list; None where its rows are a choice by order or by chance."""
    if kind == "unread":
        names = ", ".join(str(literal(name)) for name in UNREAD)
        errors = [of.table.of_run(run, "error") for run in of.table.runs]
        return together([of.where, f"({' OR '.join(f'{column(error)} IN ({names})' for error in errors)})"])
    if kind == "flips" and (flipped := of.first("flipped")) is not None:
        return together([of.where, column(flipped)])
    return None
