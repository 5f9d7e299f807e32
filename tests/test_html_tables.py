"""Promise: what a notebook shows of a result is escaped, needs no script, and says what it leaves out."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import polars as pl
from support.finished_runs import RATING, finished_run

import scorer
from scorer.cli.run_text import summary_text
from scorer.frames.analysis_results import ByScore
from scorer.html_tables import MOST_LETTERS, MOST_ROWS, facts_html, rows_html

EVIL = "<script>alert(1)</script>\u202e&\x1b[2J"


class Tags(HTMLParser):
    """The tags and the text of a page; raises for what is closed out of order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def read(page: str) -> str:
    """The text of a page that is well-formed and harmless."""
    tags = Tags(page)
    assert tags.seen <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    assert not set(tags.text) & {"\u202e", "\x1b"}
    return tags.text


def test_tables_escape_names_texts_and_notes() -> None:
    assert read(facts_html(EVIL, [(EVIL, EVIL)])).count("<script>alert(1)</script>") == 3
    assert read(rows_html(EVIL, [{EVIL: EVIL}], [EVIL])).count("<script>alert(1)</script>") == 4


def test_table_shows_the_first_rows_and_their_number() -> None:
    text = read(rows_html("many", [{"n": n, "x": 1 / 3, "none": None} for n in range(1000)]))
    assert f"The first {MOST_ROWS} of 1,000 rows" in text
    assert "0.3333" in text
    assert "–" in text
    assert "Nothing is in it." in read(rows_html("none", []))


def test_long_text_is_cut() -> None:
    assert len(read(facts_html("t", [("name", "x" * 10**6)]))) < MOST_LETTERS + 50


def test_results_show_their_figures_in_a_notebook() -> None:
    frame = pl.DataFrame(
        {
            "score": [1.0, 2.0, 3.0, 4.0, 2.0, None],
            "human": [1.0, 2.0, 4.0, 4.0, 2.0, 2.0],
            "model": [EVIL, "b", "c"] * 2,
            "task": ["t"] * 3 + ["u"] * 3,
        }
    )
    board = scorer.leaderboard(frame, system="model", bootstrap=10)
    assert isinstance(board, ByScore)
    shown = [
        board,
        *board.values(),
        scorer.agree(frame, human="human", bootstrap=0),
        scorer.agree(frame, ["score", "human"], bootstrap=0),
        scorer.scale(frame, human="human", task="task"),
        *scorer.scale(frame, human="human", task="task").values(),
        scorer.compare(frame, variant="model", bootstrap=0),
        *scorer.compare(frame, variant="model", bootstrap=0).values(),
        scorer.estimate(frame, human="human"),
        *scorer.estimate(frame, human="human").values(),
    ]
    for one in shown:
        assert len(read(one._repr_html_()).split()) > 10, type(one)


def test_status_plan_and_verification_show_what_the_commands_print(tmp_path: Path) -> None:
    given = pl.DataFrame({"response": ["a", "b"]})
    out = finished_run(tmp_path, given, {"score": [3.0, None], "cost_microusd": 7})
    status = scorer.status(out)
    text = read(status._repr_html_())
    assert f"{out}: complete" in text
    assert "2: 1 scored, 1 failed, 0 pending" in text
    assert "Unreadable 1" in text
    assert summary_text(out, status).splitlines()[1].split(maxsplit=1)[1] in text
    tree = {**RATING, "input": {"shards": [f"{tmp_path}/in/*.parquet"]}, "output": {"path": f"{tmp_path}/new"}}
    assert "no price is known" in read(scorer.plan(tree)._repr_html_())
    assert "2 rows in 1 shard" in read(scorer.verify(out)._repr_html_())
