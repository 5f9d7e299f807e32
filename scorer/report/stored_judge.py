"""The judge of a run, made again from run.json: what it asked about a row, and what each stored reply says.

Sends nothing. Whatever the judge cannot say here, such as a plug-in that is not installed, is left out with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from scorer.build.plan import make_judge
from scorer.build.reply_providers import ReplyProviders
from scorer.config.loader import parse
from scorer.config.spec import Spec
from scorer.engine.replay import Answers, replay
from scorer.errors import RowError, SpecError
from scorer.output.manifest import Manifest
from scorer.types import Completion, Judge, Message, Request, Row, Score

_ONE_REPLY: Mapping[str, Mapping[str, Any]] = {
    "rating": {"samples": 1, "attempts": 1},
    "checklist": {"samples": 1, "attempts": 1},
    "pairwise": {"samples": 1, "attempts": 1, "orders": "given"},
    "versus_reference": {"samples": 1, "attempts": 1, "orders": "given"},
}
"""Options with which a judge of a kind reads exactly one reply."""
_TWO_ORDERS = ("pairwise", "versus_reference")
_ORDERS = ("given order", "swapped order")


@dataclass(frozen=True, slots=True)
class ReplyPlace:
    """Which request a reply answers: the model's alias, the order of a pair (0 given, 1 swapped), and the how-manieth.

    Requests are counted from 1 by model and order, explanations (the first of two turns) by themselves.
    """

    model: str = ""
    order: int = 0
    place: int = 1
    explains: bool = False


@dataclass(frozen=True, slots=True)
class StoredReply:
    """One reply to the judge's requests about a row.

    `of` says to which: the model of a panel, the order of a pair, the sample, "asked again" after an unreadable one;
    "" where there is but one. `value` is what this reply alone says, "" where that is unknown, an error's name
    where it is unreadable; `number` the same as a number, None for criteria and answers. `numbers` are its own result
    columns that are numbers, such as score_<criterion>. `text` is None where no reply was stored.
    """

    of: str
    value: str
    reason: str | None
    text: str | None
    number: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    place: ReplyPlace = field(default_factory=ReplyPlace)


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompts about a row, each with what it is of ("swapped order", or ""), and the replies in the order asked."""

    prompts: Sequence[tuple[str, str]]
    replies: Sequence[StoredReply]


