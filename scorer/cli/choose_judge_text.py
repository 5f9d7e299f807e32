"""What `scorer choose --judges` shows: the judge in a sentence, the judges by agreement, people beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scorer.analysis.choose_judge import JudgeChoice
from scorer.analysis.columns import listed
from scorer.cli.text_table import aligned, noted, paragraphs, with_intervals
from scorer.escapes import printable_line


def choose_judge_text(found: JudgeChoice) -> str:
    """The whole answer, the most important first."""
    return paragraphs(
        noted(list(_answer(found))),
        aligned(list(_rows(found))),
        noted(list(_people(found))),
        noted(found.notes),
    )


def _answer(found: JudgeChoice) -> Iterator[str]:
    over = f"{found.statistic}, 95 %, {found.rows:,} rows of {found.items:,} items that every judge read"
    within = f"less than {found.margin:g} below the best judge's" if found.margin else "above every other judge's"
    if found.chosen is not None:
        limit = next(row["behind_at_most"] for row in found.judges.to_dicts() if row["chosen"])
        at_most = f": at most {limit:.3f}" if found.margin else ""
        first = "the first" if found.margin else "the one"
        yield (
            f"Choose {printable_line(found.chosen)}: {first} whose agreement with people is surely {within}{at_most} "
            f"({over})."
        )
    else:
        yield f"Cannot tell: no judge's agreement with people is surely {within} ({over})."
        for judge, items in list(found.needed.items())[:2]:
            yield (
                f"About {items:,} labelled items would show it of {printable_line(judge)}, in four of five cases, if "
                "things are as they seem."
            )
    if len(found.by_margin) > 1 or (found.chosen is None and found.by_margin):
        steps = [
            f"{printable_line(one.system)} above {one.above:.3f}"
            + (f" up to {one.to:.3f}" if one.to is not None else "")
            for one in found.by_margin
        ]
        yield f"By margin: {', '.join(steps)}."


def _rows(found: JudgeChoice) -> Iterator[dict[str, Any]]:
    table = found.judges.drop("chosen")
    if table["cost"].null_count() == table.height:
        table = table.drop("cost")
    if not table["unread"].sum():
        table = table.drop("unread")
    for row in with_intervals(table):
        shown = {{"behind_at_most": "behind, at most", "unread": "no verdict"}.get(k, k): v for k, v in row.items()}
        if (test := found.replaces.get(row["judge"])) is not None:
            shown |= {"winning rate": test.winning_rate, "advantage": test.advantage}
        elif found.replaces:
            shown |= {"winning rate": None, "advantage": None}
        yield shown


def _people(found: JudgeChoice) -> Iterator[str]:
    if found.ceiling is not None:
        yield f"People agree with one another {found.ceiling:.3f}: each against the mean of the others."
    for judge, test in found.replaces.items():
        wins = f"it may replace {listed(test.wins)}" if test.wins else "it may replace none"
        yield (
            f"Alternative annotator test of {printable_line(judge)}: {'passed' if test.passes else 'not passed'} "
            f"({wins} of {len(test.people)} people, epsilon {test.epsilon:g}, {test.items:,} items or more)."
        )
