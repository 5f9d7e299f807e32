"""Classifiers and reward models: vLLM's /classify, /score and /pooling, and text-embeddings-inference's /predict.

One request is one text, conversation or pair. Raw values are asked for by vLLM's `use_activation` and TEI's
`raw_scores`. Nothing is ever cut: a text beyond the model's window is TooLong.

Sources: vLLM 0.33, vllm/entrypoints/pooling; text-embeddings-inference 1.8, router/src/http.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Unpack

from scorer.class_values import number, written
from scorer.client.json_body import json_body
from scorer.client.providers.complaints import complaint, parse
from scorer.client.providers.completions import billed, read_model, read_usage
from scorer.client.providers.errors import fault
from scorer.client.providers.headers import rate_hint
from scorer.client.providers.learned import Tell, quietly
from scorer.client.providers.settings import ProviderOptions, ProviderSettings
from scorer.errors import Rejected, ServerFault, SetupError
from scorer.types import Call, Completion, RateHint, Reply, Request
from scorer.types import Classify as Asked
from scorer.usage import Usage

_SUM = 1e-4
"""How far the probabilities of all classes, as float16, may be from 1 in sum."""
_MANY = 50
"""So many values within [0, 1] and none outside of it are hardly raw ones."""

Values = tuple[Sequence[Any], Sequence[str | None]]
"""The value of each class as it stands in the reply, and the classes' names as far as they are given."""


class _Learned:
    """What is found out about the server; `tell` is called with it once."""

    __slots__ = ("raw", "tell", "within")

    def __init__(self) -> None:
        self.tell: Tell = quietly
        self.raw = False
        self.within = 0


class Classifier(ABC):
    """A `Provider` for one endpoint of classifiers; it is made with `ProviderOptions`.

    The endpoint lies at the root of the server, where vLLM and TEI have it: a `/v1` that ends `base_url` is left out. A
    `base_url` that ends in the endpoint's own path is taken as it is. Temperature, output limit, dialect and reasoning
    have no meaning here: nothing is generated.
    """

    default_base_url = "http://localhost:8000"
    """vLLM's own address."""
    path: ClassVar[str]

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        self._settings = settings = ProviderSettings.of(options, self.default_base_url)
        self.name = settings.name
        base = settings.base_url.rstrip("/")
        self.base_url = base.removesuffix(self.path).removesuffix("/v1")
        self._url = base if base.endswith(self.path) else f"{self.base_url}{self.path}"
        self._headers = {"content-type": "application/json", **(settings.headers or {})}
        self._place = settings.place
        self.learned = _Learned()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self._url}>"

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        return rate_hint(headers)

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call. The completion's text is that of `scorer.class_values.written`.

        Raises: RowError, TransientError, SetupError; never anything else, whatever bytes come back. SetupError also
        where raw values were asked for and probabilities came.
        """
        asked = request.classify or Asked()
        texts = [message.content for message in request.messages]
        body = {"model": self.name, **self._body(request, asked, texts), **(self._settings.extra or {})}
        reply = yield Call(url=f"{self._url}{self._settings.url_query}", body=json_body(body), headers=self._headers)
        value = parse(reply.body)
        if reply.status != 200 or complaint(value) is not None or not isinstance(value, dict | list):
            raise self._fault(reply, asked)
        whole: Mapping[str, Any] = value if isinstance(value, dict) else {}
        usage = _usage(whole, reply)
        found = self._values(value)
        if found is None or not found[0] or any(one is not None and not _is_number(one) for one in found[0]):
            with billed({"usage": _counted(whole)}):
                raise ServerFault(f"{self._url} answered without the values of one input's classes", garbled=True)
        values = [number(one) for one in found[0]]
        if not asked.activation and not self.learned.raw:
            self._check_raw(values)
        return Completion(written(values, found[1]), model=read_model(whole), usage=usage, body=reply.body)

    def _fault(self, reply: Reply, asked: Asked) -> Exception:
        error = fault(reply, self._place, self._url)
        if asked.form == "chat" and isinstance(error, Rejected) and "chat template" in str(error):
            return SetupError(
                f'{self._url} answered {reply.status}: {str(error).rstrip(". ")}. Set judge.form = "text" and write '
                "all that the model is to see into judge.prompt, or start the server with a template (--chat-template)."
            )
        return error

    @abstractmethod
    def _body(self, request: Request, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
        """The request's own fields."""

    @abstractmethod
    def _values(self, value: Any) -> Values | None:
        """The values in a parsed reply; None where they cannot be read."""

    def _check_raw(self, values: Sequence[float | None]) -> None:
        """Finds out whether the server gives raw values, as asked; some ignore the setting silently."""
        known = [value for value in values if value is not None]
        if not known:
            return
        learned = self.learned
        if any(not 0 <= value <= 1 for value in known):
            learned.raw = True
            return
        if len(known) > 1 and abs(sum(known) - 1) < _SUM and not learned.within:
            raise SetupError(
                f"{self._url} gave probabilities, {', '.join(f'{value:.4g}' for value in known)}, where logits were "
                'asked for: it does not know that setting. Set judge.value = "probability", or ask in the words of '
                "this server by model.extra (vLLM before 0.11: activation = false)."
            )
        learned.within += 1
        if learned.within == _MANY:
            learned.tell(
                f"The first {_MANY} values of {self.name} all lie between 0 and 1, where logits were asked for: the "
                "server may not know that setting, or the model ends in an activation function of its own."
            )


