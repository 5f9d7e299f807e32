"""Arrow IPC files and streams: one record batch in memory at a time, known by the sha256 of all bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from scorer.inputs.arrow_rows import ArrowRows
from scorer.inputs.column_paths import roots
from scorer.inputs.formats.byte_stream import HashedFile, hashed
from scorer.inputs.formats.protocol import DAMAGE, Contents, Unfinished, Wanted
from scorer.inputs.pieces import BATCH_BYTES, BATCH_ROWS, Batch, UnreadableRows
from scorer.inputs.read_retry import is_systems, short

MAGIC = b"ARROW1"
CONTINUED = b"\xff\xff\xff\xff"
"""What each message of a stream begins with since Arrow 0.15 (2019)."""
NO_MORE = b"\0\0\0\0"
"""The length of a message that is none: the end of a stream, after CONTINUED where the stream has that."""


class ArrowIpc:
    """`Format` of Arrow IPC: files (polars, Feather) and streams (the cache of Hugging Face Datasets)."""

    name = "Arrow"

    def look(self, file: BinaryIO, size: int) -> Contents:
        if size == 0:
            raise Unfinished("is empty")
        stream = not _is_file(file)
        if not (_has_end(file, size) if stream else _ends_with(file, size, MAGIC)):
            raise Unfinished("has no end of stream" if stream else "has no footer")
        schema = self.schema(file)
        narrow = min(range(len(schema)), key=lambda place: _width(schema.field(place).type), default=None)
        rows = sum(batch.num_rows for batch in _batches(file, [] if narrow is None else [narrow]))
        return Contents(rows, self.mark(file, size), schema, schema, ended=True)

    def schema(self, file: BinaryIO) -> pa.Schema:
        with _reader(file, None) as reader:
            return pa.schema([field.with_type(_decoded_type(field.type)) for field in reader.schema])

    def mark(self, file: BinaryIO, size: int) -> str:
        return hashed(file).rest()

    def batches(self, file: BinaryIO, wanted: Wanted) -> Iterator[Batch | UnreadableRows]:
        schema = self.schema(file)
        columns = [name for name in roots(wanted.columns, schema.names) if name in schema.names]
        first = 0
        at = wanted.at
        try:
            for batch in _batches(file, [schema.names.index(name) for name in columns]):
                stop = first + batch.num_rows
                start = max(at, first)
                if start < stop and (wanted.todo is None or wanted.todo[start:stop].any()):
                    batch = _decoded(batch.select(columns))
                    _validate(batch)
                    step = _step(batch)
                    for number in range(start, stop, step):
                        part = batch.slice(number - first, min(step, stop - number))
                        yield Batch(number, ArrowRows(part))
                        at = number + part.num_rows
                first = stop
            if first != wanted.rows:
                raise ValueError(f"it has {first:,} rows, not {wanted.rows:,}")
        except DAMAGE as error:
            if is_systems(error) or not wanted.careful:
                raise
            yield UnreadableRows(max(at, first), wanted.rows, short(error))


def _is_file(file: BinaryIO) -> bool:
    file.seek(0)
    begins = file.read(len(MAGIC))
    file.seek(0)
    return begins == MAGIC


def _ends_with(file: BinaryIO, size: int, end: bytes) -> bool:
    file.seek(max(0, size - len(end)))
    return file.read(len(end)) == end


def _has_end(file: BinaryIO, size: int) -> bool:
    """Whether a stream is whole. Raises one of DAMAGE where it is no Arrow at all.

    The last message of a stream of before 2019 may end like the stream: its messages are read.
    """
    file.seek(0)
    continued = file.read(len(CONTINUED)) == CONTINUED
    if continued and _ends_with(file, size, CONTINUED + NO_MORE):
        return True
    file.seek(0)
    pa.ipc.open_stream(pa.PythonFile(file, mode="r"))
    if continued:
        return False
    file.seek(0)
    messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(file, mode="r"))
    end = 0
    try:
        while True:
            messages.read_next_message()
            end = file.tell()
    except StopIteration:
        file.seek(end)
        return file.read() == NO_MORE
    except DAMAGE as error:
        if is_systems(error):
            raise
        return False


def _reader(file: BinaryIO, fields: Sequence[int] | None) -> Any:
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    if _is_file(file):
        return pa.ipc.open_file(_readable(file), options=options)
    return pa.ipc.open_stream(pa.PythonFile(file, mode="r"), options=options)


def _readable(file: BinaryIO) -> Any:
    """The file for Arrow. A local one is read by Arrow itself: through Python each buffer would be in memory twice.

    Its parts are not read in order, so nothing is hashed as they are read.
    """
    plain = file.plain if isinstance(file, HashedFile) else file
    place = f"/dev/fd/{plain.fileno()}" if type(plain) is io.BufferedReader else ""
    return pa.OSFile(place, "rb") if place and os.path.exists(place) else pa.PythonFile(file, mode="r")


def _batches(file: BinaryIO, fields: Sequence[int]) -> Iterator[pa.RecordBatch]:
    with _reader(file, fields or None) as reader:
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            yield from map(reader.get_batch, range(reader.num_record_batches))
        else:
            yield from reader


def _decoded_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_run_end_encoded(kind) else kind


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with a value in each row where only the ends of runs have one, which Parquet and polars cannot hold."""
    if not any(map(pa.types.is_run_end_encoded, batch.schema.types)):
        return batch
    import pyarrow.compute as pc

    kinds = map(_decoded_type, batch.schema.types)
    columns = [c if c.type == kind else pc.run_end_decode(c) for c, kind in zip(batch.columns, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _validate(batch: pa.RecordBatch) -> None:
    """Raises ArrowInvalid where offsets lead out of their buffers. A text that is no UTF-8 is the fault of its row."""
    for column in batch.columns:
        as_bytes = _BYTES.get(column.type)
        (column if as_bytes is None else column.view(as_bytes)).validate(full=True)


_BYTES = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}


def _step(batch: pa.RecordBatch) -> int:
    """Rows at a time, such that about as many bytes as a batch may have are in each."""
    mean = batch.nbytes // max(1, batch.num_rows)
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, mean))))


def _width(kind: pa.DataType) -> int:
    try:
        return int(kind.bit_width)
    except ValueError:
        return 1 << 20
