"""Whole runs in virtual time at a fleet that changes: replicas join, leave, drain, are slow; the source goes away."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.transport import FakeTransport

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.client.fleet import READ_S
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.job import Job
from scorer.output.status import Status
from scorer.types import Call, Reply

BODY = orjson.dumps(
    {
        "model": "m",
        "choices": [{"message": {"content": "Score: 4"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }
)
LEAVES_S = 5.0
A, B, C = (f"http://10.0.0.{number}:8000/v1" for number in (1, 2, 3))
ROWS, CONCURRENCY = 240, 8


class Judges(FakeTransport):
    """Answers after `seconds` of an address; `refuses` are those that say 503 with Retry-After, from when on."""

    def __init__(self, seconds: dict[str, float], refuses: dict[str, float] | None = None) -> None:
        super().__init__()
        self.seconds = seconds
        self.refuses = refuses or {}
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.answered: dict[str, int] = defaultdict(int)
        self.in_flight: dict[str, int] = defaultdict(int)
        self.most: dict[str, int] = defaultdict(int)

    async def reply(self, call: Call, number: int) -> Reply:
        now = asyncio.get_running_loop().time()
        address = next(one for one in self.seconds if call.url.startswith(one))
        self.asked[address].append(now)
        if now >= self.refuses.get(address, float("inf")):
            return Reply(503, {"retry-after": "5", "connection": "close"}, b"draining")
        self.in_flight[address] += 1
        self.most[address] = max(self.most[address], self.in_flight[address])
        try:
            await asyncio.sleep(self.seconds[address])
        finally:
            self.in_flight[address] -= 1
        self.answered[address] += 1
        return Reply(200, {"content-type": "application/json"}, BODY)


class FixedDiscovery:
    """A source whose addresses are a function of the time; None: it cannot be read."""

    def __init__(self, at: Callable[[float], list[str] | None]) -> None:
        self.source = "file:judges.txt"
        self._at = at

    async def addresses(self) -> list[str]:
        found = self._at(asyncio.get_running_loop().time())
        if found is None:
            raise SpecError(["judges.txt cannot be read: gone."])
        return found


def run(
    folder: Path,
    judges: Judges,
    at: Callable[[float], list[str] | None],
    monkeypatch: pytest.MonkeyPatch,
    said: list[str] | None = None,
    rows: int = ROWS,
    **limits: Any,
) -> Status:
    monkeypatch.setattr("scorer.client.discovery.discovery", lambda _: FixedDiscovery(at))
    (folder / "in").mkdir()
    pq.write_table(pa.table({"a": [f"text {n}" for n in range(rows)]}), folder / "in/a.parquet")
    tree = {
        "input": {"shards": [f"{folder}/in/*.parquet"]},
        "judge": {"prompt": "Rate {a:fenced} from 1 to 5.", "scale": [1, 5]},
        "model": {"name": "m", "price": {"input": 1.0, "output": 2.0}, "base_urls": "file:judges.txt"},
        "limits": {"concurrency": CONCURRENCY, **limits},
        "output": {"path": f"{folder}/out"},
    }
    callbacks = Callbacks(say=(said if said is not None else []).append)
    connect = partial(make_client, transport=judges)
    job = Job(check(tree), LocalFiles(), callbacks=callbacks, offload=inline, connect=connect)
    found: Status = in_virtual_time(job.run())
    return found


@pytest.mark.parametrize("limits", [{}, {"max_usd": 1.0}], ids=["no cap", "cap"])
def test_a_replica_that_joins_takes_requests_and_one_that_leaves_finishes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]
) -> None:
    judges = Judges({A: 1.0, B: 1.0, C: 1.0})
    done = run(tmp_path, judges, lambda t: [A, B] if t < LEAVES_S else [B, C], monkeypatch, **limits)
    assert (done.scored, done.failed) == (ROWS, 0)
    assert sum(map(len, judges.asked.values())) == ROWS, "no request was sent twice"
    assert judges.answered == {address: len(asked) for address, asked in judges.asked.items()}
    seen_s = LEAVES_S + READ_S
    assert max(judges.asked[A]) <= seen_s
    assert LEAVES_S <= min(judges.asked[C]) <= seen_s + 0.1
    assert sum(at <= seen_s + 2 for at in judges.asked[C]) >= 2 * CONCURRENCY, "it is used whole"
    assert judges.most == dict.fromkeys((A, B, C), CONCURRENCY)


def test_each_change_of_a_fleet_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges({A: 1.0, B: 1.0, C: 1.0})
    said: list[str] = []
    run(tmp_path, judges, lambda t: [[A], [A, B, C], [A], [A, B, C]][min(3, int(t / 3))], monkeypatch, said)
    joined, left = (
        "10.0.0.2:8000, 10.0.0.3:8000 joined; 3 replicas now.",
        "10.0.0.2:8000, 10.0.0.3:8000 left; 1 replica now.",
    )
    assert said == [
        f"model.base_urls = 'file:judges.txt', change {number}: {what}"
        for number, what in enumerate((joined, left, joined), 1)
    ]


def test_a_fleet_that_grows_has_more_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges(dict.fromkeys((A, B, C), 1.0))
    run(tmp_path, judges, lambda t: [A] if t < 1 else [A, B, C], monkeypatch)
    assert max(map(max, judges.asked.values())) < READ_S + (ROWS - 5 * CONCURRENCY) / (3 * CONCURRENCY) + 2


def test_rows_of_a_replica_that_drains_go_elsewhere_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges({A: 1.0, B: 1.0}, refuses={A: 5.0})
    done = run(tmp_path, judges, lambda _: [A, B], monkeypatch)
    assert (done.scored, done.failed) == (ROWS, 0)
    refused = [at for at in judges.asked[A] if at >= 5]
    assert len(refused) <= CONCURRENCY + 5, "then one probe at a time, each 5 s at first"
    assert judges.answered[A] == len(judges.asked[A]) - len(refused), "what it had in flight ended"
    seconds = max(judges.asked[B]) - 5
    assert seconds * CONCURRENCY <= ROWS - judges.answered[A] - sum(at < 5 for at in judges.asked[B]) + 2 * CONCURRENCY


def test_requests_that_wait_for_a_dead_replica_go_to_one_that_joins_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = Judges({A: 1.0, B: 1.0}, refuses={A: 0.5})
    joins_s = 40.0  # probes of the dead one are half a minute apart by then
    done = run(tmp_path, judges, lambda t: [A] if t < joins_s else [A, B], monkeypatch, rows=2 * CONCURRENCY)
    assert (done.scored, done.failed) == (2 * CONCURRENCY, 0)
    assert judges.answered == {A: CONCURRENCY, B: CONCURRENCY}
    assert max(judges.asked[B]) <= joins_s + READ_S + 0.1


def test_an_address_in_another_spelling_is_one_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges({A: 3.0, B: 1.0})
    done = run(tmp_path, judges, lambda _: [f"{A}/chat/completions", f"{B}/"], monkeypatch)
    assert done.scored == ROWS
    assert judges.most == {A: CONCURRENCY, B: CONCURRENCY}, "they do not join again at each look"


def test_a_slow_replica_gets_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges({A: 1.0, B: 8.0})
    assert run(tmp_path, judges, lambda _: [A, B], monkeypatch).scored == ROWS
    assert judges.answered[A] > 5 * judges.answered[B]


def test_a_source_that_goes_away_changes_nothing_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges({A: 1.0, B: 1.0})
    said: list[str] = []
    done = run(tmp_path, judges, lambda t: [A, B] if t < 4 else None, monkeypatch, said)
    assert done.scored == ROWS
    assert judges.answered[A] > 100
    assert len(said) == 1
    assert said[0].startswith("model.base_urls = 'file:judges.txt': judges.txt cannot be read")


def test_a_source_that_cannot_be_read_at_the_start_ends_the_run_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = Judges({A: 1.0})
    with pytest.raises(SpecError, match=r"^model\.base_urls: judges\.txt cannot be read: gone\.$"):
        run(tmp_path, judges, lambda _: None, monkeypatch)
    assert judges.sent_at == []
    assert not (tmp_path / "out").exists(), "no folder is made for it"


@pytest.mark.parametrize(
    ("urls", "why"),
    [
        ("file:", r"model\.base_urls = \"file:\" has no path"),
        (["dns://judges.svc/v1"], "must be a name and a port, such as dns://judges.svc:8000/v1"),
        (["file:a.txt", A], "file:a.txt stands beside other addresses"),
    ],
)
def test_a_wrong_source_is_named(urls: Any, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        check(
            {
                "input": {"shards": ["in/*.parquet"]},
                "judge": {"prompt": "{a}", "scale": [1, 5]},
                "model": {"name": "m", "base_urls": urls},
                "output": {"path": "out"},
            }
        )