class Classify(Classifier):
    """vLLM's and SGLang's /classify: a conversation by the model's chat template, or a text."""

    path = "/classify"

    def _body(self, request: Request, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
        return {**_input(request, asked, texts), "use_activation": asked.activation}

    def _values(self, value: Any) -> Values | None:
        entry = _only(value)
        values = entry.get("probs")
        if not isinstance(values, list) or entry.get("num_classes", len(values)) != len(values):
            return None
        labels: list[str | None] = [None] * len(values)
        known = [number(one) for one in values]
        label = entry.get("label")
        if isinstance(label, str) and None not in known:  # it names the likeliest class alone
            labels[max(range(len(known)), key=lambda place: known[place] or 0.0)] = label
        return values, labels


class Score(Classifier):
    """vLLM's /score of a cross-encoder or a reward model with one output: a pair."""

    path = "/score"

    def _body(self, request: Request, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
        first, second = _pair(texts)
        return {"text_1": first, "text_2": second, "use_activation": asked.activation}

    def _values(self, value: Any) -> Values | None:
        entry = _only(value)
        return ([entry["score"]], [None]) if "score" in entry else None


class Pooling(Classifier):
    """vLLM's /pooling: a conversation by the model's chat template, or a text.

    Where it gives values for each token, those of the last one count, as outcome reward models are trained.
    """

    path = "/pooling"

    def _body(self, request: Request, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
        return {**_input(request, asked, texts), "encoding_format": "float", "use_activation": asked.activation}

    def _values(self, value: Any) -> Values | None:
        values = _only(value).get("data")
        if isinstance(values, list) and values and all(isinstance(token, list) for token in values):
            values = values[-1]
        return (values, [None] * len(values)) if isinstance(values, list) else None


class Predict(Classifier):
    """text-embeddings-inference's /predict: a text, or a pair. It has no chat template, and names each class."""

    path = "/predict"
    default_base_url = "http://localhost:8080"

    def _body(self, request: Request, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
        inputs = list(_pair(texts)) if asked.form == "pair" else "\n".join(texts)
        return {"inputs": inputs, "truncate": False, "raw_scores": not asked.activation}

    def _values(self, value: Any) -> Values | None:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            return None
        labels = [one.get("label") for one in value]
        if not all(isinstance(label, str) for label in labels) or len({*labels}) < len(labels):
            return None
        return [one.get("score", "missing") for one in value], labels


def _input(request: Request, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
    if asked.form == "chat":
        return {"messages": [{"role": message.role, "content": message.content} for message in request.messages]}
    return {"input": "\n".join(texts)}


def _pair(texts: Sequence[str]) -> tuple[str, str]:
    """All but the last text, and the last one."""
    return "\n".join(texts[:-1]), texts[-1] if texts else ""


def _only(value: Any) -> Mapping[str, Any]:
    """The only entry of `data`; empty where there is none or several, which would be of other inputs."""
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        return {}
    return data[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _counted(whole: Mapping[str, Any]) -> Any:
    """The usage of a reply, in which nothing was generated where it does not say."""
    usage = whole.get("usage")
    if not isinstance(usage, dict):
        return usage
    return {**usage, "completion_tokens": usage.get("completion_tokens") or 0}


def _usage(whole: Mapping[str, Any], reply: Reply) -> Usage | None:
    """The prompt's tokens: vLLM's `usage`, or TEI's header."""
    if (usage := read_usage(_counted(whole))) is not None:
        return usage
    counted = reply.headers.get("x-compute-tokens", "")
    return Usage(int(counted), 0) if counted.isascii() and counted.isdigit() and int(counted[:16]) > 0 else None
