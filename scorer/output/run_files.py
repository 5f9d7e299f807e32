"""The result files of one run: where they are, whose they are, and the schema of each shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import pyarrow as pa

from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output.layout import Layout
from scorer.output.segments import about
from scorer.output.selection import ALL_ROWS, Selection
from scorer.types import Shard


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a writer of a run's result files needs. `run` is the run's id, `worker` the writer's number (0: the owner).

    `schema_of` gives the result schema of a shard; it blocks, for it may read the shard's footer.
    `selection` says which rows are to have a result, `edition` how often the kept columns changed. `judge` is the
    fingerprint of the rows that are written now, empty where that is the run's; `judges` are all such of the run.
    """

    files: Files
    layout: Layout
    run: str
    fingerprint: str
    schema_of: Callable[[Shard], pa.Schema]
    worker: int = 0
    selection: Selection = ALL_ROWS
    edition: int = 0
    judge: str = ""
    judges: Mapping[str, int] = field(default_factory=dict)

    def about(self, shard: Shard, generation: int) -> dict[str, Any]:
        """The metadata of a result file of this run."""
        return about(shard, self.fingerprint, generation, self.run, self.edition, self.judges)
