"""Promise: a run is paused, paced and given a higher cap while it goes on; nothing is lost, doubled or overspent by it.

The real job in virtual time. Each change is reported, and stands in `run.json` with its time and who made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import inline, now
from support.clock import run as in_virtual_time
from support.inprocess import Run, Wire

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import BudgetSpent, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.control import CONCURRENCY, MAX_TOKENS, MAX_USD, PAUSED, ChangeRecorder, described
from scorer.job.job import Job
from scorer.output.layout import Layout
from scorer.output.manifest import Change, load
from scorer.output.progress import Snapshot, snapshot_of
from scorer.output.status import Status
from scorer.types import Call, Reply

ANSWER_S = 0.5


class Slow(Wire):
    """A judge that takes half a second. `most` is the most requests that it had at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def reply(self, call: Call, number: int) -> Reply:
        self.now += 1
        self.most = max(self.most, self.now)
        found = await super().reply(call, number)
        await asyncio.sleep(ANSWER_S)
        self.now -= 1
        return found


class Scored(Run):
    """A run of one shard whose job can be changed; `limits` and `judge` are tables of its run file."""

    def __init__(self, root: Path, rows: int, limits: dict[str, Any] | None = None, **judge: Any) -> None:
        super().__init__(root, rows)
        self.wire = Slow()
        self.tree = {
            "input": {"shards": self.patterns, "id": "id"},
            "judge": {"prompt": "[row:{id}] Rate.\n{response}", "scale": [1, 10], **judge},
            "model": {"name": "wire", "base_url": "http://127.0.0.1:1/v1", "price": {"input": 1.0, "output": 2.0}},
            "limits": {"concurrency": 4, **(limits or {})},
            "output": {"path": self.out},
        }
        self.seen: list[Snapshot] = []
        self.events: list[dict[str, Any]] = []
        self.watch: Callable[[Snapshot], None] = self.seen.append
        self.made = self.controlled()

    def controlled(self) -> Job:
        return Job(
            check(self.tree),
            LocalFiles(),
            offload=inline,
            wall_s=lambda: 1_790_000_000.0 + now(),
            connect=partial(make_client, transport=self.wire),
            callbacks=Callbacks(
                self.watch, self.said.append, lambda name, fields: self.events.append({"event": name, **fields})
            ),
        )

    def live(self, script: Callable[[Job], Any]) -> Status:
        """Runs the job, and `script` beside it."""

        async def both() -> Status:
            beside = asyncio.ensure_future(script(self.made))
            try:
                return await self.made.run()
            finally:
                beside.cancel()
                await asyncio.gather(beside, return_exceptions=True)
                if not beside.cancelled() and (error := beside.exception()) is not None:
                    raise error

        return in_virtual_time(both())

    @property
    def progress(self) -> Snapshot:
        found = snapshot_of(Path(self.out, "progress.json").read_bytes())
        assert found is not None
        return found


@pytest.mark.parametrize("limits", [{}, {"max_usd": 100.0}])
def test_a_pause_sends_nothing_of_new_rows_and_the_run_ends_exact_after_it(
    tmp_path: Path, limits: dict[str, float]
) -> None:
    run, asked = Scored(tmp_path, 60, limits), []

    async def script(job: Job) -> None:
        await asyncio.sleep(3.2)
        job.control.change(PAUSED, True, "ada")
        asked.append(run.wire.asked.total())
        await asyncio.sleep(1)
        assert run.wire.now == 0
        await asyncio.sleep(200)
        asked.append(run.wire.asked.total())
        assert run.progress.paused
        assert (run.progress.in_flight, run.progress.state) == (0, "running")
        assert run.progress.maybe_billed_usd == 0
        job.control.change(PAUSED, False, "bob")

    assert run.live(script).state == "complete"
    assert asked[0] == asked[1] < 60
    assert now_of(run) > 200
    run.exact()
    assert not run.twice()
    assert run.said == [
        "Paused: rows in flight are finished, no other row is begun (ada).",
        "Resumed (bob).",
    ]
    assert [event["who"] for event in run.events if event["event"] == "changed"] == ["ada", "bob"]
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert [(change.who, change.key, change.before, change.after) for change in manifest.changes] == [
        ("ada", PAUSED, False, True),
        ("bob", PAUSED, True, False),
    ]
    assert manifest.changes[0].at == "2026-09-21T14:13:23.200+00:00"


