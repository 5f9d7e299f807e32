"""Promise: a run in batches says why it waits for its provider, also once rows were asked online."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scorer.job.batch_scoring import BatchScoring
from scorer.limits.live_settings import LiveSettings
from scorer.limits.load import LimiterStats


@pytest.mark.parametrize(
    ("online", "said"),
    [(None, "down"), (LimiterStats(places=3), "down"), (LimiterStats(why="the judge is down"), "the judge is down")],
)
def test_why_the_provider_does_not_answer_is_shown(online: LimiterStats | None, said: str) -> None:
    scoring: Any = BatchScoring.__new__(BatchScoring)
    scoring._state, scoring._online = SimpleNamespace(why="down"), SimpleNamespace(load=online)
    scoring._settings = LiveSettings(paused=True)
    assert scoring.load.why == said
    assert scoring.load.paused == (online is None)
    assert scoring.load.places == (0 if online is None else online.places)
