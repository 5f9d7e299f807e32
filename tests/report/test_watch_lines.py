"""Promise: the live view says what limits a run and when it ends, on any terminal, also of hostile values."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.output.progress import Snapshot
from scorer.report.watch.limiting import over_budget, speedup, what_limits
from scorer.report.watch.lines import Prompt, plain_line, watch_lines
from scorer.report.watch.source import Seen
from scorer.text_width import cells

AT = time.mktime((2026, 11, 28, 4, 10, 0, 0, 0, 0))
LIMITED = Snapshot(
    state="running", pid=4242, updated_at=AT, rows_total=100_000, rows_before=0, rows=40_000, scored=39_990,
    errors={"Refused": 7, "Unreadable": 3}, rows_per_s=5.0, tokens_per_minute=1_820_000, tokens_limit=2_000_000.0,
    cost_usd=80.0, maybe_billed_usd=0.0, in_flight=30, held_back_by={"tokens_per_minute": 0.914, "concurrency": 0.02},
    outage_s=None, requests=40_000, prompt_tokens=10**8, completion_tokens=10**6,
    use={"tokens_per_minute": 0.99, "requests_per_minute": 0.1, "concurrency": 0.3, "max_usd": 0.4},
    limits={"tokens_per_minute": 2e6, "requests_per_minute": 3000.0, "concurrency": 100, "max_usd": 200.0},
    latency_s={"p50": 0.81, "p90": 1.4, "p99": 3.25}, host="judge-1", requests_per_minute=300.0,
)  # fmt: skip


def shown(s: Snapshot | None, width: int = 80, height: int = 24, **seen: Any) -> list[str]:
    state = seen.pop("state", "running")
    prompt = Prompt([("p pause",), ("q quit",)])
    return [line.text for line in watch_lines(Seen("out", state, s, **seen), prompt, width, height)]


def test_view_names_the_limit_and_when_twice_of_it_would_end_the_run() -> None:
    assert what_limits(LIMITED) == "Limited by tokens/min (91 %): doubling it ends at 05:49, not 07:30."


def test_an_end_in_the_same_minute_is_told_by_the_seconds_between() -> None:
    soon = replace(LIMITED, rows_total=40_200)  # 40 s, and 20 s with twice of the limit
    assert what_limits(soon) == "Limited by tokens/min (91 %): doubling it ends 20 s sooner."


def test_view_counts_rows_by_tier_where_one_is_not_the_standard() -> None:
    assert "tiers" not in "\n".join(shown(replace(LIMITED, tiers={"standard": 40_000})))
    both = replace(LIMITED, tiers={"flex": 39_000, "standard": 1_000})
    assert "tiers               flex 39,000, standard 1,000" in shown(both)
    assert "tiers: flex 39,000, standard 1,000" in plain_line(Seen("out", "running", both))


def test_view_of_batches_measures_no_rate_against_limits_that_they_do_not_have() -> None:
    out = {"out": 4, "rows": 960, "oldest_s": 5.0}
    text = "\n".join(shown(replace(LIMITED, batches=out, latency_s={}, use={**LIMITED.use, "tokens_per_minute": 1.9})))
    assert "requests/min        300   no limit in batches" in text
    assert "1,820,000   no limit in batches" in text
    assert "of 2,000,000" not in text
    assert "latency" not in text


def test_view_fits_80_columns_and_24_lines_with_all_that_a_run_has_to_say() -> None:
    changed = replace(LIMITED, last_change="limits.max_usd is 200 now, it was 100 (ada).", last_change_at=AT)
    text = "\n".join(shown(changed))
    for part in (
        "40,000 of 100,000 rows (40 %)",
        "ETA 07:30 (3 h 20 min)",
        "Limited by tokens/min (91 %)",
        "39,990 scored   10 failed",
        "Refused 7   Unreadable 3",
        "1,980,000 of 2,000,000   waits 91 %",
        "300 of 3,000",
        "30 of 100",
        "80.0000 of 200.00 USD (40 %)   about 200.00 in all",
        "p50 0.81 s   p90 1.40 s   p99 3.25 s",
        "Last change at 04:10:00: limits.max_usd is 200 now, it was 100 (ada).",
        "p pause   q quit",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"use": {"tokens_per_minute": 1.0, "concurrency": 0.8}}, r"not 07:30 (the next limit is requests in flight)."),
        (
            {"use": {"tokens_per_minute": 1.0, "concurrency": 1.0}},
            "doubling it does not help, since requests in flight",
        ),
        ({"held_back_by": {"concurrency": 0.6}, "use": {"concurrency": 1.0}}, "Limited by requests in flight (60 %)"),
        ({"held_back_by": {"tokens_per_minute": 0.2}}, "Hardly limited: tokens/min 20 % of the last minute."),
        (
            {"held_back_by": {"tokens_per_minute": 0.45, "retry_after": 0.47}},
            "Limited by several waits: the judge's 429s 47 %, tokens/min 45 % of the last minute.",
        ),
        ({"held_back_by": {}}, "No limit is reached"),
        ({"held_back_by": {"retry_after": 0.7}}, "Limited by the judge's 429s (70 %"),
        ({"held_back_by": {"ledger": 0.7}}, "Waiting for disk (70 %"),
        ({"held_back_by": {"new\x1b[2J": 0.7}}, r"Waiting for new\x1b[2J (70 %"),
        ({"outage_s": 125.0, "why": "503 of\x1b[31m x"}, r"does not answer for 2 min 5 s. One probe at a time is sent"),
        ({"paused": True}, "Paused: 30 requests in flight are finished"),
        ({"paused": True, "in_flight": 0}, "Paused: nothing is in flight"),
        ({"rows_per_s": 0.0}, "Limited by tokens/min (91 %)."),
    ],
)
def test_view_says_in_a_sentence_what_holds_the_run_back(changed: dict[str, Any], says: str) -> None:
    found = what_limits(replace(LIMITED, **changed))
    assert says in found
    assert "\x1b" not in found


@given(
    use=st.dictionaries(st.sampled_from(["tokens_per_minute", "requests_per_minute", "concurrency"]), st.floats(0, 3)),
    name=st.sampled_from(["tokens_per_minute", "concurrency"]),
)
def test_twice_a_limit_makes_a_run_at_most_so_much_faster_and_never_slower(use: dict[str, float], name: str) -> None:
    faster, then = speedup(replace(LIMITED, use=use), name)
    assert faster >= 1.0
    assert faster <= 2.0 / min(1.0, use.get(name) or 1.0)
    assert then == name or faster <= max(1.0, 1.0 / min(1.0, use[then]))


def test_view_warns_of_a_cap_that_ends_the_run_before_its_last_row() -> None:
    assert over_budget(LIMITED) is None
    dear = replace(LIMITED, cost_usd=100.0)
    assert over_budget(dear) == "limits.max_usd ends the run with about 80 % of the rows finished, at the cost so far."
    assert over_budget(replace(dear, rows=20)) is None


_TEXT = st.text(max_size=60) | st.sampled_from(["\x1b[2J", "‮evil", "日本語" * 20, "\n\n\n", "a" * 300])


@given(
    width=st.integers(1, 220),
    height=st.integers(1, 60),
    rows=st.integers(0, 10**12),
    total=st.integers(0, 10**12),
    pace=st.floats(0, 1e9),
    use=st.floats(0, 50),
    text=_TEXT,
    typed=st.none() | st.just(("New limits.max_usd (now 5), Enter to raise it: 12_", "12_")),
    state=st.sampled_from(["running", "starting", "ending"]),
    silent=st.none() | st.just(99.0),
)
def test_view_never_exceeds_the_terminal_nor_lets_foreign_text_out(
    width: int, height: int, rows: int, total: int, pace: float, use: float, text: str, typed: tuple[str, ...] | None,
    state: str, silent: float | None,
) -> None:  # fmt: skip
    s = replace(
        LIMITED, rows=rows, scored=rows, rows_total=total, rows_per_s=pace, errors={text: 3}, why=text or None,
        last_change=text, publish_problem=text, host=text, use={"tokens_per_minute": use}, latency_s={text: use},
    )  # fmt: skip
    seen = Seen(text, state, s, True, silent, text)
    lines = watch_lines(seen, Prompt([("q quit",)], typed, text), width, height)
    assert len(lines) <= height
    assert all(cells(line.text) <= width for line in lines)
    assert lines[-1].text == "q quit"[: width - 1] + "…" if width < 6 else lines[-1].text == "q quit"
    everything = "".join(line.text for line in lines) + plain_line(seen)
    assert not {"\x1b", "\n", "‮"} & set(everything)


def test_view_of_a_low_terminal_keeps_the_rows_and_the_limit() -> None:
    lines = shown(LIMITED, 80, 6)
    assert len(lines) == 6
    assert "40,000 of 100,000" in lines[1]
    assert "Limited by tokens/min" in lines[2]
    assert lines[-1] == "p pause   q quit"


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"state": "starting"}, "What stands below is of its last start"),
        ({"state": "ending"}, "The run is ending"),
        ({"silent_s": 75.0}, "has written no progress for 1 min 15 s. Its lock is held"),
        ({"problem": "The output folder cannot be read just now: gone"}, "cannot be read just now"),
        ({"rehearsal": True}, "rehearsal, running"),
    ],
)
def test_view_says_what_state_the_run_is_in(seen: dict[str, Any], says: str) -> None:
    assert says in "\n".join(shown(LIMITED, **seen))
    assert "is starting: it reads its input" in "\n".join(shown(None, state="starting"))


def test_plain_line_says_the_same_in_one_line() -> None:
    assert plain_line(Seen("out", "running", LIMITED)) == (
        "04:10:00 running | 40,000 of 100,000 rows (40 %)  ETA 07:30 (3 h 20 min) | 5.0 rows/s | 80.0000 of 200.00 USD "
        "(40 %), about 200.00 in all | 30 in flight | failed: Refused 7, Unreadable 3 | Limited by tokens/min (91 %): "
        "doubling it ends at 05:49, not 07:30."
    )
