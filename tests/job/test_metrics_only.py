"""`scorer metrics` writes every row and column with the metrics, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.formats import WRITERS, written

from scorer.cli.options import metric_options
from scorer.errors import InputError, SpecError
from scorer.job import metrics_only as command
from scorer.job.metrics_only import Summary, score_files
from scorer.metrics import load

TABLE = pa.table(
    {
        "id": pa.array([7, 8, 9, 10], pa.int32()),
        "answer": ["Paris", None, "", "the Rome"],
        "gold": pa.array(["Paris", "x", "y", "rome"]).dictionary_encode(),
        "extra": [[1, 2], [], None, [3]],
    }
)


def write(path: Path, table: pa.Table = TABLE, **options: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return str(path)


def test_score_files_writes_all_rows_and_columns_with_the_metrics(tmp_path: Path) -> None:
    shard = write(tmp_path / "in.parquet")
    out = tmp_path / "deep" / "scores.parquet"
    names = ["exact_match", "token_f1", "length"]
    summary = score_files([shard], str(out), names, "answer", "gold")
    written = pq.read_table(out)
    assert written.select(TABLE.column_names).equals(TABLE)
    assert written.column_names[4:] == ["metric_exact_match", "metric_token_f1", "metric_length"]
    assert [written.column(f"metric_{name}").to_pylist() for name in names] == [
        [1.0, None, 0.0, 0.0],
        [1.0, None, 0.0, 1.0],
        [5.0, None, 0.0, 8.0],
    ]
    assert summary == Summary(
        4,
        {"exact_match": 3, "token_f1": 3, "length": 3},
        {"exact_match": 1 / 3, "token_f1": 2 / 3, "length": 13 / 3},
    )
    assert [path.name for path in out.parent.iterdir()] == ["scores.parquet"]


def test_score_files_writes_files_in_order_of_path_in_bounded_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GROUP_ROWS", 300)
    for name, first in (("b", 1000), ("a", 0)):
        numbers = pa.array(range(first, first + 1000))
        write(tmp_path / "in" / f"{name}.parquet", pa.table({"n": numbers, "r": numbers.cast("string")}))
    out = tmp_path / "out.parquet"
    score_files([str(tmp_path / "in")], str(out), ["length"], "r")
    file = pq.ParquetFile(out)
    assert file.read().column("n").to_pylist() == list(range(2000))
    assert max(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)) < 300 + 256


rows = st.lists(st.tuples(st.none() | st.text(max_size=8), st.none() | st.text(max_size=8)), max_size=12)


@settings(max_examples=15)
@given(rows=rows)
def test_score_files_gives_the_values_of_the_metric_functions(
    tmp_path_factory: pytest.TempPathFactory, rows: Any
) -> None:
    folder = tmp_path_factory.mktemp("any")
    responses, references = [a for a, _ in rows], [b for _, b in rows]
    shard = write(
        folder / "in.parquet", pa.table({"r": pa.array(responses, "large_string"), "g": pa.array(references, "string")})
    )
    score_files([shard], f"{folder}/out.parquet", ["token_f1"], "r", "g", workers=1)
    written = pq.read_table(f"{folder}/out.parquet").column("metric_token_f1").to_pylist()
    assert written == load("token_f1")(responses, references)


@pytest.mark.parametrize("end", ["jsonl", "parquet", "arrow"])
def test_score_files_measures_texts_at_paths_into_columns(tmp_path: Path, end: str) -> None:
    def talk(*texts: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text} for text in texts]

    rows = [
        {"messages": talk("a", "b c"), "answers": {"text": ["b c", "x"]}},
        {"messages": talk("d"), "answers": {"text": ["e"]}},
        {"messages": talk(), "answers": {"text": ["e"]}},
        {"messages": talk("f"), "answers": None},
    ]
    path = written(tmp_path / f"in.{end}", WRITERS[end](rows))
    out = f"{tmp_path}/out.parquet"
    score_files([str(path)], out, ["exact_match", "words"], "messages[-1].content", "answers.text")
    table = pq.read_table(out)
    assert table.column("metric_exact_match").to_pylist() == [1.0, 0.0, None, None]
    assert table.column("metric_words").to_pylist() == [2.0, 1.0, None, 1.0]
    with pytest.raises(InputError, match=r"messages\[0\] of row 0 is a dict; metrics need text"):
        score_files([str(path)], out, ["words"], "messages[0].content", "messages[0]")


def test_score_files_writes_an_empty_table_with_its_columns(tmp_path: Path) -> None:
    shard = write(tmp_path / "in.parquet", TABLE.slice(0, 0))
    summary = score_files([shard], f"{tmp_path}/out.parquet", ["words"], "answer")
    assert summary == Summary(0, {"words": 0}, {"words": None})
    assert pq.read_schema(f"{tmp_path}/out.parquet").names == [*TABLE.column_names, "metric_words"]


@pytest.mark.parametrize(
    ("change", "kind", "why"),
    [
        ({"names": []}, SpecError, "--names is empty"),
        ({"names": ["rougeX"]}, SpecError, '"rougeX" is unknown'),
        ({"inputs": ["nowhere/*.parquet"]}, InputError, r"No file matches nowhere/\*.parquet"),
        ({"inputs": []}, InputError, "No file matches an empty list"),
        ({"response": "reply"}, InputError, "has no column 'reply'. It has: id, answer, gold, extra"),
        ({"response": "answer.text"}, InputError, "has no fields in 'answer', which is string, so nothing at"),
        ({"response": "id"}, InputError, "Column id of .* has type int32; metrics need text"),
        ({"reference": None}, SpecError, "exact_match needs a reference: name its column"),
        ({"out": "in.parquet"}, SpecError, "is one of the inputs"),
        ({"out": "."}, SpecError, "is a folder: name the file to write"),
    ],
)
def test_score_files_refuses_wrong_arguments_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], kind: type[Exception], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.parquet")
    arguments = {
        "inputs": ["in.parquet"],
        "out": "out.parquet",
        "names": ["exact_match", "length"],
        "response": "answer",
        "reference": "gold",
    }
    with pytest.raises(kind, match=why):
        score_files(**{**arguments, **change})
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_score_files_refuses_unequal_schemas_and_an_existing_metric_column(tmp_path: Path) -> None:
    one = write(tmp_path / "1.parquet")
    two = write(tmp_path / "2.parquet", TABLE.rename_columns(["id", "answer", "gold", "metric_words"]))
    with pytest.raises(InputError, match=r"2.parquet has other columns or types than .*1.parquet"):
        score_files([one, two], f"{tmp_path}/out.parquet", ["words"], "answer")
    with pytest.raises(SpecError, match="has a column metric_words already: leave words out"):
        score_files([two], f"{tmp_path}/out.parquet", ["words"], "answer")


def test_score_files_writes_nothing_where_a_file_is_damaged(tmp_path: Path) -> None:
    shard = Path(write(tmp_path / "in.parquet", pa.table({"r": ["text " * n for n in range(400)]}), compression="zstd"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(InputError, match=r"in.parquet cannot be read to its end"):
        score_files([str(shard)], f"{tmp_path}/out.parquet", ["words"], "r")
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_score_files_takes_the_best_of_several_references_from_parquet_and_json_lines(tmp_path: Path) -> None:
    gold = [["Rome", "Paris"], [], None, ["x", None]]
    write(tmp_path / "a.parquet", pa.table({"r": ["Paris"] * 3 + ["x"], "g": gold}))
    (tmp_path / "b.jsonl").write_text(
        "".join(f'{{"r": "Paris", "g": {json.dumps(each)}}}\n' for each in [*gold, "Paris"])
    )
    os.utime(tmp_path / "b.jsonl", (1, 1))
    for name, expected in (("a.parquet", [1.0, None, None, 1.0]), ("b.jsonl", [1.0, None, None, 0.0, 1.0])):
        out = f"{tmp_path}/out-{name}.parquet"
        score_files([str(tmp_path / name)], out, ["exact_match"], "r", "g")
        assert pq.read_table(out).column("metric_exact_match").to_pylist() == expected


def test_score_files_gives_metrics_their_options_and_tells_wrong_ones(tmp_path: Path) -> None:
    shard, out = write(tmp_path / "in.parquet"), f"{tmp_path}/out.parquet"
    score_files([shard], out, ["well_formed"], "answer", options={"well_formed": {"labels": ["Paris", ""]}})
    assert pq.read_table(out).column("metric_well_formed").to_pylist() == [1.0, None, 1.0, 0.0]
    with pytest.raises(SpecError, match=r"metrics.options.words.x is no option of words. Known: none\."):
        score_files([shard], out, ["words"], "answer", options={"words": {"x": 1}})
    assert metric_options(["a.b:C.n=1", "rougeL.stemmer=true"]) == {"a.b:C": {"n": 1}, "rougeL": {"stemmer": True}}
    with pytest.raises(SpecError, match=r"--option 'stemmer=true' is not NAME\.KEY=VALUE"):
        metric_options(["stemmer=true"])
