"""The rehearsal judge as a transport: whole runs against it in virtual time, without a network."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
from support.transport import FakeTransport

from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.simulator import RehearsalJudge
from scorer.types import Call, Reply

_ENDPOINTS: dict[str, Endpoint] = {
    "classify": "classify",
    "score": "score",
    "pooling": "pooling",
    "predict": "predict",
}


class Simulated(FakeTransport):
    """The rehearsal judge without a network; `bodies` are what it was asked."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.judge = RehearsalJudge(RehearsalConfig(latency_median_s=0.0, **config))
        self.bodies: list[dict[str, Any]] = []

    async def reply(self, call: Call, number: int) -> Reply:
        body = orjson.loads(call.body)
        self.bodies.append(body)
        endpoint = _ENDPOINTS.get(call.url.rpartition("/")[2], "chat")
        outcome = self.judge.ask(endpoint, body, float(number), Random(0))
        self.judge.settle(outcome, float(number), delivered=True)
        return Reply(outcome.status, outcome.headers, outcome.body)
