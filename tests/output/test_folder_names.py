"""Promise: each of several output folders has one name, which its path or NAME=OUT gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import SpecError
from scorer.output.folder_names import folder_names, named


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["out-a", "out-b"], ["out-a", "out-b"]),
        (["runs/a/out", "runs/b/out/"], ["a", "b"]),
        (["a/x/out", "b/y/out"], ["x", "y"]),
        (["a/x", "a/y", "b/x"], ["a/x", "a/y", "b/x"]),
        (["gpt=runs/1", "runs/2"], ["gpt", "2"]),
        (["gpt=s3://bucket/1/out", "s3://bucket/x=2/out"], ["gpt", "x=2"]),
        (["only=out"], ["only"]),
    ],
)
def test_folder_names_are_the_given_ones_or_the_part_of_the_path_that_differs(
    given: list[str], names: list[str]
) -> None:
    assert list(folder_names(given)) == names


def test_folder_names_keep_the_names_of_a_dict_and_read_a_run_file(tmp_path: Path) -> None:
    run_file = tmp_path / "run.toml"
    run_file.write_text('output.path = "somewhere/out"')
    assert folder_names({"a": run_file, "b": "other"}) == {"a": "somewhere/out", "b": "other"}


def test_named_takes_an_existing_folder_with_an_equals_sign_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "model=x").mkdir()
    assert named(f"{tmp_path}/model=x") == ("", f"{tmp_path}/model=x")
    assert named("model=x") == ("model", "x")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["out", "out/"], "out/ is given twice"),
        (["a=one", "a=two"], "Two folders are called a: give them names of their own, NAME=two"),
    ],
)
def test_folder_names_refuse_one_folder_or_one_name_twice(given: list[str], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        folder_names(given)


PARTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.lists(PARTS, min_size=2, max_size=4, unique=True))
def test_folder_names_are_unique_for_unique_paths(paths: list[str]) -> None:
    assert list(folder_names(paths).values()) == paths
