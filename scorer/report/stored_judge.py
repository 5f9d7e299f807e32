"""The judge of a run, made again from run.json: what it asked about a row, and what each stored reply says.

Sends nothing. Whatever the judge cannot say here, such as a plug-in that is not installed, is left out with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any

from scorer.build.plan import make_judge
from scorer.build.reply_providers import ReplyProviders
from scorer.config.loader import parse
from scorer.config.spec import Spec
from scorer.engine.replay import Answers, replay
from scorer.errors import RowError, SpecError
from scorer.judges.rating import Rating
from scorer.output.manifest import Manifest
from scorer.report.reply_places import TWO_ORDERS, ReplyPlace, ReplyPlaces
from scorer.report.stored_reply import StoredReply, number_of, slots_of
from scorer.types import Completion, Judge, Request, Row, Score

_ONE_REPLY: Mapping[str, Mapping[str, Any]] = {
    "rating": {"samples": 1, "attempts": 1},
    "checklist": {"samples": 1, "attempts": 1},
    "pairwise": {"samples": 1, "attempts": 1, "orders": "given"},
    "versus_reference": {"samples": 1, "attempts": 1, "orders": "given"},
}
"""Options with which a judge of a kind reads exactly one reply."""


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
        self._whole: Rating | None = None
        self._singles: dict[str, Judge] = {}
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
        self._places = ReplyPlaces(self._kind, self.options)
        self._singles = self._of_one_reply()

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
        places = self._places.of([request for request, _ in requests])
        texts = [*(raw or ()), *[None] * len(requests)]
        replies = [
            replace(self._reply(row, name, place, answer, text), place=place)
            for name, place, (_, answer), text in zip(self._places.names(places), places, requests, texts, strict=False)
        ]
        replies += [StoredReply("", "", None, text) for text in (raw or ())[len(requests) :]]
        return Asked(self._places.prompts([request for request, _ in requests]), replies)

    @property
    def samples(self) -> int:
        """How many replies are asked for one question."""
        return 1 if self.problem is not None else self._places.samples

    @property
    def in_two_orders(self) -> bool:
        """Whether each row's two texts are shown in both orders."""
        default: Mapping[str, Any] = {"orders": "both"}
        return self._kind in TWO_ORDERS and {**default, **self.options}["orders"] == "both"

    @property
    def flips(self) -> bool:
        """Whether a row whose two orders prefer different sides is a tie, as for labels of `pairwise`."""
        by_degree = self.options.get("read") == "expected" or self.options.get("graded") is True
        return self._kind == "pairwise" and not by_degree

    @property
    def reads_replies(self) -> bool:
        """Whether a reply says something by itself."""
        return bool(self._singles)

    def read_alone(self, raw: Sequence[str | None]) -> Sequence[StoredReply]:
        """Each stored reply read by itself, without the row: what a reply says does not depend on the row's texts."""
        if self._judge is None or not self._singles:
            return []
        # Each column holds a text of its own: two equal texts have one order.
        return self.asked(Row("", 0, {name: name for name in self._judge.columns}), {"raw": raw}).replies

    def readings(self, raw: Sequence[str | None]) -> list[float]:
        """What each stored reply says by itself, as a number; those that say nothing are left out.

        Of criteria that are asked apart it is what the n-th replies about all of them say together.
        """
        replies = self.read_alone(raw)
        if not self._places.criteria:
            return [reply.number for reply in replies if reply.number is not None]
        models = dict.fromkeys(reply.place.model for reply in replies)
        numbers = (self._combined([one for one in replies if one.place.model == model]) for model in models)
        return [number for of_model in numbers for number in of_model if not isnan(number)]

    def sampled(self, raw: Sequence[str | None], column: str) -> list[list[float]]:
        """What each sample says in a score column, for each order (of a judge of pairs); nan where it says nothing.

        Where an unreadable reply was asked again, the answer stands for its sample.
        """
        replies = self.read_alone(raw)
        if self._places.criteria and column == "score":
            return [self._combined(replies)]
        about = column.removeprefix("score_") if self._places.criteria else ""
        orders = [[one for one in replies if one.place.order == order] for order in range(1 + self.in_two_orders)]
        return [[number_of(one, column) for one in slots_of(of_one, self.samples, about)] for of_one in orders]

    def _combined(self, replies: Sequence[StoredReply]) -> list[float]:
        """The score of each sample, from the replies about criteria that are asked apart; nan where there is none."""
        slots = {name: slots_of(replies, self.samples, name) for name in self._places.criteria}
        scores = []
        for sample in range(self.samples):
            said = {name: of_one[sample].numbers for name, of_one in slots.items() if sample < len(of_one)}
            values = {name: numbers[f"score_{name}"] for name, numbers in said.items() if numbers}
            score = self._whole.combined(values) if self._whole is not None else None
            scores.append(nan if score is None else score)
        return scores

    # --- what a reply says --------------------------------------------------------------------------------------------

    def _reply(
        self, row: Row, of: str, place: ReplyPlace, answer: Completion | RowError | None, raw: str | None
    ) -> StoredReply:
        if isinstance(answer, RowError) or answer is None:
            return StoredReply(of, "" if answer is None else answer.name, None, raw)
        single = self._singles.get(place.criterion)
        if place.explains or single is None:
            return StoredReply(of, "", None, answer.text)
        try:
            score = replay(single, row, _One(answer))
        except SpecError:
            return StoredReply(of, "", None, answer.text)
        if isinstance(score, RowError):
            return StoredReply(of, score.name, None, answer.text)
        value, number = self._said(score, swapped=place.order == 1)
        numbers = {name: float(one) for name, one in score.fields.items() if _says(name) and isinstance(one, float)}
        reason = score.reason
        if place.criterion:  # the reply is about it alone
            value = _short(numbers.get(f"score_{place.criterion}"))
            reason = reason.removeprefix(f"{place.criterion}: ") if reason else None
        return StoredReply(of, value, reason, answer.text, number, numbers)

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

    def _of_one_reply(self) -> dict[str, Judge]:
        """The same judge for a single reply, by the criterion that it is about, "" for all.

        Nothing where a reply of this kind says nothing by itself.
        """
        kind = "rating" if self._kind == "panel" else self._kind
        if kind not in _ONE_REPLY:
            return {}
        without = ("models", "aggregate", "examples") if self._kind == "panel" else ("examples",)
        options = {name: value for name, value in self.options.items() if name not in without}
        options |= dict(_ONE_REPLY[kind])
        if options.get("kind") == "panel":
            options["kind"] = "rating"
        if options.get("turns") == 2:
            options |= {"turns": 1, "reason": "none"}
        try:
            if not self._places.criteria:
                return {"": self._made(options)}
            whole = self._made(options)
            self._whole = whole if isinstance(whole, Rating) else None
            alone = {name: value for name, value in options.items() if name != "weights"}
            criteria = zip(self._places.criteria, self.options["criteria"], strict=True)
            return {name: self._made({**alone, "criteria": [_unweighted(one)]}) for name, one in criteria}
        except SpecError:
            return {}

    def _made(self, options: Mapping[str, Any]) -> Judge:
        return make_judge(self._spec.model_copy(update={"judge": type(self._spec.judge)(**options)}), None)


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


def _unweighted(criterion: Any) -> Any:
    """The criterion without its weight, which may be 0 beside others."""
    if not isinstance(criterion, Mapping):
        return criterion
    return {key: value for key, value in criterion.items() if key != "weight"}


def _says(name: str) -> bool:
    return name.startswith(("score_", "check_")) and name != "score_q10"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
