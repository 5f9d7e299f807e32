"""Promise: every error of the local disk is one sentence, and a short write goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import scorer.files.local_files
from scorer.errors import StorageError
from scorer.files import full_disk as fulldisk
from scorer.files.files import Files, replace
from scorer.files.local_files import LocalFiles
from scorer.files.router import AnyFiles

_SAID = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only: give another output.path",
    errno.EACCES: "permission denied: give another output.path",
    errno.EPERM: "the operation is not permitted",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.EIO: "the system says: Input/output error",
}


def _create(files: Files, path: str) -> None:
    replace(files, path, b"x")


def _append(files: Files, path: str) -> None:
    files.append(path, b"x")


def _delete(files: Files, path: str) -> None:
    files.delete(path)


def _lock(files: Files, path: str) -> None:
    files.lock(path, "me")


@pytest.mark.parametrize(("number", "says"), _SAID.items(), ids=[errno.errorcode[number] for number in _SAID])
@pytest.mark.parametrize(
    ("act", "call"),
    [
        (_create, "mkdir"),
        (_create, "open"),
        (_create, "fsync"),
        (_create, "replace"),
        (_append, "open"),
        (_append, "fdatasync"),
        (_delete, "unlink"),
        (_lock, "open"),
    ],
)
def test_write_errors_are_sentences(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    act: Callable[[Files, str], None],
    call: str,
    number: int,
    says: str,
) -> None:
    path = f"{tmp_path}/out/file"

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(scorer.files.local_files if call == "open" else os, call, refuse, raising=False)
        patch.setattr(fulldisk, "FULL_DISK_S", 0.0)
        with pytest.raises(StorageError) as caught:
            act(LocalFiles(), path)
    assert f"Cannot write {path}: {says}" in str(caught.value)
    assert "the same command resumes" in str(caught.value)
    assert "\n" not in str(caught.value)
    if act is not _append:
        assert LocalFiles().listing(f"{tmp_path}/out") == []


def test_append_on_a_full_disk_raises_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulldisk, "FULL_DISK_S", 0.0)
    if not os.path.exists("/dev/full"):
        pytest.skip("left out: this system has no /dev/full to write to")
    with pytest.raises(StorageError, match="the disk is full"):
        LocalFiles().append("/dev/full", b"x")


def test_append_continues_a_short_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = open

    class Dribbling:
        """A file that takes three bytes at a time, as a pipe or a disk near its quota may."""

        def __init__(self, path: str, mode: str, buffering: int) -> None:
            self._file = real(path, mode, buffering=buffering)
            self.fileno = self._file.fileno

        def write(self, data: memoryview) -> int:
            return self._file.write(data[:3])

        def __enter__(self) -> Dribbling:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

    monkeypatch.setattr(scorer.files.local_files, "open", Dribbling, raising=False)
    LocalFiles().append(f"{tmp_path}/log", b"0123456789")
    assert (tmp_path / "log").read_bytes() == b"0123456789"


def test_lock_names_a_file_in_the_way_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(StorageError, match="a part of the path is a file, not a folder"):
        replace(LocalFiles(), f"{tmp_path}/out/run.json", b"x")


def test_find_takes_an_existing_name_with_wildcards_literally(tmp_path: Path) -> None:
    folder = tmp_path / "data [v1]"
    folder.mkdir()
    (folder / "a*.parquet").write_bytes(b"x")
    files = LocalFiles()
    assert [stat.path for stat in files.find([str(folder)])] == [f"{folder}/a*.parquet"]
    assert [stat.path for stat in files.find([f"{folder}/a*.parquet"])] == [f"{folder}/a*.parquet"]


def test_find_finds_a_file_once_under_two_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.parquet").write_bytes(b"x")
    (tmp_path / "in/b.parquet").symlink_to("a.parquet")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to("deep/er")
    (tmp_path / "deep/a.parquet").write_bytes(b"y")
    spelled = ["in/a.parquet", "./in", f"{tmp_path}/in/*.parquet", "deep/../in/*.parquet"]
    # A link is another path to its file; and what is above a link is what the system says it is.
    for files in (LocalFiles(), AnyFiles()):
        assert [stat.path for stat in files.find(spelled)] == ["in/a.parquet"]
    assert [stat.path for stat in LocalFiles().find(["elsewhere/../a.parquet", "in/a.parquet"])] == [
        "elsewhere/../a.parquet",
        "in/a.parquet",
    ]