def now_of(run: Scored) -> float:
    """The seconds that the run took."""
    return run.seen[-1].updated_at - 1_790_000_000.0


def test_a_pause_finishes_the_samples_of_rows_in_flight(tmp_path: Path) -> None:
    run = Scored(tmp_path, 12, samples=3)

    async def script(job: Job) -> None:
        await asyncio.sleep(0.7)  # 4 requests are answered and 4 are out, of rows of 3 samples
        job.control.change(PAUSED, True, "ada")
        begun = set(run.wire.asked)
        await asyncio.sleep(60)
        assert set(run.wire.asked) == begun
        assert {run.wire.asked[row] for row in begun} == {3}
        job.control.change(PAUSED, False, "ada")

    assert run.live(script).state == "complete"
    assert set(run.wire.asked.values()) == {3}


def test_a_pause_before_the_first_row_and_a_stop_in_it_ask_nothing(tmp_path: Path) -> None:
    run = Scored(tmp_path, 9, {"first_answer_s": 60})

    async def script(job: Job) -> None:
        job.control.change(PAUSED, True, "ada")
        await asyncio.sleep(100)  # longer than limits.first_answer_s
        job.stop()

    with pytest.raises(Exception, match="Stopped on request"):
        run.live(script)
    assert not run.wire.asked
    run.made = run.controlled()
    assert run.live(lambda _: asyncio.sleep(0)).state == "complete"
    run.exact()


def test_a_raised_cap_is_spent_exactly_and_the_run_goes_on(tmp_path: Path) -> None:
    run = Scored(tmp_path, 60, {"max_tokens": 20_000})

    async def script(job: Job) -> None:
        await asyncio.sleep(1.2)
        assert run.wire.now > 0  # requests are out, and their worst cases reserved
        change = job.control.change(MAX_TOKENS, 26_000, "ada")
        assert change is not None
        assert described(change) == "limits.max_tokens is 26000 now, it was 20000 (ada)."

    reply = run.wire.reply

    async def dear(call: Call, number: int) -> Reply:
        found = await reply(call, number)
        body = found.body.replace(b'"prompt_tokens":10', b'"prompt_tokens":600').replace(
            b'"total_tokens":12', b'"total_tokens":602'
        )
        return Reply(found.status, found.headers, body)

    run.wire.reply = dear  # type: ignore[method-assign]
    with pytest.raises(BudgetSpent, match=r"limits\.max_tokens = 26000 is used up"):
        run.live(script)
    spent = run.wire.billed * 602
    assert 20_000 < spent <= 26_000
    assert run.progress.prompt_tokens + run.progress.completion_tokens == spent
    assert (run.progress.limits["max_tokens"], run.progress.exit_code) == (26_000, 3)
    assert "max_tokens" in str(run.progress.error)


@pytest.mark.parametrize(("cap", "value"), [(MAX_TOKENS, 1), (MAX_USD, 1e-6)])
def test_a_cap_is_not_raised_once_the_run_ends_because_of_it(tmp_path: Path, cap: str, value: float) -> None:
    run, refused = Scored(tmp_path, 9, {cap.removeprefix("limits."): value}), []

    def look(shown: Snapshot) -> None:  # the last one comes while the run stores what it has
        if shown.state == "stopped":
            with pytest.raises(SpecError, match=rf"resume it once it has ended: --set {cap}=9000000\.$"):
                run.made.control.change(cap, 9_000_000, "ada")
            run.made.control.change(PAUSED, True, "ada")
            refused.append(dict(run.made.control.caps))

    run.watch = look
    run.made = run.controlled()
    with pytest.raises(BudgetSpent):
        run.live(lambda _: asyncio.sleep(0))
    assert refused == [{cap: value}]
    assert [change.key for change in run.made.control.changes] == [PAUSED]
    assert not run.wire.asked


def test_requests_in_flight_follow_what_is_set(tmp_path: Path) -> None:
    run, at = Scored(tmp_path, 300), []

    async def script(job: Job) -> None:
        for places in (12, 16, 1, 7):
            job.control.change(CONCURRENCY, places, "ada")
            await asyncio.sleep(2)
            run.wire.most = run.wire.now
            await asyncio.sleep(2)
            at.append(run.wire.most)

    assert run.live(script).state == "complete"
    assert at == [12, 16, 1, 7]
    run.exact()
    assert run.seen[-1].limits["concurrency"] == 7


