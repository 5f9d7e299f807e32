"""Promise: another model or system fingerprint in the replies is reported at once, each once, and stands in the row."""

from __future__ import annotations

import asyncio

import orjson
from support.clock import nothing, now, run
from support.transport import FakeTransport

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.judge_names import MOST_TOLD, JudgeNames
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.output.ledger import Ledger
from scorer.types import Call, Message, Reply, Request


class Server(FakeTransport):
    async def reply(self, call: Call, number: int) -> Reply:
        choice = {"message": {"content": "4"}, "finish_reason": "stop"}
        names = {"model": "m-1" if number < 5 else "m-2", "system_fingerprint": f"fp_{number // 3 % 2}"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        return Reply(200, {}, orjson.dumps({"choices": [choice], "usage": usage, **names}))


def test_changed_names_are_told_once_and_are_in_the_completion() -> None:
    async def go() -> tuple[list[str], list[str | None]]:
        ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
        limits = LocalLimiter(RateLimits(concurrency=1), Budget(ledger))
        endpoint = Endpoint(OpenAI(name="m", base_url="http://judge/v1"), limits)
        client = HttpClient([endpoint], Server(), ModelTerms(None, 8), retries=2, clock=now)
        done = await asyncio.gather(*(client.complete(Request(messages=(Message("user", "?"),))) for _ in range(12)))
        return limits.notes, [completion.system_fingerprint for completion in done]

    notes, fingerprints = run(go())
    assert notes == [
        "Replies name the system fingerprint 'fp_1' now, and before 'fp_0': the judge may have changed.",
        "Replies name the model 'm-2' now, and before 'm-1': the judge may have changed.",
    ]
    assert fingerprints == ["fp_0"] * 3 + ["fp_1"] * 3 + ["fp_0"] * 3 + ["fp_1"] * 3


def test_no_name_is_no_change_and_many_names_are_not_all_told() -> None:
    names = JudgeNames()
    assert [names.changed("m", None), names.changed("", None), names.changed("m", None)] == [[], [], []]
    assert sum(len(names.changed(f"m{n}", None)) for n in range(50)) == MOST_TOLD
