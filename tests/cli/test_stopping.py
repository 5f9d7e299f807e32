"""`scorer run` names every mistake in [stop] at once."""

from __future__ import annotations

from pathlib import Path

from support.command import run_file, scorer


def test_run_file_says_every_mistake_in_stop_at_once(tmp_path: Path) -> None:
    run = run_file(tmp_path, "http://127.0.0.1:1/v1", stop={"question": "ranking", "width": 1, "unread": 99})
    ended = scorer("run", run)
    assert ended.code == 2
    for said in ("needs stop.by", "needs stop.item", "needs a stop.margin", "stop.width = 1", "stop.unread = 99"):
        assert said in ended.err
