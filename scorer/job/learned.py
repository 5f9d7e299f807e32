"""What the finished rows of a run teach its plan: tokens of a reply and seconds of a request, each with its spread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field

import numpy as np
import numpy.typing as npt

from scorer.build.plan import RunPlan
from scorer.errors import BadRow, Damaged, ScorerError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, changed_keys, load

FEWEST_ROWS = 20
"""From so many finished rows on, they are the estimate."""
MOST_ROWS = 100_000
"""So many are read at most; those of the first files."""
_COLUMNS = ("error", "completion_tokens", "answered_s", "attempts")
_NOT_ASKED = (BadRow.__name__, Damaged.__name__)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `n` values, with the ends of its 95 % interval by the normal approximation; never below 0."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Mean:
        mean = float(values.mean())
        half = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else mean
        return cls(mean, max(0.0, mean - half), mean + half, len(values))


@dataclass(frozen=True, slots=True)
class Learned:
    """What earlier starts left: forgotten shards, names of shards in the output by path, and means over finished rows.

    `reply_tokens` are those of a row with all its requests, `seconds` those of a request. Both are None where fewer
    than 20 rows were asked.
    """

    forgotten: frozenset[str] = frozenset()
    stems: Mapping[str, str] = field(default_factory=dict)
    reply_tokens: Mean | None = None
    seconds: Mean | None = None

    @property
    def taken(self) -> dict[str, str]:
        """The paths of the shards by their names in the output."""
        return {stem: path for path, stem in self.stems.items()}


def learned(plan: RunPlan, files: Files) -> Learned:
    """Empty where there is no run yet, or no readable one: a plan needs none."""
    layout = Layout(plan.spec.output.path)
    try:
        manifest = load(files, layout)
        if manifest is None:
            return Learned()
        forgotten = frozenset(shard.path for shard in manifest.forgotten)
        stems = {shard.path: shard.stem for shard in (*manifest.shards, *manifest.forgotten)}
        if manifest.fingerprint != plan.fingerprint and changed_keys(manifest, plan.covers):
            return Learned(forgotten, stems)
        tokens, seconds = _finished(files, layout, manifest)
    except (ScorerError, OSError):
        return Learned()
    if len(tokens) < FEWEST_ROWS:
        return Learned(forgotten, stems)
    return Learned(forgotten, stems, Mean.of(tokens), Mean.of(seconds) if len(seconds) else None)


def _finished(
    files: Files, layout: Layout, manifest: Manifest
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Reply tokens of each row that was asked, and mean seconds of a request of each row that was answered."""
    tokens: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    seconds: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    rows = 0
    found = layout.result_files(files)
    for path in (path for shard in manifest.shards for path in found.paths(shard.stem)):
        if rows >= MOST_ROWS:
            break
        try:
            with seg.broken(path):
                table = seg.read_columns(files, path, _COLUMNS)
        except seg.Broken:  # `verify` tells; a plan does without
            continue
        rows += table.num_rows
        attempts = table.column("attempts").to_numpy().astype(float)
        asked = (attempts > 0) & ~np.isin(np.array(table.column("error").to_pylist(), dtype=object), _NOT_ASKED)
        waited = table.column("answered_s").to_numpy(zero_copy_only=False).astype(float)
        tokens.append(np.nan_to_num(table.column("completion_tokens").to_numpy(zero_copy_only=False)[asked]))
        seconds.append((waited[asked] / attempts[asked])[waited[asked] > 0])
    return np.concatenate(tokens), np.concatenate(seconds)
