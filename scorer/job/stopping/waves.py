"""How many rows are asked at once where replies take hours: in provider batches, in waves.

A decision comes after each wave. A wave has as many rows as there are in the prefix, so the prefix doubles: at most as
many rows are asked too much as were needed, which at half the price costs at most what the same run costs online, and
no run has more than 7 waves. The first one, of which nothing is known, has 1 / `FIRST` of all rows. Decision 46.
"""

from __future__ import annotations

from math import ceil

from scorer.config.spec import Spec

FIRST = 64


def rows_of_wave(spec: Spec, prefix: int, rows: int) -> int:
    """The rows of the next wave, of `rows` in all and `prefix` decided on; at least those of one batch."""
    least = min(model.batch.min_requests for model in spec.all_models)
    return max(least, ceil(rows / FIRST), prefix)


def waves_until(spec: Spec, needed: int, rows: int) -> tuple[int, int]:
    """How many rows are asked until so many are decided on, of `rows` in all; and in how many waves."""
    asked = waves = 0
    while asked < min(needed, rows):
        asked, waves = min(rows, asked + rows_of_wave(spec, asked, rows)), waves + 1
    return asked, waves
