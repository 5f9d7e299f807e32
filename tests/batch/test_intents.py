"""Promise: a chunk is in its files and in the ledger before anything is sent, and a start tells where both differ."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from support.clock import inline, run

from scorer.batch.intents import check_entries, intend, new_nonce, twin_entry
from scorer.errors import StorageError
from scorer.files.local_files import LocalFiles
from scorer.output.chunk import Chunk, Event
from scorer.output.chunk_files import ChunkFiles, ChunkLine
from scorer.output.ledger import Ledger, totals

LINES = [ChunkLine("a", n, 0, 0, bytes(32), 10, 100) for n in range(3)]


def opened(folder: Path, owner: str) -> Ledger:
    ledger = Ledger(LocalFiles(), f"{folder}/ledger", owner, offload=inline, strict=True)
    ledger.open()
    return ledger


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(3))
def test_intend_killed_at_any_step_leaves_no_entry_without_its_chunk(tmp_path: Path, step: int) -> None:
    """Killed before the files, between files and ledger, and after both."""

    class Dying(Ledger):
        def reserve_batch(self, nonce: str, lines: int, tokens: int, pico: int) -> None:
            if step == 1:
                raise Killed
            super().reserve_batch(nonce, lines, tokens, pico)

    class Failing(ChunkFiles):
        def write(self, nonce: str, lines: object) -> Chunk:
            if step == 0:
                raise Killed
            return super().write(nonce, LINES)

    async def scenario() -> None:
        ledger = Dying(LocalFiles(), f"{tmp_path}/ledger", "1", offload=inline, strict=True)
        ledger.open()
        chunks = Failing(LocalFiles(), f"{tmp_path}/batches")
        with suppress(Killed):
            assert await intend(chunks, ledger, "n1", LINES, inline) == Chunk("n1", 3)
        found = ChunkFiles(LocalFiles(), f"{tmp_path}/batches").found()
        assert found == [Chunk("n1", 3)] * (step > 0)
        ledger = opened(tmp_path, "2")
        assert ledger.open_batches == ({"n1"} if step == 2 else set())
        assert totals(LocalFiles(), f"{tmp_path}/ledger").maybe_tokens == 30 * (step == 2)
        assert check_entries(found, ledger.open_batches, "out/batches") == []

    run(scenario())


def test_check_closes_entries_whose_chunk_was_closed_when_the_process_died(tmp_path: Path) -> None:
    chunk = ChunkFiles(LocalFiles(), f"{tmp_path}/b").write("n1", LINES)
    closed = ChunkFiles(LocalFiles(), f"{tmp_path}/b").append(chunk, Event("closed", "struck"))
    entries = {"n1", twin_entry("n1", "batch_7")}
    assert check_entries([closed], entries, "b") == ["n1", "n1+batch_7"]
    assert check_entries([chunk], entries, "b") == []


def test_check_stops_where_it_is_not_known_which_rows_are_out() -> None:
    sent = Chunk("n2", 3, state="created", batch_id="b1")
    with pytest.raises(StorageError) as caught:
        check_entries([sent], {"n1"}, "out/batches")
    assert str(caught.value) == (
        "out/batches: these files and the ledger do not agree about provider batches: the ledger has n1, and no file "
        "of it is there; the ledger does not have n2. It is not known which rows are out, so nothing more is sent. "
        "Restore both from the same copy and run the same command again."
    )


def test_nonce_makes_custom_ids_that_every_provider_takes() -> None:
    assert new_nonce("run-1", lambda n: "0f" * n) == "run-1-0f0f0f0f0f0f0f0f"
    for run_id in ("a" * 41, "a.b", "ü", "a b"):
        with pytest.raises(ValueError, match="makes no custom_id"):
            new_nonce(run_id, lambda n: "0f" * n)
