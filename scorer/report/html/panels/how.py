"""Panel 8: what reproduces the page: run file, prompt, versions, and what each number assumes."""

from __future__ import annotations

from scorer.report.html.elements import Html, tag
from scorer.report.html.panels.frame import panel
from scorer.report.page.data import How


def how(values: How) -> Html:
    """The panel."""
    return panel(
        "how",
        tag("details", tag("summary", "Run file"), tag("pre", values.run_file)),
        tag("details", tag("summary", "Prompt"), tag("pre", values.prompt, dir="auto")) if values.prompt else None,
        tag("details", tag("summary", "What each number assumes"), _pairs(dict(values.assumes)))
        if values.assumes
        else None,
        tag("details", tag("summary", "Versions and seed"), _pairs(dict(values.versions))) if values.versions else None,
    )


def _pairs(values: dict[str, str]) -> Html:
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in values.items()))
