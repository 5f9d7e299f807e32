"""The page as one HTML document: head with the content security policy, panels, data for the script, and the script."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

from scorer.report.html.cards import card, fitting
from scorer.report.html.elements import Html, join, tag
from scorer.report.html.figures import decimals
from scorer.report.html.marks import Marks
from scorer.report.html.panels.answer import answer
from scorer.report.html.panels.frame import TITLES, notes, panel
from scorer.report.html.panels.how import how
from scorer.report.html.panels.judge import judge
from scorer.report.html.panels.rows import rows
from scorer.report.html.panels.run import run
from scorer.report.html.panels.strip import navigation, strip
from scorer.report.html.panels.systems import systems
from scorer.report.html.panels.training import training
from scorer.report.html.panels.where import where
from scorer.report.html.script_data import script_data
from scorer.report.page.data import Page

PAGE_BYTES = 2_500_000
"""Most bytes of a page, unless its numbers alone have more."""

CARD_BYTES = 1_900_000
"""Most bytes of all cards: 1.6 MB of texts, and their markup."""

STYLES = ("style.css",)
SCRIPTS = tuple(f"script/{part}.js" for part in ("state", "tables", "rows", "labels", "start"))


def document(page: Page) -> str:
    """The HTML file of a page, at most 2.5 MB in UTF-8. It asks for nothing: its policy forbids every request."""
    written = _document(page, CARD_BYTES)
    over = len(written.encode()) - PAGE_BYTES
    return written if over <= 0 else _document(page, CARD_BYTES - over)


def _document(page: Page, card_bytes: int) -> str:
    """The file, with as many cards as fit into so many bytes."""
    names = [one.name for one in page.systems.systems] if page.systems else []
    at = {system: number for number, system in enumerate(names)}
    places = decimals(*page.systems.scale) if page.systems else 2
    cards = page.rows.cards if page.rows else ()
    fit = fitting(((one, card(one, at, places)) for one in cards), card_bytes)
    kept = {one.id: one for one, _ in fit}
    marks = Marks(page.folders, kept)
    first = _first_judge(page)
    panels = [
        answer(page.answer, [page.population, *page.left_out]),
        systems(page.systems, first, marks) if page.systems else _empty(page, "systems"),
        where(page.where, names, marks) if page.where else _empty(page, "where"),
        judge(page.judge, first, marks) if page.judge else _empty(page, "judge"),
        rows(page.rows, (markup for _, markup in fit), kept, marks, places) if page.rows else _empty(page, "rows"),
        training(page.training, marks) if page.training else _empty(page, "training"),
        run(page.run, marks),
        how(page.how),
    ]
    parts = [strip(page), navigation(page), tag("main", *panels), tag("footer", _inside(page))]
    return _whole(page, join(parts), script_data(page, kept, marks))


def _whole(page: Page, body: Html, data: object) -> str:
    script = _package_text(SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", page.title),
        tag("style", Html(_package_text(STYLES))),
    )
    # No text can end the element or begin another one: `<` does not occur in it.
    values = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    end = [tag("script", Html(values), type="application/json", id="data"), tag("script", Html(script))]
    return "<!doctype html>\n" + tag("html", head, tag("body", body, *end), lang="en") + "\n"


def _first_judge(page: Page) -> str:
    """The name of the judge whose scores the page is about: of several, the run's, which its column begins with."""
    systems = page.systems
    if systems and any(one.others for one in systems.systems):
        return systems.score.rpartition(".")[0] or systems.score
    return next(iter(page.strip.runs), "judge")


def _empty(page: Page, key: str) -> Html | None:
    """A panel without values: the sentence that says what would fill it; None where there is none."""
    return panel(key, notes([page.empty[key]])) if key in page.empty and key in TITLES else None


def _inside(page: Page) -> Html:
    if not page.texts:
        return tag("p", "This file holds numbers only, no text of any row.")
    if page.rows is None or not page.rows.cards:
        return tag("p", "This file holds no text of any row.")
    return tag("p", "This file holds texts of the rows in it: prompts, generations, replies.")


def _package_text(names: tuple[str, ...]) -> str:
    folder = files("scorer.report.html")
    return "\n".join((folder / name).read_text("utf-8") for name in names)
