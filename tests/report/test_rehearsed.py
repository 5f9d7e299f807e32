"""Promise: a rehearsal says when the real run would end, what it would cost, and what would end it sooner."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from scorer.output.progress import Snapshot
from scorer.output.status import Status
from scorer.report.watch.rehearsed import Steady, rehearsed, rehearsed_lines
from scorer.text_width import cells

AT = time.mktime((2026, 11, 28, 4, 10, 0, 0, 0, 0))
SEEN = Snapshot(
    state="running", pid=1, updated_at=AT, rows_total=1000, rows_before=0, rows=500, scored=500, errors={},
    rows_per_s=10.0, tokens_per_minute=1_900_000, tokens_limit=2e6, cost_usd=1.0, maybe_billed_usd=0.0, in_flight=30,
    held_back_by={"tokens_per_minute": 0.91}, outage_s=None, requests=500,
    use={"tokens_per_minute": 0.95, "requests_per_minute": 0.1, "concurrency": 0.3},
    limits={"tokens_per_minute": 2e6, "requests_per_minute": 6000.0, "concurrency": 100, "max_usd": 150.0},
    latency_s={"p50": 0.81}, requests_per_minute=600.0,
)  # fmt: skip


def ended(**changes: Any) -> Status:
    counts = {"rows": 1000, "scored": 990, "failed": 10, "pending": 0, "requests": 1000, "shards": 1, "sealed": 1}
    tokens = {"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 0, "cost_usd": 2.0, "maybe_billed_usd": 0.0}
    rest = {"errors": {}, "rows_per_s": 1.0, "held_back_by": {}, "rehearsal": True}
    return Status(**{"state": "complete", **counts, **tokens, **rest, **changes})


SAMPLE = ended(selection={"where": None, "sample": "1000", "rows": 1000, "of": 72_000})


def test_whole_run_ends_after_its_rows_at_the_pace_of_the_rehearsal() -> None:
    found = rehearsed(SEEN, SAMPLE)
    assert (found.seconds, found.cost_usd) == (7200.0, pytest.approx(144.0))
    assert found.limited_by == "Limited by tokens/min (91 %): doubling it ends at 05:07, not 06:10."
    assert found.json()["rows"] == 72_000
    assert rehearsed(SEEN, ended()).seconds == 100.0


def test_rows_of_a_condition_are_not_extrapolated_to_all_rows() -> None:
    some = ended(selection={"where": "n > 3", "sample": "1000", "rows": 1000, "of": 72_000})
    assert rehearsed(SEEN, some).snapshot.rows_total == 1000


def test_lines_fit_80_columns_and_name_each_limit_money_and_what_ends_it_sooner() -> None:
    lines = rehearsed_lines(rehearsed(SEEN, SAMPLE), 80)
    assert max(map(cells, lines)) <= 80
    text = "\n".join(lines)
    for part in (
        "The real run of 72,000 rows",
        "10.0 rows/s: begun now it ends at 06:10 (2 h 0 min)",
        "95 %  1,900,000 of 2,000,000",
        "requests in flight",
        "about 144.0000 of 150.00 USD (96 %)",
        "doubling it ends at 05:07, not 06:10",
        "rehearsal.latency_median_s",
    ):
        assert part in text
    assert "ends the run" not in text


def test_picture_shows_what_held_requests_back_over_the_whole_rehearsal_and_is_safe_html() -> None:
    history = [(AT + second, {"tokens_per_minute": second / 100, "concurrency": 0.5}) for second in range(101)]
    steady = Steady()
    steady.see(SEEN)
    steady.see(replace(SEEN, state="complete", history=history))
    assert steady.snapshot is not None
    whole = rehearsed(steady.snapshot, SAMPLE)
    for width, columns in ((80, 38), (200, 40)):
        held = [line for line in rehearsed_lines(whole, width) if "held back by" in line]
        assert [line.rpartition("|")[2].strip() for line in held] == ["tokens/min", "requests in flight"]
        rising = held[0].split("|")[1]
        assert (len(rising), rising[0], rising[-1]) == (columns, " ", "█")
        assert list(rising) == sorted(rising)
        assert set(held[1].split("|")[1]) == {"▄"}
    assert str(whole) == "\n".join(rehearsed_lines(whole, 100))
    assert whole._repr_html_().startswith("<div><b>The real run of 72,000 rows, at this pace:</b><pre")
    assert rehearsed_lines(whole, 44)[1].startswith("  10.0 rows/s")  # no room for a curve


def test_cap_that_ends_the_run_early_is_named() -> None:
    limits = {**SEEN.limits, "max_usd": 72.0}
    text = " ".join(rehearsed_lines(rehearsed(replace(SEEN, limits=limits), SAMPLE), 80))
    assert "limits.max_usd ends the run with about 50 %" in text


def test_rehearsal_without_a_pace_says_so() -> None:
    found = rehearsed(replace(SEEN, rows_per_s=0.0), SAMPLE)
    assert found.seconds is None
    assert "no row was finished in the last minute" in "\n".join(rehearsed_lines(found, 80))


def test_pace_is_that_of_the_last_snapshot_before_the_last_rows_were_begun() -> None:
    steady = Steady()
    assert steady.snapshot is None
    draining = replace(SEEN, rows=980, rows_per_s=3.0)
    over = replace(SEEN, state="complete", rows=1000, in_flight=0)
    for one in (SEEN, draining, over):
        steady.see(one)
    assert steady.snapshot == SEEN
    short = Steady()
    short.see(over)
    assert short.snapshot == over


def test_rows_that_are_all_begun_at_once_show_the_most_requests_in_flight() -> None:
    short = Steady()
    for in_flight, use in ((40, 0.4), (70, 0.7), (0, 0.0)):
        short.see(replace(SEEN, rows=1000 - in_flight, in_flight=in_flight, use={**SEEN.use, "concurrency": use}))
    assert short.snapshot is not None
    lines = rehearsed_lines(rehearsed(short.snapshot, ended()), 80)
    assert any("requests in flight" in line and "70 %  70 of 100" in line for line in lines)
