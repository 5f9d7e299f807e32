"""What a start does, and does not do, where every row is finished already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.inprocess import Run

from scorer.job import scoring_pass


def test_finished_run_with_metrics_starts_no_metric_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def counted(*arguments: Any, **named: Any) -> None:
        made.append(arguments)

    monkeypatch.setattr(scoring_pass, "make_measure", counted)
    run = Run(tmp_path, 5)
    assert run.run().state == "complete"
    assert len(made) == 1
    assert run.run().state == "complete"
    assert len(made) == 1
