"""The files of chunks in OUT/batches: what their lines ask, the log of what became of them, and their results.

    <nonce>.parquet   the lines: shard, row, request, attempt, digest (SHA-256 of the body), tokens, pico (worst case),
                      prompt_tokens, model (its alias), judge (the fingerprint), choices (1 where the column is missing)
    <nonce>.log       the events, one line each with a checksum (scorer.files.checked_lines)
    <nonce>.results   what was downloaded
    closed            the nonces and batch ids of chunks that were closed, for `scorer verify --remote`

A file of lines appears whole, before anything is sent. The log is deleted last: a chunk that is closed stays closed,
whatever a crash leaves of its files. All methods block.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import StorageError
from scorer.escapes import printable_line
from scorer.files.checked_lines import entry, line
from scorer.files.files import Files, read, replace
from scorer.files.router import is_remote
from scorer.frozen import dataclass
from scorer.output.chunk import Chunk, Event, Kind, after

LINES = pa.schema(
    [
        pa.field("shard", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("request", pa.int32(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("digest", pa.binary(32), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("pico", pa.int64(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),
        pa.field("model", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("judge", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("choices", pa.int32(), nullable=False),
    ]
)
_LINES, _LOG, _RESULTS, _CLOSED = ".parquet", ".log", ".results", "closed"


@dataclass(frozen=True, slots=True)
class ChunkLine:
    """One request: the `request`-th that the judge yields for its row, asked the `attempt`-th time, both from 0.

    It stands for `choices` requests of the judge, this one and those after it, whose replies it asks for together.
    `tokens` and `pico` are its worst case, `prompt_tokens` is the estimated length of its prompt. `digest` is the
    SHA-256 of its body as it is first made, before anything was learned of the server. `model` is the alias of its
    model, `judge` the fingerprint of the run that asks; both are the same in all lines of a chunk.
    """

    shard: str
    row: int
    request: int
    attempt: int
    digest: bytes
    tokens: int
    pico: int
    prompt_tokens: int = 0
    model: str = ""
    judge: str = ""
    choices: int = 1


def disagreement(chunks: Sequence[Chunk], entries: set[str]) -> str | None:
    """What the chunks and the ledger's open `entries` say otherwise of batches that are out; None where they agree."""
    known = {chunk.nonce for chunk in chunks}
    gone = sorted(entry for entry in entries if entry.partition("+")[0] not in known)
    sent = {chunk.nonce for chunk in chunks if chunk.state not in ("intent", "closed")}
    lacking = sorted(sent - entries)
    if not gone and not lacking:
        return None
    what = f"the ledger has {', '.join(gone)}, and no file of it is there" if gone else ""
    also = f"the ledger does not have {', '.join(lacking)}" if lacking else ""
    return f"these files and the ledger do not agree about provider batches: {'; '.join(filter(None, (what, also)))}"


