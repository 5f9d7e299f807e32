"""`scorer samples`: what one more sample of the judge is worth, and what another form of the question is worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json
from scorer.cli.table_options import SCORE, Columns, Human, Item, Labels, On, Resamples, Table, Task, listed, opened

if TYPE_CHECKING:
    from scorer.analysis.sample_worth import SampleWorth

_NAMES = {"pearson": "pearson", "item_kendall": "kendall within items"}


def samples(
    *tables: Table,
    human: Human,
    score: Annotated[
        Columns,
        Parameter(
            "--score",
            help="A column of scores that replies give: score, preference, score_CRITERION; may be repeated.",
            negative="",
            show_default=listed,
        ),
    ] = SCORE,
    item: Item = None,
    task: Task = None,
    worth: Annotated[
        float, Parameter(help="A gain in agreement that is too small to pay for twice the samples.", show_default=True)
    ] = 0.01,
    labels: Labels = None,
    on: On = (),
    bootstrap: Resamples = 1000,
    json: Json = False,
) -> int:
    """Measure what one more sample of the judge is worth, from stored replies and human values.

    With several output folders also what another form of the question is worth.

    Example: scorer samples out --human human --item question_id

    Example: scorer samples plain=out-plain reason=out-reason --human human --item question_id
    """
    from scorer.analysis.bootstrap import Bootstrap
    from scorer.report.sample_readings import worth_of_samples

    table = opened(tables, score, labels=labels, on=on, human=[human])
    found = worth_of_samples(
        table.frame, tables, table.scores, human, item=item, task=task, worth=worth, bootstrap=Bootstrap(bootstrap)
    )
    return answer(json, found.json(), lambda: _text(found), table.coverage(None, human, item, task))


def _text(found: SampleWorth) -> str:
    from scorer.cli.text_table import aligned, noted, paragraphs

    forms = list(found.stop)
    return paragraphs(
        f"{found.rows:,} rows with a human value, {found.items:,} items",
        *(
            f"{form}, {_NAMES[name]}\n{aligned(list(_curve_rows(found, form, name)))}"
            for form in forms
            for name in found.stop[form]
        ),
        noted([sentence for form in forms for sentence in _stop_sentences(found, form)]),
        *(
            f"Differences of forms, {_NAMES[name]}\n{aligned(rows)}"
            for name in _NAMES
            if (rows := list(_form_rows(found, name)))
        ),
        noted(found.notes),
    )


def _curve_rows(found: SampleWorth, form: str, statistic: str) -> Iterator[dict[str, Any]]:
    """Each n up to 10, then each fifth, all, and where to stop."""
    rows = [row for row in found.curves.to_dicts() if (row["form"], row["statistic"]) == (form, statistic)]
    for row in rows:
        n = row["n"]
        if n <= 10 or n % 5 == 0 or n in (len(rows), found.stop[form][statistic]):
            yield {
                "samples": n,
                "agreement": (row["value"], None if row["low"] is None else (row["low"], row["high"])),
                "gain to 2n": row["gain"],
                "at most": row["gain_at_most"],
                "no verdict": f"{row['unread']:,.0f}",
            }


def _stop_sentences(found: SampleWorth, form: str) -> Iterator[str]:
    by = {(r["n"], r["statistic"]): r for r in found.curves.to_dicts() if r["form"] == form}
    half = max(n for n, _ in by) // 2
    for name, n in found.stop[form].items():
        if n is not None:
            most = by[n, name]["gain_at_most"]
            yield (
                f"{form}: {n} samples a row are enough by {_NAMES[name]}: {2 * n} would add {most:.4f} at most "
                f"(95 %), less than {found.worth:g}."
            )
        elif half and by[half, name]["gain_at_most"] is not None:
            yield (
                f"{form}: no number up to {half} is known to be enough by {_NAMES[name]}: {2 * half} samples may add "
                f"{by[half, name]['gain_at_most']:.4f} to {half}, {found.worth:g} or more."
            )


def _form_rows(found: SampleWorth, statistic: str) -> Iterator[dict[str, Any]]:
    for row in found.forms.to_dicts():
        if row["statistic"] == statistic:
            yield {
                "form": row["form"],
                "minus": row["against"],
                "samples": row["n"],
                "minus samples": row["against_n"],
                "difference": (row["value"], None if row["low"] is None else (row["low"], row["high"])),
                "rows": row["rows"],
            }
