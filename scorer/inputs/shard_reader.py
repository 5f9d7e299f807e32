"""Reads one shard from its first row to its last: batches, damaged row ranges, and pauses while storage fails.

What fails twice in the same place is damage, and costs the rows that the format cannot read then. An error of the
system (EIO, a network that is away) is the moment's, and is waited for. Knows files and formats, and no results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scorer.errors import InputError, ShardChanged
from scorer.files.files import Files
from scorer.inputs.formats import format_of
from scorer.inputs.formats.protocol import DAMAGE, Wanted
from scorer.inputs.identity import opened
from scorer.inputs.pieces import Piece, ReadStalled
from scorer.inputs.read_retry import FIRST_PAUSE_S, ReadRetry, is_systems, short
from scorer.types import Mask, Shard


def read_shard(files: Files, shard: Shard, columns: Sequence[str], todo: Mask | None = None) -> Iterator[Piece]:
    """The rows of a shard in order, each in a Batch or in UnreadableRows; rows that are not to do may be in neither.

    `columns` may be paths into columns. Raises ShardChanged where the shard is not what it was, StorageError where the
    system fails for longer than `PATIENCE_S`.
    """
    at = tries = changes = 0
    patience = ReadRetry(shard.place)
    format = format_of(shard.path)
    while True:
        begun_at = at
        try:
            with opened(files, shard) as file:
                wanted = Wanted(columns, shard.rows, todo, at, careful=tries > 1)
                for piece in format.batches(file, wanted):
                    yield piece
                    at = piece.stop
                    patience.over()
            return
        except ShardChanged:
            changes += 1
            if changes > 1:
                raise
            yield ReadStalled(FIRST_PAUSE_S)
        except DAMAGE as error:
            if is_systems(error):
                yield ReadStalled(patience.pause_s(error))
            elif tries > 1 and at == begun_at:
                raise InputError(f"{shard.place} cannot be read ({short(error)}), though it is what it was.") from error
            else:
                tries = 1 if at > begun_at else tries + 1
