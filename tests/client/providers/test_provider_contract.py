"""Our own providers keep the contract that plug-ins are tested against."""

from __future__ import annotations

from typing import Any

from scorer.client.providers.anthropic import Anthropic
from scorer.client.providers.bedrock import Bedrock
from scorer.client.providers.classifiers import Classify, Predict
from scorer.client.providers.openai import OpenAI
from scorer.client.providers.responses import Responses
from scorer.testing import ProviderContract
from scorer.types import Classify as Asked
from scorer.types import Message, Provider, Request
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


PAIR = Request(
    messages=(Message("user", "You grade."), Message("assistant", "Grade “naïve” 日本語.")),
    tokens=20,
    classify=Asked("pair"),
)


# Score and Pooling differ from these two in one method each: test_classifiers.py.


class TestClassify(ProviderContract):
    generates = False
    body = (
        b'{"id": "x", "object": "list", "model": "some-model-1", "data": [{"index": 0, "label": "LABEL_0", "probs": '
        b'[-1.25], "num_classes": 1}], "usage": {"prompt_tokens": 11, "total_tokens": 11, "completion_tokens": 0}}'
    )
    text = '{"values":[-1.25],"labels":["LABEL_0"]}'
    usage = Usage(11, 0)

    def make(self, **options: Any) -> Provider:
        return Classify(**options)


class TestPredict(ProviderContract):
    generates = False
    request = PAIR
    body = b'[{"score": 4.5, "label": "good"}, {"score": -1.5, "label": "bad"}]'
    text = '{"values":[4.5,-1.5],"labels":["good","bad"]}'
    usage = None

    def make(self, **options: Any) -> Provider:
        return Predict(**options)
