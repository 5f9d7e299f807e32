"""The simulated judge's batch APIs, asked by the real clients in virtual time: each fault, and what was paid."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import inline, now, run
from support.simulated_batches import SimulatedBatchHttp, SimulatedSession

from scorer.batch.anthropic import AnthropicBatches
from scorer.batch.openai import OpenAIBatches
from scorer.batch.types import Batch, BatchApi, Gone, NotAccepted, Unresolved
from scorer.client.providers.settings import ProviderSettings
from scorer.errors import ServerFault, SpecError, TransientError, Unreachable
from scorer.rehearsal.batches.simulator import SimulatedBatches
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.reply_writer import ReplyWriter
from scorer.rehearsal.simulator import RehearsalJudge
from scorer.types import Call

URL = "http://judge.test/v1"
KINDS = (OpenAIBatches, AnthropicBatches)
both = pytest.mark.parametrize("kind", KINDS)


class Provider:
    """A simulated judge and a client of one of its batch APIs."""

    def __init__(self, kind: type[OpenAIBatches] | type[AnthropicBatches], judge: dict[str, Any], **batch: Any) -> None:
        config = RehearsalConfig(latency_median_s=0.0).changed({**judge, "batch": batch})
        self.judge = RehearsalJudge(config, epoch=1_790_000_000.0)
        self.batches = SimulatedBatches(self.judge, config.batch, Random(f"batches of {config.seed}"))
        self.api: BatchApi = kind(
            SimulatedBatchHttp(ProviderSettings("m", URL), {}, offload=inline).over(SimulatedSession(self.batches))
        )

    @property
    def stats(self) -> dict[str, Any]:
        return self.batches.stats(now())

    def call(self, row: str) -> Call:
        path = "/messages" if isinstance(self.api, AnthropicBatches) else "/chat/completions"
        body = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": f"[row:{row}] Rate it."}]}
        return Call(URL + path, orjson.dumps(body))

    async def create(self, rows: int = 4, nonce: str = "n") -> Batch:
        frame = self.api.frame
        lines = [self.api.line(f"{nonce}-{row}", self.call(f"{nonce}-{row}")) for row in range(rows)]
        data = frame.head + frame.between.join(lines) + frame.tail
        input_id = await self.api.upload(io.BytesIO(data), len(data), nonce)
        return await self.api.create(io.BytesIO(data), len(data), nonce, input_id, self.call("x"))

    async def ended(self, id: str) -> Batch:
        for _ in range(1000):
            batch = await self.api.look(id)
            if batch.status != "running" and not batch.awaited:
                return batch
            await asyncio.sleep(0.1)
        raise AssertionError("it never ends")

    async def results(self, batch: Batch) -> dict[str, list[Any]]:
        """The results by custom_id."""
        found: dict[str, list[Any]] = {}
        for id in batch.results:
            into = io.BytesIO()
            await self.api.fetch(id, into)
            into.seek(0)
            for line in self.api.read(into):
                found.setdefault(line.custom_id, []).append(line.reply or line.why)
        return found

    async def listed(self) -> list[str]:
        return [batch.id async for batch in self.api.listed(0)]


def judged(
    kind: Any, scenario: Callable[[Provider], Awaitable[None]], judge: dict[str, Any] | None = None, **batch: Any
) -> None:
    async def main() -> None:
        await scenario(Provider(kind, judge or {}, **batch))

    run(main())


def text_of(body: bytes) -> str:
    value = orjson.loads(body)
    return str(value["content"][0]["text"] if "content" in value else value["choices"][0]["message"]["content"])


@both
def test_simulated_batch_answers_each_line_with_its_rows_verdict_and_pays_it_once(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        began = now()
        made = await provider.create(30)
        assert made.status == "running"
        ended = await provider.ended(made.id)
        assert 2.0 < now() - began < 4.0
        assert (ended.status, ended.requests, ended.answered) == ("ended", 30, 30)
        found = await provider.results(ended)
        assert list(found) != sorted(found)  # in any order
        writer = ReplyWriter(RehearsalConfig())
        for custom_id, (reply,) in found.items():
            assert text_of(reply.body) == f"Score: {writer.verdict(custom_id).label}"
        stats = provider.stats
        assert (stats["paid"], stats["paid_again"], stats["paid_not_fetched"], stats["rows_paid"]) == (30, 0, 0, 30)
        payments = provider.batches.payments()
        assert payments["n-3"]["row"] == "n-3"
        assert stats["prompt_tokens"] == sum(one["prompt_tokens"] for one in payments.values())
        await provider.create(30)  # the same requests again
        assert provider.stats["paid_again"] == 0
        await asyncio.sleep(5)
        assert provider.stats["paid_again"] == 30

    judged(kind, scenario)


@both
@pytest.mark.parametrize("fault", ["502", "504", "reset", "hang"])
def test_unanswered_create_made_a_batch_that_the_listing_shows(kind: Any, fault: str) -> None:
    async def scenario(provider: Provider) -> None:
        with pytest.raises(Unresolved):
            await provider.create()
        (id,) = await provider.listed()
        assert provider.stats[f"create_{fault}"] == 1
        assert len(await provider.results(await provider.ended(id))) == 4

    judged(kind, scenario, **{f"create_{fault}": 1.0})


@pytest.mark.parametrize("fault", ["502", "504", "reset", "hang"])
def test_unanswered_upload_left_a_file(fault: str) -> None:
    async def scenario(provider: Provider) -> None:
        with pytest.raises(ServerFault):
            await provider.create()
        assert len(provider.batches.store.files) == 1
        assert await provider.listed() == []

    judged(OpenAIBatches, scenario, **{f"upload_{fault}": 1.0})


@both
def test_listing_lags_by_the_servers_time_and_may_show_a_batch_twice(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        made = await provider.create()
        assert await provider.listed() == []
        assert (await provider.api.look(made.id)).id == made.id
        await asyncio.sleep(30)
        assert await provider.listed() == [made.id, made.id]

    judged(kind, scenario, list_lag_s=30.0, list_twice=1.0)


@both
def test_clock_of_the_provider_differs_and_its_dates_spread(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        made = await provider.create()
        ours = provider.judge.epoch + now()
        assert made.created_at == pytest.approx(ours - 500, abs=2)
        seen = set()
        for _ in range(20):
            await provider.api.look(made.id)
            assert provider.api.now == pytest.approx(ours - 500, abs=12)
            seen.add(provider.api.now)
        assert len(seen) > 5

    judged(kind, scenario, clock_s=-500.0, clock_spread_s=10.0)


@both
def test_second_batch_of_a_create_that_was_asked_twice_has_the_same_requests(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        with pytest.raises(Unresolved):
            await provider.create()
        await asyncio.sleep(5)
        assert len(await provider.listed()) == 2
        assert provider.stats["paid_again"] == 4

    judged(kind, scenario, create_twice=1.0, create_502=1.0)


@both
def test_expired_batch_has_the_results_so_far_and_bills_those_alone(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        found = await provider.results(await provider.ended((await provider.create(200)).id))
        unanswered = [one for (one,) in found.values() if isinstance(one, str)]
        assert len(found) == 200
        assert 0 < len(unanswered) < 200
        assert set(unanswered) == {"batch_expired" if provider.api.names else "expired"}
        assert provider.stats["paid"] == 200 - len(unanswered)

    judged(kind, scenario, {"seed": 3}, expire=1.0)


@both
@pytest.mark.parametrize("late", [False, True])
def test_cancelled_batch_gives_what_was_done_and_a_late_cancel_gives_all(kind: Any, late: bool) -> None:
    async def scenario(provider: Provider) -> None:
        made = await provider.create(200)
        await asyncio.sleep(1)
        await provider.api.cancel(made.id)
        ended = await provider.ended(made.id)
        found = await provider.results(ended)
        paid = provider.stats["paid"]
        assert paid == 200 if late else 0 < paid < 200
        assert len(found) == 200
        assert sum(not isinstance(one, str) for (one,) in found.values()) == paid
        await provider.api.cancel(made.id)  # it has ended

    judged(kind, scenario, late_cancel=float(late))


@pytest.mark.parametrize(
    ("faults", "code", "line"),
    [
        ({"token_limit": 1.0}, "token_limit_exceeded", None),
        ({"enqueued_tokens": 5}, "token_limit_exceeded", None),
        ({"fail": 1.0}, "server_error", None),
        ({"invalid": "n-2"}, "invalid_request", 3),
        ({"invalid": "n-2", "invalid_line": False}, "invalid_request", None),
        ({"max_requests": 3}, "too_many_tasks", None),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_failed_batch_says_why_and_bills_nothing(faults: dict[str, Any], code: str, line: int | None) -> None:
    async def scenario(provider: Provider) -> None:
        failed = await provider.ended((await provider.create()).id)
        assert failed.status == "failed"
        assert failed.problem is not None
        assert (failed.problem.code, failed.problem.line) == (code, line)
        assert failed.problem.of_the_moment is (code == "token_limit_exceeded")
        assert provider.stats["paid"] == 0

    judged(OpenAIBatches, scenario, **faults)


def test_enqueued_tokens_are_released_at_the_end_of_a_batch_and_not_before() -> None:
    async def scenario(provider: Provider) -> None:
        first = await provider.create(4, "a")
        await asyncio.sleep(1)
        assert (await provider.ended((await provider.create(4, "b")).id)).status == "failed"
        ended = await provider.ended(first.id)
        assert (await provider.ended((await provider.create(4, "c")).id)).status == "failed"  # not yet
        await asyncio.sleep(10)
        assert (await provider.ended((await provider.create(4, "d")).id)).status == ended.status == "ended"

    judged(OpenAIBatches, scenario, enqueued_tokens=30, release_s=5.0)


@both
@pytest.mark.parametrize("fault", ["error", "status_0", "lost", "lost_paid", "twice", "foreign"])
def test_fault_of_a_line_is_that_lines_alone(kind: Any, fault: str) -> None:
    async def scenario(provider: Provider) -> None:
        made = await provider.create(200)
        ended = await provider.ended(made.id)
        found = await provider.results(ended)
        stats = provider.stats
        own = {custom_id: replies for custom_id, replies in found.items() if custom_id.startswith("n-")}
        whole = [replies for replies in own.values() if getattr(replies[0], "status", 0) == 200]
        assert 0 < len(whole) <= 200
        assert stats["paid"] == len(whole) + stats["lines"].get("lost_paid", 0)
        if fault in ("lost", "lost_paid"):
            assert stats["lines"][fault] == 200 - len(own)
            assert ended.answered == ended.requests
        elif fault == "twice":
            assert any(len(replies) == 2 for replies in whole)
            assert stats["paid"] == 200
        elif fault == "foreign":
            assert found.keys() - own.keys()
        elif provider.api.names or fault == "error":
            assert len(own) == 200 > len(whole)

    judged(kind, scenario, **{f"{fault}_lines": 0.3})


@both
def test_results_are_gone_or_cut_or_short_or_behind_a_gateway(kind: Any) -> None:
    async def fetched(provider: Provider) -> bytes:
        ended = await provider.ended((await provider.create(50)).id)
        into = io.BytesIO()
        await provider.api.fetch(ended.results[0], into)
        return into.getvalue()

    async def cut(provider: Provider) -> None:
        with pytest.raises(Unreachable):
            await fetched(provider)
        assert provider.stats["paid_not_fetched"] == 50

    async def short(provider: Provider) -> None:
        data = await fetched(provider)
        assert data.endswith(b"\n")
        assert 0 < data.count(b"\n") < 50
        assert provider.stats["paid_not_fetched"] == 50

    async def gateway(provider: Provider) -> None:
        with pytest.raises(ServerFault):
            await fetched(provider)

    async def gone(provider: Provider) -> None:
        ended = await provider.ended((await provider.create(4)).id)
        await asyncio.sleep(60)
        asked = provider.api.look(ended.id) if provider.api.names else provider.api.fetch(ended.id, io.BytesIO())
        with pytest.raises(Gone):
            await asked

    judged(kind, cut, download_cut=1.0)
    judged(kind, short, download_short=1.0)
    judged(kind, gateway, download_502=1.0)
    judged(kind, gone, keep_s=30.0)


def test_ids_of_results_are_null_until_asked_again_and_metadata_is_dropped() -> None:
    async def scenario(provider: Provider) -> None:
        made = await provider.create()
        assert not made.nonce
        await asyncio.sleep(10)
        first = await provider.api.look(made.id)
        assert (first.status, first.awaited, first.results) == ("ended", True, ())
        assert not (await provider.api.look(made.id)).awaited
        (stored,) = [one for one in provider.batches.store.files.values() if one.purpose == "batch"]
        assert (stored.name, stored.id) == ("n.jsonl", made.input_id)

    judged(OpenAIBatches, scenario, null_output=1.0, drop_metadata=True)


@both
def test_line_that_the_judge_declines_is_an_error_of_that_line_and_not_paid(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        found = await provider.results(await provider.ended((await provider.create()).id))
        assert [reply.status for (reply,) in found.values()].count(400) == 1
        assert provider.stats["lines"] == {"declined": 1, "paid": 3}

    judged(kind, scenario, {"poison": r"n-2\]"})


@both
def test_reply_names_the_tier_as_the_providers_do(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        found = await provider.results(await provider.ended((await provider.create(1)).id))
        value = orjson.loads(found["n-0"][0].body)
        assert value.get("service_tier", value["usage"].get("service_tier")) == (
            "default" if provider.api.names else "batch"
        )

    judged(kind, scenario)


@both
def test_busy_provider_does_nothing(kind: Any) -> None:
    async def scenario(provider: Provider) -> None:
        for _ in range(10):
            with pytest.raises((TransientError, Unresolved)):
                await provider.create()
        assert provider.stats["busy"] == 10
        assert not provider.batches.store.batches
        assert not provider.batches.store.files

    judged(kind, scenario, busy=1.0)


def test_anthropic_refuses_what_it_could_not_tell_apart() -> None:
    async def scenario(provider: Provider) -> None:
        for nonce in ("a b", "x" * 70):
            with pytest.raises(NotAccepted):
                await provider.create(1, nonce)
        assert not provider.batches.store.batches

    judged(AnthropicBatches, scenario)


@given(
    st.sampled_from(KINDS),
    st.integers(0, 1000),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from([0.0, 0.2])
            for name in ("expire", "error_lines", "lost_lines", "lost_paid_lines", "twice_lines", "late_cancel")
        },
    ),
    st.one_of(st.none(), st.floats(0, 3)),
)
@settings(deadline=None, max_examples=40)
def test_every_line_ends_once_and_only_what_was_executed_is_paid(
    kind: Any, seed: int, faults: dict[str, float], cancel_at: float | None
) -> None:
    async def scenario(provider: Provider) -> None:
        made = await provider.create(40)
        if cancel_at is not None:
            await asyncio.sleep(cancel_at)
            await provider.api.cancel(made.id)
        found = await provider.results(await provider.ended(made.id))
        lines = provider.stats["lines"]
        assert sum(lines.values()) == 40
        assert len(found) == 40 - lines.get("lost", 0) - lines.get("lost_paid", 0)
        assert provider.stats["paid"] == lines.get("paid", 0) + lines.get("lost_paid", 0)
        assert provider.stats["paid_again"] == 0

    judged(kind, scenario, {"seed": seed}, **faults)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"work": 1}, "batch.work is not a key"),
        ({"expire": 2.0}, "batch.expire must be at least 0 and at most 1"),
        ({"invalid": "("}, "batch.invalid is no regular expression"),
        ({"max_requests": 1.5}, "batch.max_requests must be a whole number"),
        ({"create_502": 0.6, "create_hang": 0.6}, "create_* add up to more than 1"),
        ({"drop_metadata": 1}, "batch.drop_metadata must be true or false"),
    ],
)
def test_wrong_settings_of_batches_are_named(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError) as caught:
        RehearsalConfig().changed({"batch": keys})
    assert named in str(caught.value)