class StoredJudge:
    """The judge of a run. `problem` says why it cannot be made here, and is None where it can."""

    def __init__(self, manifest: Manifest) -> None:
        options = manifest.covered.get("judge") or manifest.spec.get("judge") or {}
        self.options: Mapping[str, Any] = {name: value for name, value in options.items() if name != "source"}
        self.problem: str | None = None
        self.shown: tuple[str, ...] = ()
        """The columns of the input that the prompt shows."""
        self._judge: Judge | None = None
        self._single: Judge | None = None
        try:
            self._spec = _spec(manifest, self.options)
            self._judge = make_judge(self._spec, None)
        except SpecError as error:
            self.problem = f"The judge of this run cannot be made here, so its prompts are not shown: {error}"
            return
        self.shown = tuple(self._judge.columns)
        self._kind = str(self.options.get("kind", "rating"))
        if self.options.get("versus_reference"):
            self._kind = "versus_reference"
        self._providers = ReplyProviders(self._spec) if self._spec.all_models else None
        self._single = self._of_one_reply()

    def asked(self, row: Row | None, stored: Mapping[str, Any]) -> Asked:
        """What was asked about a row and answered; `stored` has its result columns raw, error and so on.

        Without the row, or where it could not be judged, its replies alone.
        """
        raw = stored.get("raw")
        if self._judge is None or row is None or row.problem is not None:
            return Asked((), [StoredReply("", "", None, text) for text in raw or ()])
        recorded = _Recorded(
            raw,
            stored.get("error"),
            stored.get("error_detail"),
            stored.get("finish_reason"),
            provider=lambda alias: self._providers(alias) if self._providers else None,
        )
        # What some judges read beside the text was not stored: the requests are known all the same.
        with suppress(SpecError):
            replay(self._judge, row, recorded)
        requests = recorded.requests
        places = self._places([request for request, _ in requests])
        texts = [*(raw or ()), *[None] * len(requests)]
        replies = [
            replace(self._reply(row, name, place, answer, text), place=place)
            for name, place, (_, answer), text in zip(self._names(places), places, requests, texts, strict=False)
        ]
        replies += [StoredReply("", "", None, text) for text in (raw or ())[len(requests) :]]
        return Asked(self._prompts([request for request, _ in requests]), replies)

    @property
    def samples(self) -> int:
        """How many replies are asked for one question."""
        samples = self.options.get("samples", 1)
        return samples if isinstance(samples, int) else 1

    @property
    def in_two_orders(self) -> bool:
        """Whether each row's two texts are shown in both orders."""
        default: Mapping[str, Any] = {"orders": "both"}
        return self._kind in _TWO_ORDERS and {**default, **self.options}["orders"] == "both"

    @property
    def flips(self) -> bool:
        """Whether a row whose two orders prefer different sides is a tie, as for labels of `pairwise`."""
        by_degree = self.options.get("read") == "expected" or self.options.get("graded") is True
        return self._kind == "pairwise" and not by_degree

    @property
    def reads_replies(self) -> bool:
        """Whether a reply says something by itself."""
        return self._single is not None

    def read_alone(self, raw: Sequence[str | None]) -> Sequence[StoredReply]:
        """Each stored reply read by itself, without the row: what a reply says does not depend on the row's texts."""
        if self._judge is None or self._single is None:
            return []
        # Each column holds a text of its own: two equal texts have one order.
        return self.asked(Row("", 0, {name: name for name in self._judge.columns}), {"raw": raw}).replies

    def readings(self, raw: Sequence[str | None]) -> list[float]:
        """What each stored reply says by itself, as a number; those that say nothing are left out."""
        return [reply.number for reply in self.read_alone(raw) if reply.number is not None]

    # --- what was asked -----------------------------------------------------------------------------------------------

    def _prompts(self, requests: Sequence[Request]) -> list[tuple[str, str]]:
        """The different prompts of the first turn: one, or one for each order."""
        texts = dict.fromkeys(_text(first) if first else "" for first in _first_turns(requests))
        if self._kind not in _TWO_ORDERS or len(texts) != 2:
            return [("", text or request.prompt) for text, request in list(zip(texts, requests, strict=False))[:1]]
        return list(zip(_ORDERS, texts, strict=True))

    def _places(self, requests: Sequence[Request]) -> list[ReplyPlace]:
        """What each request is of."""
        starts = _first_turns(requests)
        orders = list(dict.fromkeys(starts))
        in_orders = self._kind in _TWO_ORDERS and len(orders) == 2
        seen: dict[tuple[Any, ...], int] = {}
        places = []
        for request, start in zip(requests, starts, strict=True):
            explains = self.options.get("turns") == 2 and request.messages == start
            order = orders.index(start) if in_orders else 0
            key = (request.model, order, explains)
            seen[key] = seen.get(key, 0) + 1
            places.append(ReplyPlace(request.model, order, seen[key], explains))
        return places

    def _names(self, places: Sequence[ReplyPlace]) -> list[str]:
        """What each request is of, in words; "" for a single one."""
        if len(places) == 1:
            return [""]
        models = len({place.model for place in places}) > 1
        in_orders = len({place.order for place in places}) > 1
        names = []
        for place in places:
            parts = [place.model] if models else []
            parts += [_ORDERS[place.order]] if in_orders else []
            parts += [f"sample {place.place}"] if self.samples > 1 and place.place <= self.samples else []
            parts += ["asked again"] if place.place > self.samples else []
            parts += ["explanation"] if place.explains else []
            names.append(", ".join(parts))
        return names

    # --- what a reply says --------------------------------------------------------------------------------------------

    def _reply(
        self, row: Row, of: str, place: ReplyPlace, answer: Completion | RowError | None, raw: str | None
    ) -> StoredReply:
        if isinstance(answer, RowError) or answer is None:
            return StoredReply(of, "" if answer is None else answer.name, None, raw)
        if place.explains or self._single is None:
            return StoredReply(of, "", None, answer.text)
        try:
            score = replay(self._single, row, _One(answer))
        except SpecError:
            return StoredReply(of, "", None, answer.text)
        if isinstance(score, RowError):
            return StoredReply(of, score.name, None, answer.text)
        value, number = self._said(score, swapped=place.order == 1)
        numbers = {name: float(one) for name, one in score.fields.items() if _says(name) and isinstance(one, float)}
        return StoredReply(of, value, score.reason, answer.text, number, numbers)

    def _said(self, score: Score, *, swapped: bool) -> tuple[str, float | None]:
        """What a single reply says, in words, and as a number where it is one."""
        if self._kind == "pairwise":
            preference = 1 - score.value if swapped else score.value
            side = "tie" if preference == 0.5 else "a" if preference > 0.5 else "b"
            return (side if preference in (0, 0.5, 1) else f"{side} ({preference:.3g})"), preference
        if self._kind == "versus_reference":
            grades = (score.value, score.fields.get("score_reference"))
            own, reference = reversed(grades) if swapped else grades
            return f"{own:g}, reference {reference:g}", own
        parts = [f"{name.partition('_')[2]} {_short(value)}" for name, value in score.fields.items() if _says(name)]
        return (", ".join(parts) if parts else f"{score.value:g}"), score.value

    def _of_one_reply(self) -> Judge | None:
        """The same judge for a single reply; None where a reply of this kind says nothing by itself."""
        kind = "rating" if self._kind == "panel" else self._kind
        if kind not in _ONE_REPLY:
            return None
        without = ("models", "aggregate", "examples") if self._kind == "panel" else ("examples",)
        options = {name: value for name, value in self.options.items() if name not in without}
        options |= dict(_ONE_REPLY[kind])
        if options.get("kind") == "panel":
            options["kind"] = "rating"
        if options.get("turns") == 2:
            options |= {"turns": 1, "reason": "none"}
        try:
            return make_judge(self._spec.model_copy(update={"judge": type(self._spec.judge)(**options)}), None)
        except SpecError:
            return None


