"""The report page as a file: one document, its size, no foreign markup, every link has its target."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from support import pages

from scorer.report.html import document
from scorer.report.page.data import Page

EVERY = (
    pages.page,
    pages.two_judges,
    pages.unlabelled,
    pages.one_system,
    pages.running,
    pages.empty,
    pages.only_errors,
    pages.numbers_only,
    pages.hostile,
)
VOID = {"meta", "link", "br", "hr", "input", "circle", "line", "rect", "path"}


class Parsed(HTMLParser):
    """The elements of a document; fails where one is closed that is not open."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(written)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("made", EVERY, ids=lambda made: made.__name__)
def test_every_page_is_well_formed_and_its_identifiers_are_unique(made: Callable[[], Page]) -> None:
    parsed = Parsed(document(made()))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    described = {key for _, attributes in parsed.elements if (key := attributes.get("aria-labelledby"))}
    assert described <= set(ids)


def test_no_element_or_attribute_comes_from_a_text() -> None:
    parsed = Parsed(document(pages.hostile()))
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert sum(tag == "script" for tag, _ in parsed.elements) == 2
    assert not [key for _, attributes in parsed.elements for key in attributes if key.startswith("on")]
    assert all(
        (attributes.get("href") or "#").startswith(("#", "data:text/csv;", "data:image/svg+xml,", "data:,"))
        for _, attributes in parsed.elements
    )


def test_characters_that_cannot_be_seen_are_shown_as_marks() -> None:
    written = document(pages.hostile())
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]", written
    )
    assert '<i title="right-to-left override">U+202E</i>' in written
    assert '<i title="control character">U+0000</i>' in written


def test_links_to_rows_lead_to_cards_of_the_page() -> None:
    parsed = Parsed(document(pages.page()))
    ids = {attributes.get("id") for _, attributes in parsed.elements}
    rows = [href[1:] for _, attributes in parsed.elements if (href := attributes.get("href") or "").startswith("#r=")]
    assert len(rows) > 100
    assert set(rows) <= ids


def test_the_data_is_json_without_an_angle_bracket() -> None:
    written = document(pages.hostile())
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', written, re.DOTALL)
    assert found
    assert "<" not in found[1]
    assert pages.HOSTILE[0] in json.loads(found[1])["systems"]
