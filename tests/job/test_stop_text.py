"""Promise: the sentence of a question's answer counts what it speaks of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.boards import Board


@pytest.mark.parametrize(("systems", "begins"), [(1, "The mean score is known"), (2, "2 mean scores are known")])
def test_answer_about_means_counts_the_systems(tmp_path: Path, systems: int, begins: str) -> None:
    board = Board(tmp_path, np.random.default_rng(1).integers(3, 8, (120, systems)).astype(float))
    assert board.run({"question": "mean", "width": 1.2}).answer["text"].startswith(begins)
