"""A sealed file is read for a table only where every byte of it is what was written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from publish.runs import output

from scorer.errors import OutputError
from scorer.publish.sealed import sealed


@pytest.mark.parametrize("size", [3, 400])  # without dictionaries and with them
def test_sealed_never_yields_rows_of_a_file_with_a_changed_byte(size: int, tmp_path: Path) -> None:
    made = output(tmp_path / "a", size)
    whole = made.sealed(0).read_bytes()
    chance = random.Random(size)
    # The types of the first pages: pyarrow skips such a page, and raises nothing. Then bytes of all parts of the file.
    for place in [5, 11, 17, *chance.sample(range(len(whole)), 100)]:
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        made.sealed(0).write_bytes(data)
        with (
            pytest.raises(OutputError, match=r"scores/a\.parquet is damaged and was not published"),
            sealed(made.files, made.layout, "run", made.shards[0]) as opened,
        ):
            list(opened.batches())
    made.sealed(0).write_bytes(whole)
    with sealed(made.files, made.layout, "run", made.shards[0]) as opened:
        assert sum(batch.num_rows for batch in opened.batches()) == size
