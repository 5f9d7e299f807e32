"""`[stop]` in provider batches: waves of the same order, and the same answer over the same items as online."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.batch_provider import BatchProvider, row_of
from support.boards import BATCH, Board
from support.outputs import Crash, Crashing

from scorer.errors import BatchesOut
from scorer.files.local_files import LocalFiles
from scorer.output import ledger
from scorer.output.status import status
from scorer.output.verify.folder import verify

DECIDED = ("systems", "items", "intervals", "rows", "text", "state")


def scores(items: int, systems: int, lead: float) -> np.ndarray:
    """Whole points; system 1 is the best one by `lead` points."""
    rng = np.random.default_rng(3)
    shift = np.where(np.arange(systems) == 1, lead, 0.0)
    return np.clip(np.round(rng.normal(5, 1, (items, 1)) + rng.normal(0, 1.5, (items, systems)) + shift), 0, 10)


def decided(found: dict) -> dict:
    return {key: found[key] for key in DECIDED}


VALUES = scores(60, 3, lead=3.2)


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A run of the same items that asked them online, to its answer."""
    board = Board(tmp_path_factory.mktemp("online"), VALUES)
    board.run(concurrency=2)
    return board


def answer_of(board: Board) -> dict:
    found = status(LocalFiles(), board.out).answer
    assert found is not None
    assert found["state"] == "answered"
    return decided(found)


def exact(board: Board) -> None:
    """No row was paid twice, nothing is out, and the ledger is equal to what the provider was paid for."""
    assert board.batches is not None
    assert not board.batches.running
    assert not board.batches.twice()
    items = len(board.judge.scores)
    online = {system * items + item for (item, system), times in board.judge.asked.items() if times}
    assert not online & {row for row, times in board.batches.paid.items() if times}
    assert set(board.judge.asked.values()) <= {1}
    assert verify(LocalFiles(), board.out).findings == ()
    assert ledger.totals(LocalFiles(), f"{board.out}/ledger").requests == board.batches.billed + board.asked


def test_waves_give_the_answer_of_an_online_run_and_double(tmp_path: Path, online: Board) -> None:
    provider = BatchProvider()
    board = Board(tmp_path, VALUES, batches=provider)
    board.cut["max_requests"] = 1000
    found = board.run()
    assert answer_of(board) == answer_of(online)
    exact(board)
    waves = provider.sizes
    assert len(waves) > 2
    assert waves[0] == BATCH["min_requests"]
    assert all(abs(wave - sum(waves[:number])) < 3 for number, wave in enumerate(waves) if number)
    assert found.rows <= 2 * found.answer["rows"]


def test_killed_starts_give_the_same_answer_and_pay_no_row_twice(tmp_path: Path, online: Board) -> None:
    board = Board(tmp_path, VALUES, batches=BatchProvider(names=False))
    for step in (17, 26, 34, 41):
        try:
            board.run({}, Crashing(step, after=step % 2 == 0))
        except (Crash, BaseExceptionGroup):
            (Path(board.out) / "lock").unlink(missing_ok=True)
    board.run()
    assert answer_of(board) == answer_of(online)
    exact(board)


def test_starts_from_cron_and_rows_that_batches_lose_give_the_same_answer(tmp_path: Path, online: Board) -> None:
    provider = BatchProvider(takes_s=0, unexecuted=set(range(0, 180, 3)), missing=set(range(1, 180, 7)))
    board = Board(tmp_path, VALUES, batches=provider)
    starts = 0
    while True:
        starts += 1
        assert starts < 20
        try:
            board.run(waiting="no-wait")
            break
        except BatchesOut:
            found = status(LocalFiles(), board.out)
            assert (found.state, found.answer["state"]) == ("stopped", "open")
    assert starts > 3
    assert answer_of(board) == answer_of(online)
    assert verify(LocalFiles(), board.out).findings == ()


def test_batches_that_are_out_at_the_answer_are_cancelled_and_what_they_answered_is_kept(
    tmp_path: Path, online: Board
) -> None:
    """All rows are out when a start asks the question; batches whose items nobody needs would take an hour."""
    provider = BatchProvider(takes_s=5)
    board = Board(tmp_path, VALUES, batches=provider)
    board.cut |= {"max_requests": 6, "min_requests": 6}
    with pytest.raises(BatchesOut):
        board.run(None, waiting="no-wait")
    needed = {system * len(VALUES) + item for item, system in online.judge.asked}
    for made in provider.made.values():
        if not needed & {row_of(body) for _, body in made.requests}:
            made.ends_at = 3600.0
    board.run()
    assert answer_of(board) == answer_of(online)
    assert any(made.cancelled for made in provider.made.values())
    assert provider.billed < board.rows
    exact(board)
    whole = board.run(None)
    assert (whole.state, whole.scored) == ("complete", board.rows)
    exact(board)


def test_an_online_start_collects_what_is_out_and_goes_on_online(tmp_path: Path, online: Board) -> None:
    board = Board(tmp_path, VALUES, batches=BatchProvider())
    with pytest.raises(BatchesOut):
        board.run(waiting="no-wait")
    board.mode = "online"
    board.run()
    assert answer_of(board) == answer_of(online)
    assert 0 < board.batches.billed < board.asked
    exact(board)
