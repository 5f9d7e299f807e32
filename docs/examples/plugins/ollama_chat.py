"""A provider: Ollama's own API, POST /api/chat."""

import json
from collections.abc import Generator, Mapping
from typing import Any

from scorer.errors import Rejected, ServerFault, SetupError, Throttled
from scorer.types import Call, Completion, RateHint, Reply, Request
from scorer.usage import Usage


class OllamaChat:
    """A `scorer.types.Provider`. scorer makes it with exactly these keyword arguments."""

    default_base_url = "http://127.0.0.1:11434"

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        extra: Mapping[str, Any],
        temperature: float | None,
        max_output_tokens: int,
        dialect: str,
    ) -> None:
        self._name, self._extra = name, extra
        self._url = f"{base_url.rstrip('/')}/api/chat"
        self._headers = {"content-type": "application/json", **headers}
        self._temperature, self._max_output_tokens = temperature, max_output_tokens

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call. Raises RowError, TransientError or SetupError, whatever comes back."""
        if request.continuation is not None:
            raise SetupError("Ollama's chat API gives no log-probabilities of a given text: use provider = openai.")
        options = {
            "temperature": self._temperature if request.temperature is None else request.temperature,
            "num_predict": request.max_output_tokens or self._max_output_tokens,
            "seed": request.seed,
        }
        body = {
            "model": self._name,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "stream": False,
            "options": {name: value for name, value in options.items() if value is not None},
            **self._extra,
        }
        reply = yield Call(self._url, json.dumps(body).encode(), self._headers)
        return self._read(reply)

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        """Ollama tells no limits."""
        return RateHint()

    def _read(self, reply: Reply) -> Completion:
        try:
            value = json.loads(reply.body)
        except (ValueError, RecursionError):
            value = None
        value = value if isinstance(value, dict) else {}
        if reply.status != 200:
            raise self._error(reply.status, str(value.get("error", "no message")))
        message = value.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str):
            raise ServerFault(f"{self._url} answered without a message", billed=True, garbled=True)
        counts = value.get("prompt_eval_count", 0), value.get("eval_count")
        usage = Usage(*counts) if all(type(count) is int and count >= 0 for count in counts) else None
        return Completion(
            text,
            finish_reason=str(value.get("done_reason", "")),
            model=str(value.get("model", "")),
            usage=usage,
            body=reply.body,
        )

    def _error(self, status: int, said: str) -> Exception:
        heard = f"{self._url} answered {status}: {said[:300]}"
        if status == 429:
            return Throttled(heard)
        if status >= 500 or status == 408:
            return ServerFault(heard)
        if status in (400, 413, 422):
            return Rejected(heard)
        return SetupError(f"{heard}. Check model.base_url, model.name and the key.")
