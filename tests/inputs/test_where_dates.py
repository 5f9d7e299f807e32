"""`input.where` over dates and times: what a text has to be cast to, and the message that says so."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from scorer.errors import InputError
from scorer.inputs.where import Where

DAYS = range(1, 8)
ROWS = pa.RecordBatch.from_pydict(
    {
        "day": [date(2026, 1, day) for day in DAYS],
        "at": pa.array([datetime(2026, 1, day, tzinfo=UTC) for day in DAYS], pa.timestamp("us", "UTC")),
        "n": list(DAYS),
    }
)


@pytest.mark.parametrize("condition", ["day > '2026-01-03'::date", "at::timestamp > '2026-01-03 00:00'::timestamp"])
def test_a_date_is_compared_with_a_cast_text_as_the_run_files_page_says(condition: str) -> None:
    where = Where(condition)
    assert where.mask(ROWS.select(list(where.columns)), "d.parquet").tolist() == [day > 3 for day in DAYS]


@pytest.mark.parametrize("condition", ["day > '2026-01-03'", "at > '2026-01-03'::timestamp"])
def test_a_date_beside_a_text_is_told_of_the_cast(condition: str) -> None:
    where = Where(condition)
    with pytest.raises(InputError, match=r"Compare a date or time after a cast: \w+::timestamp > ") as caught:
        where.mask(ROWS.select(list(where.columns)), "d.parquet")
    assert "python" not in str(caught.value)


def test_another_mistake_is_not_told_of_a_cast() -> None:
    with pytest.raises(InputError, match="cannot be evaluated over") as caught:
        Where("n > 'a'").mask(ROWS.select(["n"]), "d.parquet")
    assert "cast:" not in str(caught.value)
