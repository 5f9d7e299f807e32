"""Questions to the rehearsal judge in virtual time."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from scorer.rehearsal.config import FAULTS, RehearsalConfig
from scorer.rehearsal.simulator import Outcome, RehearsalJudge

AT_ONCE = RehearsalConfig(latency_median_s=0)


def question(text: str = "[row:a]", **more: Any) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


def ask(judge: RehearsalJudge, body: Any, now: float = 0.0) -> Outcome:
    return judge.ask("chat", body, now, Random(0))


def choice(outcome: Outcome) -> dict[str, Any]:
    first: dict[str, Any] = json.loads(outcome.body)["choices"][0]
    return first


STORM = RehearsalConfig(
    requests_per_minute=600,
    tokens_per_minute=9000,
    capacity=3,
    context_tokens=60,
    poison="poison",
    refuse="refuse",
    cached_share=0.5,
).changed({f"fault_{name}": 0.06 for name in FAULTS})
