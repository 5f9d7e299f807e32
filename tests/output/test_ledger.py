"""Promise: the ledger never loses spending and never counts it twice, wherever a crash falls.

Over 300 lines: each way in which a crash may cut the ledger has its test.
"""

from __future__ import annotations

import asyncio
import errno
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import inline, now, run
from support.outputs import Crash, Crashing

import scorer.output.ledger
from scorer.errors import StorageError
from scorer.files.files import read
from scorer.files.local_files import LocalFiles
from scorer.frozen import values
from scorer.output.ledger import Ledger, damaged, totals
from scorer.output.ledger_totals import Totals
from scorer.usage import (
    Usage,
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"{tmp_path}/ledger"


def opened(
    folder: str,
    owner: str = "1",
    *,
    strict: bool = True,
    files: LocalFiles | None = None,
    offload: Callable[..., Awaitable[Any]] = inline,
) -> Ledger:
    ledger = Ledger(files or LocalFiles(), folder, owner, offload=offload, strict=strict)
    ledger.open()
    return ledger


def entries(folder: str, owner: str = "1") -> list[dict[str, Any]]:
    """The lines of one file, each checked against its checksum by hand."""
    found = []
    for line in Path(folder, owner).read_bytes().splitlines():
        assert int(line[:8], 16) == zlib.crc32(line[9:])
        assert line[8:9] == b" "
        found.append(orjson.loads(line[9:]))
    return found


async def _one_of_each(folder: str, *, strict: bool = True) -> Ledger:
    """One request known, one cancelled, one unknown, one still in flight, all written."""
    ledger = opened(folder, strict=strict)
    known, cancelled, unknown, _ = (ledger.reserve(100 * n, 1000 * n) for n in (1, 2, 3, 4))
    ledger.settle(known, Usage(60, 5, 20), 650)
    ledger.cancel(cancelled)
    ledger.unknown(unknown)
    await ledger.close()
    return ledger


AFTER = Totals(
    requests=1,
    prompt_tokens=60,
    completion_tokens=5,
    cached_tokens=20,
    pico=650,
    maybe_requests=1,
    maybe_tokens=300,
    maybe_pico=3000,
)
IN_FLIGHT = Totals(maybe_requests=1, maybe_tokens=400, maybe_pico=4000)


def test_ledger_append_writes_one_entry_with_all_changes(folder: str) -> None:
    run(_one_of_each(folder))
    assert entries(folder) == [
        {"total": entries(folder)[0]["total"], "covers": []},
        {
            "intend": [[0, 100, 1000], [1, 200, 2000], [2, 300, 3000], [3, 400, 4000]],
            "settle": [[0, 60, 5, 20, 650], [1, 0, 0, 0, 0]],
            "unknown": [2],
        },
    ]


def test_ledger_without_cap_writes_sums_and_no_entry_for_each_request(folder: str) -> None:
    async def scenario() -> None:
        ledger = await _one_of_each(folder, strict=False)
        await ledger.close()  # nothing changed: nothing is written

    run(scenario())
    assert entries(folder)[1:] == [{"sums": values(AFTER), "open": [1, 400, 4000]}]


@pytest.mark.parametrize("strict", [True, False])
def test_ledger_owner_excludes_and_reader_includes_requests_in_flight(folder: str, strict: bool) -> None:
    ledger = run(_one_of_each(folder, strict=strict))
    assert ledger.totals == AFTER
    assert (ledger.open_tokens, ledger.open_pico) == (400, 4000)
    assert totals(LocalFiles(), folder) == AFTER + IN_FLIGHT
    assert (AFTER.tokens, AFTER.money_pico) == (365, 3650)


@pytest.mark.parametrize("strict", [True, False])
def test_ledger_next_owner_counts_requests_left_open_as_maybe_billed(folder: str, strict: bool) -> None:
    async def scenario() -> None:
        await _one_of_each(folder, strict=strict)
        ledger = opened(folder, "2", strict=strict)
        assert ledger.totals == AFTER + IN_FLIGHT
        assert (ledger.open_tokens, ledger.open_pico) == (0, 0)
        number = ledger.reserve(1, 1)
        ledger.settle(number, Usage(1, 0), 1)
        await ledger.close()
        assert opened(folder, "3").totals == AFTER + IN_FLIGHT + Totals(requests=1, prompt_tokens=1, pico=1)

    run(scenario())
    assert [path.name for path in Path(folder).iterdir()] == ["3"]
    assert entries(folder, "3")[0]["covers"] == ["2"]


def test_ledger_of_a_missing_folder_has_zero_totals(folder: str) -> None:
    assert totals(LocalFiles(), folder) == Totals()
    assert damaged(LocalFiles(), folder) is None


# --- a crash cuts anywhere --------------------------------------------------------------------------------------------


def test_ledger_torn_tail_loses_only_the_last_append(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder)
        first = ledger.reserve(10, 0)
        await ledger.written()
        ledger.settle(first, Usage(7, 1), 0)
        ledger.reserve(20, 0)
        await ledger.close()

    run(scenario())
    path = Path(folder, "1")
    data = path.read_bytes()
    torn = data.rindex(b"\n", 0, -1) + 1
    whole = totals(LocalFiles(), folder)
    before = Totals(maybe_requests=1, maybe_tokens=10)
    for cut in range(torn, len(data)):
        path.write_bytes(data[:cut])
        # The line is whole once its last byte is there; the newline adds nothing.
        assert totals(LocalFiles(), folder) == (whole if cut == len(data) - 1 else before)
        assert damaged(LocalFiles(), folder) is None
        assert run(_reopened(folder)) == (whole if cut == len(data) - 1 else before)
        Path(folder, "2").unlink()


async def _reopened(folder: str) -> Totals:
    return opened(folder, "2").totals


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_ledger_detects_any_flipped_bit(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    folder = str(tmp_path_factory.getbasetemp() / "flipped")
    if not Path(folder, "1").exists():
        run(_one_of_each(folder))
    path = Path(folder, "1")
    data = bytearray(whole := path.read_bytes())
    place %= len(data)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    # The last byte ends the last line: without it, the line is a torn tail that is whole all the same.
    unnoticed = place == len(data) - 1 or _same_line(whole, bytes(data))
    assert damaged(LocalFiles(), folder) == (None if unnoticed else str(path))
    path.write_bytes(whole)


def _same_line(before: bytes, after: bytes) -> bool:
    """A checksum may change from `a` to `A`: it says the same."""
    return before.lower() == after.lower() and all(
        b[8:] == a[8:] for b, a in zip(before.splitlines(), after.splitlines(), strict=True)
    )


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(4))
def test_ledger_compaction_crash_at_any_step_keeps_totals(folder: str, step: int, *, after: bool) -> None:
    async def scenario() -> None:
        for owner in ("1", "2", "3"):  # three that nobody summed up, as if each had crashed in `open`
            ledger = Ledger(LocalFiles(), folder, owner, offload=inline, strict=True)
            ledger.settle(ledger.reserve(9, 9), Usage(5, 2, 1), 8)
            ledger.reserve(4, 4)
            await ledger.close()
        before = totals(LocalFiles(), folder)
        assert before == Totals(3, 15, 6, 3, 24, 3, 12, 12)
        with pytest.raises(Crash):
            opened(folder, "4", files=Crashing(step, after=after))
        assert totals(LocalFiles(), folder) == before
        assert opened(folder, "5").totals == before
        assert totals(LocalFiles(), folder) == before

    run(scenario())
    assert [path.name for path in Path(folder).iterdir()] == ["5"]


# --- a file that grows is left for a new one --------------------------------------------------------------------------


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


# --- when it is written -----------------------------------------------------------------------------------------------


def test_ledger_strict_waits_for_intents_on_disk_in_one_shared_write(folder: str) -> None:
    appends = []

    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        appends.append(now())
        return fn(*args)

    async def scenario() -> None:
        ledger = opened(folder, offload=slow)

        async def admit() -> float:
            number = ledger.reserve(1, 1)
            await ledger.written()
            assert any([number, 1, 1] in line.get("intend", ()) for line in entries(folder))
            return now()

        first = asyncio.create_task(admit())
        await asyncio.sleep(0.1)
        rest = [asyncio.create_task(admit()) for _ in range(50)]
        assert await first == 1.0
        assert {await task for task in rest} == {2.0}  # they came while the first was written: one more write
        await ledger.written()
        assert now() == 2.0

    run(scenario())
    assert appends == [1.0, 2.0]


def test_ledger_strict_reservation_waits_for_two_writes_at_most_beside_the_service(folder: str) -> None:
    """The service writes too, and its writes must not leave callers behind that write one after another."""

    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        return fn(*args)

    async def scenario() -> None:
        ledger = opened(folder, offload=slow)
        service = asyncio.create_task(ledger.serve())
        took: list[float] = []
        durable: list[int] = []

        async def admit() -> None:
            number, began = ledger.reserve(1, 1), now()
            await ledger.written()
            took.append(now() - began)
            durable.append(number)
            ledger.cancel(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(admit())
                await asyncio.sleep(0.11)
        assert max(took) <= 2.0 + 1e-6
        assert durable == sorted(durable)
        ledger.stop()
        await service

    run(scenario())


def test_ledger_close_does_not_block_a_concurrent_written(folder: str) -> None:
    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        return fn(*args)

    async def scenario() -> None:
        ledger = opened(folder, offload=slow)
        ledger.reserve(1, 1)
        closing = asyncio.create_task(ledger.close())
        await asyncio.sleep(0.1)
        number = ledger.reserve(1, 1)
        async with asyncio.timeout(10):
            await ledger.written()
        await closing
        assert any([number, 1, 1] in line.get("intend", ()) for line in entries(folder))

    run(scenario())


def test_ledger_without_cap_never_waits_and_batches_appends(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder, strict=False)
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger.serve())
            for _ in range(100):
                number = ledger.reserve(1, 1)
                assert not ledger.behind
                await asyncio.sleep(0.001)
                ledger.settle(number, Usage(1, 0), 1)
            ledger.stop()

    run(scenario())
    lines = entries(folder)
    assert 2 <= len(lines) - 1 <= 4
    assert totals(LocalFiles(), folder).requests == 100


def test_ledger_cancelled_written_leaves_no_intent_unwritten(folder: str) -> None:
    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        return fn(*args)

    async def scenario() -> None:
        ledger = opened(folder, offload=slow)
        ledger.reserve(5, 5)
        waiter = asyncio.create_task(ledger.written())
        await asyncio.sleep(0.5)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert now() == 1.0
        await ledger.written()
        assert now() == 1.0

    run(scenario())
    assert totals(LocalFiles(), folder).maybe_tokens == 5


class Full(LocalFiles):
    """A disk without room to append; with `whole`, for a new file neither."""

    whole = False

    def append(self, path: str, data: bytes) -> None:
        raise StorageError("the disk is full") from OSError(errno.ENOSPC, "full")

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        if self.whole:
            raise StorageError("the disk is full") from OSError(errno.ENOSPC, "full")
        with super().create(path) as file:
            yield file


def test_ledger_write_failure_blocks_further_admission(folder: str) -> None:
    async def scenario() -> None:
        files = Full()
        ledger = opened(folder, files=files)
        files.whole = True
        ledger.reserve(1, 1)
        for _ in range(2):  # nor does it forget: what was to be written is gone from memory
            with pytest.raises(StorageError, match="full"):
                await ledger.written()
        ledger.reserve(1, 1)
        with pytest.raises(StorageError, match="full"):
            await ledger.close()

    run(scenario())
    assert totals(LocalFiles(), folder) == Totals()


@pytest.mark.parametrize("strict", [False, True])
def test_ledger_close_writes_failed_appends_to_a_new_file(folder: str, *, strict: bool) -> None:
    """Rows may be stored that it belongs to: `verify` would miss a part of the ledger for ever."""

    async def scenario() -> None:
        files = Full()
        ledger = opened(folder, files=files, strict=strict)
        known, gone = ledger.reserve(100, 1000), ledger.reserve(20, 200)
        serving = asyncio.ensure_future(ledger.serve())
        with pytest.raises(StorageError, match="full"):
            await serving
        ledger.settle(known, Usage(60, 5, 20), 650)
        ledger.unknown(gone)
        ledger.reserve(3, 30)
        files.whole = True
        with pytest.raises(StorageError, match="full"):
            await ledger.close()
        files.whole = False
        for _ in range(2):
            await ledger.close()

    run(scenario())
    found = totals(LocalFiles(), folder)
    assert (found.prompt_tokens, found.completion_tokens, found.pico) == (60, 5, 650)
    assert (found.maybe_tokens, found.maybe_pico) == (23, 230)
    assert damaged(LocalFiles(), folder) is None


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_ledger_waiters_wake_after_a_cancelled_or_failed_write(folder: str, how: str) -> None:
    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        if how == "failed":
            raise StorageError("the disk is full")
        return fn(*args)

    async def scenario() -> None:
        ledger = opened(folder, offload=slow)

        async def admit(tokens: int) -> float:
            ledger.reserve(tokens, 1)
            await ledger.written()
            return now()

        writer, behind, gone = (asyncio.create_task(admit(tokens)) for tokens in (1, 10, 100))
        await asyncio.sleep(0)
        late = asyncio.create_task(admit(1000))
        await asyncio.sleep(0.5)
        gone.cancel()
        if how == "cancelled":
            writer.cancel()
        ended = await asyncio.gather(writer, behind, gone, late, return_exceptions=True)
        kinds = [one if isinstance(one, float) else type(one) for one in ended]
        cancelled, failed = asyncio.CancelledError, StorageError
        expected = [cancelled, 1.0, cancelled, 2.0] if how == "cancelled" else [failed, failed, cancelled, failed]
        assert kinds == expected
        assert now() == max(one for one in (1.0, *kinds) if isinstance(one, float))

    run(scenario())
    assert totals(LocalFiles(), folder).maybe_tokens == (1111 if how == "cancelled" else 0)


def test_ledger_without_requests_appends_nothing(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder)
        await ledger.written()
        await ledger.close()

    run(scenario())
    assert len(read(LocalFiles(), f"{folder}/1").splitlines()) == 1


def test_ledger_refuses_to_settle_a_request_twice(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder)
        number = ledger.reserve(1, 1)
        ledger.cancel(number)
        for again in (ledger.cancel, ledger.unknown, lambda n: ledger.settle(n, Usage(1, 1), 1)):
            with pytest.raises(KeyError):
                again(number)

    run(scenario())
