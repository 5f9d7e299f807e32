"""Parts of the report page: numbers, axes, brackets of ties, commands, saved files, the rows of marks, the budget."""

from __future__ import annotations

import csv
import html
import json
import re
import subprocess
from functools import cache
from itertools import pairwise
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import pages

from scorer.report.html import document
from scorer.report.html.commands import typed
from scorer.report.html.downloads import csv_link
from scorer.report.html.elements import tag, text
from scorer.report.html.figures import bracket, count, decimals, number, percent, usd
from scorer.report.html.marks import Marks
from scorer.report.html.scale import axis, beside
from scorer.report.html.ties import groups, lanes
from scorer.report.page.data import Interval, Page
from scorer.report.page.row_list import Rows

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


@cache
def large() -> str:
    return document(pages.large())


def test_numbers_have_a_true_minus_sign_and_no_minus_zero() -> None:
    assert [number(-0.126), number(-0.001), number(1234.5, 1), number(None), number(float("nan"))] == [
        "−0.13",
        "0.00",
        "1,234.5",
        "–",
        "–",
    ]
    assert bracket(Interval(0.1, -0.05, 0.25, 9)) == "[−0.05, 0.25]"
    assert bracket(Interval(0.1, None, None, 1)) == ""
    assert [decimals(1, 5), decimals(0, 1), decimals(0, 100), decimals(0, 0.02)] == [2, 2, 1, 4]
    assert [percent(0.004), percent(0.87), percent(0)] == ["0.4 %", "87 %", "0 %"]
    assert [usd(0), usd(3.14159), usd(1234.5), usd(0.02), usd(0.000654321)] == [
        "$0.00",
        "$3.14",
        "$1,234.50",
        "$0.02",
        "$0.000654",
    ]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_an_axis_has_a_place_for_every_value_and_few_round_ticks(values: list[float]) -> None:
    made = axis(values)
    span = made.high - made.low
    assert made.low - 1e-6 * span <= min(values)
    assert max(values) <= made.high + 1e-6 * span
    assert 2 <= len(made.ticks) <= 8
    steps = [b - a for a, b in pairwise(made.ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=20))
@settings(max_examples=50)
def test_no_label_of_one_axis_reaches_into_the_range_of_the_other(values: list[float]) -> None:
    up = axis([*values, 0.0], ticks=3)
    along = beside(axis([0.0, 2.0]), up, 300)
    widest = max(6.68 * len(up.label(tick)) for tick in up.ticks[:-1])  # a digit of Helvetica is .556 of its size
    assert along.percent(0.0) * 3 > widest
    assert along.percent(2.0) == axis([0.0, 2.0]).percent(2.0)


def test_brackets_hold_runs_of_systems_of_which_each_is_tied_with_the_first() -> None:
    assert groups([{1}, {0, 2}, {1}, set()]) == [(0, 1), (1, 2)]
    assert groups([{1, 2}, {0, 2}, {0, 1}]) == [(0, 2)]
    assert groups([set(), set()]) == []
    assert lanes([{1}, {0, 2}, {1}, {4}, {3}]) == [[(0, 1), (3, 4)], [(1, 2)]]
    assert lanes([{other for other in range(30) if other != at and abs(at - other) < 9} for at in range(30)]) == []


