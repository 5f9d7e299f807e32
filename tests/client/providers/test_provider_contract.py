"""Our own providers keep the contract that plug-ins are tested against."""

from __future__ import annotations

from typing import Any

from scorer.client.providers.anthropic import Anthropic
from scorer.client.providers.bedrock import Bedrock
from scorer.client.providers.openai import OpenAI
from scorer.client.providers.responses import Responses
from scorer.testing import ProviderContract
from scorer.types import Provider
from scorer.usage import Usage


class TestOpenAI(ProviderContract):
    body = (
        b'{"id": "x", "model": "some-model-1", "choices": [{"index": 0, "finish_reason": "stop", "message": '
        b'{"role": "assistant", "content": "Score: 4 \\u2713"}}], '
        b'"usage": {"prompt_tokens": 11, "completion_tokens": 3}}'
    )
    text = "Score: 4 ✓"
    usage = Usage(11, 3)

    def make(self, **options: Any) -> Provider:
        return OpenAI(**options)


class TestAnthropic(ProviderContract):
    body = (
        b'{"id": "x", "type": "message", "role": "assistant", "model": "some-model-1", "stop_reason": "end_turn", '
        b'"content": [{"type": "text", "text": "Score: 4"}], "usage": {"input_tokens": 11, "output_tokens": 3}}'
    )
    text = "Score: 4"
    usage = Usage(11, 3)

    def make(self, **options: Any) -> Provider:
        return Anthropic(**options)


class TestResponses(ProviderContract):
    body = (
        b'{"id": "x", "status": "completed", "model": "some-model-1", "output": [{"type": "message", "content": '
        b'[{"type": "output_text", "text": "Score: 4"}]}], "usage": {"input_tokens": 11, "output_tokens": 3}}'
    )
    text = "Score: 4"
    usage = Usage(11, 3)

    def make(self, **options: Any) -> Provider:
        return Responses(**options)


class TestBedrock(ProviderContract):
    body = (
        b'{"output": {"message": {"role": "assistant", "content": [{"text": "Score: 4"}]}}, "stopReason": "end_turn", '
        b'"usage": {"inputTokens": 11, "outputTokens": 3, "totalTokens": 14}}'
    )
    text = "Score: 4"
    usage = Usage(11, 3)

    def make(self, **options: Any) -> Provider:
        return Bedrock(**options)
