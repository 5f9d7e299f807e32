"""Walks the stored rows of a simulated run that has ended."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from scorer.files.files import read
from scorer.files.local_files import LocalFiles
from scorer.files.parquet_batches import read_whole


def complaints(
    out: str,
    shards: int,
    rows: int,
    wrong: Callable[[str, float | None, str | None], str | None],
    nameless: tuple[str, ...] = ("BadRow",),
) -> Iterator[str]:
    """A sentence for each row that is missing, doubled, out of order, or of which `wrong` says something.

    `wrong` gets the row's id, score and error. A row with one of the errors `nameless` need not have its id.
    """
    seen = 0
    for number in range(shards):
        table = read_whole(io.BytesIO(read(LocalFiles(), f"{out}/scores/part-{number}.parquet")))
        columns = (table.column(name).to_pylist() for name in ("id", "row", "score", "error"))
        for place, (name, row, score, error) in enumerate(zip(*columns, strict=True)):
            seen += 1
            found = f"s{number}r{row}" if name is None and error in nameless else name
            if (found, row) != (f"s{number}r{place}", place):
                yield f"row {place} of shard {number} is {found}, row {row}"
            elif (said := wrong(found, score, error)) is not None:
                yield f"{found} has score {score} and error {error}: {said}"
    if seen != rows:
        yield f"{seen} rows of {rows} came back"
