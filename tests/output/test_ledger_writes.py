"""Promise: a capped ledger admits no request before it is durable; a failed write loses no spending."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest
from support.clock import now, run
from support.ledgers import entries, opened

from scorer.errors import StorageError
from scorer.files.files import read
from scorer.files.local_files import LocalFiles
from scorer.output.ledger import damaged, totals
from scorer.output.ledger_totals import Totals
from scorer.usage import Usage


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
