"""The provider batches of a run that are out: how many, with how many rows, and since when. From the files alone."""

from __future__ import annotations

from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output.canary_files import SHARD
from scorer.output.chunk_files import ChunkFiles
from scorer.output.layout import Layout
from scorer.output.progress_lines import batches_sentence


@dataclass(frozen=True, slots=True)
class BatchesOut:
    """`out` batches with `rows` rows. `oldest_at` is when the oldest was sent, in seconds since 1970.

    It is by the provider's clock; None where none was sent yet.
    """

    out: int = 0
    rows: int = 0
    oldest_at: float | None = None

    def sentence(self, now: float) -> str:
        """`3 batches out, 41,200 rows, oldest 2 h 10 min`."""
        return batches_sentence(self.json(now))

    def json(self, now: float) -> dict[str, float | int | None]:
        """For `status --json`."""
        age = None if self.oldest_at is None else round(max(0.0, now - self.oldest_at), 1)
        return {"out": self.out, "rows": self.rows, "oldest_s": age}


def batches_out(files: Files, layout: Layout) -> BatchesOut:
    """The batches that are out by the files of an output folder. Raises StorageError where one is damaged."""
    chunks = ChunkFiles(files, layout.batches)
    live = [chunk for chunk in chunks.found() if chunk.live]
    found = [one for chunk in live for one in chunks.rows([chunk]).items()]
    rows = sum(len(numbers) for shard, numbers in found if not shard.startswith(SHARD))
    since = [chunk.sending_at for chunk in live if chunk.sending_at]
    return BatchesOut(len(live), rows, min(since, default=None))
