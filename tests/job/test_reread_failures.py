"""Promise: a reread that is refused changes nothing; one that is interrupted is finished by the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.rereads import APART, BOTH, PAID, Said, again, found, score, whole

from scorer.cli.app import _exit_code
from scorer.errors import BudgetSpent, OutputError, SpecError, StorageError
from scorer.files.local_files import LocalFiles
from scorer.job.retry import Retry
from scorer.output.layout import Layout
from scorer.output.manifest import load


class Failing(LocalFiles):
    """A disk that is full from the n-th new file on, and that then deletes nothing."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def delete(self, path: str) -> None:
        if self.left == 0:
            raise StorageError("read-only")
        super().delete(path)

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        if self.left == 0:
            raise StorageError("full")
        self.left -= 1
        with super().create(path) as file:
            yield file


AGAIN = {"judge.read=json": [3, None, 5, None], "judge.scale=[1, 4]": [3, None, None, None]}
"""The second rule comes on top of the first, which stands once it was begun."""


@pytest.mark.parametrize("rule", AGAIN)
@pytest.mark.parametrize("written", [1, 2, 3], ids=["run.json", "one shard", "both shards"])
def test_reread_after_a_crash_is_finished_by_the_same_rule_or_another(tmp_path: Path, written: int, rule: str) -> None:
    score(tmp_path, BOTH)
    before = found(tmp_path)
    with pytest.raises(StorageError):
        again(tmp_path, "judge.read=json", files=Failing(written))
    assert found(tmp_path).select("id", *PAID).equals(before.select("id", *PAID))
    with pytest.raises(OutputError, match=r"is not finished\. End it first: `scorer reread"):
        score(tmp_path, BOTH, judge={"read": "json"})
    assert not whole(tmp_path)
    again(tmp_path, rule)
    assert found(tmp_path)["score"].to_list() == AGAIN[rule]
    assert whole(tmp_path)


def test_reread_that_fails_before_the_first_write_changes_nothing(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    before = found(tmp_path)
    with pytest.raises(StorageError):
        again(tmp_path, "judge.read=json", files=Failing(0))
    assert found(tmp_path).equals(before)
    assert whole(tmp_path)


def test_reread_crash_before_old_segments_are_deleted_leaves_each_row_once(tmp_path: Path) -> None:
    says: dict[str, Said] = {f"r{n}": f"wit: {n % 5 + 1}" for n in range(8)}
    with pytest.raises(BudgetSpent):
        score(tmp_path, {**says, "r1": BudgetSpent("enough")})
    assert len(list(tmp_path.glob("out/scores/*"))) == 0
    with pytest.raises(StorageError, match="read-only"):
        again(tmp_path, 'judge.criteria=["wit"]', files=Failing(2))
    again(tmp_path, 'judge.criteria=["wit", "wit2"]')
    assert set(found(tmp_path)["error"]) == {"Unreadable"}
    assert len(list(tmp_path.glob("out/segments/*/*"))) == 1


def test_reread_of_reply_texts_refuses_to_read_probabilities(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    before = found(tmp_path)
    with pytest.raises(SpecError, match=r'do not suffice for this reading.*keep_raw = "full"'):
        again(tmp_path, "judge.read=expected")
    assert found(tmp_path).equals(before)
    assert whole(tmp_path)


def test_reread_refuses_a_run_without_stored_replies(tmp_path: Path) -> None:
    score(tmp_path, BOTH, keep_raw=False)
    with pytest.raises(SpecError, match="lacks the replies of 4 rows"):
        again(tmp_path, "judge.read=json")


def test_reread_refuses_likelihood_which_reads_no_reply(tmp_path: Path) -> None:
    says = {"r0": "x", "r1": "y"}
    score(tmp_path, says)
    path = tmp_path / "out/run.json"
    manifest = json.loads(path.read_text())
    for table in (manifest["spec"], manifest["covered"]):
        table["judge"] = {"kind": "likelihood", "prompt": "{id}", "response": "text"}
    path.write_text(json.dumps(manifest))
    with pytest.raises(SpecError, match="reads no reply"):
        again(tmp_path)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["model.name=x"], "--set model.name=x: reread changes how replies are read"),
        (["judge.prompt=Other {id}"], "--set judge.prompt=Other {id}: this key changes the requests"),
        (["judge.kind=likelihood"], "--set judge.kind=likelihood: this key changes the requests"),
        (["judge.read=tea"], "'tea' is unknown"),
        (["judge.read"], "is not key.path=value"),
    ],
)
def test_reread_refuses_keys_that_change_the_requests(
    tmp_path: Path, sets: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    score(tmp_path, BOTH)
    options = [word for item in sets for word in ("--set", item)]
    assert _exit_code(["reread", f"{tmp_path}/out", *options]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("judge", "sets", "says"),
    [
        (APART, "judge.criteria=['tact', 'wit']", "tact, wit would be given the replies about others"),
        (APART, "judge.criteria=['wit']", "the stored replies of a row are about wit, tact"),
        (APART, "judge.ask_criteria=together", "this key changes the requests"),
        ({**APART, "samples": 2}, "judge.samples=1", "the stored replies of a row are 2 to each question"),
        (
            {"kind": "pairwise", "prompt": "{first} {second}", "a": "id", "b": "text", "samples": 2},
            "judge.samples=1",
            "with 1 a question would be given another one's replies",
        ),
    ],
)
def test_reread_refuses_what_would_give_a_reply_to_another_question(
    tmp_path: Path, judge: dict[str, Any], sets: str, says: str
) -> None:
    prompt = {"prompt": "{id}"} if "kind" not in judge else {}
    score(tmp_path, {"r0": "Score: 2", "r1": "Verdict: A"}, judge={**prompt, **judge})
    before = found(tmp_path)
    with pytest.raises(SpecError, match=says):
        again(tmp_path, sets)
    assert found(tmp_path).equals(before)


def test_reread_that_fails_too_many_rows_exits_with_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(tmp_path, {"r0": "Score: 4", "r1": "Score: 4"})
    path = tmp_path / "out/run.json"
    path.write_text(path.read_text().replace('"max_failed_share": 1.0', '"max_failed_share": 0.1'))
    assert _exit_code(["reread", f"{tmp_path}/out", "--set", "judge.read=json"]) == 6
    said = capsys.readouterr().err
    assert f"scorer reread {tmp_path}/out --set" in said, "what costs nothing"
    assert "retry" not in said, "which would pay for the rows again"


def test_reread_that_cannot_read_leaves_an_unfinished_retry_open(tmp_path: Path) -> None:
    score(tmp_path, BOTH, keep_raw=False)
    with pytest.raises(BudgetSpent):
        score(tmp_path, dict.fromkeys(BOTH, BudgetSpent("enough")), retry=Retry(), keep_raw=False)
    with pytest.raises(SpecError, match="lacks the replies"):
        again(tmp_path, "judge.read=json")
    manifest = load(LocalFiles(), Layout(f"{tmp_path}/out"))
    assert manifest is not None
    assert manifest.open_revision is not None
    assert manifest.open_revision.kind == "retry"


def test_reread_refuses_a_folder_in_use(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    held = LocalFiles().lock(f"{tmp_path}/out/lock", "somebody")
    try:
        with pytest.raises(OutputError, match="in use by somebody"):
            again(tmp_path, "judge.read=json")
    finally:
        held.release()
