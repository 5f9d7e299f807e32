"""Promise: a result that was paid for is not thrown away since one download was short; none is waited for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from support.clock import inline, now, run

from scorer.batch.anthropic import AnthropicBatches
from scorer.batch.downloads import SHORT_S, Downloads
from scorer.batch.durable import Durable
from scorer.batch.exchange import Exchange
from scorer.batch.openai import OpenAIBatches
from scorer.batch.types import Batch
from scorer.errors import TransientError
from scorer.files.local_files import LocalFiles
from scorer.output.chunk import Event
from scorer.output.chunk_files import ChunkFiles, ChunkLine

LINES = [b'{"custom_id":"n-%d","response":{"status_code":200,"body":{}}}\n' % number for number in range(6)]


class Provider:
    """An API whose downloads are these, the last one for ever. An empty one breaks off."""

    def __init__(self, *downloads: list[bytes]) -> None:
        self.downloads = list(downloads)
        self.read = OpenAIBatches.read.__get__(self)

    @property
    def now(self) -> float:
        return 1000.0 + now()

    async def fetch(self, _id: str, into: BinaryIO) -> None:
        lines = self.downloads.pop(0) if len(self.downloads) > 1 else self.downloads[0]
        if not lines:
            raise TransientError("broke off")
        into.write(b"".join(lines))

    async def discard(self, _batch: Batch) -> None: ...


COUNTED = Batch("b", "ended", 1.0, requests=6, answered=6, results=("f",))
UNCOUNTED = Batch("b", "ended", 1.0, results=("f",), uncounted=True)


def fetched(
    folder: Path,
    api: Provider,
    *,
    rounds: int = 1,
    apart_s: float = 0.0,
    batch: Batch = COUNTED,
    before: Sequence[Event] = (),
) -> set[bytes] | None:
    """The lines of a chunk of six after so many rounds, each of another start; None where it is not fetched.

    `before` are events of the starts before those.
    """
    chunks = ChunkFiles(LocalFiles(), str(folder))

    async def scenario() -> None:
        lines = [ChunkLine("a", number, 0, 0, bytes(32), 1, 1, 1, "", "") for number in range(6)]
        chunk = chunks.write("n", lines)
        for event in (Event("sending", 1.0), Event("created", "b"), *before):
            chunk = chunks.append(chunk, event)
        for number in range(rounds):
            await asyncio.sleep(apart_s if number else 0.0)
            (chunk,) = chunks.found()
            durable = Durable(chunks, SimpleNamespace(), inline, lambda: 0.0)  # type: ignore[arg-type]
            exchange = Exchange(SimpleNamespace(api=api), durable)  # type: ignore[arg-type]
            await Downloads(exchange).fetch(SimpleNamespace(chunk=chunk), batch)  # type: ignore[arg-type]

    run(scenario())
    (chunk,) = chunks.found()
    if chunk.state != "fetched":
        return None
    with LocalFiles().open(f"{folder}/n.results") as file:
        return set(file)


@pytest.mark.parametrize("batch", [COUNTED, UNCOUNTED], ids=["counted", "uncounted"])
@pytest.mark.parametrize("last", [LINES[4:], LINES[5:]])
def test_what_several_short_downloads_bring_is_put_together(tmp_path: Path, last: list[bytes], batch: Batch) -> None:
    assert fetched(tmp_path, Provider(LINES[:3], LINES[2:5], last), batch=batch) == set(LINES)


def test_lines_that_never_come_are_given_up_although_later_downloads_break_off(tmp_path: Path) -> None:
    downloads = Provider(LINES[:5], [], [], [], LINES[:5], [])
    assert fetched(tmp_path, downloads, rounds=2, apart_s=SHORT_S) == set(LINES[:5])


def test_a_round_whose_downloads_all_break_off_says_why(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="broke off"):
        fetched(tmp_path, Provider([]))


def test_one_short_download_is_not_enough_after_a_start_that_was_killed_while_it_downloaded(tmp_path: Path) -> None:
    """Simulation seed 86: results count as late since that start, which wrote none of them."""
    killed = [Event("ended", 900.0)]
    assert fetched(tmp_path, Provider(LINES[:3], LINES), before=killed) == set(LINES)


def test_the_last_round_asks_more_than_once(tmp_path: Path) -> None:
    """Simulation seed 273: four short downloads, and seven requests that were paid were paid again online."""
    short = [LINES[:3]] * 4
    assert fetched(tmp_path, Provider(*short, LINES), rounds=2, apart_s=SHORT_S) == set(LINES)


def test_lines_that_never_come_are_asked_for_again_across_starts(tmp_path: Path) -> None:
    assert fetched(tmp_path, Provider(LINES[:5]), rounds=2, apart_s=5.0) is None


def test_lines_that_never_come_are_given_up_by_a_start_some_time_later(tmp_path: Path) -> None:
    assert fetched(tmp_path, Provider(LINES[:5]), rounds=2, apart_s=SHORT_S) == set(LINES[:5])


class Nameless(Provider):
    """Anthropic's, which lists one batch: it has ended, and was answered as often as `answered` says."""

    names = False

    def __init__(self, answered: int, *downloads: list[bytes]) -> None:
        super().__init__(*downloads)
        self.read = AnthropicBatches.read.__get__(self)
        self.batch = Batch("b", "ended", 1001.0, requests=6, answered=answered, results=("b",))

    async def listed(self, _since: float) -> AsyncIterator[Batch]:
        yield self.batch

    async def look(self, _id: str) -> Batch:
        return self.batch


NO_LINE = [b'{"custom_id":"n-']
OURS = [b'{"custom_id":"n-3","result":{"type":"expired"}}\n', b"..."]


@pytest.mark.parametrize(
    ("provider", "late", "state"),
    [
        (Nameless(6, NO_LINE, OURS), False, "created"),
        (Nameless(6, NO_LINE), False, "unclear"),  # to rule it out is to pay for it and never fetch it
        (Nameless(6, NO_LINE), True, "created"),
        (Nameless(0, [b" "]), False, "unclear"),
        (Nameless(0, [b" "]), True, "closed"),
        (Nameless(6, [OURS[0].replace(b"n-", b"other-")]), True, "closed"),
    ],
)
def test_a_batch_without_a_name_is_not_ruled_out_by_a_short_download(
    tmp_path: Path, provider: Nameless, late: bool, state: str
) -> None:
    """Simulation seed 50: the first download of the candidate ended before its first line."""
    chunks = ChunkFiles(LocalFiles(), str(tmp_path))
    lines = [ChunkLine("a", number, 0, 0, bytes(32), 1, 1, 1, "", "") for number in range(6)]

    async def scenario() -> str:
        chunk = chunks.write("n", lines)
        for event in (Event("sending", 1000.0), Event("unclear", 1000.0)):
            chunk = chunks.append(chunk, event)
        ledger = SimpleNamespace(close_batch=lambda _: None, written=lambda: asyncio.sleep(0))
        durable = Durable(chunks, ledger, inline, lambda: 0.0)  # type: ignore[arg-type]
        exchange = Exchange(SimpleNamespace(api=provider, grace_s=60.0), durable)  # type: ignore[arg-type]
        one: Any = SimpleNamespace(chunk=chunk)
        for _ in range(2):
            if one.chunk.unknown:
                await exchange.reconcile([one])
        if late and one.chunk.unknown:
            await asyncio.sleep(61.0)
            await exchange.reconcile([one])
        found: str = one.chunk.state
        return found

    assert run(scenario()) == state
