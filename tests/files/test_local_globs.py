"""Promise: each real file is found once, under any spelling, and link loops end."""

from __future__ import annotations

import glob
import os
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.files.local_files import LocalFiles
from scorer.files.local_globs import match


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.parquet", "in/deep/b.parquet", "in/deep/er/c.parquet", "in/.hidden/d.parquet", "in/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    return tmp_path


WHOLE = ["in/a.parquet", "in/deep/b.parquet", "in/deep/er/c.parquet"]
PATTERNS = ["in", "in/", "./in", "in/**/*.parquet", "in/**", "**/*.parquet", "**/in/**/*.parquet", "i?/**/*.parquet"]


def names(pattern: str) -> list[str]:
    return [os.path.normpath(path) for path, _ in match([pattern]) if path.endswith(".parquet")]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_match_survives_link_loops_and_finds_no_file_twice(folder: Path, pattern: str) -> None:
    for link, target in [
        ("in/self", "."),
        ("in/deep/up", ".."),
        ("in/deep/er/top", str(folder / "in")),
        ("in/0", "deep"),
    ]:
        Path(link).symlink_to(target)
    Path("in/broken").symlink_to("nowhere.parquet")
    Path("in/0.parquet").symlink_to("a.parquet")
    Path("in/ring").symlink_to("ring")
    assert names(pattern) == WHOLE


@pytest.mark.parametrize("pattern", PATTERNS)
def test_match_equals_glob_without_links(folder: Path, pattern: str) -> None:
    given = f"{pattern}/**/*.parquet" if os.path.isdir(pattern) else pattern
    expected = {os.path.normpath(path) for path in glob.glob(given, recursive=True) if path.endswith(".parquet")}
    assert set(names(pattern)) == expected == set(WHOLE)


@pytest.mark.parametrize("moment", ["local_globs._identity", "local_files._stat"])
def test_find_leaves_out_a_file_that_another_process_deletes_meanwhile(
    folder: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = pkgutil.resolve_name(f"scorer.files.{moment}")

    def looks_late(path: str, *given: Any) -> Any:
        Path("in/deep/b.parquet").unlink(missing_ok=True)
        return looks(path, *given)

    monkeypatch.setattr(f"scorer.files.{moment}", looks_late)
    assert [stat.path for stat in LocalFiles().find(["in"])] == ["in/a.parquet", "in/deep/er/c.parquet"]


def test_match_names_a_file_by_the_path_without_links(folder: Path) -> None:
    Path("in/0.parquet").symlink_to("a.parquet")
    os.link("in/a.parquet", "in/hard.parquet")
    ((path, also),) = match(["in/*.parquet"])
    assert path == "in/a.parquet"
    assert set(also) == {"in/0.parquet", "in/hard.parquet"}
    (stat,) = LocalFiles().find(["in/0.parquet"])
    assert (stat.path, stat.also) == ("in/0.parquet", ()), "a link that is the only path names it"


def test_match_reads_a_folder_that_only_a_link_reaches(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "e.parquet").write_text("e")
    Path("in/link").symlink_to(folder / "elsewhere")
    assert names("in") == sorted([*WHOLE, "in/link/e.parquet"])


@pytest.mark.parametrize("pattern", ["in/*.parquet", "**/*.parquet"])
def test_match_takes_the_files_of_a_folder_that_is_named_as_one_file(folder: Path, pattern: str) -> None:
    (folder / "in" / "spark.parquet" / "day=1").mkdir(parents=True)
    for name in ("part-0.parquet", "day=1/part-1.parquet", "_SUCCESS"):
        (folder / "in" / "spark.parquet" / name).write_text(name)
    inner = ["in/spark.parquet/day=1/part-1.parquet", "in/spark.parquet/part-0.parquet"]
    assert [name for name in names(pattern) if "spark" in name] == inner


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    links=st.lists(
        st.tuples(st.sampled_from(["", "x", "x/y", "z"]), st.sampled_from(["", "x", "x/y", "z"])), max_size=6
    )
)
def test_match_finds_every_file_once_whatever_the_links(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for place in ("x/y", "z"):
        (root / place).mkdir(parents=True)
    for number, place in enumerate(["", "x", "x/y", "z"]):
        (root / place / f"{number}.parquet").write_text(place)
    for number, (place, target) in enumerate(links):
        (root / place / f"l{number}").symlink_to(root / target)
    for pattern in (str(root), f"{root}/**/*.parquet"):
        found = [os.path.realpath(path) for path, _ in match([pattern])]
        assert sorted(found) == sorted(
            str(path)
            for path in map(
                Path,
                map(
                    os.path.realpath,
                    [root / place / f"{number}.parquet" for number, place in enumerate(["", "x", "x/y", "z"])],
                ),
            )
        )
