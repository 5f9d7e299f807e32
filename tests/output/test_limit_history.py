"""What held a run back over its time: bounded, at even steps, also across starts, and in progress.json."""

from __future__ import annotations

import itertools
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.inprocess import Run

from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.output.limit_history import MOST, LimitHistory, curves
from scorer.output.status import history_of


@given(st.integers(1, 5000), st.integers(0, 20))
def test_history_is_bounded_covers_the_run_and_keeps_the_mean_share(seconds: int, restarts: int) -> None:
    history = LimitHistory()
    for second in range(seconds):
        if restarts and second % (seconds // restarts + 1) == 0:
            history = LimitHistory(history.samples)
        history.add(1e9 + second, {"tokens_per_minute": second / seconds, "tiny": 0.001})
    at = [moment - 1e9 for moment, _ in history.samples]
    assert len(history.samples) <= MOST
    assert at == sorted(set(at))
    assert at[-1] >= seconds * 0.9 - 3
    assert all("tiny" not in shares for _, shares in history.samples)
    gaps = [later - sooner for sooner, later in itertools.pairwise(at)]
    assert max(gaps, default=0) <= max(2.0, 5 * seconds / MOST)
    for moment, shares in history.samples:
        assert shares.get("tokens_per_minute", 0.0) == pytest.approx((moment - 1e9) / seconds, abs=0.05 + 2 / seconds)


def test_curves_are_of_the_limits_that_held_back_for_longest() -> None:
    samples = [(0.0, {"a": 0.1, "b": 0.9}), (1.0, {"c": 0.5}), (2.0, {"b": 0.2})]
    assert curves(samples, 2) == {"b": [0.9, 0.0, 0.2], "c": [0.0, 0.5, 0.0]}
    assert curves([]) == {}


def test_history_is_in_the_folder_and_goes_on_at_the_next_start(tmp_path: Path) -> None:
    run = Run(tmp_path, 40)
    wall = iter(range(1_790_000_000, 1_790_010_000, 7))
    run.wall_s = lambda: float(next(wall))
    run.stop_after(9)
    layout = Layout(run.out)
    first = history_of(LocalFiles(), layout)
    assert first
    run.run()
    both = history_of(LocalFiles(), layout)
    assert both[: len(first)] == first
    assert len(both) > len(first)


@pytest.mark.parametrize("history", [None, 5, [[1]], [["a", {}]], [[1.0, {"x": "y"}]]])
def test_damaged_history_is_none(tmp_path: Path, history: object) -> None:
    run = Run(tmp_path, 4)
    run.run()
    path = Path(Layout(run.out).progress)
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "history": history}))
    assert history_of(LocalFiles(), Layout(run.out)) == []
    assert run.run().state == "complete"
