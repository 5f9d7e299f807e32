"""Promise: whatever fails at the provider of batches, each row ends once, and what is paid is in the ledger."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_provider import BatchProvider
from support.batch_runs import BatchRun

from scorer.errors import BatchesOut, SetupError
from scorer.files.local_files import LocalFiles
from scorer.output import ledger


def test_rows_that_fail_are_asked_again_alone(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.errors.update({3: 2, 11: 1})
    run.batches.unexecuted |= {4, 5}
    run.batches.missing |= {17}
    run.run()
    run.whole(maybe=1)
    assert run.batches.sizes == [10, 10, 5, 1]
    attempts = dict(enumerate(pq.read_table(run.sealed("a"), columns=["attempts"]).column(0).to_pylist()))
    assert (attempts[3], attempts[11], attempts[4], attempts[0]) == (3, 2, 1, 1)


@pytest.mark.parametrize("names", [True, False])
def test_create_without_an_answer_is_found_and_not_sent_again(tmp_path: Path, names: bool) -> None:
    run = BatchRun(tmp_path, 20, provider=BatchProvider(names=names, lost_creates=1, lag_s=30))
    run.run()
    run.whole()
    assert run.batches.sizes == [10, 10]


@pytest.mark.parametrize("line", [True, False])
def test_row_that_fails_a_whole_batch_is_rejected_alone(tmp_path: Path, line: bool) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.refuses |= {13}
    run.batches.names_line = line
    status = run.run()
    assert (status.scored, status.errors) == (19, {"Rejected": 1})
    assert not run.batches.twice()
    assert run.verify().findings == ()


def test_token_limit_halves_the_next_chunk(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.most = 4
    run.run()
    run.whole()
    assert max(size for size in run.batches.sizes[2:]) <= 5


def test_provider_that_is_down_is_waited_for(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20)
    run.batches.down_until = 100
    run.run()
    run.whole()


@pytest.mark.parametrize("busy", [1, 2, 4])
def test_call_that_is_refused_for_the_moment_is_made_again(tmp_path: Path, busy: int) -> None:
    run = BatchRun(tmp_path, 20)
    run.batches.busy = busy
    run.run()
    run.whole()


def test_batch_whose_lines_all_say_that_the_key_is_wrong_ends_the_run_and_is_asked_afresh(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10)
    run.batches.errors.update(dict.fromkeys(range(10), 1))
    run.batches.status = 401
    with pytest.raises(SetupError, match="401"):
        run.run()
    run.run()
    run.whole()
    assert run.batches.sizes == [10, 10]


def test_row_that_a_server_fails_again_and_again_is_unavailable(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10, min_requests=1)
    run.model["retries"] = 3
    run.batches.errors.update({4: 99})
    status = run.run()
    assert (status.scored, status.errors) == (9, {"Unavailable": 1})
    assert run.batches.sizes == [10, 1, 1]
    row = pq.read_table(run.sealed("a"), columns=["error_detail", "attempts"]).to_pylist()[4]
    assert row["attempts"] == 3
    assert row["error_detail"].startswith("3 batches answered with an error; the last one said: ")


def test_reply_to_another_question_is_not_taken(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10)
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait")
    (path,) = Path(run.out, "batches").glob("*.parquet")
    lines = pq.read_table(path)
    digests = lines["digest"].to_pylist()
    digests[6] = bytes(32)
    place = lines.schema.get_field_index("digest")
    pq.write_table(lines.set_column(place, lines.schema.field(place), pa.array(digests, pa.binary(32))), path)
    assert run.run().errors == {"Rejected": 1}
    row = pq.read_table(run.sealed("a"), columns=["error_detail"]).to_pylist()[6]
    assert row["error_detail"].startswith("Batch b0 answered to another question than this row asks now")


def test_batch_that_is_gone_stops_the_run_until_it_can_only_have_been_deleted(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10)
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait")
    run.batches.made.clear()
    with pytest.raises(SetupError, match="its provider does not know it"):
        run.run()
    run.batches.before += 48 * 3600
    run.run()
    run.exact()
    totals = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert (totals.requests, totals.maybe_requests) == (10, 10)
    assert any("count as possibly billed" in said for said in run.said)


def test_results_that_stay_short_are_taken_though_every_other_download_fails(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10, min_requests=1)
    run.batches.missing |= {4}
    run.batches.flaky = True
    run.run()
    run.whole(maybe=1)
