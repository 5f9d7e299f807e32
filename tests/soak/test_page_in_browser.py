"""The report page in a headless Chromium: by mouse, by keyboard, without script, on paper, and as axe sees it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import pages
from support.browser import Watched, chromium

from scorer.report.html import document

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

EVERY = (
    "page",
    "small",
    "two_judges",
    "unlabelled",
    "one_system",
    "running",
    "empty",
    "only_errors",
    "numbers_only",
    "hostile",
    "large",
)
WIDTHS = (360, 480, 700, 900, 1400)  # 700 is 1400 at 200 % zoom


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Started once: it takes a second."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each page."""
    written = tmp_path_factory.mktemp("pages")
    for name in EVERY:
        (written / f"{name}.html").write_text(document(getattr(pages, name)()), encoding="utf-8")
    return written


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """Pages that must write nothing to the console and ask for nothing."""
    opener = Watched(browser)
    yield opener
    assert not opener.faults


def focused(page: Page) -> str:
    """The text of the element that has the focus."""
    return str(page.evaluate("document.activeElement.textContent"))


def focuses(page: Page, beginning: str) -> None:
    """Waits until the focus is on an element whose text begins so: the page follows a link a moment after its click."""
    page.wait_for_function("(words) => document.activeElement.textContent.startsWith(words)", arg=beginning)


def opened(page: Page, row: str) -> Locator:
    """The card of a row, once it is shown: the page follows a link a moment after its click."""
    card = page.locator(f"#cards > details[data-r='{row}']")
    card.locator("h3").wait_for()
    return card


def fragment(page: Page) -> str:
    """The part of the address after #, once the page has followed it."""
    return str(page.evaluate("new Promise((done) => setTimeout(() => done(location.hash)))"))


def listed(page: Page) -> Locator:
    """The links of the list that is shown."""
    return page.locator("#lists li a:visible")


OVERLAPS = """[...document.querySelectorAll("svg")].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text.m")].map((one) => [one.textContent, one.getBoundingClientRect()]);
  const shown = boxes.filter(([, box]) => box.width > 0).sort(([, a], [, b]) => a.left - b.left);
  return shown.slice(1).flatMap(([text, box], at) => {
    const [left, before] = shown[at];
    return before.right > box.left && before.bottom > box.top && box.bottom > before.top ? [[left, text]] : [];
  });
})"""
"""Labels of an axis that lie over each other."""


def test_no_page_is_wider_than_its_window_or_runs_a_text(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "empty.html", width=WIDTHS[0]) as page:
        for name in EVERY:
            watched.go(page, folder / f"{name}.html")
            for width in WIDTHS[::-1] if name in ("page", "two_judges", "hostile") else WIDTHS[:1]:
                page.set_viewport_size({"width": width, "height": 900})
                shown, room = page.evaluate(
                    "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
                )
                assert shown <= room, (name, width)
                assert page.evaluate(OVERLAPS) == [], (name, width)
            assert page.evaluate("window.hacked") is None


INTRUDERS = """async () => {
  const refused = new Set();
  document.addEventListener("securitypolicyviolation", (event) => refused.add(event.effectiveDirective));
  document.body.insertAdjacentHTML("beforeend", `<img src="http://127.0.0.1:9/" onerror="window.hacked = 1">
    <iframe src="http://127.0.0.1:9/"></iframe><video src="http://127.0.0.1:9/"></video><object data="http://127.0.0.1:9/"></object>
    <link rel="stylesheet" href="http://127.0.0.1:9/"><form action="http://127.0.0.1:9/"></form><base href="http://127.0.0.1:9/">
    <style>@font-face { font-family: x; src: url(http://127.0.0.1:9/) } body { font-family: x }</style>`);
  document.body.append(Object.assign(document.createElement("script"), {text: "window.hacked = 1"}));
  await fetch("http://127.0.0.1:9/").catch(() => null);
  document.querySelector("form").submit();
  for (let turn = 0; turn < 5000 && refused.size < 11; turn++) await new Promise((done) => setTimeout(done, 20));
  return [...refused].sort();
}"""


def test_the_policy_refuses_whatever_a_text_would_bring(browser: Browser, folder: Path) -> None:
    with Watched(browser).open(folder / "small.html") as page:
        assert page.evaluate(INTRUDERS) == [
            "base-uri",
            "connect-src",
            "font-src",
            "form-action",
            "frame-src",
            "img-src",
            "media-src",
            "object-src",
            "script-src-attr",
            "script-src-elem",
            "style-src-elem",
        ]
        assert page.evaluate("window.hacked") is None


