"""Promise: checksums find every changed byte of a result file, and tell which of its parts are whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import run
from support.outputs import Output

from scorer.files.local_files import LocalFiles
from scorer.output import checksums as sums
from scorer.output import segments as seg
from scorer.output.verify.folder import verify


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    """A sealed shard of 40 rows in four parts, and an empty one."""
    monkeypatch.setattr(seg, "WINDOW", 10)
    monkeypatch.setattr(seg, "GROUP_BYTES", 1)

    async def scenario() -> Output:
        made = Output(tmp_path, 40, 0)
        await made.pay(40)
        await made.score({0: range(39)})
        await made.score({0: [39]})
        made.store()
        return made

    return run(scenario())


def parts(path: Path) -> list[sums.Part]:
    found = sums.check(LocalFiles(), str(path))
    assert found is not None
    return found


def whole(path: Path) -> bool:
    """As `verify` takes it: what a file says of itself, and its sums."""
    try:
        seg.read_about(LocalFiles(), str(path))
        return all(part.whole for part in parts(path))
    except seg.DAMAGE:
        return False


def test_checksums_cover_each_window_as_a_part(output: Output) -> None:
    assert parts(output.sealed()) == [sums.Part(at, at + 10, True) for at in range(0, 40, 10)]
    assert parts(output.sealed(1)) == [sums.Part(0, 0, True)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 1))
def test_checksums_find_every_flipped_bit(output: Output, place: float, bit: int, which: int) -> None:
    path = output.sealed(which)
    data = path.read_bytes()
    try:
        changed = bytearray(data)
        changed[int(place * len(data))] ^= 1 << bit
        path.write_bytes(changed)
        assert not whole(path)
    finally:
        path.write_bytes(data)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), extra=st.binary(max_size=20))
def test_checksums_find_truncated_and_longer_files(output: Output, place: float, extra: bytes) -> None:
    path = output.sealed()
    data = path.read_bytes()
    try:
        path.write_bytes(data[: int(place * len(data))] + extra)
        assert not whole(path)
        at = int(place * len(data))
        path.write_bytes(data[:at] + b"\0" + data[at:])
        assert not whole(path)
    finally:
        path.write_bytes(data)


def test_checksums_confine_damage_to_its_part(output: Output) -> None:
    path = output.sealed()
    place = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert [part.whole for part in parts(path)] == [True, True, False, True]


def test_checksums_absent_in_files_of_earlier_versions_are_no_damage(output: Output) -> None:
    path = output.sealed()
    metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key not in sums.OURS}
    table = pq.read_table(path).replace_schema_metadata({k: v for k, v in metadata.items() if k != b"ARROW:schema"})
    pq.write_table(table, path, write_page_checksum=True)
    assert sums.check(LocalFiles(), str(path)) is None
    assert verify(LocalFiles(), output.layout.out).complete


def test_checksums_reject_a_table_rewritten_with_old_metadata(output: Output) -> None:
    table = pq.read_table(output.sealed())
    pq.write_table(table, output.sealed())
    assert not verify(LocalFiles(), output.layout.out).complete
