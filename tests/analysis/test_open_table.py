"""A table is opened by any of its names, and everything wrong with it is said in a sentence."""

import gzip

import polars as pl
import pytest
from support.clock import run
from support.outputs import Output

from scorer.analysis.columns import take
from scorer.analysis.join_labels import join_labels, open_labels
from scorer.analysis.open_table import open_table, score_columns
from scorer.errors import SpecError


@pytest.fixture
def frame():
    return pl.DataFrame({"id": [1, 2, 3], "score": [1.0, None, 3.0], "model": ["a", "b", "a"]})


def test_open_table_reads_a_file_and_a_glob(tmp_path, frame):
    frame.head(1).write_parquet(tmp_path / "a.parquet")
    frame.tail(2).write_parquet(tmp_path / "b.parquet")
    assert open_table(tmp_path / "a.parquet").collect().equals(frame.head(1))
    assert open_table(f"{tmp_path}/*.parquet").collect().equals(frame)
    assert open_table(tmp_path).collect().equals(frame)


def test_open_table_joins_files_of_other_columns_and_number_types(tmp_path, frame):
    frame.head(1).write_parquet(tmp_path / "a.parquet")
    frame.tail(2).select(pl.col("score").cast(pl.Int64), "id", extra=pl.lit("x")).write_parquet(tmp_path / "b.parquet")
    found = open_table(tmp_path).collect()
    assert found.columns == ["id", "score", "model", "extra"]
    assert found["score"].to_list() == [1.0, None, 3.0]
    assert found["model"].to_list() == ["a", None, None]


def test_open_table_refuses_files_that_do_not_fit_together(tmp_path, frame):
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(score=pl.concat_list("id")).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(SpecError, match=r"The 2 files of .* do not fit together"):
        open_table(tmp_path)


def test_open_table_joins_an_output_folder_with_its_input(tmp_path):
    output = Output(tmp_path, 3)
    run(output.score({0: [1]}))
    assert open_table(tmp_path / "out").select("row", "score", "response").collect().rows() == [(1, 1.0, "said")]


def test_open_table_of_a_run_without_a_finished_row_says_so(tmp_path):
    out = Output(tmp_path, 3).layout.out
    with pytest.raises(
        SpecError, match=r"^No row of .*out is finished yet: there is nothing to analyse\. `scorer status"
    ):
        open_table(out)


def test_open_table_of_several_folders_refuses_what_is_no_output_folder(tmp_path, frame):
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(SpecError, match=r"t\.parquet is no output folder"):
        open_table([tmp_path / "out", tmp_path / "t.parquet"])


