"""Promise: a rehearsal prints of its simulated judge what was counted, in lines that a terminal holds."""

from __future__ import annotations

import pytest

from scorer.cli.run_text import rehearsal_text

COUNTERS = {"requests": 10, "ok": 10, "r429": 0, "max_in_flight": 4}


@pytest.mark.parametrize(
    ("again", "says"),
    [(0, "1 made; 40 requests paid, 0 never"), (4, "1 made; 40 requests paid, 4 of them equal to one before, 0 never")],
)
def test_equal_requests_of_batches_are_named_where_there_are_some(
    again: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    batches = {"batches": 1, "paid": 40, "paid_again": again, "paid_not_fetched": 0}
    text = rehearsal_text({**COUNTERS, "batches": batches}, None)
    assert says in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_a_rehearsal_without_batches_says_nothing_of_them() -> None:
    assert "batches" not in rehearsal_text({**COUNTERS, "batches": {}}, None)
