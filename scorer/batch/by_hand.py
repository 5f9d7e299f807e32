"""Chunks that a person sends: requests as files in a folder, results from files. Nothing is asked of a provider.

A file of requests appears only once its chunk is durable as sent, so that results always find their chunk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import BinaryIO

from scorer.batch.exchange import Exchange
from scorer.batch.open_chunks import OpenChunk
from scorer.batch.types import BatchApi, ResultLine
from scorer.errors import InputError
from scorer.frozen import dataclass
from scorer.output.chunk import BY_HAND, Chunk, Event
from scorer.types import Call

END = ".jsonl"


class HandExchange(Exchange):
    """Writes chunks into a folder instead of sending them. `written` are the files, with the requests in each."""

    def __init__(self, other: Exchange, folder: str) -> None:
        super().__init__(other.model, other.durable)
        self._folder = Path(folder)
        self.written: list[tuple[str, int]] = []

    async def send(self, one: OpenChunk, requests: BinaryIO, size: int, call: Call) -> None:
        """Writes the file of a chunk, whole; the chunk is then out."""
        offload, nonce = self.durable.offload, one.chunk.nonce
        await offload(_write, self._part(nonce), requests)
        await self.durable.mark(one, Event("sending", self.now))
        await self.durable.mark(one, Event("created", f"{BY_HAND}{nonce}"))
        await offload(self._show, nonce)
        self.written.append((str(self._file(nonce)), one.chunk.requests))

    async def finish(self, chunks: Iterable[OpenChunk]) -> None:
        """Shows the files that a start wrote which was killed before it could show them."""
        for one in chunks:
            if one.chunk.by_hand and await self.durable.offload(self._part(one.chunk.nonce).exists):
                await self.durable.offload(self._show, one.chunk.nonce)
                self.written.append((str(self._file(one.chunk.nonce)), one.chunk.requests))

    def _file(self, nonce: str) -> Path:
        return self._folder / f"{nonce}{END}"

    def _part(self, nonce: str) -> Path:
        return self._folder / f".{nonce}{END}.part"

    def _show(self, nonce: str) -> None:
        os.replace(self._part(nonce), self._file(nonce))


def _write(path: Path, requests: BinaryIO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    requests.seek(0)
    with path.open("wb") as file:
        shutil.copyfileobj(requests, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


@dataclass(slots=True, eq=False)
class Sorted:
    """The results in some files: for each chunk its lines in a file; how many were not taken, with one as example."""

    of: dict[str, BinaryIO] = field(default_factory=dict)
    taken: int = 0
    before: int = 0
    nobodys: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)

    def close(self) -> None:
        for file in self.of.values():
            file.close()


def sort_results(paths: Iterable[str], api: BatchApi, chunks: Mapping[str, Chunk], done: Iterable[str]) -> Sorted:
    """The lines of files of results by the chunk that asked for them. `done` are chunks whose results were taken.

    Blocking. Raises InputError for a file that cannot be read, or holds no result.
    """
    found, finished = Sorted(), set(done)
    for path in paths:
        for text, line in _lines(path, api):
            nonce = line.custom_id.rpartition("-")[0]
            chunk = chunks.get(nonce)
            if chunk is not None and chunk.line_of(line.custom_id) is not None:
                if nonce not in found.of:
                    found.of[nonce] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by Sorted.close
                found.of[nonce].write(text if text.endswith(b"\n") else text + b"\n")
                found.taken += 1
            elif nonce in finished:
                found.before += 1
            else:
                found.nobodys[path] += 1
                found.example.setdefault(path, line.custom_id)
    return found


def _lines(path: str, api: BatchApi) -> Iterator[tuple[bytes, ResultLine]]:
    any_line = False
    try:
        with open(path, "rb") as file:
            for text in file:
                for line in api.read((text,)):
                    any_line = True
                    yield text, line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give the file of results.") from error
    if not any_line:
        raise InputError(
            f"{path} holds no result of a batch: each line has to be a JSON object with custom_id and response. Give "
            "the output file of the batch, and its error file where there is one."
        )
