"""Promise: a published file is whole and survives a crash, in every storage."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.errors import OutputError, StorageError
from scorer.files.files import PARTIAL, Files, read, replace
from scorer.files.local_files import LocalFiles

_STEP = st.tuples(st.sampled_from(["create", "abort", "append", "delete"]), st.sampled_from("abc"), st.binary())


def give_up(files: Files, path: str, data: bytes, error: type[BaseException]) -> None:
    with files.create(path) as file:
        file.write(data)
        raise error


class FilesContract:
    """What every storage promises. A subclass gives the fixtures `files` and `root`, an empty place in it."""

    def test_create_publishes_only_a_whole_file(self, files: Files, root: str) -> None:
        with files.create(f"{root}/new/file") as file:
            file.write(b"one ")
            assert files.listing(f"{root}/new") == []
            with pytest.raises(FileNotFoundError):
                files.open(f"{root}/new/file")
            file.write(b"two")
        assert read(files, f"{root}/new/file") == b"one two"

    @pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
    def test_create_keeps_the_old_file_on_an_exception(
        self, files: Files, root: str, stop: type[BaseException]
    ) -> None:
        replace(files, f"{root}/old", b"old")
        for name in ("old", "new"):
            with pytest.raises(stop):
                give_up(files, f"{root}/{name}", b"half", stop)
        assert [stat.path for stat in files.listing(root)] == [f"{root}/old"]
        assert read(files, f"{root}/old") == b"old"

    def test_create_leaves_open_readers_the_old_file(self, files: Files, root: str) -> None:
        replace(files, f"{root}/file", b"old bytes")
        with files.open(f"{root}/file") as reader:
            assert reader.read(3) == b"old"
            replace(files, f"{root}/file", b"new")
            assert reader.read() == b" bytes"

    def test_create_by_two_writers_gives_one_whole_file(self, files: Files, root: str) -> None:
        with files.create(f"{root}/file") as first:
            first.write(b"first")
            with files.create(f"{root}/file") as second:
                second.write(b"second, longer")
            assert read(files, f"{root}/file") == b"second, longer"
        assert read(files, f"{root}/file") == b"first"

    def test_version_changes_with_every_write(self, files: Files, root: str) -> None:
        replace(files, f"{root}/file", b"1")
        (before,) = files.listing(root)
        replace(files, f"{root}/file", b"2")
        (after,) = files.listing(root)
        assert (before.size, after.size) == (1, 1)
        assert before.version != after.version

    @settings(
        max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    )
    @given(steps=st.lists(_STEP, max_size=6))
    def test_files_match_a_dict_after_any_steps(
        self, files: Files, root: str, steps: list[tuple[str, str, bytes]]
    ) -> None:
        folder = f"{root}/{len(files.folders(root))}"
        model: dict[str, bytes] = {}
        for step, name, data in steps:
            path = f"{folder}/{name}"
            if step == "create":
                replace(files, path, data)
                model[name] = data
            elif step == "append":
                files.append(path, data)
                model[name] = model.get(name, b"") + data
            elif step == "delete":
                files.delete(path)
                model.pop(name, None)
            else:
                with pytest.raises(ZeroDivisionError):
                    give_up(files, path, data, ZeroDivisionError)
        listed = files.listing(folder)
        assert [(stat.path, stat.size) for stat in listed] == [
            (f"{folder}/{name}", len(data)) for name, data in sorted(model.items())
        ]
        assert {stat.path.rpartition("/")[2]: read(files, stat.path) for stat in listed} == model

    def test_listing_has_only_the_files_directly_in_the_folder(self, files: Files, root: str) -> None:
        assert files.listing(f"{root}/nowhere") == []
        assert files.folders(f"{root}/nowhere") == []
        for name in ("b", "a", "deep/c", "deeper/d"):
            replace(files, f"{root}/{name}", b"x")
        assert [stat.path for stat in files.listing(root)] == [f"{root}/a", f"{root}/b"]
        assert files.folders(root) == ["deep", "deeper"]
        assert files.listing(f"{root}/a/below") == []
        assert files.folders(f"{root}/a/below") == []

    def test_find_takes_paths_folders_and_globs_and_finds_each_file_once(self, files: Files, root: str) -> None:
        for name in ("b.parquet", "a.parquet", "notes.txt", "sub/deep/c.parquet"):
            replace(files, f"{root}/{name}", b"x")
        everything = [f"{root}/a.parquet", f"{root}/b.parquet", f"{root}/sub/deep/c.parquet"]

        def found(*patterns: str) -> list[str]:
            return [stat.path for stat in files.find([f"{root}{pattern}" for pattern in patterns])]

        assert found("") == everything
        assert found("/*.parquet") == everything[:2]
        assert found("/**/*.parquet", "/a.parquet", "/sub") == everything
        assert found("/notes.txt") == [f"{root}/notes.txt"]
        assert found("/*.nothing", "/nothing.parquet") == []

    def test_sweep_deletes_partial_files(self, files: Files, root: str) -> None:
        replace(files, f"{root}/whole", b"x")
        crashed = files.create(f"{root}/half")
        crashed.__enter__().write(b"never published")
        files.sweep(root)
        assert [stat.path for stat in files.listing(root)] == [f"{root}/whole"]
        files.sweep(f"{root}/nowhere")

    def test_delete_ignores_a_missing_file(self, files: Files, root: str) -> None:
        replace(files, f"{root}/file", b"x")
        files.delete(f"{root}/file")
        files.delete(f"{root}/file")
        assert files.listing(root) == []

    def test_lock_has_one_holder_who_is_named_to_others(self, files: Files, root: str) -> None:
        path = f"{root}/out/lock"
        assert not files.locked(path)
        lock = files.lock(path, "process 7 on here")
        assert files.locked(path)
        with pytest.raises(OutputError, match=r"out is in use by process 7 on here\."):
            files.lock(path, "process 8")
        lock.release()
        assert not files.locked(path)
        files.lock(path, "process 8").release()


class TestLocalFiles(FilesContract):
    @pytest.fixture
    def files(self) -> Files:
        return LocalFiles()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        return str(tmp_path)

    def test_sweep_deletes_the_bytes_themselves(self, files: Files, tmp_path: Path) -> None:
        for name in (f"{PARTIAL}x.json-1-0", f"{PARTIAL}json.csv-1-1", "whole"):
            (tmp_path / name).write_bytes(b"x")
        files.sweep(str(tmp_path), ".json")
        assert sorted(os.listdir(tmp_path)) == [f"{PARTIAL}json.csv-1-1", "whole"]
        files.sweep(str(tmp_path))
        assert os.listdir(tmp_path) == ["whole"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux tells the path behind a descriptor")
class TestDurable:
    def test_create_syncs_bytes_before_the_rename_and_the_folder_before_it_returns(
        self, calls: list[str], tmp_path: Path
    ) -> None:
        with LocalFiles().create(f"{tmp_path}/file") as file:
            file.write(b"12345")
        assert calls == [f"fsync {PARTIAL}file 5", "replace file", "fsync ."]

    def test_create_syncs_a_new_folder_before_its_files(self, calls: list[str], tmp_path: Path) -> None:
        replace(LocalFiles(), f"{tmp_path}/a/b/file", b"")
        assert calls[:4] == ["mkdir a", "fsync .", "mkdir a/b", "fsync a"]
        assert calls[4:] == [f"fsync a/b/{PARTIAL}file 0", "replace a/b/file", "fsync a/b"]

    def test_together_syncs_all_files_then_names_them_then_syncs_each_folder_once(
        self, calls: list[str], tmp_path: Path
    ) -> None:
        files = LocalFiles()
        (tmp_path / "a").mkdir()
        calls.clear()
        with files.together():
            for path in ("a/one", "two", "a/three"):
                replace(files, f"{tmp_path}/{path}", b"x")
            assert not calls
        assert calls == [
            f"fsync a/{PARTIAL}one 1", f"fsync {PARTIAL}two 1", f"fsync a/{PARTIAL}three 1",
            "replace a/one", "replace two", "replace a/three", "fsync a", "fsync .",
        ]  # fmt: skip
        calls.clear()
        with files.together():
            for path in ("b/c/one", "b/d/two"):
                replace(files, f"{tmp_path}/{path}", b"x")
        assert [call for call in calls if PARTIAL not in call] == [
            "mkdir b", "mkdir b/c", "mkdir b/d", "replace b/c/one", "replace b/d/two",
            "fsync .", "fsync b", "fsync b/c", "fsync b/d",
        ]  # fmt: skip
        calls.clear()
        replace(files, f"{tmp_path}/two", b"")
        assert calls[1:] == ["replace two", "fsync ."]

    def test_together_leaves_nothing_where_it_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = LocalFiles()

        def write(names: Sequence[str], then: Callable[[], object] = lambda: None) -> None:
            with files.together():
                for name in names:
                    replace(files, f"{tmp_path}/{name}", b"x")
                then()

        with pytest.raises(ZeroDivisionError):
            write(["one"], lambda: 1 / 0)
        synced = iter([None, OSError(errno.EIO, "Input/output error")])

        def fsync(_: int) -> None:
            if (error := next(synced)) is not None:
                raise error

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(StorageError, match="two: the system says"):
            write(["one", "two", "three"])
        assert os.listdir(tmp_path) == []

    def test_append_syncs_the_file_and_the_folder_of_a_new_one(self, calls: list[str], tmp_path: Path) -> None:
        files = LocalFiles()
        files.append(f"{tmp_path}/log", b"one")
        files.append(f"{tmp_path}/log", b"two")
        assert calls == ["fdatasync log 3", "fsync .", "fdatasync log 6"]


_HOLDER = """
import sys
from scorer.files.local_files import LocalFiles
lock = LocalFiles().lock(sys.argv[1], "a process about to be killed")
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_is_freed_by_kill_9(tmp_path: Path) -> None:
    files, path = LocalFiles(), f"{tmp_path}/lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert files.locked(path)
        with pytest.raises(OutputError, match="a process about to be killed"):
            files.lock(path, "me")
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not files.locked(path)
    files.lock(path, "me").release()
