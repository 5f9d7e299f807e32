"""The verdict of `scorer gate` as sentences, and as one line of Markdown."""

from __future__ import annotations

from scorer.analysis.gate import Gate
from scorer.cli.text_table import noted
from scorer.escapes import printable_line


def gate_text(score: str, found: Gate) -> str:
    """What `scorer gate` shows: the verdict, the difference behind it, what keeps it undecided."""
    new, old = printable_line(found.new), printable_line(found.old)
    verdict = {
        "not worse": f"{new} is not worse than {old}{_by_more(found)}",
        "worse": f"{new} is worse than {old}{_by_more(found)}",
        "undecided": f"Undecided whether {new} is worse than {old}{_by_more(found)}",
    }[found.verdict]
    lines = [f"{verdict}: {_difference(score, found)}." if found.difference is not None else f"{verdict}."]
    lines += found.reasons
    if found.at_lowest is not None and found.at_highest is not None:
        lines.append(
            f"With the {found.unread:,} rows with no verdict at the lowest value it is {found.at_lowest:+.3f}, at the "
            f"highest {found.at_highest:+.3f}."
        )
    if found.items_needed is not None:
        lines.append(
            f"About {found.items_needed:,} items would decide it, in four of five cases, if the difference is what it "
            "seems."
        )
    return noted([*lines, *found.notes])


def gate_markdown(score: str, found: Gate) -> str:
    """One line of Markdown for a comment in a pull request."""
    new, old, of = (_code(name) for name in (found.new, found.old, score))
    margin = f"margin {found.margin:g}"
    if found.difference is None:
        return f"**{found.verdict}**: {new} against {old} by {of}, {margin}. {' '.join(found.reasons)}"
    ends = "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    over = f"{found.items:,} items" if found.items is not None else f"{found.rows:,} rows"
    unread = f", {found.unread:,} rows with no verdict" if found.unread else ""
    why = " ".join(["", *found.reasons]) if found.reasons else ""
    more = f" {found.items_needed:,} items needed." if found.items_needed is not None else ""
    return (
        f"**{found.verdict}**: {new} - {old} = {found.difference:+.3f}{ends} in {of} over {over}{unread}, "
        f"{margin}, 95 %.{why}{more}"
    )


def _by_more(found: Gate) -> str:
    return f" by more than {found.margin:g}" if found.margin else ""


def _difference(score: str, found: Gate) -> str:
    ends = "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    over = f"{found.items:,} items" if found.items is not None else f"{found.rows:,} rows"
    return f"the difference in {printable_line(score)} is {found.difference:+.3f}{ends} over {over}"


def _code(name: str) -> str:
    """A name as code that no character of it can leave: in as many backticks as it has none of."""
    text = printable_line(name).replace("|", "\\|")
    ticks = "`" * (max((len(run) for run in _runs(text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _runs(text: str) -> list[str]:
    return [run for run in "".join(c if c == "`" else " " for c in text).split(" ") if run]
