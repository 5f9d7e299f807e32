"""Promise: through starts, kills, retries, rereads, new shards and damage the folder equals a reference model."""

from __future__ import annotations

import pytest
from support.folder_machine import live


@pytest.mark.slow
def test_output_folder_matches_the_reference_model_in_a_hundred_lives() -> None:
    """Slow: a hundred lives of a folder, each of a dozen steps."""
    live(100)
