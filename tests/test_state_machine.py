"""Promise: through starts, kills, retries, rereads, new shards and damage the folder equals a reference model."""

from __future__ import annotations

import pytest
from support.folder_machine import live


@pytest.mark.slow
def test_output_folder_matches_the_reference_model_after_any_steps() -> None:
    """Slow: twelve lives of a folder. `tests/soak` has a hundred."""
    live(12)
