"""Chosen rows as cards: the prompt as it was sent, the texts, what each reply said, human value, error, tokens, cost.

Reads the results and the input of these rows alone. Where the input is not at hand, a card has what the results have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any

import polars as pl

from scorer.analysis.binary_text import binary_text
from scorer.errors import BadRow
from scorer.files.router import AnyFiles
from scorer.judges.shown_values import plain, shown
from scorer.report.collecting import collect_all
from scorer.report.folding import Fold, whole
from scorer.report.input_rows import InputRow, read_rows
from scorer.report.page.row_list import Card, Text, Verdict
from scorer.report.picks import Picked
from scorer.report.prompt_names import column_name, prompt_name
from scorer.report.row_facts import facts_of
from scorer.report.run_table import RowKey, RunTable
from scorer.report.stored_judge import Asked
from scorer.types import Row

_LONG = 80
"""Texts of more characters are not repeated in a prompt that stands beside them."""


_SHARDS = 4
"""So many shards are read at a time."""


@dataclass(frozen=True, slots=True)
class RowTexts:
    """The cards of the rows, in the order asked for, and a sentence for each thing that could not be shown."""

    cards: Sequence[Card]
    notes: Sequence[str]


def row_texts(
    table: RunTable,
    rows: Sequence[RowKey],
    *,
    picks: Sequence[Picked] = (),
    fold: Fold = whole,
    fold_prompt: Fold | None = None,
    verbatim: bool = False,
) -> RowTexts:
    """The cards of `rows`, each text folded by `fold`, and its prompts by `fold_prompt` where that is given.

    `picks` tell by which of them a row was picked. In a prompt a long text that the card shows by itself is replaced by
    "[response: below]"; not where `verbatim`. Rows that have no result are left out.
    """
    keys = list(dict.fromkeys(rows))
    if not keys:
        return RowTexts((), ())
    notes: list[str] = []
    results = _results(table, keys)
    inputs = read_rows(AnyFiles(), table, keys, notes)
    notes += dict.fromkeys(judge.problem for judge in table.judges.values() if judge.problem is not None)
    made = _Cards(table, picks, fold, fold_prompt or fold, verbatim)
    return RowTexts([made.card(key, results[key], inputs.get(key)) for key in keys if key in results], notes)


def _results(table: RunTable, keys: Sequence[RowKey]) -> dict[RowKey, dict[str, Any]]:
    """The result columns of rows, read by conditions that skip the other row groups of a file.

    Some shards are read at a time, since all columns of a row group are in memory meanwhile.
    """
    by_shard: dict[str, list[int]] = {}
    for shard, row in keys:
        by_shard.setdefault(shard, []).append(row)
    results: dict[RowKey, dict[str, Any]] = {}
    for first in range(0, len(by_shard), _SHARDS):
        some = dict(islice(by_shard.items(), first, first + _SHARDS))
        chosen = reduce(or_, ((pl.col("shard") == shard) & pl.col("row").is_in(rows) for shard, rows in some.items()))
        (found,) = collect_all([table.results_of(some).filter(chosen)])
        results |= {(row["shard"], row["row"]): row for row in found.iter_rows(named=True)}
    return results


class _Cards:
    def __init__(self, table: RunTable, picks: Sequence[Picked], fold: Fold, fold_prompt: Fold, verbatim: bool) -> None:
        self._table, self._fold, self._fold_prompt, self._verbatim = table, fold, fold_prompt, verbatim
        self._picked: dict[RowKey, list[str]] = {}
        self._weights: dict[RowKey, float] = {}
        for pick in picks:
            for key in pick.rows:
                self._picked.setdefault(key, []).append(pick.kind)
                if pick.weight is not None:
                    self._weights[key] = pick.weight

    def card(self, key: RowKey, results: Mapping[str, Any], found: InputRow | None) -> Card:
        table, columns = self._table, self._table.columns
        row = found.row if found is not None else None
        values = {**(found.shown if found is not None else {}), **results}
        asked = {name: self._asked(name, results, row) for name in table.runs}
        return Card(
            id=table.row_id(key),
            shard=key[0],
            row=key[1],
            key=_said(values, columns.id),
            system=_said(values, columns.system),
            task=_said(values, columns.task),
            item=_said(values, columns.item),
            score=_number(results.get(columns.scores[0])),
            human=_number(values.get(columns.human)) if columns.human is not None else None,
            error=next((error for name in table.runs if (error := results.get(table.of_run(name, "error")))), None),
            texts=self._texts({**values, **(row.values if row is not None else {})}, asked),
            verdicts=[verdict for name, one in asked.items() for verdict in self._verdicts(name, results, one)],
            facts={
                (f"{name}: {fact}" if name else fact): said
                for name in table.runs
                for fact, said in facts_of(table, name, results).items()
            },
            picked=self._picked.get(key, []),
            weight=self._weights.get(key),
        )

    def _asked(self, run: str, results: Mapping[str, Any], row: Row | None) -> Asked:
        names = ("raw", "error", "error_detail", "finish_reason", "attempts")
        stored = {name: results.get(self._table.of_run(run, name)) for name in names}
        return self._table.judges[run].asked(row, stored)

    def _texts(self, values: Mapping[str, Any], asked: Mapping[str, Asked]) -> dict[str, Text]:
        """The prompts first, then what they show, the response and the reference last."""
        columns = self._table.columns
        ends = [("response", columns.response), ("reference", columns.reference)]
        named = {name: name for name in columns.shown if name not in (columns.response, columns.reference)}
        if columns.pair:
            named = {name: name for name in named if name not in columns.pair}
            named |= {f"{side}: {name}": name for side, name in zip("ab", columns.pair, strict=True)}
            ends = ends[1:]
        named |= {role: name for role, name in ends if name is not None}
        beside = {
            column_name(said): _plain(name, values[name])
            for said, name in named.items()
            if values.get(name) is not None
        }
        texts: dict[str, Text] = {}
        several = len({tuple(one.prompts) for one in asked.values()}) > 1
        for run, one in asked.items():
            for of, prompt in one.prompts if several or not texts else ():
                name = prompt_name(run if several else None, of)
                texts[name] = self._fold_prompt(prompt if self._verbatim else _without(prompt, beside))
        return {**texts, **{name: self._fold(text) for name, text in beside.items()}}

    def _verdicts(self, run: str, results: Mapping[str, Any], asked: Asked) -> list[Verdict]:
        """The verdict on the row, and where several replies made it, each of them below it."""
        table = self._table
        of = run or _said(results, table.of_run(run, "judge_model")) or "judge"
        score, error = (results.get(table.of_run(run, name)) for name in ("score", "error"))
        if score is None and error is None:
            return [Verdict(f"{of}: no result", "")]
        reason = results.get(table.of_run(run, "reason"))
        single = asked.replies[0] if len(asked.replies) == 1 else None
        side = results.get(table.of_run(run, "verdict"))
        value = error or (f"{side} ({score:g})" if side else f"{score:g}")
        raw = self._text(single.text) if single is not None else None
        verdicts = [Verdict(of, value, self._text(reason), raw)]
        if single is None:
            verdicts += [
                Verdict(
                    f"{of}: {reply.of}" if run and reply.of else reply.of or f"reply {n}",
                    reply.value,
                    self._text(reply.reason),
                    self._text(reply.text),
                )
                for n, reply in enumerate(asked.replies, start=1)
            ]
        return verdicts

    def _text(self, text: str | None) -> Text | None:
        return None if text is None else self._fold(text)


def _without(prompt: str, beside: Mapping[str, str]) -> str:
    """A prompt without the long texts that stand beside it, longest first: one may hold another."""
    for name, text in sorted(beside.items(), key=lambda item: -len(item[1])):
        if len(text) > _LONG:
            prompt = prompt.replace(text, f"[{name}: below]")
    return prompt


def _said(values: Mapping[str, Any], name: str | None) -> str | None:
    value = None if name is None else values.get(name)
    return None if value is None else binary_text(value) if isinstance(value, bytes) else str(value)


def _plain(name: str, value: Any) -> str:
    """A value as a prompt shows it; one that no prompt could show as Python writes it."""
    try:
        return plain(shown(name, value))
    except BadRow:
        return binary_text(value) if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number else None
