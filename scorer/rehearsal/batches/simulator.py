"""The batch endpoints of the simulated judge without a network: given the time and a request, what is answered."""

from __future__ import annotations

from dataclasses import asdict, replace
from random import Random
from typing import Any

from scorer.rehearsal.batches.anthropic import AnthropicBatchEndpoints
from scorer.rehearsal.batches.ask import Ask, Reply
from scorer.rehearsal.batches.config import BatchConfig
from scorer.rehearsal.batches.openai import OpenAIBatchEndpoints
from scorer.rehearsal.batches.store import BatchStore
from scorer.rehearsal.replies import ALWAYS, JSON
from scorer.rehearsal.simulator import RehearsalJudge


class SimulatedBatches:
    """Both protocols over one store. Knows no event loop, no socket, no clock: the same seed gives the same run."""

    def __init__(self, judge: RehearsalJudge, config: BatchConfig, rng: Random) -> None:
        self._judge = judge
        self.store = BatchStore(judge, config, rng)
        self._endpoints = (OpenAIBatchEndpoints(self.store), AnthropicBatchEndpoints(self.store))

    def configure(self, config: BatchConfig) -> None:
        """Takes another config from now on; batches that were made keep theirs."""
        self.store.config = config

    def handle(self, ask: Ask, now: float) -> Reply | None:
        """The answer; None where the path is none of a batch API."""
        if not ask.path.startswith(("/files", "/batches", "/messages/batches")):
            return None
        store = self.store
        store.advance(now)
        reply = self._always() or store.busy()
        for endpoints in self._endpoints if reply is None else ():
            reply = reply or endpoints.answer(ask, now)
        return None if reply is None else replace(reply, headers={**reply.headers, "date": store.date(now)})

    def stats(self, now: float) -> dict[str, Any]:
        """The totals of `BatchLog.stats`, and how many batches have not ended."""
        self.store.advance(now)
        going = sum(batch.ended_at is None for batch in self.store.batches.values())
        return {**self.store.log.stats(), "under_way": going}

    def payments(self) -> dict[str, dict[str, Any]]:
        """What was paid in batches, by `custom_id`."""
        return {id: asdict(payment) for id, payment in self.store.log.payments.items()}

    def _always(self) -> Reply | None:
        always = self._judge.config.always
        if not always:
            return None
        status, body = ALWAYS[always]
        return Reply(status, body, headers={"content-type": JSON})
