"""Promise: an unfinished retry never stands in the way; what it scored is kept, and no row is asked again for it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.batch_runs import BatchRun
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer import scan_scores
from scorer.engine import engine
from scorer.errors import BatchesOut, Interrupted, OutputError, TooManyFailed
from scorer.files.local_files import LocalFiles
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, load

FAILED = {3, 5, 7, 9, 11, 30, 33, 36, 39, 49}
LONGER, WARMER = ("model.max_output_tokens=2000",), ("model.temperature=1.0",)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two shards are scored; ten rows were refused, and would be answered now."""
    run = Run(tmp_path, 20, 30)
    run.wire.refuses = set(FAILED)
    run.run()
    run.wire.refuses = set()
    run.wire.asked.clear()
    return run


def stop(run: Run, retry: Retry, after: int) -> None:
    """A retry that is asked to stop once so many requests were sent; rows in flight are finished."""
    job = run.job()
    job.drain.asked = not after
    run.wire.then = lambda: job.stop() if run.wire.asked.total() >= after else None
    with pytest.raises(Interrupted):
        in_virtual_time(job.run(retry))
    run.wire.then = lambda: None


def manifest(run: Run) -> Manifest:
    found = load(LocalFiles(), Layout(run.out))
    assert found is not None
    return found


def generations(run: Run) -> dict[int, int]:
    """How many rows have a result of each generation."""
    counted = scan_scores(run.out).select("generation").collect()["generation"].value_counts()
    return dict(counted.iter_rows())


@pytest.mark.parametrize("after", [0, 1, 6])
def test_another_retry_replaces_it_and_asks_the_rest_with_its_own_keys(run: Run, after: int) -> None:
    stop(run, Retry(("Refused",), LONGER), after)
    asked = set(run.wire.asked)
    found = run.run(retry=Retry(("Refused",), WARMER))

    assert (found.scored, found.failed, found.state) == (50, 0, "complete")
    assert set(run.wire.asked) == FAILED
    assert not run.twice()
    assert generations(run) == {0: 40} | ({1: len(asked)} if asked else {}) | {2: 10 - len(asked)}
    assert manifest(run).open_revision is None
    assert len(manifest(run).judges) == 2
    command = f"scorer retry {run.out} --error Refused --set model.max_output_tokens=2000"
    assert any(command in sentence and "is replaced" in sentence for sentence in run.said)
    run.exact()


def test_other_errors_are_another_retry(run: Run) -> None:
    stop(run, Retry(("Refused",)), 1)
    asked = run.wire.asked.total()
    run.run(retry=Retry(("Unavailable",)))
    assert run.wire.asked.total() == asked
    assert manifest(run).open_revision is None


@pytest.mark.parametrize("again", [Retry(), Retry(("Refused",), LONGER)])
def test_the_same_retry_and_one_without_options_finish_it(run: Run, again: Retry) -> None:
    stop(run, Retry(("Refused",), LONGER), 1)
    assert run.run(retry=again).failed == 0
    assert [revision.generation for revision in manifest(run).revisions] == [1]
    assert not run.twice()
    assert not any("is replaced" in sentence for sentence in run.said)
    run.exact()


def test_a_stop_while_it_is_replaced_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(run, Retry(None, LONGER), 6)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "opening", killed)
        with pytest.raises(KeyboardInterrupt):
            run.run(retry=Retry(None, WARMER))
    run.run()
    assert set(run.wire.asked) == FAILED
    assert not run.twice()
    run.exact()


def test_rows_that_all_fail_alike_end_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ALIKE", 4)
    run.wire.refuses = set(FAILED)
    with pytest.raises(TooManyFailed, match="all ended in Refused"):
        run.run(retry=Retry(None, LONGER))
    assert manifest(run).open_revision is None
    run.exact()

    run.wire.asked.clear()
    run.add(5)
    assert run.run().scored == 45
    assert not FAILED & set(run.wire.asked), "a run need not go through the rest of the retry"
    run.wire.refuses = set()
    assert run.run(retry=Retry(None, WARMER)).failed == 0
    assert set(run.wire.asked) == FAILED | set(range(50, 55))
    run.exact()


def test_a_shard_that_is_gone_leaves_it_open(run: Run) -> None:
    stop(run, Retry(None, LONGER), 1)
    gone = Path(next(iter(run.shards)))
    data = gone.read_bytes()
    gone.unlink()
    with pytest.raises(OutputError, match="gone"):
        run.run(retry=Retry(None, WARMER))
    gone.write_bytes(data)
    run.run(retry=Retry())
    assert not run.twice()
    run.exact()


def test_batches_of_it_are_collected_first(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.refuses |= {13}
    run.run()
    run.batches.refuses.clear()
    with pytest.raises(BatchesOut):
        run.run(retry=Retry(), waiting="no-wait")
    with pytest.raises(OutputError, match=r"`scorer retry .*/out`, without --error, --set and --suspect"):
        run.run(retry=Retry(None, WARMER))
    run.run(retry=Retry())
    run.whole()
    assert pq.read_table(run.sealed("a"), columns=["generation"]).column(0).to_pylist()[13] == 1


@pytest.mark.parametrize("sets", [(), LONGER])
@pytest.mark.parametrize("after", [0, 1, 6])
def test_a_reread_replaces_it_and_reads_what_it_scored(run: Run, after: int, sets: tuple[str, ...]) -> None:
    stop(run, Retry(("Refused",), sets), after)
    asked = set(run.wire.asked)
    run.wire.refuses = FAILED - asked

    found = reread(LocalFiles(), run.out, say=run.said.append)

    assert (found.scored, found.failed) == (40 + len(asked), 10 - len(asked))
    assert set(run.wire.asked) == asked
    assert manifest(run).open_revision is None
    assert generations(run) == {2: 50}
    options = "".join(f" --set {item}" for item in sets)
    assert any(
        f"scorer retry {run.out} --error Refused{options}) is replaced by this reread" in one for one in run.said
    )
    run.exact()
