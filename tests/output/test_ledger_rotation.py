"""Promise: a ledger file that grows is left for a new one, and a crash at any step keeps the totals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.clock import inline, run
from support.ledgers import opened
from support.outputs import Crash, Crashing

import scorer.output.ledger
from scorer.errors import StorageError
from scorer.files.local_files import LocalFiles
from scorer.output.ledger import Ledger, damaged, totals
from scorer.output.ledger_totals import Totals
from scorer.usage import Usage


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer.output.ledger, "ROTATE_BYTES", 500)


@pytest.mark.usefixtures("small_files")
def test_ledger_rotation_bounds_file_size_and_keeps_totals(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder)
        left_open = ledger.reserve(7, 70)
        for n in range(200):
            number = ledger.reserve(10, 100)
            await ledger.written()
            (ledger.cancel, ledger.unknown, lambda i: ledger.settle(i, Usage(3, 1), 40))[n % 3](number)
            assert (found := totals(LocalFiles(), folder)).tokens >= ledger.totals.tokens
            assert found.money_pico >= ledger.totals.money_pico
        await ledger.close()
        assert totals(LocalFiles(), folder) == ledger.totals + Totals(maybe_requests=1, maybe_tokens=7, maybe_pico=70)
        ledger.settle(left_open, Usage(5, 0), 50)
        await ledger.close()
        assert totals(LocalFiles(), folder) == ledger.totals
        assert ledger.totals == Totals(67, 203, 66, 0, 2690, 67, 670, 6700)

    run(scenario())
    (path,) = Path(folder).iterdir()
    assert path.stat().st_size < 1000
    assert path.name.startswith("1.")
    assert damaged(LocalFiles(), folder) is None


@pytest.mark.usefixtures("small_files")
class Undeleting(LocalFiles):
    """A disk on which some files cannot be deleted, as on one whose folder somebody made read-only for a while."""

    def __init__(self, *kept: str) -> None:
        super().__init__()
        self.kept = set(kept)

    def delete(self, path: str) -> None:
        if path.rpartition("/")[2] in self.kept:
            raise StorageError(f"Cannot write {path}: permission denied.")
        super().delete(path)


def test_ledger_counts_an_undeletable_file_once(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the rotations that follow nor by the next owner's: all of them cover it, until it is gone."""
    monkeypatch.setattr(scorer.output.ledger, "ROTATE_BYTES", 60)

    def there() -> list[str]:
        return sorted(path.name for path in Path(folder).iterdir())

    async def scenario() -> None:
        files = Undeleting("1", "1.2")
        ledger = opened(folder, files=files)
        for _ in range(9):
            ledger.settle(ledger.reserve(10, 10), Usage(5, 1), 7)
            await ledger.written()
            await ledger._flush()
        await ledger.close()
        assert ledger._rotations >= 3
        assert {"1", "1.2"} < set(there())
        spent = (ledger.totals.requests, ledger.totals.pico)
        assert spent == (9, 63)
        known = totals(LocalFiles(), folder)
        assert (known.requests, known.pico) == spent

        later = opened(folder, "2", files=files)
        for _ in range(4):
            later.settle(later.reserve(10, 10), Usage(5, 1), 7)
            await later._flush()
        assert later._rotations >= 2
        assert totals(LocalFiles(), folder).requests == later.totals.requests == 13
        files.kept.clear()
        for _ in range(4):
            later.settle(later.reserve(10, 10), Usage(5, 1), 7)
            await later._flush()
        await later.close()
        assert [name.partition(".")[0] for name in there()] == ["2"]
        assert totals(LocalFiles(), folder).requests == 17

    run(scenario())


def test_ledger_rotation_counts_requests_during_a_write_once(folder: str) -> None:
    """A judge next door answers faster than a disk writes."""
    ledger: Ledger | None = None

    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        assert ledger is not None
        before = ledger.reserve(1, 1)  # it is answered while the disk is busy
        ledger.settle(ledger.reserve(1, 1), Usage(1, 0), 1)
        ledger.unknown(ledger.reserve(1, 1))
        result = fn(*args)
        ledger.settle(before, Usage(1, 0), 1)
        return result

    async def scenario() -> None:
        nonlocal ledger
        ledger = opened(folder, offload=slow, strict=False)
        for _ in range(40):
            ledger.settle(ledger.reserve(1, 1), Usage(1, 0), 1)
            await ledger.close()
        for _ in range(3):  # until nothing new is entered while it writes
            ledger._offload = inline
            await ledger.close()
        assert totals(LocalFiles(), folder) == ledger.totals

    run(scenario())


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(3))
def test_ledger_rotation_crash_at_any_step_keeps_totals(folder: str, step: int, *, after: bool) -> None:
    async def scenario() -> None:
        ledger = opened(folder, files=Crashing(step + 1, after=after))

        async def score() -> None:
            for _ in range(100):
                number = ledger.reserve(10, 100)
                await ledger.written()
                ledger.settle(number, Usage(3, 1), 40)

        with pytest.raises(Crash):
            await score()
        last = Totals(maybe_requests=1, maybe_tokens=10, maybe_pico=100)  # asked, and not heard of
        assert totals(LocalFiles(), folder) == ledger.totals + last
        assert opened(folder, "2").totals == ledger.totals + last

    run(scenario())