def test_a_heading_sorts_its_column_and_ties_are_shown_only_where_they_hold(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html") as page:
        board = page.locator("table.board")
        first = board.locator("tbody tr:first-child a.system")
        button = board.get_by_role("button", name="No score")
        button.focus()
        page.keyboard.press("Enter")
        assert first.text_content() == pages.SYSTEMS[-1]
        assert board.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
        assert board.locator(".ties").first.is_hidden()
        page.keyboard.press("Enter")
        assert first.text_content() == pages.SYSTEMS[0]
        assert board.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
        assert board.locator(".ties").first.is_visible()


def test_a_row_opens_by_its_link_takes_the_focus_and_gives_it_back(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html", "#r=1:1") as page:
        shown = page.locator("#cards > details:visible")
        assert shown.count() == 1
        assert shown.get_attribute("data-r") == "1:1"
        assert "item-0001" in focused(page)
        assert page.locator(".tabs [aria-current]").text_content() == "Judge too high 84"
        page.get_by_role("link", name="Next", exact=True).click()
        opened(page, "0:6")
        assert shown.count() == 1
        page.go_back()
        opened(page, "1:1")
        assert shown.count() == 1
        page.keyboard.press("Escape")
        assert fragment(page) == "#t=high"
        page.wait_for_function("document.activeElement.closest('#lists') !== null")
        assert "item-0001" in focused(page)


def test_j_and_k_move_in_the_list_and_nowhere_else(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html") as page:
        page.keyboard.press("j")
        assert fragment(page) == ""
        listed(page).first.focus()
        page.keyboard.press("j")
        assert fragment(page) == "#t=random&r=1:5"
        page.keyboard.press("j")
        assert fragment(page) == "#t=random&r=0:10"
        page.keyboard.press("k")
        assert fragment(page) == "#t=random&r=1:5"
        assert "item-0005" in focused(page)
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.tagName") == "H3"
        page.keyboard.press("j")
        assert fragment(page) == "#t=random&r=1:5"


def test_a_system_filters_the_page_and_a_second_one_is_compared(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html") as page:
        page.locator("a.system", has_text="cobalt-large").click()
        assert fragment(page) == "#t=random&s=cobalt-large"
        assert page.locator(".chip").inner_text() == "Only cobalt-large Show all"
        assert (
            page.locator("[aria-live]").text_content()
            == "Only cobalt-large: 2 rows in the list, 10 of other systems left out."
        )
        assert page.locator("table.heat tr[data-s]:visible").count() == 1
        assert {text.split(" · ")[0] for text in page.locator("#lists li:visible .label").all_text_contents()} == {
            "cobalt-large"
        }
        page.locator("tr[data-s='4'] a.vs").click()
        assert fragment(page) == "#s=cobalt-large&c=juniper-7b"
        assert focused(page).startswith("cobalt-large and juniper-7b")
        assert "cobalt-large minus juniper-7b: " in page.locator("#lists").inner_text()
        both = page.locator("#cards > details:visible h3").all_text_contents()
        assert [label.split(" · ")[0] for label in both] == ["cobalt-large", "juniper-7b"]
        page.get_by_role("link", name="Show all").click()
        assert fragment(page) == "#t=random"
        assert page.locator("table.heat tr[data-s]:visible").count() == len(pages.SYSTEMS)
        page.go_back()
        assert fragment(page) == "#s=cobalt-large&c=juniper-7b"


def test_a_mark_leads_to_its_rows_or_to_the_command_that_lists_them(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html") as page:
        page.locator("table.confusion td a").first.click()
        focuses(page, "People 1, the judge 1 ")
        assert listed(page).count() == 4
        page.get_by_role("link", name="Truncated").click()
        page.get_by_text("None of these rows is in the page.").wait_for()
        assert (
            page.locator("#lists code:visible").text_content()
            == "scorer show out/september --where \"error = 'Truncated'\""
        )
        page.locator(".board").scroll_into_view_if_needed()
        page.locator("figure a", has=page.locator("rect")).first.click()
        focuses(page, "Score 0.50 to 1.50 ")


def test_labels_are_kept_and_saved_with_how_their_rows_were_picked(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html", "#t=random&r=0:0") as page:
        opened(page, "0:0").get_by_role("button", name="Right").click()
        page.get_by_role("link", name="Next", exact=True).click()
        opened(page, "1:5").get_by_role("button", name="Wrong").click()
        assert page.evaluate("document.activeElement.tagName") == "INPUT"
        assert "1 marked wrong without a value" in page.locator(".labels").inner_text()
        page.keyboard.type("2.5")
        page.keyboard.press("Enter")
        page.locator(".tabs a", has_text="Lowest").click()
        page.locator("#lists a[href='#t=lowest&r=0:20']").click()  # a random row, found among the lowest
        opened(page, "0:20").get_by_role("button", name="Right").click()
        page.reload()
        page.locator(".labels").get_by_text("3 labelled, 2 of them in the random list.").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save labels.csv").click()
        rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert download.value.suggested_filename == "labels.csv"
        assert [
            (row["shard"], row["row"], row["right"], row["human_label"], row["picked"], row["weight"]) for row in rows
        ] == [
            ("data/a.parquet", "0", "1", "4", "random", "80.5"),
            ("data/b.parquet", "5", "0", "2.5", "random", "80.5"),
            ("data/a.parquet", "20", "1", "1", "lowest", ""),
        ]


def test_a_hidden_verdict_shows_once_the_row_is_labelled(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html", "#t=random&r=0:0") as page:
        verdict, form = page.locator(".verdicts:visible"), page.locator("fieldset:visible")
        page.get_by_label("Hide the verdict until a row is labelled").check()
        assert verdict.count() == 0
        assert page.locator("#lists li a > b").first.is_hidden()
        assert form.get_by_role("button").count() == 0
        form.get_by_role("spinbutton").fill("4")
        page.keyboard.press("Enter")
        assert verdict.count() == 1
        with page.expect_download() as download:
            page.get_by_role("button", name="Save labels.csv").click()
        row = next(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert (row["human_label"], row["right"], row["blind"]) == ("4", "1", "1")


STOPS = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const at = document.elementFromPoint(box.left + box.width / 2, box.top + Math.min(box.height / 2, 12));
  const around = one.closest("svg") ?? one;  // points of two curves may lie on one another; the table has both
  return [one.outerHTML.slice(0, 120), style.outlineStyle, around.contains(at), box.width, box.height,
    one === document.body || one.closest("p, header li") !== null];
}"""


def test_the_keyboard_reaches_everything_sees_where_it_is_and_is_caught_nowhere(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "small.html") as page:
        page.set_viewport_size({"width": 1400, "height": 500})  # so that the page scrolls under its bars
        reached = []
        for key in ("Tab", "Shift+Tab"):
            for _ in range(300):
                page.keyboard.press(key)
                shown, outline, uncovered, width, height, inline = page.evaluate(STOPS)
                if shown.startswith("<body"):
                    break
                assert outline != "none", shown
                assert uncovered, (key, shown)
                assert inline or (width >= 24 and height >= 24) or shown.startswith("<input"), (shown, width, height)
                reached.append(shown)
        wanted = page.evaluate(
            """[...document.querySelectorAll("a[href], button, summary, input")]
            .filter((one) => one.checkVisibility({visibilityProperty: true})).length"""
        )
        assert len(reached) >= 2 * wanted


def test_without_script_every_row_is_there_and_links_open_them(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html", java_script_enabled=False) as page:
        assert page.locator("#cards > details:visible").count() == 60
        assert page.get_by_role("button").count() == 0
        page.locator("table.confusion td a").first.click()
        page.locator("#cards article:visible").wait_for()  # one: two would be an error
        page.get_by_text("Differences of pairs").click()
        assert page.get_by_text("atlas-2-72b minus cobalt-large").is_visible()


def test_on_paper_the_page_is_light_and_its_first_ten_rows_are_open(watched: Watched, folder: Path) -> None:
    with watched.open(folder / "page.html", color_scheme="dark") as page:
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
        assert page.locator("#cards article:visible").count() == 10
        assert page.locator("th button", has_text="Rank").is_visible()
        assert page.locator(".copy:visible, fieldset:visible, nav:visible").count() == 0
        # On the second page of a table Chromium repeats the words of its headings, and no buttons.
        buttons = "[...document.querySelectorAll('th button')].map((one) => getComputedStyle(one).display)"
        assert set(page.evaluate(buttons)) == {"contents"}
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("#cards article:visible").count() == 1


@pytest.mark.parametrize(
    ("name", "place", "width", "scheme"),
    [("small", "#s=cobalt-large&c=atlas-2-72b", 1400, "light"), ("hostile", "#t=high&r=1:1", 400, "dark")],
)
def test_axe_finds_nothing(watched: Watched, folder: Path, name: str, place: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install -e '.[dev]'")
    with watched.open(folder / f"{name}.html", place, width, color_scheme=scheme) as page:
        if name == "small":
            page.evaluate(
                "document.querySelectorAll('details:not(#cards > details)').forEach((one) => (one.open = true))"
            )
        found = axe.Axe().run(page).response["violations"]
    assert not found, json.dumps(
        [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found], indent=1
    )