def test_score_columns_of_several_folders_are_the_column_of_each(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(Output(tmp_path / name, 3).score({0: range(3)}))
    table = [f"{tmp_path}/a/out", f"{tmp_path}/b/out"]
    frame = open_table(table)
    assert score_columns(frame, table, ["score"]) == ["a.score", "b.score"]
    assert score_columns(frame, table, ["b.score", "gone"]) == ["b.score", "gone"]


def test_open_table_names_what_cannot_be_opened(tmp_path):
    (tmp_path / "text.parquet").write_text("no parquet at all")
    (tmp_path / "empty").mkdir()
    for name, words in (
        (tmp_path / "empty", "holds no run.json and no Parquet file"),
        (tmp_path / "gone.parquet", "is not there"),
        (f"{tmp_path}/gone-*.parquet", "matches no file"),
        (tmp_path / "text.parquet", "cannot be read as Parquet"),
    ):
        with pytest.raises(SpecError, match=words) as caught:
            open_table(name)
        assert str(name) in str(caught.value)


def test_take_reports_every_wrong_column_at_once(frame):
    with pytest.raises(SpecError) as caught:
        take(frame.lazy(), ["scores", "humn"], ["modle"])
    assert len(caught.value.problems) == 3
    assert "did you mean score?" in caught.value.problems[0]
    assert "did you mean model?" in caught.value.problems[1]
    assert "there are id, score, model." in caught.value.problems[2]


def test_take_refuses_columns_that_cannot_serve(frame):
    odd = {
        "wild": pl.Series([1.0, float("inf"), 2.0]),
        "lists": pl.Series([[1], [2], [3]]),
        "holes": pl.Series([1.0, float("nan"), 2.0]),
        "large": pl.Series([1e200, 1.0, 2.0]),
        "tiny": pl.Series([1e-200, 0.0, 1e-201]),
    }
    for numbers, names, words in (
        (["model"], [], "Column model holds String, not numbers, such as 'a' in 3 of 3 rows"),
        (["lists"], [], r"Column lists holds List\(Int64\), not numbers"),
        ([], ["lists"], r"Column lists holds List\(Int64\); rows are grouped by plain values"),
        ([], ["holes"], "Column holes is null in 1 rows"),
        (["large"], [], "Column large reaches 1e.200, too close to the ends of float64"),
        (["tiny"], [], "Column tiny reaches 1e-200, too close to the ends of float64"),
        (["score", "wild"], [], "Column wild is infinite in 1 rows"),
        (["id"], ["score"], "Column score is null in 1 rows"),
    ):
        with pytest.raises(SpecError, match=words):
            take(frame.with_columns(**odd).lazy(), numbers, names)


def test_take_reads_numbers_from_texts():
    frame = pl.LazyFrame({"text": ["1", " 2.50", None, "nan", "-3e2"]})
    for dtype in (pl.String, pl.Categorical):
        columns = take(frame.with_columns(pl.col("text").cast(dtype)), ["text"])
        assert columns.numbers("text").to_list() == [1.0, 2.5, None, None, -300.0]


def test_take_makes_floats_of_any_numbers_and_null_of_nan():
    frame = pl.LazyFrame(
        {"yes": [True, False], "count": [1, 2], "nan": [float("nan"), 1.0], "none": [None, None]}
    ).with_columns(decimal=pl.col("count").cast(pl.Decimal(10, 2)))
    columns = take(frame, ["yes", "count", "nan", "none", "decimal"])
    names = ("yes", "count", "nan", "none", "decimal")
    assert [columns.numbers(name).null_count() for name in names] == [0, 0, 1, 2, 0]
    assert columns.floats("yes").tolist() == [1.0, 0.0]
    assert columns.floats("decimal").tolist() == [1.0, 2.0]


def test_codes_number_the_distinct_values_in_order(frame):
    columns = take(frame.lazy(), ["id", "id"], ["model", "id", "model"])
    assert columns.codes("model")[0].tolist() == [0, 1, 0]
    assert columns.codes("model")[1] == ["a", "b"]
    assert columns.codes("model", "id")[1] == ["a / 1", "a / 3", "b / 2"]


@pytest.mark.parametrize(
    ("kind", "key"), [(pl.String, pl.Categorical), (pl.Categorical, pl.String), (pl.Int32, pl.UInt64)]
)
def test_join_labels_compares_keys_by_value_and_joins_no_null_keys(frame, kind, key):
    rows = frame.lazy().with_columns(pl.col("id").cast(pl.String).cast(kind))
    labels = pl.LazyFrame({"id": ["3", None, None], "human": [30.0, 1.0, 2.0]}).with_columns(pl.col("id").cast(key))
    joined = join_labels(rows, labels, ["id"], ["human"]).collect()
    assert joined["human"].to_list() == [None, None, 30.0]
    assert joined.schema["id"] == kind


def test_join_labels_keeps_rows_without_a_label(frame):
    labels = pl.LazyFrame({"id": [3, 1, 9], "human": [30.0, 10.0, 90.0], "other": ["x"] * 3})
    joined = join_labels(frame.lazy(), labels, ["id"], ["human"]).collect()
    assert joined["human"].to_list() == [10.0, None, 30.0]
    assert joined.columns == [*frame.columns, "human"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"id": [1, 1], "human": [1.0, 2.0]}, "2 rows with id = 1; a label must be unique"),
        ({"id": ["1"], "human": [1.0]}, "Column id is Int64 in the table and String in the labels file"),
        ({"id": [7], "human": [1.0]}, "No row of the table finds a label"),
        ({"id": [1], "humn": [1.0]}, "Column human is not in the labels file; did you mean humn?"),
        ({"id": [1], "human": [1.0], "score": [1.0]}, "Column score is in the table and in the labels file"),
    ],
)
def test_join_labels_refuses_labels_that_cannot_be_joined(frame, labels, words):
    human = ["human", "score"] if "score" in labels else ["human"]
    with pytest.raises(SpecError) as caught:
        join_labels(frame.lazy(), pl.LazyFrame(labels), ["id"], human)
    assert words in str(caught.value)


# --- labels as CSV ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "id,human,note\n1,4,a\n2,,b\n3,2.5,\n"),
        ("labels.CSV", "\ufeffid,human,note\r\n1,4,a\r\n2,,b\r\n 3 ,2.5,\r\n"),
        ("labels.csv", 'id;human;note\n1;4;"a, b"\n2;;b\n3;2.5;\n'),
        ("labels.tsv", "id\thuman\tnote\n1\t4\ta\n2\t\tb\n3\t2.5\t\nx\t9\t\n"),
        ("labels.csv.gz", "id,human,note\n1,4,a\n2,,b\n3,2.5,\n"),
    ],
)
def test_open_labels_reads_csv(name, text, tmp_path, frame):
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    table = frame.lazy()
    labels = open_labels(tmp_path / name, table, ["id"])
    joined = join_labels(table, labels, ["id"], ["human"])
    assert take(joined, ["human"]).numbers("human").to_list() == [4.0, None, 2.5]


def test_open_labels_keeps_keys_as_texts_where_the_table_has_texts(tmp_path):
    (tmp_path / "labels.csv").write_text("id,human\n007,4\n7,2\n")
    frame = pl.LazyFrame({"id": ["007", "7", "8"]})
    found = join_labels(frame, open_labels(tmp_path / "labels.csv", frame, ["id"]), ["id"], ["human"]).collect()
    assert found["human"].to_list() == ["4", "2", None]


@pytest.mark.parametrize(
    ("data", "says"),
    [(None, "is not there"), (b"id,human\n1,2,3,4\n", "cannot be read as CSV"), (b"", "cannot be read as CSV")],
)
def test_open_labels_refuses_a_csv_that_cannot_be_read(data, says, tmp_path):
    if data is not None:
        (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(SpecError, match=says):
        open_labels(tmp_path / "labels.csv", pl.LazyFrame({"id": [1]}), ["id"])
