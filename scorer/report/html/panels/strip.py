"""Panel 0: which run the page is about, how far it is, and warnings that lead to their panels."""

from __future__ import annotations

from scorer.report.html.elements import Html, join, name, tag
from scorer.report.html.figures import count, usd
from scorer.report.html.panels.frame import SCORES, TITLES
from scorer.report.page.data import Page


def strip(page: Page) -> Html:
    """The head of the page."""
    values = page.strip
    done = count(values.rows_done) if values.rows_done == values.rows else f"{values.rows_done:,} of {values.rows:,}"
    unfinished = None if values.rows_done >= values.rows else tag("progress", max=values.rows, value=values.rows_done)
    billed = f" (up to {usd(values.maybe_billed_usd)} more may be billed)" if values.maybe_billed_usd else ""
    facts = [
        ("Run" if len(values.runs) < 2 else "Runs", join([name(run) for run in values.runs], ", ")),
        ("Judge" if len(values.judges) < 2 else "Judges", join([name(judge) for judge in values.judges], ", ")),
        ("State", values.state),
        ("Rows", join([done, unfinished], " ")),
        ("Finished" if values.finished_at else "Written", values.finished_at or page.written_at),
        ("Cost", "no price" if values.cost_usd is None else usd(values.cost_usd) + billed),
    ]
    return tag(
        "header",
        tag("p", page.title, class_="title", dir="auto") if list(values.runs) != [page.title] else None,
        tag("dl", *(tag("div", tag("dt", term), tag("dd", value)) for term, value in facts if value)),
        _notices(page),
        id="strip",
    )


def navigation(page: Page) -> Html:
    """Links to the panels that the page has."""
    shown = [
        key for key in TITLES if key in ("answer", "run", "how", "rows") or getattr(page, key) or key in page.empty
    ]
    titles = TITLES if page.systems is None or page.systems.systems else {**TITLES, "systems": SCORES}
    links = (tag("a", titles[key], href=f"#{key}") for key in shown)
    return tag("nav", tag("div", *links), aria_label="Panels", id="top")


def _notices(page: Page) -> Html | None:
    if not page.strip.notices:
        return None
    items = (tag("li", tag("a", notice.text, href=f"#{notice.panel}")) for notice in page.strip.notices)
    return tag("ul", *items, class_="notices")
