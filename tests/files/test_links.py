"""Promise: a second name is as durable as a file, and a storage without links leaves everything as it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from scorer.errors import StorageError
from scorer.files.files import PARTIAL, read, replace
from scorer.files.local_files import LocalFiles


def test_link_gives_a_second_name_that_outlives_the_first_and_is_replaced_alone(tmp_path: Path) -> None:
    files = LocalFiles()
    for name in ("a/one", "b/old"):
        replace(files, f"{tmp_path}/{name}", name.encode())
    for name in ("new/two", "b/old"):
        assert files.link(f"{tmp_path}/a/one", f"{tmp_path}/{name}")
        assert read(files, f"{tmp_path}/{name}") == b"a/one"
    replace(files, f"{tmp_path}/b/old", b"other")
    assert read(files, f"{tmp_path}/a/one") == b"a/one"
    files.delete(f"{tmp_path}/a/one")
    assert read(files, f"{tmp_path}/new/two") == b"a/one"
    assert [os.listdir(tmp_path / name) for name in ("a", "b", "new")] == [[], ["old"], ["two"]]


def test_link_of_a_name_that_the_file_has_already_leaves_no_third_one(tmp_path: Path) -> None:
    files = LocalFiles()
    replace(files, f"{tmp_path}/one", b"bytes")
    for _ in range(2):
        assert files.link(f"{tmp_path}/one", f"{tmp_path}/two")
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_link_does_nothing_where_the_file_system_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    files = LocalFiles()
    replace(files, f"{tmp_path}/one", b"bytes")
    assert not files.link(f"{tmp_path}/one", f"{tmp_path}/two")
    assert os.listdir(tmp_path) == ["one"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux tells the path behind a descriptor")
def test_link_syncs_the_bytes_before_the_name_and_the_folder_before_it_returns(
    calls: list[str], tmp_path: Path
) -> None:
    files = LocalFiles()
    (tmp_path / "one").write_bytes(b"12345")
    assert files.link(f"{tmp_path}/one", f"{tmp_path}/two")
    assert calls == [f"fsync {PARTIAL}two 5", "replace two", "fsync ."]
    calls.clear()
    with files.together():
        replace(files, f"{tmp_path}/three", b"1")
        assert files.link(f"{tmp_path}/one", f"{tmp_path}/four")
        assert not calls
    synced = [f"fsync {PARTIAL}three 1", f"fsync {PARTIAL}four 5"]
    assert calls == [*synced, "replace three", "replace four", "fsync ."]


def test_link_leaves_no_name_where_a_sync_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = LocalFiles()
    replace(files, f"{tmp_path}/one", b"bytes")

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError, match="two: the system says: Input/output error"):
        files.link(f"{tmp_path}/one", f"{tmp_path}/two")
    assert os.listdir(tmp_path) == ["one"]
