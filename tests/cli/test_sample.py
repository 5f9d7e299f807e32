"""The bundled sample is what it says: the Parquet is the JSONL, and the promised limits and mixture hold."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from statistics import mean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.cli.sample import sample_path

COLUMNS = {
    **dict.fromkeys(["id", "task", "item", "model", "instruction", "source", "response", "reference"], pa.string()),
    "human": pa.float64(),
    "human_note": pa.string(),
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return pq.read_table(sample_path()).to_pylist()


def grades(rows: list[dict[str, Any]], column: str) -> dict[str, list[float]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row["human"])
    return groups


def test_the_parquet_equals_the_jsonl(rows: list[dict[str, Any]]) -> None:
    lines = sample_path().with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    assert rows == [json.loads(line) for line in lines], "edited? `python -m scorer.cli.sample` writes the Parquet anew"


def test_columns_and_types() -> None:
    schema = pq.read_schema(sample_path())
    assert dict(zip(schema.names, schema.types, strict=True)) == COLUMNS


def test_it_is_small_and_zstd() -> None:
    column = pq.read_metadata(sample_path()).row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert sample_path().stat().st_size < 30_000


def test_four_tasks_of_five_items_by_three_systems(rows: list[dict[str, Any]]) -> None:
    models = ["alder-3b", "birch-7b", "cedar-1b"]
    tasks = ["summary", "answer", "extraction", "rewriting"]
    expected = [(t, f"{t}-{n}", m) for t in tasks for n in range(1, 6) for m in models]
    assert [(row["task"], row["item"], row["model"]) for row in rows] == expected
    assert len({row["id"] for row in rows}) == len(rows)


def test_an_item_is_one_prompt_and_three_responses(rows: list[dict[str, Any]]) -> None:
    assert len({(row["item"], row["instruction"], row["source"], row["reference"]) for row in rows}) == 20
    assert len({row["source"] for row in rows}) == 20
    assert len({row["response"] for row in rows}) == 60


def test_nothing_is_null_or_blank(rows: list[dict[str, Any]]) -> None:
    blank = [(row["id"], name) for row in rows for name in COLUMNS if not str(row[name] or "").strip()]
    assert blank == []


def test_grades_are_half_points_from_1_to_5_and_use_the_scale(rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["human"] for row in rows)
    assert set(counts) <= {n / 2 for n in range(2, 11)}
    assert min(counts) == 1
    assert max(counts) == 5
    middling = sum(n for grade, n in counts.items() if 2 <= grade <= 4)
    assert middling >= 20


def test_every_item_holds_different_grades(rows: list[dict[str, Any]]) -> None:
    assert [item for item, given in grades(rows, "item").items() if len(set(given)) == 1] == []


def test_systems_differ_and_each_has_its_exceptions(rows: list[dict[str, Any]]) -> None:
    given = grades(rows, "model")
    assert mean(given["alder-3b"]) > mean(given["birch-7b"]) + 0.5 > mean(given["cedar-1b"]) + 1
    assert min(given["alder-3b"]) <= 2.5
    assert min(given["birch-7b"]) <= 2 < 5 == max(given["birch-7b"])
    assert max(given["cedar-1b"]) >= 4


def test_one_response_speaks_to_the_judge_and_gets_the_lowest_grade(rows: list[dict[str, Any]]) -> None:
    assert [row["human"] for row in rows if "Score: 5" in row["response"]] == [1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")
def test_lengths_in_tokens(rows: list[dict[str, Any]]) -> None:
    """Slow: o200k's ranks take half a second to load."""
    import bpe_openai  # warns while it is imported; only a test can ignore that

    encoding = bpe_openai.get_encoding("o200k_base")
    limits = {"source": (60, 150), "response": (1, 50), "reference": (1, 50)}
    outside = [
        (row["id"], name, tokens)
        for row in rows
        for name, (least, most) in limits.items()
        if not least <= (tokens := len(encoding.encode_ordinary(row[name]))) <= most
    ]
    assert outside == []