class _Recorded(Answers):
    """The stored replies of a row, and the requests that they answer; None for one that has no reply to read."""

    def __init__(self, *stored: Any, **options: Any) -> None:
        super().__init__(*stored, **options)
        self.requests: list[tuple[Request, Completion | RowError | None]] = []

    def next(self, request: Request) -> Completion | RowError:
        self.requests.append((request, None))
        answer = super().next(request)
        self.requests[-1] = request, answer
        return answer


class _One(Answers):
    """One reply, whatever is asked."""

    def __init__(self, answer: Completion) -> None:
        super().__init__(None, None, None, None, provider=lambda _: None)
        self._answer = answer

    def next(self, request: Request) -> Completion | RowError:
        return self._answer


def _spec(manifest: Manifest, options: Mapping[str, Any]) -> Spec:
    """The spec of a run with the prompt as it was read, without keys of stored replies. Raises SpecError."""
    spec, problems = parse({**manifest.spec, "judge": dict(options)})
    if spec is None or problems:
        raise SpecError(problems or ["run.json has no run file."])
    models = tuple(model.model_copy(update={"keys": ()}) for model in spec.models)
    model = spec.model.model_copy(update={"keys": ()}) if spec.model is not None else None
    return spec.model_copy(update={"models": models, "model": model})


def _first_turns(requests: Sequence[Request]) -> list[tuple[Message, ...]]:
    """The messages of each request up to the row's own first turn, by which orders differ; the first has no more."""
    length = len(requests[0].messages) if requests else 0
    return [request.messages[:length] for request in requests]


def _text(messages: Sequence[Message]) -> str:
    """Messages as one text; several each under its role."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)


def _says(name: str) -> bool:
    return name.startswith(("score_", "check_")) and name != "score_q10"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
