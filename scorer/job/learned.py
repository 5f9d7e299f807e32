"""What the finished rows of a run teach its plan: tokens of replies and prompts and seconds of a request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.build.plan import RunPlan
from scorer.config.cost import STANDARD
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
MOST_PROMPTS = 2_000
"""So many rows at most tell what the server bills for a prompt: each is read from the input again."""
_COLUMNS = ("row", "error", "prompt_tokens", "cached_tokens", "completion_tokens", "answered_s", "attempts")
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

    @classmethod
    def ratio(cls, values: npt.NDArray[np.float64], per: npt.NDArray[np.float64]) -> Mean:
        """Their sum for each of the sum of `per`. Source: Cochran, Sampling Techniques (1977), section 2.11."""
        ratio = float(values.sum() / per.sum())
        residual = values - ratio * per
        spread = math.sqrt(float((residual**2).sum()) / (len(values) - 1) / len(values)) / float(per.mean())
        return cls(ratio, max(0.0, ratio - 1.96 * spread), ratio + 1.96 * spread, len(values))


@dataclass(frozen=True, slots=True)
class PromptBills:
    """Finished rows of a shard, rising, with the prompt tokens that were billed and how many of them a cache held.

    `footer` is that of the shard when they were scored: another file of its name has other prompts.
    """

    footer: str
    rows: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.float64]
    cached: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learned:
    """What earlier starts left: forgotten shards, names of shards in the output by path, and means over finished rows.

    `reply_tokens` are those of a row with all its requests, `seconds` those of a request. Both are None where fewer
    than 20 rows were asked, and `prompts`, by the shard's name in the output, is empty. `tiers` are the shares of the
    tokens by the service tier that replies name, None for none; empty but for one model at a tier of its own that the
    last start asked for, too.
    """

    forgotten: frozenset[str] = frozenset()
    stems: Mapping[str, str] = field(default_factory=dict)
    reply_tokens: Mean | None = None
    seconds: Mean | None = None
    prompts: Mapping[str, PromptBills] = field(default_factory=dict)
    tiers: Mapping[str | None, float] = field(default_factory=dict)

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
        tiers: Counter[str | None] | None = Counter() if _same_tier(plan, manifest) else None
        tokens, seconds, prompts = _finished(files, layout, manifest, tiers)
    except (ScorerError, OSError):
        return Learned()
    if len(tokens) < FEWEST_ROWS:
        return Learned(forgotten, stems)
    total = tiers.total() if tiers is not None else 0
    shares = {name: count / total for name, count in tiers.items()} if tiers is not None and total else {}
    return Learned(forgotten, stems, Mean.of(tokens), Mean.of(seconds) if len(seconds) else None, prompts, shares)


def _same_tier(plan: RunPlan, manifest: Manifest) -> bool:
    """Whether the one model of the plan has the service tier, not the standard one, at which the last start asked."""
    (model, *others) = plan.spec.all_models
    (asked, *_) = manifest.spec.get("models") or [manifest.spec.get("model", {})]
    return not others and asked.get("tier", STANDARD) == model.tier != STANDARD


def _finished(
    files: Files, layout: Layout, manifest: Manifest, tiers: Counter[str | None] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], dict[str, PromptBills]]:
    """Reply tokens of each row that was asked, mean seconds of a request of each that was answered, and prompts.

    `tiers` gets the tokens by the tier that replies name.
    """
    tokens: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    seconds: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    prompts: dict[str, PromptBills] = {}
    rows = billed = 0
    found = layout.result_files(files)
    for shard, path in ((one, path) for one in manifest.shards for path in found.paths(one.stem)):
        if rows >= MOST_ROWS:
            break
        try:
            with seg.broken(path):
                table = seg.read_columns(files, path, _COLUMNS, counted=tiers is not None)
        except seg.Broken:  # `verify` tells; a plan does without
            continue
        rows += table.num_rows
        attempts = _floats(table, "attempts")
        asked = (attempts > 0) & ~np.isin(np.array(table.column("error").to_pylist(), dtype=object), _NOT_ASKED)
        waited = _floats(table, "answered_s")
        tokens.append(np.nan_to_num(_floats(table, "completion_tokens")[asked]))
        seconds.append((waited[asked] / attempts[asked])[waited[asked] > 0])
        if tiers is not None:
            _count_tiers(table.filter(asked), tiers)
        if billed < MOST_PROMPTS:
            known = asked & (_floats(table, "prompt_tokens") > 0)
            prompts[shard.stem] = _bills(shard.footer, table.filter(known), prompts.get(shard.stem))
            billed += int(known.sum())
    return np.concatenate(tokens), np.concatenate(seconds), prompts


def _count_tiers(table: pa.Table, tiers: Counter[str | None]) -> None:
    tokens = np.nan_to_num(_floats(table, "prompt_tokens") + _floats(table, "completion_tokens"))
    names = table.column("tier").to_pylist() if "tier" in table.column_names else [None] * table.num_rows
    for name, count in zip(names, tokens.tolist(), strict=True):
        tiers[name] += int(count)


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = table.column(name).to_numpy(zero_copy_only=False).astype(float)
    return values


def _bills(footer: str, table: pa.Table, before: PromptBills | None) -> PromptBills:
    """The first rows of a file with those of the files before it; of a row that is there twice, the later one."""
    table = table.slice(0, MOST_PROMPTS)
    rows = table.column("row").to_numpy()
    prompt, cached = _floats(table, "prompt_tokens"), np.nan_to_num(_floats(table, "cached_tokens"))
    if before is not None:
        rows = np.concatenate([rows, before.rows])
        prompt, cached = np.concatenate([prompt, before.prompt]), np.concatenate([cached, before.cached])
    rows, first = np.unique(rows, return_index=True)
    return PromptBills(footer, rows, prompt[first], cached[first])
