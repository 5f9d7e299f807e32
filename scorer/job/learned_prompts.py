"""What the server bills for a prompt beside what is counted for it, from rows that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from scorer.build.plan import RunPlan
from scorer.client.tokens import Counter
from scorer.engine.dedupe import AnswerCache
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.job.learned import FEWEST_ROWS, Learned, Mean
from scorer.job.prompt_sample import read_sample
from scorer.types import Mask, Shard


@dataclass(frozen=True, slots=True)
class LearnedPrompts:
    """`billed` tokens for each counted one, requests that were asked again included; `cached` is the share of them."""

    billed: Mean
    cached: Mean

    def of(self, counted: float, half_width: float) -> tuple[float, float]:
        """The billed tokens for so many counted ones, with half of the interval of both."""
        ratio = self.billed
        return counted * ratio.value, float(np.hypot(half_width * ratio.value, counted * (ratio.high - ratio.value)))


def learned_prompts(
    plan: RunPlan, files: Files, shards: Sequence[Shard], earlier: Learned, counter: Counter
) -> LearnedPrompts | None:
    """Counts the prompts of finished rows again. None where fewer than 20 of them have a bill.

    Rows of a shard that has changed since are left out.
    """
    bills_of = earlier.prompts
    known = [shard for shard in shards if shard.stem in bills_of and bills_of[shard.stem].footer == shard.footer]
    if sum(len(bills_of[shard.stem].rows) for shard in known) < FEWEST_ROWS:
        return None

    def finished(shard: Shard) -> Mask:
        mask: Mask = np.zeros(shard.rows, dtype=bool)
        mask[bills_of[shard.stem].rows] = True
        return mask

    with closing(AnswerCache()) as cache:
        counted = np.array(read_sample(plan, files, known, finished, counter, 1.0, cache).tokens, dtype=float)
    bills = [bills_of[shard.stem] for shard in known]
    prompt, cached = (np.concatenate(column) for column in zip(*((b.prompt, b.cached) for b in bills), strict=True))
    if len(counted) != len(prompt) or not counted.any():
        return None
    return LearnedPrompts(Mean.ratio(prompt, counted), Mean.ratio(cached, prompt))
