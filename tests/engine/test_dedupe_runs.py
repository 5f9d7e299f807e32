"""Promise: a run with duplicates asks each question once; a copy costs nothing and never stands without its source."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer import scan_scores
from scorer.build.plan import check
from scorer.errors import (
    SpecError,
    StorageError,
)
from scorer.files.local_files import LocalFiles
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.output import ledger
from scorer.output.layout import Layout
from scorer.output.row_counts import Counts
from scorer.output.status import status


class Dying(LocalFiles):
    """Files of a disk that takes `lives` more files under segments/ or scores/, and then none ever again."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives = lives

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        if "/segments/" in path or "/scores/" in path:
            if self.lives == 0:
                raise StorageError("the disk is dead")
            self.lives -= 1
        with super().create(path) as file:
            yield file


SHARDS = {"a": [0, 1, 2, 0, 1, 3, 3, 0], "b": [4, 0, 4, 5, 1, 5, 6], "c": [6, 0, 0, 7, 5, 4]}
"""What each row of each shard asks about."""


class Repeated(Run):
    """Shards whose rows ask about a few things; the wire answers by the thing."""

    def __init__(self, root: Path, **output: Any) -> None:
        super().__init__(root, **output)
        (root / "in").mkdir()
        for name, things in SHARDS.items():
            ids = [f"{name}{place}" for place in range(len(things))]
            table = pa.table({"id": ids, "response": [f"[row:r{thing}] said" for thing in things]})
            pq.write_table(table, root / "in" / f"{name}.parquet")

    def start(self, files: LocalFiles | None = None, retry: Retry | None = None, **judge: Any) -> Any:
        return self.run(files, retry, prompt="{response} Score:", dedupe=True, **judge)

    def table(self) -> pa.Table:
        return scan_scores(self.out).collect().to_arrow()

    def sound(self) -> None:
        """Every row has its thing's answer or error; every copy a source that was asked; the sums are what was paid."""
        found = {(Path(row["shard"]).stem, row["row"]): row for row in self.table().to_pylist()}
        assert self.verify().findings == ()
        for (name, number), row in found.items():
            thing = SHARDS[name][number]
            failed = thing in self.wire.refuses
            assert (row["score"], row["error"]) == ((None, "Refused") if failed else (thing % 10 + 1.0, None))
            if row["copied_from"] is not None:
                path, _, place = row["copied_from"].rpartition("#")
                own = found[Path(path).stem, int(place)]
                assert SHARDS[Path(path).stem][int(place)] == thing
                assert (own["copied_from"], own["attempts"]) == (None, 1)
                paid = ("attempts", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_microusd")
                assert [row[name] for name in paid] == [0] * 5
                assert row["raw"] == own["raw"]
        totals = ledger.totals(LocalFiles(), Layout(self.out).ledger)
        assert sum(row["prompt_tokens"] or 0 for row in found.values()) == totals.prompt_tokens
        assert sum(row["attempts"] for row in found.values()) == totals.requests + self.refusals
        assert sum(row["cost_microusd"] or 0 for row in found.values()) * 10**6 == totals.pico

    @property
    def refusals(self) -> int:
        return sum(self.wire.asked[thing] for thing in self.wire.refuses)


def test_dedupe_run_requests_each_question_once_and_table_sums_to_cost(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.wire.refuses = {3, 6}
    found = night.start()
    assert (found.state, found.rows, found.scored, found.failed) == ("complete", 21, 17, 4)
    assert found.copied == 21 - 8
    assert set(night.wire.asked.values()) == {1}
    night.sound()
    assert night.table().schema.field("copied_from").type in (pa.string(), pa.large_string())
    night.start()  # nothing left
    assert night.wire.asked.total() == 8


def test_dedupe_off_requests_every_row_and_writes_no_copied_from_column(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    found = night.run(prompt="{response} Score:")
    assert (found.copied, night.wire.asked.total()) == (0, 21)
    assert "copied_from" not in night.table().schema.names


@pytest.mark.slow
@pytest.mark.parametrize("flush_rows", [1, 3])
def test_dedupe_run_killed_at_any_write_leaves_no_copy_without_source(tmp_path: Path, flush_rows: int) -> None:
    """Slow: a run for each file that can be the last one written; a kill leaves no more than that."""
    for lives in range(60):
        (tmp_path / str(lives)).mkdir()
        night = Repeated(tmp_path / str(lives), flush_rows=flush_rows)
        files = Dying(lives)
        with suppress(StorageError):
            night.start(files)
        if files.lives > 0:
            break
        table = night.table()
        there = set(zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True))
        for found in table["copied_from"].to_pylist() if "copied_from" in table.schema.names else ():
            if found is not None:
                path, _, place = found.rpartition("#")
                assert (path, int(place)) in there
        assert not any("is a copy" in finding for finding in night.verify().findings)
        night.start()
        assert status(LocalFiles(), night.out).state == "complete"
        assert night.verify().findings == ()
    assert lives > 5


def test_retry_requests_failed_question_once_for_all_its_duplicates(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.wire.refuses = {0}
    night.start()
    night.wire.refuses = set()
    before = night.wire.asked.copy()
    found = night.start(retry=Retry(None))
    assert night.wire.asked - before == Counter({0: 1})
    assert (found.failed, found.copied) == (0, 13)
    assert night.verify().findings == ()


def test_reread_keeps_copies_and_rejects_change_of_dedupe(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.start()
    copies = night.table()["copied_from"].to_pylist()
    with pytest.raises(SpecError, match="this key changes the requests"):
        reread(LocalFiles(), night.out, ["judge.dedupe=false"])
    found = reread(LocalFiles(), night.out, ["judge.scale=[1, 20]"])
    assert (found.state, found.copied, night.wire.asked.total()) == ("complete", 13, 8)
    assert night.table()["copied_from"].to_pylist() == copies
    assert night.verify().findings == ()


def _changed(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """The sealed file with other rows, whole by its own checksums."""
    from scorer.output import segments as seg

    about, _ = seg.read_about(LocalFiles(), str(path))
    table = pq.read_table(path)
    found = table.to_pylist()
    change(found)
    path.unlink()
    with LocalFiles().create(str(path)) as file:
        schema = table.schema.remove_metadata()
        seg.write(file, iter([pa.Table.from_pylist(found, schema)]), schema, about)


@pytest.mark.parametrize("when_s", [-1, 0, 1])
def test_verify_reports_copy_that_differs_from_source(tmp_path: Path, when_s: int) -> None:
    night = Repeated(tmp_path)
    night.start()

    def change(fields: list[dict[str, Any]]) -> None:
        fields[0]["score"] += 1.0
        fields[0]["finished_at"] += dt.timedelta(seconds=when_s)  # scored again later: no fault of the copies

    _changed(night.sealed("a"), change)
    findings = night.verify().findings
    assert len(findings) == (0 if when_s > 0 else 3)  # in each of the shards
    assert all("is a copy of a row of" in one and "says something else" in one for one in findings)


def test_verify_reports_copy_whose_source_has_no_result(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.start()

    def change(fields: list[dict[str, Any]]) -> None:
        fields[3]["copied_from"] = f"{fields[0]['shard']}#99"
        fields[4]["copied_from"] = "elsewhere.parquet#0"

    _changed(night.sealed("a"), change)
    assert sorted(finding.partition(": row ")[2] for finding in night.verify().findings) == [
        f"3 is a copy of a row of {night.root}/in/a.parquet that has no result",
        "4 names no row of this run as its source",
    ]


def test_counts_read_tables_without_copied_from_column(tmp_path: Path) -> None:
    table = pa.table({"error": pa.nulls(2, pa.string()), "score": [1.0, 2.0],
                      **{name: [1, 2] for name in ("prompt_tokens", "completion_tokens", "cached_tokens",
                                                   "cost_microusd", "attempts", "generation")}})  # fmt: skip
    assert Counts.of(table).copied == 0
    copied = table.append_column("copied_from", pa.array([None, "s#0"]))
    assert Counts.of(copied).copied == pc.count(copied["copied_from"]).as_py() == 1


# --- the run file -----------------------------------------------------------------------------------------------------


def problems_of(*models: dict[str, Any]) -> list[str]:
    judge: dict[str, Any] = {"prompt": "{response}", "dedupe": True}
    if len(models) > 1:
        judge |= {"kind": "panel", "models": [model["alias"] for model in models]}
    more = {"models": list(models)} if len(models) > 1 else {"model": models[0]}
    try:
        check({"input": {"shards": ["x"]}, "judge": judge, "output": {"path": "o"}, **more})
    except SpecError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ([{"name": "gpt-4o-mini"}], None),
        ([{"name": "gpt-4o-mini", "temperature": 0}], None),
        ([{"provider": "embedded"}], None),
        ([{"name": "gpt-4o-mini", "temperature": 0.7}], "model.temperature = 0.7"),
        ([{"name": "gpt-4o-mini", "extra": {"temperature": 1}}], "model.extra.temperature = 1"),
        ([{"name": "gpt-4o-mini", "extra": {"temperature": "hot"}}], 'model.extra.temperature = "hot"'),
        ([{"name": "gpt-4o-mini", "temperature": 1, "extra": {"temperature": 0}}], None),
        ([{"name": "o3-mini"}], '"o3-mini" takes no temperature'),
        (
            [{"alias": "x", "name": "gpt-4o-mini"}, {"alias": "y", "name": "gpt-4o", "temperature": 1.0}],
            "models.y.temperature = 1.0",
        ),
    ],
)
def test_dedupe_requires_temperature_0_of_every_model(models: list[dict[str, Any]], says: str | None) -> None:
    problems = problems_of(*models)
    assert len(problems) == (says is not None)
    assert says is None or (says in problems[0] and "leave judge.dedupe out" in problems[0])
