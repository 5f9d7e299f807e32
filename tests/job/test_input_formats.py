"""Promise: a run over any input format resumes, verifies and joins as one over Parquet does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest
from support.formats import LONG_AGO_S, WRITERS, json_lines, written
from support.inprocess import Run, own_score

from scorer.errors import InputError, OutputError
from scorer.files.local_files import LocalFiles
from scorer.inputs import shards as shards_module
from scorer.inputs.formats.json_lines import JsonLines
from scorer.job.estimate import estimate
from scorer.output.scan import scan_scores
from scorer.types import Call, Reply

ROWS = 60


def records(first: int, size: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "response": f"said {n}", "n": n, "x": n / 2} for n in range(first, first + size)]


def over(root: Path, end: str, *sizes: int, keep: tuple[str, ...] = ("n",)) -> Run:
    """A run over shards of this format; its rows count on from shard to shard."""
    run = Run(root, keep=keep)
    first = 0
    for name, size in zip("abc", sizes, strict=False):
        path = written(root / "in" / f"{name}.{end}", WRITERS[end](records(first, size)))
        run.shards[str(path)] = range(first, first + size)
        first += size
    run.patterns = [f"{root}/in"]
    return run


def table(run: Run) -> pl.DataFrame:
    found = scan_scores(run.out, join_input=True).sort("n").collect()
    assert isinstance(found, pl.DataFrame)
    return found


@pytest.mark.parametrize("end", [end for end in WRITERS if end != "parquet"])
def test_a_run_that_was_stopped_goes_on_and_every_row_is_asked_once(tmp_path: Path, end: str) -> None:
    run = over(tmp_path, end, ROWS, 7)
    run.stop_after(25)
    run.run()
    assert run.wire.asked == dict.fromkeys(range(ROWS + 7), 1)
    assert run.verify().complete, run.verify()
    assert run.verify().unchecked == ()
    found = table(run)
    assert found["n"].to_list() == list(range(ROWS + 7))
    assert found["score"].to_list() == [own_score(n) for n in range(ROWS + 7)]
    assert found["response"].to_list() == [f"said {n}" for n in range(ROWS + 7)]
    assert found["x"].to_list() == [n / 2 for n in range(ROWS + 7)]
    assert sorted(path.name for path in (tmp_path / "out/scores").iterdir()) == ["a.parquet", "b.parquet"]


def test_verify_finds_a_kept_value_that_is_not_the_inputs(tmp_path: Path) -> None:
    run = over(tmp_path, "jsonl", ROWS)
    run.run()
    data = json_lines([{**row, "n": row["n"] + (row["n"] == 3)} for row in records(0, ROWS)])
    path = tmp_path / "in/a.jsonl"
    changed = path.stat().st_mtime
    assert len(data) == path.stat().st_size
    written(path, data, changed)
    assert not run.verify().complete
    assert "row 3" in str(run.verify().findings)


def test_a_file_that_grew_is_another_and_nothing_is_asked(tmp_path: Path) -> None:
    run = over(tmp_path, "jsonl", ROWS)
    run.run()
    asked = run.wire.asked.total()
    written(tmp_path / "in/a.jsonl", json_lines(records(0, ROWS + 1)))
    with pytest.raises(OutputError, match="It is longer now: write new lines to a new file"):
        run.run()
    assert run.wire.asked.total() == asked


def test_a_file_that_is_being_written_is_left_out_and_taken_by_the_next_start(tmp_path: Path) -> None:
    run = over(tmp_path, "jsonl", 5, 6)
    whole = (tmp_path / "in/b.jsonl").read_bytes()
    written(tmp_path / "in/b.jsonl", whole[:-4])
    assert run.run().rows == 5
    assert any("b.jsonl ends within a line" in said and "left out now" in said for said in run.said)
    written(tmp_path / "in/b.jsonl", whole)
    assert run.run().rows == 11
    assert run.wire.asked == dict.fromkeys(range(11), 1)


def test_a_file_alone_that_has_just_changed_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = over(tmp_path, "jsonl", 5)
    path = tmp_path / "in/a.jsonl"
    path.touch()
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        changed = time.time() - seconds
        os.utime(path, (changed, changed))

    monkeypatch.setattr(shards_module, "_age_s", lambda stat: time.time() - int(stat.version) / 1e9)
    monkeypatch.setattr(shards_module.time, "sleep", sleep)
    with pytest.raises(InputError, match="changed within the last 10 s"):
        run.run()  # its time is another one than before the wait
    assert 9 < sum(waited) < 10.1
    path.touch()
    assert estimate(run.job().plan, LocalFiles()).rows == 5
    assert 9 < sum(waited) < 10.1
    written(path, path.read_bytes())
    assert run.run().rows == 5


def test_the_folders_of_a_path_are_columns(tmp_path: Path) -> None:
    run = Run(tmp_path, keep=("model", "seed"))
    run.patterns = [f"{tmp_path}/in"]
    for number, (model, end) in enumerate(
        [("x", "parquet"), ("a%20b", "parquet"), ("__HIVE_DEFAULT_PARTITION__", "parquet")]
    ):
        written(tmp_path / f"in/model={model}/seed=1/part.{end}", WRITERS[end](records(number, 1)))
    run.run()
    assert table(run).select("n", "model", "seed").rows() == [(0, "x", "1"), (1, "a b", "1"), (2, None, "1")]
    assert run.verify().complete


def test_a_column_of_the_file_comes_before_its_folders(tmp_path: Path) -> None:
    run = Run(tmp_path, keep=("model",))
    run.patterns = [f"{tmp_path}/in"]
    written(tmp_path / "in/model=folder/part.jsonl", json_lines([{"id": "r0", "response": "said", "model": "file"}]))
    run.run()
    assert scan_scores(run.out).collect()["model"].to_list() == ["file"]


def test_lines_that_are_no_rows_are_counted_and_cost_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, keep=("n",))
    run.patterns = [f"{tmp_path}/in/*"]
    lines = json_lines(records(0, 3)).split(b"\n")
    lines[1] = b"{"
    written(tmp_path / "in/a.jsonl", b"\n".join([*lines[:3], b'{"id": "r3", "response": null}', b""]))
    status = run.run()
    assert (status.rows, status.scored, status.errors) == (4, 2, {"BadRow": 2})
    assert run.wire.asked == {0: 1, 2: 1}
    assert run.verify().complete


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("meta.instrction", "no 'meta.instrction': the fields of 'meta' are instruction"),
        ("meta[0]", "no list at 'meta'"),
        ("response.text", "no fields in 'response', which is string"),
        ("mta.instruction", "no column 'mta.instruction'"),
        ("messages[-1].txt", "no 'messages[-1].txt': the fields of 'messages[-1]' are role, content"),
    ],
)
@pytest.mark.parametrize("end", ["parquet", "jsonl", "arrow"])
def test_a_path_that_no_row_can_have_ends_the_start(tmp_path: Path, end: str, column: str, message: str) -> None:
    run = Run(tmp_path)
    run.patterns = [f"{tmp_path}/in/*"]
    row = {"id": "r0", "response": "s", "meta": {"instruction": "i"}, "messages": [{"role": "user", "content": "c"}]}
    written(tmp_path / f"in/a.{end}", WRITERS[end]([row]))
    with pytest.raises(InputError) as caught:
        run.run(prompt=f"[row:{{id}}] {{{column}}}")
    assert message in str(caught.value)
    assert not run.wire.asked


@pytest.mark.parametrize("end", ["parquet", "jsonl", "arrows"])
def test_what_goes_out_holds_the_conversation_and_the_values_within_columns(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.patterns = [f"{tmp_path}/in/*"]
    talk = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yo."}]
    rows = [{"id": "r0", "response": "s", "meta": {"x": "deep"}, "messages": talk}]
    rows.append({"id": "r1", "response": "s", "meta": {"x": None}, "messages": talk})
    written(tmp_path / f"in/a.{end}", WRITERS[end](rows))
    bodies: list[bytes] = []
    reply = run.wire.reply

    async def noted(call: Call, number: int) -> Reply:
        bodies.append(call.body)
        return await reply(call, number)

    monkeypatch.setattr(run.wire, "reply", noted)
    status = run.run(prompt="[row:{id}]\n{messages}\n<{messages[-1].content}|{meta.x}>")
    assert status.errors == {"BadRow": 1}
    (body,) = bodies
    assert rb"[row:r0]\n[user]\nHi?\n\n[assistant]\nYo.\n<Yo.|deep>" in body


def test_a_home_folder_is_found_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run = over(tmp_path, "jsonl", 3)
    run.patterns, run.out = ["~/in/*.jsonl"], "~/out"
    assert run.run().scored == 3
    assert (tmp_path / "out/run.json").is_file()
    assert not (tmp_path / "~").exists()


def test_a_column_is_kept_later_by_a_run_over_lines(tmp_path: Path) -> None:
    run = over(tmp_path, "jsonl", 20, keep=())
    run.run()
    asked = run.wire.asked.total()
    run._keep = ["n", "x"]
    run.run()
    assert run.wire.asked.total() == asked
    assert scan_scores(run.out).sort("n").select("n", "x").collect().rows() == [(n, n / 2) for n in range(20)]
    assert run.verify().complete


def test_where_over_lines_reads_their_types_and_a_bad_line_belongs(tmp_path: Path) -> None:
    run = over(tmp_path, "jsonl", 20)
    path = tmp_path / "in/a.jsonl"
    written(path, path.read_bytes() + b"not JSON\n")
    status = run.run(where="n >= 15 and response <> 'said 17'")
    assert (status.rows, status.scored, status.errors) == (5, 4, {"BadRow": 1})
    assert sorted(run.wire.asked) == [15, 16, 18, 19]
    assert run.verify().complete


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("condition", "numbers"),
    [("meta.lang = 'de'", [1, 3, 5]), ("meta.deep.n > 3", [4, 5]), ("array_length(tags) = 2", [2, 5])],
)
def test_where_sees_nested_values_of_lines_as_those_of_parquet(
    tmp_path: Path, end: str, condition: str, numbers: list[int]
) -> None:
    rows = [
        {"id": f"r{n}", "response": "said", "tags": ["x"] * (n % 3),
         "meta": {"lang": "de" if n % 2 else "en", "deep": {"n": n}}}
        for n in range(6)
    ]  # fmt: skip
    run = Run(tmp_path)
    run.patterns = [f"{tmp_path}/in/*.{end}"]
    written(tmp_path / f"in/a.{end}", WRITERS[end](rows))
    assert run.run(where=condition).scored == len(numbers)
    assert sorted(run.wire.asked) == numbers


def test_where_over_lines_takes_a_row_whose_nested_value_does_not_fit(tmp_path: Path) -> None:
    lines = [{"id": f"r{n}", "response": "said", "meta": {"n": n, "note": n if n % 2 else "x"}} for n in range(1000)]
    lines += [
        {"id": "r1000", "response": "said", "meta": {"n": "many"}},
        {"id": "r1001", "response": "said", "meta": 3},
    ]
    run = Run(tmp_path)
    run.patterns = [f"{tmp_path}/in/*.jsonl"]
    written(tmp_path / "in/a.jsonl", json_lines(lines))
    status = run.run(where="meta.n >= 998 and meta.note in ('x', '999')")
    assert (status.scored, sorted(run.wire.asked)) == (4, [998, 999, 1000, 1001])


def test_a_file_that_was_only_touched_is_hashed_by_one_start_and_known_by_its_time_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = over(tmp_path, "jsonl", 20)
    run.stop_after(5)
    os.utime(tmp_path / "in/a.jsonl", (LONG_AGO_S + 9, LONG_AGO_S + 9))
    marked: list[str] = []
    mark = JsonLines.mark

    def noted(self: JsonLines, file: BinaryIO, size: int) -> str:
        marked.append(self.name)
        return mark(self, file, size)

    monkeypatch.setattr(JsonLines, "mark", noted)
    run.stop_after(5)
    assert len(marked) == 1
    assert run.run().scored == 20
    assert len(marked) == 1
