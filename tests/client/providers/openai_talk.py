"""An OpenAI provider, and replies for it."""

from __future__ import annotations

from typing import Any

import orjson
from golden_exchange import FOLDER, talk

from scorer.client.providers.openai import OpenAI
from scorer.errors import (
    ScorerError,
)
from scorer.types import (
    Completion,
    Message,
    Reply,
    Request,
)

GOLDEN = sorted(FOLDER.glob("*.json"))
DIALECTS = ("openai", "azure", "vllm", "sglang", "tgi", "ollama", "openrouter", "gemini", "deepseek")
OURS = [path for path in GOLDEN if path.name.startswith(DIALECTS)]
ASK = Request(messages=(Message("user", "Grade it."),))
FORCE = Request(prompt="Paris is in", continuation="France.")


def provider(**keywords: Any) -> OpenAI:
    return OpenAI(**{"name": "m", "base_url": "http://h/v1"} | keywords)


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def error(message: str, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, **more}}


def answer(content: Any = "4", **choice: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"message": {"content": content}, "finish_reason": "stop", **choice}]}


def outcome(body: Any, status: int = 200, **headers: str) -> Completion | ScorerError:
    return talk(provider(), ASK, [reply(body, status, **headers)])[1]
