"""Promise: a table in memory comes back whole, what was paid for with it whatever ended the call."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import scorer
import scorer.api.runs
import scorer.frames.stopping
from scorer.errors import BudgetSpent, InputError, SetupError, SpecError, StorageError
from scorer.frames.as_frame import as_frame
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess

pytestmark = pytest.mark.slow
"""Slow: each test runs the whole path, most against a real server on loopback."""

JUDGE = {"kind": "rating", "prompt": "[row:{x}] {text} Score from 1 to 5?"}
FRAME = pl.DataFrame({"text": ["a", "b", None, "d"], "x": [1, 2, 3, 4], "model": ["m", "m", "n", "n"]})


@pytest.fixture(scope="module")
def server() -> Iterator[RehearsalProcess]:
    with RehearsalProcess(RehearsalConfig(latency_median_s=0.0)) as process:
        yield process


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def replies(tmp_path: Path, texts: dict[int, str]) -> dict[str, Any]:
    """A judge that answers from a table: the reply of each `x`."""
    path = tmp_path / "replies.parquet"
    pq.write_table(pa.table({"x": list(texts), "reply": list(texts.values())}), path)
    return {"provider": "recorded", "path": str(path), "keys": ["x"], "replies": "reply"}


ONE_TO_FIVE = {n: f"Score: {n % 5 + 1}" for n in range(1, 400)}
QUIET = {**JUDGE, "attempts": 1}


def asked_of(server: RehearsalProcess, frame: Any, out: Path | None = None) -> pl.DataFrame:
    """The frame scored by the rehearsal judge."""
    return scorer.score_frame(frame, judge=JUDGE, model={"name": "m", "base_url": server.url}, out=out)


def scored(frame: Any, server: RehearsalProcess, out: Path | None = None) -> pl.DataFrame:
    """The same where one row of the frame is null."""
    with pytest.warns(UserWarning, match="1 of . rows failed .BadRow 1."):
        return asked_of(server, frame, out)


def test_a_frame_comes_back_with_its_own_rows_and_columns_and_the_scores_beside(
    server: RehearsalProcess, scratch: Path
) -> None:
    frame = FRAME.with_columns(pl.Series("score", ["own", "words", "of", "mine"]))
    out = scored(frame, server)
    assert out.select(frame.columns).equals(frame)
    assert out.get_column("error").to_list() == [None, None, "BadRow", None]
    assert out.get_column("judge_score").null_count() == 1
    assert out.get_column("judge_model").to_list()[0] == "rehearsal-judge"
    assert not list(scratch.iterdir())


def test_a_frame_with_a_folder_is_durable_and_no_other_frame_goes_into_it(
    server: RehearsalProcess, tmp_path: Path
) -> None:
    first = scored(FRAME, server, out=tmp_path / "out")
    asked = server.stats()["requests"]
    assert scored(FRAME, server, out=tmp_path / "out").equals(first)
    assert server.stats()["requests"] == asked
    with pytest.raises(SpecError, match=r"another frame: column text differs from row 0 on"):
        asked_of(server, FRAME.reverse(), tmp_path / "out")


def test_rows_more_at_the_end_are_scored_alone(server: RehearsalProcess, tmp_path: Path) -> None:
    first = scored(FRAME, server, out=tmp_path / "out")
    asked = server.stats()["requests"]
    more = pl.DataFrame({"text": ["e", "f"], "x": [5, 6], "model": ["o", "o"]})
    grown = scored(pl.concat([FRAME, more]), server, out=tmp_path / "out")
    assert server.stats()["requests"] == asked + 2
    assert grown.head(4).equals(first)
    assert grown["score"].null_count() == 1
    again = scored(pl.concat([FRAME, more, more]), server, out=tmp_path / "out")
    assert server.stats()["requests"] == asked + 4
    assert again.head(6).equals(grown)
    with pytest.raises(SpecError, match="it has 8 rows, and this one 6"):
        asked_of(server, pl.concat([FRAME, more]), tmp_path / "out")
    with pytest.raises(SpecError, match="has the columns text, x, model, and this one text, x"):
        asked_of(server, again.select(FRAME.columns).drop("model"), tmp_path / "out")
    with pytest.raises(SpecError, match="its column x is Int64, and this one's String"):
        asked_of(server, again.select(FRAME.columns).cast({"x": pl.String}), tmp_path / "out")


def test_a_column_that_held_nothing_may_get_a_type(tmp_path: Path) -> None:
    rows = [{"x": n, "text": "t", "note": None} for n in (1, 2)]
    model = replies(tmp_path, ONE_TO_FIVE)
    first = scorer.score_frame(rows, judge=QUIET, model=model, out=tmp_path / "out")
    assert first["score"].to_list() == [2, 3]
    grown = [*rows, {"x": 3, "text": "t", "note": "now"}]
    assert scorer.score_frame(grown, judge=QUIET, model=model, out=tmp_path / "out")["score"].to_list() == [2, 3, 4]


# --- failed rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [None, {"max_failed_share": 0.0}])
def test_failed_rows_never_raise(limits: Any, tmp_path: Path, scratch: Path) -> None:
    model = replies(tmp_path, {1: "Score: 4", 2: "no idea"})
    frame = pl.DataFrame({"x": [1, 2, 3], "text": ["t"] * 3})
    with pytest.warns(UserWarning, match=r"2 of 3 rows failed \(NoReply 1, Unreadable 1\)") as warned:
        found = scorer.score_frame(frame, judge=QUIET, model=model, limits=limits)
    assert warned[0].filename == __file__
    assert found["score"].to_list() == [4.0, None, None]
    assert found["error"].to_list() == [None, "Unreadable", "NoReply"]
    assert not list(scratch.iterdir())


def test_where_the_first_200_rows_fail_alike_the_rest_is_not_paid_for_and_nothing_raises(
    tmp_path: Path, scratch: Path
) -> None:
    with RehearsalProcess(RehearsalConfig(latency_median_s=0.0).changed({"refuse": "row:"})) as server:
        frame = pl.DataFrame({"x": range(1000), "text": ["t"] * 1000})
        with pytest.warns(UserWarning, match="first 200 rows all ended in Refused") as warned:
            found = scorer.score_frame(
                frame, judge=JUDGE, model={"name": "m", "base_url": server.url}, limits={"concurrency": 8}
            )
        assert server.stats()["requests"] < 400
    assert found.height == 1000
    assert 200 <= found["error"].count() < 400
    assert found["score"].count() == 0
    assert any(str(folder) in str(warned[0].message) for folder in scratch.iterdir())


# --- what ends it early -----------------------------------------------------------------------------------------------


def test_a_spent_budget_brings_what_was_paid_and_its_folder_goes_on(server: RehearsalProcess, scratch: Path) -> None:
    frame = pl.DataFrame({"x": range(30), "text": ["word " * 20] * 30})
    asked = {"judge": JUDGE, "model": {"name": "m", "base_url": server.url, "max_output_tokens": 16}}
    with pytest.raises(BudgetSpent) as raised:
        scorer.score_frame(frame, **asked, limits={"max_tokens": 1200, "concurrency": 1})
    error: Any = raised.value
    assert error.exit_code == 3
    assert error.frame.select(frame.columns).equals(frame)
    paid = error.frame["score"].count()
    assert 0 < paid < 30
    assert f"{paid} of 30 rows are scored" in str(error)
    assert error.folder in str(error)
    assert [str(folder) for folder in scratch.iterdir()] == [error.folder]
    before = server.stats()["requests"]
    done = scorer.score_frame(frame, **asked, out=error.folder)
    assert done["score"].null_count() == 0
    assert server.stats()["requests"] - before == 30 - paid
    kept = error.frame["score"].is_not_null()
    assert done.filter(kept)["score"].equals(error.frame.filter(kept)["score"])


def test_a_set_up_error_brings_the_frame_too(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAME_KEY", "wrong-key-of-no-service")
    with RehearsalProcess(RehearsalConfig(latency_median_s=0.0).changed({"always": "401"})) as server:
        model = {"name": "m", "base_url": server.url, "api_key_env": "FRAME_KEY"}
        with pytest.raises(SetupError) as raised:
            scorer.score_frame(FRAME, judge=JUDGE, model=model)
    error: Any = raised.value
    assert error.frame["score"].to_list() == [None] * 4
    assert Path(error.folder).is_dir()
    assert error.folder in str(error)


def test_an_interruption_brings_the_frame_too(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replies(tmp_path, ONE_TO_FIVE)
    real = scorer.api.runs.run

    def interrupted(tree: Any) -> Any:
        real(tree)
        raise KeyboardInterrupt

    monkeypatch.setattr("scorer.frames.score_frame.run", interrupted)
    frame = pl.DataFrame({"x": [1, 2], "text": ["t", "t"]})
    with pytest.raises(KeyboardInterrupt) as raised:
        scorer.score_frame(frame, judge=QUIET, model=model)
    error: Any = raised.value
    assert error.frame["score"].to_list() == [2, 3]
    assert Path(error.folder).is_dir()
    assert "2 of 2 rows are scored" in error.__notes__[0]


def test_a_ctrl_c_more_while_the_frame_is_gathered_takes_nothing_away(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(tree: Any) -> None:
        scorer.run(tree)
        raise KeyboardInterrupt

    def gathered(*given: Any) -> pl.DataFrame:
        os.kill(os.getpid(), signal.SIGINT)
        return beside(*given)

    beside = scorer.frames.stopping.with_results
    monkeypatch.setattr("scorer.frames.score_frame.run", stopped)
    monkeypatch.setattr("scorer.frames.stopping.with_results", gathered)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as raised:
        scorer.score_frame(FRAME.drop_nulls(), judge=QUIET, model=replies(tmp_path, ONE_TO_FIVE))
    assert raised.value.frame["score"].to_list() == [2, 3, 5]  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_bug_brings_the_frame_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tree: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("scorer.frames.score_frame.run", broken)
    with pytest.raises(ZeroDivisionError, match="a bug") as raised:
        scorer.score_frame(FRAME, judge=JUDGE, model={"name": "m", "base_url": "http://127.0.0.1:1/v1"})
    assert Path(raised.value.folder).is_dir()  # type: ignore[attr-defined]


# --- before anything is sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "judge", "says"),
    [
        (FRAME.with_columns(score=1, judge_score=2), JUDGE, "has the columns score and judge_score"),
        (FRAME.with_columns(judge_model=pl.lit("m"), judge_judge_model=1), JUDGE, "judge_model and judge_judge_model"),
        (FRAME.with_columns(odd=pl.Series([object()] * 4)), JUDGE, "Column odd holds Python objects"),
        (FRAME, {"prompt": "{gone}"}, "gone"),
        (FRAME, {"prompt": "{text}", "scail": 3}, "scail"),
        ([{"text": "a"}, 3], JUDGE, "score_frame takes a polars DataFrame"),
        ("run.toml", JUDGE, "this is a builtins.str"),
        (None, JUDGE, "this is a builtins.NoneType"),
        ([{"x": 1, "text": "a"}, {"x": "one", "text": [1]}], JUDGE, "Column text holds values of several kinds"),
        ([], JUDGE, "x"),
    ],
)
def test_what_is_wrong_is_a_sentence_before_anything_is_sent(
    frame: Any, judge: Any, says: str, server: RehearsalProcess, scratch: Path
) -> None:
    asked = server.stats()["requests"]
    with pytest.raises((SpecError, InputError)) as raised:
        scorer.score_frame(frame, judge=judge, model={"name": "m", "base_url": server.url})
    assert says in str(raised.value)
    assert server.stats()["requests"] == asked
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"out": ""}, "is no folder of this machine"),
        ({"out": "s3://bucket/run"}, "is no folder of this machine"),
        ({"out": Path("gs://bucket/run")}, "is no folder of this machine"),
        ({"out": "taken"}, "it, or a part of its path, is a file"),
        ({"out": "taken/below"}, "it, or a part of its path, is a file"),
        ({"judge": None}, "judge is a dict with the names of a run file's [judge]; this is None"),
        ({"model": "gpt-4o"}, "model is a dict"),
        ({"limits": "none"}, "limits is a dict"),
        ({"df": pl.scan_parquet("gone.parquet")}, "cannot be read as a polars DataFrame"),
        ({"df": FRAME.drop("x")}, "The frame has no column 'x', which the judge or the model asks for. It has: 'text'"),
        ({"df": []}, "The frame has no column 'x', 'text', which the judge or the model asks for. It has: none"),
        ({"df": FRAME.with_columns(n=pl.lit(1).cast(pl.Int128))}, "cannot be written as Parquet"),
    ],
)
def test_what_is_wrong_leaves_nothing_behind(
    changed: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    given = {"df": FRAME, "judge": QUIET, "model": replies(tmp_path, ONE_TO_FIVE), "out": "new", **changed}
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SpecError) as raised:
        scorer.score_frame(**given)
    assert says in str(raised.value)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_stored_frame_that_is_damaged_is_a_sentence_and_stays(tmp_path: Path) -> None:
    out, model = tmp_path / "out", replies(tmp_path, ONE_TO_FIVE)
    frame = FRAME.drop_nulls()
    scorer.score_frame(frame, judge=QUIET, model=model, out=out)
    stored = out / "input" / "frame.parquet"
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="holds the frame whose scores are in"):
        scorer.score_frame(frame, judge=QUIET, model=model, out=out)
    stored.write_bytes(whole)
    assert scorer.score_frame(frame, judge=QUIET, model=model, out=out)["score"].to_list() == [2, 3, 5]


def test_a_full_disk_is_no_fault_of_a_column(tmp_path: Path) -> None:
    out, model = tmp_path / "out", replies(tmp_path, ONE_TO_FIVE)
    (out / "input").mkdir(parents=True)
    (out / "input" / "frame.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"frame.parquet cannot be written .*No space left on device"):
        scorer.score_frame(FRAME.drop_nulls(), judge=QUIET, model=model, out=out)
    assert scorer.score_frame(FRAME.drop_nulls(), judge=QUIET, model=model, out=out)["score"].null_count() == 0


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    scorer.score_frame(FRAME.drop_nulls(), judge=QUIET, model=replies(tmp_path, ONE_TO_FIVE), out="~/scored")
    assert (tmp_path / "home" / "scored" / "run.json").exists()
    assert not (tmp_path / "~").exists()


# --- tables of other kinds --------------------------------------------------------------------------------------------


class Dataset:
    """As a split of a Hugging Face Dataset: rows chosen by indices."""

    column_names = ("x", "text")

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._as_arrow = False

    def with_format(self, kind: str) -> Dataset:
        made = Dataset(self._table)
        made._as_arrow = kind == "arrow"
        return made

    def __getitem__(self, rows: slice) -> Any:
        assert self._as_arrow
        return self._table


class Splits(dict):  # type: ignore[type-arg]
    """As a DatasetDict."""

    column_names = ("x",)

    def with_format(self, kind: str) -> Splits:
        return self


SMALL = pl.DataFrame({"x": [1, 2], "text": ["a", "b"]})


@pytest.mark.parametrize(
    "given",
    [SMALL, SMALL.lazy(), SMALL.to_dicts(), SMALL.to_arrow(), Dataset(SMALL.to_arrow())],
    ids=["polars", "lazy", "dicts", "arrow", "dataset"],
)
def test_tables_of_other_kinds_are_taken(given: Any, tmp_path: Path) -> None:
    found = scorer.score_frame(given, judge=QUIET, model=replies(tmp_path, ONE_TO_FIVE))
    assert found.select("x", "text").equals(SMALL)
    assert found["score"].to_list() == [2, 3]


def test_a_dict_of_splits_is_told_to_be_one() -> None:
    with pytest.raises(SpecError, match=r"a split of a Hugging Face Dataset; this is a .*Splits"):
        as_frame(Splits(train=1))


def test_a_pandas_frame_comes_without_its_index() -> None:
    pandas = pytest.importorskip("pandas")
    assert as_frame(pandas.DataFrame({"x": [1, 2], "text": ["a", "b"]}, index=[7, 9])).equals(SMALL)


# --- nested columns ---------------------------------------------------------------------------------------------------

TALKS = [[{"role": "user", "content": f"Hi {n}?"}, {"role": "assistant", "content": "Yo."}] for n in range(3)]
NESTED = [{"x": n, "messages": talk, "meta": {"topic": "t", "tags": ["a"]}} for n, talk in enumerate(TALKS)]


def _pandas() -> Any:
    return pytest.importorskip("pandas").DataFrame(NESTED)


def _dataset() -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(NESTED)


@pytest.mark.parametrize(
    "made",
    [lambda: NESTED, _pandas, _dataset, lambda: pl.LazyFrame(NESTED), lambda: pa.Table.from_pylist(NESTED)],
    ids=["dicts", "pandas", "dataset", "lazy", "arrow"],
)
def test_nested_columns_are_scored_and_come_back_as_they_were(server: RehearsalProcess, made: Any) -> None:
    judge = {**JUDGE, "prompt": "[row:{x}] {meta.topic} {messages:fenced} {messages[-1].content} Score from 1 to 5?"}
    found = scorer.score_frame(made(), judge=judge, model={"name": "m", "base_url": server.url})
    assert found["score"].null_count() == 0
    assert found.select("x", "messages", "meta").to_dicts() == NESTED


def test_a_value_within_a_column_that_the_frame_cannot_have_is_told(server: RehearsalProcess) -> None:
    judge = {**JUDGE, "prompt": "{meta.tpic} {messages.role} {no}"}
    with pytest.raises(SpecError) as caught:
        scorer.score_frame(NESTED, judge=judge, model={"name": "m", "base_url": server.url})
    assert [problem.partition(" ")[2][:28] for problem in caught.value.problems] == [
        "frame has no column 'no', wh",
        "frame has no 'meta.tpic': th",
        "frame has no fields in 'mess",
    ]


@pytest.mark.parametrize("of", [list, lambda rows: pytest.importorskip("pandas").DataFrame(rows)])
def test_values_of_several_kinds_in_one_column_are_told_and_not_lost(of: Any) -> None:
    mixed = [{"m": [{"role": "user", "content": "a"}]}, {"m": [{"role": "user", "content": [{"type": "text"}]}]}]
    with pytest.raises(SpecError, match="Column m holds values of several kinds, which no column can"):
        as_frame(of(mixed))