class ChunkFiles:
    """The chunks in one folder."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder
        self._torn: set[str] = set()  # logs that may end within a line

    def write(self, nonce: str, lines: Sequence[ChunkLine]) -> Chunk:
        """Writes a new chunk, durable on return. Its lines are numbered from 0, in this order."""
        columns = {}
        for field in LINES:
            values = [getattr(one, field.name) for one in lines]
            named = pa.types.is_dictionary(field.type)
            columns[field.name] = (
                pa.array(values, pa.string()).dictionary_encode() if named else pa.array(values, field.type)
            )
        table = pa.table(columns, schema=LINES)
        with self._files.create(self._path(nonce, _LINES)) as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        return Chunk(nonce, len(lines))

    def append(self, chunk: Chunk, event: Event) -> Chunk:
        """Appends an event to the chunk's log, durable on return. Raises ValueError where it does not follow."""
        found = after(chunk, event)
        if chunk.nonce in self._torn:
            self._mend(chunk.nonce)
        self._torn.add(chunk.nonce)
        self._files.append(self._path(chunk.nonce, _LOG), line({event.kind: event.value}))
        self._torn.discard(chunk.nonce)
        return found

    def found(self) -> list[Chunk]:
        """All chunks that are there, closed ones too, by nonce. Raises StorageError where a file is damaged."""
        names = {stat.path.rpartition("/")[2] for stat in self._files.listing(self._folder)}
        nonces = {name.removesuffix(end) for name in names for end in (_LINES, _LOG) if name.endswith(end)}
        return [self._chunk(nonce, names) for nonce in sorted(nonces)]

    def lines(self, nonce: str) -> pa.Table:
        """The lines of a chunk, with the columns of `LINES`. Raises StorageError where they cannot be read."""
        found = self._read(nonce, LINES.names)
        if "choices" in found.column_names:
            return found
        return found.append_column(LINES.field("choices"), [np.ones(len(found), dtype=np.int32)])

    def rows(self, chunks: Iterable[Chunk]) -> dict[str, npt.NDArray[np.int64]]:
        """The rows of these chunks, sorted, each once, by shard."""
        tables = [self._read(chunk.nonce, ["shard", "row"]) for chunk in chunks]
        if not tables:
            return {}
        together = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        shards, rows = together["shard"].combine_chunks(), together["row"].to_numpy()
        codes = shards.indices.to_numpy()
        return {
            shard: np.unique(rows[codes == code])
            for code, shard in enumerate(shards.dictionary.to_pylist())
            if (codes == code).any()
        }

    def write_results(self, nonce: str, results: BinaryIO) -> None:
        """Copies the downloaded results of a chunk, whole and durable on return."""
        results.seek(0)
        with self._files.create(self._path(nonce, _RESULTS)) as file:
            shutil.copyfileobj(results, file, 1 << 20)

    def has_results(self, nonce: str) -> bool:
        """Whether results of a chunk were written: all there are, once it is fetched."""
        try:
            self._files.open(self._path(nonce, _RESULTS)).close()
        except FileNotFoundError:
            return False
        return True

    def results(self, nonce: str) -> BinaryIO:
        """The downloaded results of a chunk, for random access on this machine. Raises StorageError without them."""
        path = self._path(nonce, _RESULTS)
        try:
            file = self._files.open(path)
            if not is_remote(path):
                return file
            with file:
                here = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
                shutil.copyfileobj(file, here, 1 << 20)
            return here
        except OSError as error:
            raise self._damaged(nonce, _RESULTS, printable_line(str(error))) from error

    def any(self) -> bool:
        """Whether there is a chunk, if only a closed one."""
        return any(stat.path.endswith((_LINES, _LOG)) for stat in self._files.listing(self._folder))

    def closed(self) -> dict[str, set[str]]:
        """The ids of the batches of each closed chunk, by nonce; a chunk that was never made has none."""
        found: dict[str, set[str]] = {}
        try:
            with self._files.open(f"{self._folder}/{_CLOSED}") as file:
                for text in file:
                    for nonce, ids in (entry(text) or {}).items():
                        found.setdefault(nonce, set()).update(ids)
        except FileNotFoundError:
            pass
        return found

    def delete(self, chunk: Chunk) -> None:
        """Deletes the files of a closed chunk, and notes it in `closed`."""
        assert chunk.state == "closed", chunk
        ids = sorted({chunk.batch_id, *chunk.twins} - {""})
        self._files.append(f"{self._folder}/{_CLOSED}", line({chunk.nonce: ids}))
        for end in (_RESULTS, _LINES, _LOG):
            self._files.delete(self._path(chunk.nonce, end))

    def _path(self, nonce: str, end: str) -> str:
        return f"{self._folder}/{nonce}{end}"

    def _chunk(self, nonce: str, names: set[str]) -> Chunk:
        requests = 0
        if f"{nonce}{_LINES}" in names:
            with self._files.open(self._path(nonce, _LINES)) as file, self._said(nonce, _LINES):
                requests = pq.ParquetFile(file, pre_buffer=False).metadata.num_rows
        chunk = Chunk(nonce, requests)
        if f"{nonce}{_LOG}" in names:
            chunk = self._replayed(chunk)
        if not requests and chunk.state != "closed":
            raise self._damaged(nonce, _LINES, "it is gone or empty")
        return chunk

    def _replayed(self, chunk: Chunk) -> Chunk:
        with self._files.open(self._path(chunk.nonce, _LOG)) as file:
            for text in file:
                said = entry(text)
                if not text.endswith(b"\n"):  # torn: nothing was done about it yet
                    self._torn.add(chunk.nonce)
                    break
                try:
                    ((kind, value),) = (said or {}).items()
                    chunk = after(chunk, Event(cast(Kind, kind), value))
                except (ValueError, KeyError):
                    raise self._damaged(chunk.nonce, _LOG, "a line in it is not what was written") from None
        return chunk

    def _mend(self, nonce: str) -> None:
        """Takes the torn end off a log, so that the next line begins where a line begins."""
        path = self._path(nonce, _LOG)
        try:
            whole = read(self._files, path)
        except FileNotFoundError:
            whole = b""
        replace(self._files, path, whole[: whole.rfind(b"\n") + 1])
        self._torn.discard(nonce)

    def _read(self, nonce: str, columns: Sequence[str]) -> pa.Table:
        with (
            self._files.open(self._path(nonce, _LINES)) as file,
            self._said(nonce, _LINES),
            pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet,
        ):  # no thread of Arrow holds a Python file when the process ends
            there = [name for name in columns if name != "choices" or name in parquet.schema_arrow.names]
            return parquet.read(columns=there, use_threads=False)

    @contextmanager
    def _said(self, nonce: str, end: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(nonce, end, printable_line(str(error))) from error

    def _damaged(self, nonce: str, end: str, why: str) -> StorageError:
        return StorageError(
            f"{self._path(nonce, end)} is damaged: {why}. It says which rows a provider's batch holds, so nothing more "
            "is sent. Restore the file from a copy and run the same command again."
        )
