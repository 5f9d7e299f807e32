"""The rehearsal judge's batch APIs on the wire, asked by the real clients."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import orjson
import pytest
from support.clock import inline
from support.command import PATIENCE_S

from scorer.batch.anthropic import AnthropicBatches
from scorer.batch.http import BatchHttp
from scorer.batch.openai import OpenAIBatches
from scorer.batch.types import Batch, BatchApi, Unresolved
from scorer.client.providers.settings import ProviderSettings
from scorer.errors import ServerFault, Unreachable
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.server import RehearsalServer
from scorer.types import Call

both = pytest.mark.parametrize("kind", [OpenAIBatches, AnthropicBatches])
QUICK = {"validate_s": 0.0, "work_s": 0.1, "finalize_s": 0.0}


def server(**batch: Any) -> RehearsalServer:
    return RehearsalServer(RehearsalConfig(hang_s=0.1).changed({"batch": {**QUICK, **batch}}))


def http(judge: RehearsalServer) -> BatchHttp:
    return BatchHttp(ProviderSettings("m", judge.url), {"anthropic-version": "2023-06-01"}, offload=inline)


async def create(api: BatchApi, url: str, rows: int) -> Batch:
    path = "/messages" if isinstance(api, AnthropicBatches) else "/chat/completions"
    asked = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Rate it. " * 100}]}
    calls = [Call(f"{url}{path}", orjson.dumps({**asked, "metadata": {"row": str(row)}})) for row in range(rows)]
    frame = api.frame
    data = frame.head + frame.between.join(api.line(f"n-{row}", call) for row, call in enumerate(calls)) + frame.tail
    id = await api.upload(io.BytesIO(data), len(data), "n")
    return await api.create(io.BytesIO(data), len(data), "n", id, calls[0])


async def ended(api: BatchApi, id: str) -> Batch:
    async with asyncio.timeout(PATIENCE_S):
        while (batch := await api.look(id)).status != "ended":  # noqa: ASYNC110 - the server tells of no event
            await asyncio.sleep(0.02)
    return batch


@both
async def test_batch_travels_whole_and_its_results_are_counted_as_fetched(kind: Any) -> None:
    async with server() as judge, http(judge) as client:
        api = kind(client)
        found = await ended(api, (await create(api, judge.url, 3000)).id)  # 3 MB: beyond what stays in memory
        assert found.answered == 3000
        into = io.BytesIO()
        await api.fetch(found.results[0], into)
        into.seek(0)
        assert len({line.custom_id for line in api.read(into)}) == 3000
        stats = judge.batches.stats(asyncio.get_running_loop().time())
        assert (stats["paid"], stats["paid_not_fetched"], stats["under_way"]) == (3000, 0, 0)
        await api.discard(found)


@both
@pytest.mark.parametrize("fault", ["reset", "hang", "502"])
async def test_create_without_an_answer_made_a_batch(kind: Any, fault: str) -> None:
    async with server(**{f"create_{fault}": 1.0}) as judge, http(judge) as client:
        api = kind(client)
        with pytest.raises(Unresolved):
            await create(api, judge.url, 2)
        assert len([batch async for batch in api.listed(0)]) == 1


@both
async def test_download_ends_before_its_length_or_between_two_lines(kind: Any) -> None:
    async with server() as judge, http(judge) as client:
        api = kind(client)
        found = await ended(api, (await create(api, judge.url, 1000)).id)
        judge.configure(batch={"download_cut": 1.0})
        with pytest.raises(Unreachable):
            await api.fetch(found.results[0], io.BytesIO())
        judge.configure(batch={"download_cut": 0.0, "download_short": 1.0})
        into = io.BytesIO()
        await api.fetch(found.results[0], into)
        assert into.getvalue().endswith(b"\n")
        assert 400 < into.getvalue().count(b"\n") < 600
        judge.configure(batch={"download_short": 0.0, "download_502": 1.0})
        with pytest.raises(ServerFault):
            await api.fetch(found.results[0], io.BytesIO())
        assert judge.batches.stats(asyncio.get_running_loop().time())["paid_not_fetched"] == 1000
