"""The value of `--sample`: a number of rows, or a share of them."""

from __future__ import annotations

import math

from scorer.errors import SpecError
from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """A number of rows, or a share in (0, 1]; exactly one is given. `text` is what the user wrote."""

    text: str
    count: int | None = None
    share: float | None = None

    def of(self, rows: int) -> int:
        """The number of sampled rows out of `rows`; a share is rounded up."""
        if self.count is not None:
            return min(self.count, rows)
        assert self.share is not None
        return min(rows, math.ceil(self.share * rows - 1e-9))


def parse_sample(text: str) -> Sample:
    """The sample that `--sample` names: `100`, or `1%`. Raises SpecError."""
    plain = text.strip().replace("_", "").replace(",", "")
    try:
        if plain.endswith("%"):
            share = float(plain[:-1]) / 100
            if 0 < share <= 1:
                return Sample(plain, share=share)
        elif (count := int(plain)) > 0:
            return Sample(plain, count=count)
    except ValueError:
        pass
    raise SpecError([f'--sample {text} is no sample. Give a number of rows such as 100, or a share such as "1%".'])