@settings(max_examples=20)
@given(st.lists(st.text(st.sampled_from("a '\"$`\\!*;&|é\n"), max_size=20), min_size=1, max_size=4))
def test_a_command_reaches_the_shell_as_the_words_that_it_names(words: list[str]) -> None:
    line = typed(words)
    if line is not None:
        assert subprocess.run(
            ["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
        ).stdout == b"".join(word.encode() + b"\0" for word in words)


def test_a_word_that_cannot_be_seen_whole_is_in_no_command() -> None:
    assert typed(["scorer", "show", "out\x1b[201~; rm -rf /"]) is None
    assert typed(["scorer", "show", "a\u202eb"]) is None
    assert typed(["scorer", "show", "--where", "model = 'a b'"]) == "scorer show --where \"model = 'a b'\""


@given(st.text())
def test_a_text_becomes_no_markup_and_holds_nothing_that_is_not_seen(value: str) -> None:
    shown = text(value)
    assert not re.sub(r"</?i( title=\"[^\"<>]*\")?>", "", shown).count("<")
    assert tag("p", value, title=value).count("<p") == 1
    plain = value.replace("\r\n", "\n")
    if plain.isprintable():
        assert html.unescape(shown) == plain


def test_a_table_is_saved_as_it_is() -> None:
    rows = [["a,b", 'say "no"', 1.5], ["line\nbreak", "%41 #?&<", None], [" ends ", "=1+1", 1234567.0]]
    href = re.search(r'href="([^"]*)"', csv_link("t", ["x", "y", "z"], rows))
    assert href
    kind, _, content = html.unescape(href[1]).partition(",")
    assert kind == "data:text/csv;charset=utf-8"
    assert list(csv.reader(unquote(content).splitlines(keepends=True))) == [
        ["x", "y", "z"],
        ["a,b", 'say "no"', "1.5"],
        ["line\nbreak", "%41 #?&<", ""],
        [" ends ", "=1+1", "1234567"],
    ]


def test_every_drawing_that_can_be_saved_is_xml_of_its_own() -> None:
    drawings = re.findall(r'href="data:image/svg\+xml,([^"]*)"', document(pages.hostile()))
    assert len(drawings) >= 6
    for drawing in drawings:
        root = ElementTree.fromstring(unquote(html.unescape(drawing)))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not root.findall(".//{http://www.w3.org/2000/svg}a")


def test_maps_are_saved_with_the_number_of_each_cell_and_large_ones_as_csv_alone() -> None:
    def saved(name: str, page: Page) -> ElementTree.Element | None:
        found = re.search(rf'download="{name}.svg" href="data:image/svg\+xml,([^"]*)"', document(page))
        return ElementTree.fromstring(unquote(html.unescape(found[1]))) if found else None

    page = pages.page()
    assert page.where
    assert page.judge
    assert page.judge.confusion
    svg = "{http://www.w3.org/2000/svg}"
    drawn = saved("systems-by-task", page)
    assert drawn is not None
    texts = [one.text for one in drawn.iter(f"{svg}text")]
    assert set(page.where.systems) <= set(texts)
    assert {name if len(name) <= 12 else f"{name[:11]}…" for name in page.where.tasks} <= set(texts)
    for cell in page.where.cells:
        assert count(cell.score.n) in texts
        assert number(cell.score.value) in texts
    shapes = [one.get("d", "") for one in drawn.iter(f"{svg}path")]
    assert sum(shape.count("M") for shape in shapes) == len(page.where.cells)
    drawn = saved("confusion", page)
    assert drawn is not None
    texts = [one.text for one in drawn.iter(f"{svg}text")]
    for row in page.judge.confusion.cells:
        assert all(count(cell.count) in texts for cell in row)
    assert saved("systems-by-task", pages.page([f"s{n}" for n in range(60)], [f"t{n}" for n in range(11)])) is None


@given(st.lists(st.text("ab'😀 ", max_size=12), max_size=8))
def test_conditions_of_marks_are_read_back_from_what_they_share_with_the_one_before(conditions: list[str]) -> None:
    marks = Marks(["out"], [])
    for where in conditions:
        marks.link("1", "title", Rows(1, [], where))
    last, read = b"", []
    for *_, same, rest in json.loads(json.dumps(marks.listed())):
        last = last[: 2 * same] + str(rest).encode("utf-16-le")
        read.append(last.decode("utf-16-le"))
    assert read == [typed([where]) for where in conditions]


def test_the_largest_page_stays_within_its_budget() -> None:
    page = large()
    size = len(page.encode())
    assert size <= 2_500_000
    rows = page[page.index('id="rows"') : page.index('id="training"')]
    shell = sum(len(part.encode()) for part in re.findall(r"<style>.*?</style>|<script>.*?</script>", page, re.DOTALL))
    assert shell <= 60_000
    assert len(rows.encode()) <= 1_950_000
    assert size - len(rows.encode()) - shell <= 510_000  # charts and tables 500 kB, head and run file 10
    assert "more rows did not fit into the page." in rows


def test_a_page_whose_numbers_are_large_holds_fewer_rows() -> None:
    names = [f"a system with a name as long as some checkpoints have it, {at}" * 2 for at in range(60)]
    whole = pages.page(names, [f"task {at} of the benchmark" for at in range(30)], 400, "long text " * 410)
    assert 2_400_000 < len(document(whole).encode()) <= 2_500_000


def test_a_mark_whose_row_did_not_fit_gives_its_command() -> None:
    found = DATA.search(large())
    assert found
    data = json.loads(found[1])
    kept = {card[0] for card in data["cards"]}
    assert len(kept) < 400
    assert all(set(ids) <= kept and (len(ids) == count or where) for _, count, ids, *where in data["marks"])