def test_a_change_that_is_not_possible_says_what_is(tmp_path: Path) -> None:
    run = Scored(tmp_path, 40, {"max_usd": 5.0})

    async def script(job: Job) -> None:
        await asyncio.sleep(1)
        control = job.control
        for key, value, says in [
            (MAX_USD, 4.0, "can only be raised, and it is 5"),
            (MAX_USD, float("nan"), "can only be raised"),
            (MAX_USD, "9", "can only be raised"),
            (MAX_TOKENS, 10, "has no limits.max_tokens"),
            (CONCURRENCY, 0, "from 1 to 16"),
            (CONCURRENCY, 17, "from 1 to 16"),
            (CONCURRENCY, True, "from 1 to 16"),
            (PAUSED, 1, "true or false"),
            ("judge.prompt", "x", "These can: paused, limits.concurrency"),
        ]:
            with pytest.raises(SpecError, match=says):
                control.change(key, value, "ada")
        assert control.change(PAUSED, False, "ada") is None  # it is so already

    assert run.live(script).state == "complete"
    assert run.said == []
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert manifest.changes == ()


def test_equal_changes_in_one_instant_are_all_written(tmp_path: Path) -> None:
    run = Scored(tmp_path, 9)

    async def script(job: Job) -> None:
        await asyncio.sleep(0.2)
        for paused in (True, False, True, False):
            job.control.change(PAUSED, paused, "ada")
            for _ in range(20):  # turns of the loop in which it is written
                await asyncio.sleep(0)

    assert run.live(script).state == "complete"
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert [change.after for change in manifest.changes] == [True, False, True, False]


def test_a_write_that_comes_after_a_later_one_adds_nothing(tmp_path: Path) -> None:
    """The turn of the first one was cancelled while its thread was at it."""
    run = Scored(tmp_path, 1)
    assert run.live(lambda job: asyncio.sleep(0)).state == "complete"
    made = [Change("2026-11-29T12:00:00.000Z", "ada", PAUSED, not after, after) for after in (True, False)]
    control, late = SimpleNamespace(changes=made[:1]), []

    async def offload(write: Callable[..., None], changes: Any) -> None:
        if not late:
            late.append(partial(write, changes))
            raise asyncio.CancelledError
        write(changes)

    async def turns() -> None:
        recorder = ChangeRecorder(
            control,  # type: ignore[arg-type]
            LocalFiles(),
            Layout(run.out),
            offload=offload,  # type: ignore[arg-type]
            owned=lambda: True,
            say=run.said.append,
        )
        with pytest.raises(asyncio.CancelledError):
            await recorder.work()
        control.changes = made
        await recorder.work()
        late[0]()

    in_virtual_time(turns())
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert [*manifest.changes] == made


_CHANGE = st.one_of(
    st.tuples(st.just(PAUSED), st.booleans()),
    st.tuples(st.just(CONCURRENCY), st.integers(1, 16)),
    st.tuples(st.just(MAX_USD), st.sampled_from([1.0, 2.0, 3.0])),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from([0.0, 0.3, 1.7]), _CHANGE), max_size=12), samples=st.integers(1, 2))
def test_through_any_changes_each_row_is_asked_once_and_the_ledger_agrees(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, tuple[str, Any]]], samples: int
) -> None:
    run = Scored(tmp_path_factory.mktemp("changed"), 30, {"max_usd": 1.0}, samples=samples)

    async def script(job: Job) -> None:
        for wait_s, (key, value) in changes:
            await asyncio.sleep(wait_s)
            try:
                job.control.change(key, value, "ada")
            except SpecError as error:
                assert "can only be raised" in str(error) or "no requests in flight" in str(error)  # noqa: PT017
        await asyncio.sleep(5)
        job.control.change(PAUSED, False, "ada")

    found = run.live(script)
    assert (found.state, found.maybe_billed_usd) == ("complete", 0.0)
    run.exact()
    assert set(run.wire.asked.values()) == {samples}
    assert found.requests == run.wire.billed
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert list(manifest.changes) == run.made.control.changes
