"""Promise: requests that a person sends are asked by nobody else, and their results are taken once, each by its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from support.batch_runs import BatchRun
from support.inprocess import ROW, own_score

from scorer.batch.by_hand import HandExchange
from scorer.errors import BatchesOut, InputError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.by_hand import ByHand
from scorer.output import ledger
from scorer.output.ledger_totals import Totals


class HandRun(BatchRun):
    """A run whose batches a person sends: no provider is there."""

    def by_hand(self, *, complete: bool = False, **what: Any) -> ByHand:
        """A start by hand; `complete` says whether every row has a result after it."""
        self.hand = hand = ByHand(**what)
        try:
            if complete:
                self.run()
            else:
                with pytest.raises(BatchesOut):
                    self.run()
        finally:
            self.hand = None
        return hand

    def refused(self, kind: type[BaseException], match: str, **what: Any) -> None:
        """A start by hand that ends with this."""
        self.hand = ByHand(**what)
        try:
            with pytest.raises(kind, match=match):
                self.run()
        finally:
            self.hand = None

    def export(self) -> list[Path]:
        return [Path(file) for file, _ in self.by_hand(folder=f"{self.root}/requests").written]

    def answered(self, *requests: Path, without: tuple[int, ...] = (), wrong: tuple[int, ...] = ()) -> str:
        """Results as `vllm run-batch` writes them. Rows `without` have no line, `wrong` ones a server's error."""
        lines = []
        for file in requests:
            for text in file.read_bytes().splitlines():
                found = ROW.search(text)
                assert found is not None
                row, custom_id = int(found[1]), orjson.loads(text)["custom_id"]
                message = {"role": "assistant", "content": f"Score: {own_score(row):g}"}
                body: Any = {
                    "model": "wire",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
                }
                status = 500 if row in wrong else 200
                response = {"status_code": status, "request_id": "r", "body": {} if row in wrong else body}
                if row not in without:
                    lines.append({"id": "v", "custom_id": custom_id, "response": response, "error": None})
        path = Path(self.root, f"results-{len(list(self.root.glob('results-*')))}.jsonl")
        path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in reversed(lines)))
        return str(path)

    @property
    def totals(self) -> Totals:
        return ledger.totals(LocalFiles(), f"{self.out}/ledger")


def test_results_of_an_export_score_every_row_and_importing_them_twice_changes_nothing(tmp_path: Path) -> None:
    run = HandRun(tmp_path, 23, 9)
    files = run.export()
    assert [len(file.read_bytes().splitlines()) for file in files] == [10, 10, 10, 2]
    assert orjson.loads(files[0].read_bytes().splitlines()[0])["custom_id"] == f"{files[0].stem}-0"
    assert run.export() == []  # everything is out
    assert run.totals.maybe_requests == 32  # at its worst
    results = run.answered(*files)
    assert run.by_hand(results=(results,), complete=True).taken == 32
    run.exact()
    totals = run.totals
    assert (totals.requests, totals.maybe_requests, totals.pico) == (32, 0, 32 * 7_000_000)
    again = run.by_hand(results=(results,), complete=True)
    assert (again.taken, again.before, run.totals) == (0, 32, totals)
    assert not run.wire.asked
    assert not run.batches.made


def test_rows_that_are_out_by_hand_are_asked_by_no_other_start_and_missing_ones_return_alone(tmp_path: Path) -> None:
    run = HandRun(tmp_path, 20)
    run.model["mode"] = "online"
    first, second = run.export()
    with pytest.raises(BatchesOut, match=r"2 batches out, 20 rows, .*by hand"):
        run.run()
    assert not run.wire.asked
    hand = run.by_hand(results=(run.answered(first, without=(4,), wrong=(7,)),))
    assert (hand.taken, hand.left.out, hand.left.rows) == (9, 1, 10)
    with pytest.raises(BatchesOut, match="1 batch out, 10 rows"):
        run.run()
    assert sorted(run.wire.asked) == [4, 7]
    run.by_hand(results=(run.answered(second),), complete=True)
    run.exact()
    assert not run.twice()
    assert run.totals.maybe_requests == 1  # row 4: nobody knows whether its first request was executed


def test_result_that_belongs_to_nobody_is_said_and_not_taken(tmp_path: Path) -> None:
    run, other = HandRun(_folder(tmp_path, "a"), 10), HandRun(_folder(tmp_path, "b"), 10)
    (own,), (foreign,) = run.export(), other.export()
    hand = run.by_hand(results=(run.answered(own, foreign),), complete=True)
    assert hand.taken == 10
    assert list(hand.nobodys.values()) == [10]
    assert any("10 results of no export of this run" in said for said in run.said)
    run.exact()


def test_export_that_is_given_up_frees_its_reservation_and_its_results_come_too_late(tmp_path: Path) -> None:
    run = HandRun(tmp_path, 20)
    first, _second = run.export()
    assert run.by_hand(give_up=True, files=(str(first),)).given_up == 10
    assert run.totals.maybe_requests == 10
    run.refused(SpecError, "no export of this run that is out", give_up=True, files=(str(first),))
    late = run.by_hand(results=(run.answered(first),))
    assert (late.taken, late.before) == (0, 10)
    assert run.by_hand(give_up=True).given_up == 10
    assert run.totals == Totals()
    run.run()
    run.exact()


def test_cap_bounds_an_export(tmp_path: Path) -> None:
    run = HandRun(tmp_path, 30)
    run.limits = {"max_tokens": 1000}
    (file,) = run.export()
    exported = len(file.read_bytes().splitlines())
    assert 0 < exported < 30
    assert run.totals.tokens <= 1000
    run.by_hand(results=(run.answered(file),))
    assert run.totals.requests == exported


def test_killed_export_shows_its_file_at_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = HandRun(tmp_path, 10)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(HandExchange, "_show", killed)
        run.refused(KeyboardInterrupt, "killed", folder=f"{run.root}/requests")
    assert not list(Path(run.root, "requests").glob("*.jsonl"))
    (file,) = run.export()
    run.by_hand(results=(run.answered(file),), complete=True)
    run.exact()


@pytest.mark.parametrize("content", [b"", b"not json\n", b'{"rows": 3}\n'])
def test_file_that_holds_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    run = HandRun(tmp_path, 10)
    run.export()
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    for named in (str(path), f"{tmp_path}/not-there.jsonl"):
        run.refused(InputError, "not-there.jsonl cannot be read|holds no result of a batch", results=(named,))


def _folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name
