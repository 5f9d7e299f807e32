"""Promise: a file in parts equals what was appended to it, after a crash at any point and during compaction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scorer.files.append_parts import Object, grown, part_key

KEY = "ledger/7"


def _object(key: str, data: bytes) -> Object:
    return Object(key, len(data), f"{hash(data)}")


def read(store: dict[str, bytes]) -> bytes | None:
    """The file as a reader puts it together from a listing; None where it is not there."""
    file = grown([_object(key, data) for key, data in store.items()]).get(KEY)
    if file is None:
        return None
    first = store[file.first.key] if file.first is not None else b""
    return first + b"".join(store[part.key] for part in file.chain(len(first)))


_DATA = st.binary(min_size=1, max_size=5)


@given(first=_DATA, appended=st.lists(_DATA, max_size=6), deleted=st.integers(0, 6))
def test_grown_ignores_parts_that_the_first_object_contains(first: bytes, appended: list[bytes], deleted: int) -> None:
    store, whole = {KEY: first}, first
    for data in appended:
        store[part_key(KEY, len(whole))] = data
        whole += data
        assert read(store) == whole
    names = list(store)[1:]
    store[KEY] = whole  # written anew; and then a crash before all of its parts are deleted
    for name in names[:deleted]:
        del store[name]
    assert read(store) == whole
    store[part_key(KEY, len(whole))] = b"more"
    assert read(store) == whole + b"more"


def test_grown_ends_at_a_gap() -> None:
    store = {KEY: b"12", part_key(KEY, 2): b"34", part_key(KEY, 6): b"78"}
    assert read(store) == b"1234"


def test_grown_omits_a_half_deleted_file() -> None:
    assert read({part_key(KEY, 2): b"34"}) is None


def test_grown_changes_size_and_version_with_each_append() -> None:
    store = {KEY: b"12"}
    seen = set()
    for offset in (2, 3, 4):
        file = grown([_object(key, data) for key, data in store.items()])[KEY]
        assert file.size == offset
        seen.add(file.version)
        store[part_key(KEY, offset)] = b"x"
    assert len(seen) == 3
