"""`scorer retry --set`: keys of the answer's side change for the rows that are scored again, and for no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer import scan_scores
from scorer.errors import Interrupted
from scorer.files.local_files import LocalFiles
from scorer.job.retry import Retry, split_sets
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, load
from scorer.types import Call, Reply

LONGER = ("model.max_output_tokens=2000", "model.temperature=0.5")


class Sent:
    """The bodies that a run's judge was sent."""

    def __init__(self, run: Run) -> None:
        self.bodies: list[dict[str, Any]] = []
        reply = run.wire.reply

        async def recorded(call: Call, number: int) -> Reply:
            self.bodies.append(orjson.loads(call.body))
            return await reply(call, number)

        run.wire.reply = recorded  # type: ignore[method-assign]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two shards are scored; four rows were refused."""
    run = Run(tmp_path, 20, 30)
    run.wire.refuses = {3, 7, 30, 49}
    run.run()
    run.wire.refuses = set()
    return run


def judges(run: Run) -> dict[str, str]:
    found = scan_scores(run.out).select("id", "judge").collect()
    return dict(zip(found["id"], found["judge"], strict=True))


def manifest(run: Run) -> Manifest:
    found = load(LocalFiles(), Layout(run.out))
    assert found is not None
    return found


def test_rows_scored_again_are_asked_with_the_keys_and_their_judge_says_so(run: Run) -> None:
    before, sent = judges(run), Sent(run)
    spec = manifest(run).spec
    found = run.run(retry=Retry(None, LONGER))

    assert (found.scored, found.failed, found.state) == (50, 0, "complete")
    assert {body.get("max_tokens", body.get("max_completion_tokens")) for body in sent.bodies} == {2000}
    assert {body["temperature"] for body in sent.bodies} == {0.5}
    after = judges(run)
    assert {name for name in after if after[name] != before[name]} == {"r3", "r7", "r30", "r49"}
    assert len({*after.values()}) == 2
    assert manifest(run).judges == {after["r3"]: 1}
    assert manifest(run).spec == spec
    run.exact()


def test_old_run_file_still_resumes_and_asks_nothing_again(run: Run) -> None:
    run.run(retry=Retry(None, LONGER))
    run.add(5)
    found = run.run()
    assert (found.scored, found.rows) == (55, 55)
    assert run.wire.asked.total() == 50 + 4 + 5
    run.exact()


def test_stopped_retry_is_ended_by_run_with_its_own_keys(run: Run) -> None:
    job = run.job()
    asked = run.wire.asked.total()
    run.wire.then = lambda: job.stop() if run.wire.asked.total() > asked else None
    with pytest.raises(Interrupted):
        in_virtual_time(job.run(Retry(None, LONGER)))
    run.wire.then = lambda: None
    sent = Sent(run)
    run.add(5)
    found = run.run()

    assert (found.scored, found.failed) == (55, 0)
    assert manifest(run).open_revision is None
    changed = judges(run)
    assert {name for name in changed if changed[name] == changed["r3"]} == {"r3", "r7", "r30", "r49"}
    temperatures = sorted(body["temperature"] for body in sent.bodies)
    assert temperatures[:5] == [0.0] * 5
    assert set(temperatures[5:]) <= {0.5}
    run.exact()


def test_lost_run_json_after_a_retry_with_other_keys(run: Run) -> None:
    run.run(retry=Retry(None, LONGER))
    found = manifest(run).judges
    Path(run.out, "run.json").unlink()
    run.run()
    assert manifest(run).judges == found
    run.exact()


def test_a_judge_that_no_retry_made_is_found(run: Run) -> None:
    run.run(retry=Retry(None, LONGER))
    path = Path(run.out, "run.json")
    stored = orjson.loads(path.read_bytes())
    stored["revisions"][0]["judge"] = "0123456789abcdef"
    path.write_bytes(orjson.dumps(stored))
    assert any("another judge" in finding for finding in run.verify().findings)


def test_keys_of_the_answers_side_are_told_from_those_of_the_run() -> None:
    rows = ("model.extra.top_p=0.9", "models.1.temperature=0", "model.timeout_s=900", "model.max_output_tokens=5")
    others = ("limits.max_usd=5", "model.name=other", "judge.samples=3", "models.0.name=x", "model.retries=2")
    assert split_sets([*rows, *others]) == (rows, others)
    given = {"model": {"extra": {"top_p": 0.9}, "temperature": 1.0}, "limits.max_usd": 5}
    assert split_sets(given) == (('model.extra={"top_p" = 0.9}', "model.temperature=1.0"), ("limits.max_usd=5",))
    assert split_sets("nonsense") == ((), ("nonsense",))
