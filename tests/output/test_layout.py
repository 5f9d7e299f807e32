"""Promise: names of segments and stems of shards tell all that a start needs, and are unique."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.files.files import Stat, replace
from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout, Segment, parse, shown, stems

_NUMBERS = st.integers(0, 10**9 - 1)
_SEGMENTS = st.builds(
    lambda generation, worker, first, length, low, further: Segment(
        "s", generation, worker, first, first + length, low, low + further
    ),
    st.integers(0, 3),
    st.integers(0, 2),
    _NUMBERS,
    st.integers(0, 1000),
    st.integers(0, 20),
    st.integers(0, 20),
)


@given(segment=_SEGMENTS)
def test_segment_name_round_trips_through_parse(segment: Segment) -> None:
    assert parse("s", Stat(f"out/segments/s/{segment.name}", 0, "")) == segment


@pytest.mark.parametrize(
    "name",
    [
        "a.parquet",
        "g0-w0-000000000-000000001-0.parquet.tmp",
        "xg0-w0-000000000-000000001-0.parquet",
        "g0-w0-000000000-000000001-0_.parquet",
        "g0-w0-0-1.parquet",
        "g-1-w0-0-1-0.parquet",
        f"g{10**30}-w0-0-1-0.parquet",
    ],
)
def test_parse_rejects_names_that_are_not_segments(tmp_path: Path, name: str) -> None:
    assert parse("s", Stat(f"segments/s/{name}", 0, "")) is None
    files, layout = LocalFiles(), Layout(str(tmp_path))
    replace(files, f"{layout.segments}/s/{name}", b"x")
    assert layout.segments_of(files, "s") == []
    assert layout.foreign(files, "s") == [f"{layout.segments}/s/{name}"]


def test_layout_sorts_segments_by_generation_worker_and_number(tmp_path: Path) -> None:
    files, layout = LocalFiles(), Layout(f"{tmp_path}/")
    given_order = [Segment("s", 0, 0, 0, 1, n, n) for n in (0, 2, 10)] + [
        Segment("s", 0, 1, 0, 1, 0, 0),
        Segment("s", 1, 0, 0, 1, 0, 0),
    ]
    for segment in reversed(given_order):
        replace(files, layout.segment(segment), b"x")
    found = layout.segments_of(files, "s")
    assert [(s.generation, s.worker, s.low) for s in found] == [(0, 0, 0), (0, 0, 2), (0, 0, 10), (0, 1, 0), (1, 0, 0)]
    assert {s.size for s in found} == {1}


@settings(max_examples=40)
@given(segments=st.lists(_SEGMENTS, unique_by=lambda s: s.name, max_size=15))
def test_shown_hides_exactly_the_segments_merged_into_another(segments: list[Segment]) -> None:
    seen, hidden = shown(segments)
    assert sorted(seen + hidden, key=lambda s: s.name) == sorted(segments, key=lambda s: s.name)
    for one in segments:
        within = [
            other
            for other in segments
            if (other.generation, other.worker) == (one.generation, one.worker)
            and other.low <= one.low
            and one.high <= other.high
            and other.high - other.low > one.high - one.low
        ]
        assert (one in hidden) == bool(within)
    assert not any(a.hides(b) and b.hides(a) for a in segments for b in segments)


_PATHS = [
    f"{folder}{stem}{ending}"
    for folder in ("", "a/", "b/a/", "a.parquet/")
    for stem in ("", "a", "b")
    for ending in ("", ".parquet", ".parquet.parquet")
]


def test_stems_of_equal_file_names_are_distinct_and_stable() -> None:
    first = stems(["x/a.parquet", "y/b.parquet"], {})
    assert first == {"x/a.parquet": "a", "y/b.parquet": "b"}
    taken = {stem: path for path, stem in first.items()}
    later = stems(["z/a.parquet", "z/c.parquet"], taken)
    assert later["z/c.parquet"] == "c"
    assert later["z/a.parquet"].startswith("a-")
    assert len(later["z/a.parquet"]) == len("a-") + 8
    # Twins seen at once are both told apart, whichever of them comes first.
    both = stems(["x/a.parquet", "z/a.parquet"], {})
    assert both == stems(["z/a.parquet", "x/a.parquet"], {})
    assert both["z/a.parquet"] == later["z/a.parquet"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("..parquet", "shard"),
        ("...parquet", "shard"),
        (".parquet", "shard"),
        (".hidden.parquet", "hidden"),
        (".partial-a.parquet", "partial-a"),
        ("a..b.parquet", "a..b"),
        ("x" * 200 + ".parquet", "x" * 200),
    ],
)
def test_stems_are_names_every_reader_finds(name: str, stem: str) -> None:
    assert stems([f"in/{name}"], {}) == {f"in/{name}": stem}


@given(st.text(st.sampled_from("aé漢🦜."), min_size=60, max_size=247), st.text(st.sampled_from("aé"), max_size=3))
def test_stems_keep_file_names_within_length_limit(text: str, folder: str) -> None:
    paths = [f"{folder}/1/{text}.parquet", f"{folder}/2/{text}.parquet", f"{folder}/2/{text}b.parquet"]
    names = stems(paths, {})
    assert len(set(names.values())) == 3
    for stem in names.values():
        assert len(f"{stem}.parquet".encode()) <= 217
        assert not stem.startswith(".")
    assert stems(paths[::-1], {}) == names


@settings(max_examples=40)
@given(paths=st.lists(st.sampled_from(_PATHS), unique=True, max_size=12))
def test_stems_are_unique_for_unique_paths(paths: list[str]) -> None:
    names = stems(paths, {"a": "elsewhere/a.parquet"})
    assert set(names) == set(paths)
    assert len({*names.values(), "a"}) == len(paths) + 1
    assert all(name and "/" not in name for name in names.values())
