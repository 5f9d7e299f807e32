"""Settings that servers take in different forms; a refusal of one form selects the next.

Knows no dialect: a provider gives the forms and the words by which a refusal names the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from scorer.client.providers.complaints import Complaint, complaint, parse
from scorer.client.providers.reasoning import Fields
from scorer.client.providers.structured import SchemaForm
from scorer.patterns import pattern
from scorer.types import Call, Reply, Request

T = TypeVar("T")

_REFUSING = (400, 404, 422, 501)
_NOT_TAKEN = (
    r"not supported|unsupported|unrecognized|unknown|unexpected|not permitted|not allowed|extra (?:inputs?|fields?)|"
    r"does not support|deprecated|unavailable|not available|may only|cannot|can't|can not|not (?:yet )?implemented|"
    r"did not allow"
)
_OR_WRONG = rf"{_NOT_TAKEN}|invalid|must be|should be|no endpoints? found|fail(?:ed|s) to|incompatible"


class Setting(Generic[T]):
    """A setting in the `forms` in which servers take it, the preferred first.

    A refusal of it has its `names` and the words of `refusing`.

    `form` is the one in use, at `place`; it only ever moves forward. `proven`: a server has taken it.
    """

    __slots__ = ("_forms", "_names", "_refusing", "_what", "form", "place", "proven")

    def __init__(self, what: str, forms: Sequence[T], names: str, refusing: str = _OR_WRONG) -> None:
        self._what, self._forms = what, tuple(forms)
        self._names, self._refusing = (pattern(words, re.IGNORECASE) for words in (names, refusing))
        self.place, self.form = 0, self._forms[0]
        self.proven = False

    def named_in(self, said: Complaint) -> bool:
        """Whether a refusal complains of this setting."""
        return bool(self._names.search(said.param or said.message)) and bool(self._refusing.search(said.message))

    def move_on(self, place: int, said: str) -> str | None:
        """Takes the next form where the one at `place` was refused; the message of it, None where it was sent before.

        Many requests in flight may be refused at once: the first of them moves on, and the others follow.
        """
        if self.place != place:
            return None
        self._take(place + 1)
        becomes = "another form is tried" if self.has_more else "it is left out from now on"
        return f"{self._what} is refused ({said}): {becomes}."

    def give_up(self) -> str:
        """Leaves the setting out; what to tell of it."""
        self._take(len(self._forms) - 1)
        return f"{self._what} is refused: it is left out from now on."

    @property
    def has_more(self) -> bool:
        """Whether another form can be tried."""
        return self.place + 1 < len(self._forms)

    def _take(self, place: int) -> None:
        self.place, self.form = place, self._forms[place]


def refusal(reply: Reply) -> Complaint | None:
    """What a reply that refuses the request complains of; None for any other reply."""
    return complaint(parse(reply.body)) if reply.status in _REFUSING else None


def quietly(note: str) -> None:
    """Takes a message and drops it."""


Quote = Callable[[str], str]
Sent = Callable[[Request], tuple[bool, bool, bool, bool]]
"""Whether a request has a temperature, a reasoning, a schema, and a prefix to cache."""
Places = tuple[int, int, int, int]
Tell = Callable[[str], None]
"""Called once for each thing that a server was found not to take."""


class LearnedSettings:
    """The settings of a provider that a server may refuse: temperature, reasoning, schema of the reply, prompt caching.

    A refusal that names one of them moves it on to its next form, for this and all later requests, and `tell` says so.
    """

    __slots__ = ("caching", "places", "reasoning", "schema", "tell", "temperature")

    def __init__(self, reasoning: Sequence[Fields], schema: Sequence[SchemaForm]) -> None:
        # One that is merely off the range is the run file's mistake.
        self.temperature = Setting("model.temperature", (True, False), r"\btemperature\b", _NOT_TAKEN)
        self.reasoning = Setting(
            "model.reasoning", reasoning, r"reasoning|thinking|effort|chat_template_kwargs|extra_body"
        )
        self.schema = Setting(
            'The JSON schema of judge.read = "json"',
            schema,
            r"response_format|json_?schema|json_object|structured|guided|grammar|schema|output_config|output_format|tool",
        )
        self.caching = Setting(
            "model.cache", (True, False), r"cache_control|prompt_cache_key|cache_?point|prompt caching", _OR_WRONG
        )
        self.tell: Tell = quietly
        self.places: Places = (0, 0, 0, 0)
        """Which form each setting has now."""

    def learn(self, said: Complaint, places: Places, sent: Sequence[bool], quote: Quote) -> bool:
        """Whether another try may bring more, after a refusal of a request whose settings had these places.

        `sent`: whether the request had a temperature, a reasoning, a schema, a prefix to cache. `quote` shows the
        server's words.
        """
        settings: tuple[Setting[Any], ...] = (self.temperature, self.reasoning, self.schema, self.caching)
        for setting, place, there in zip(settings, places, sent, strict=True):
            if not there:
                continue
            if setting.place > place:  # another request was refused the same, and came first
                return True
            if setting.has_more and setting.named_in(said):
                if note := setting.move_on(place, quote(said.message).rstrip(". ")):
                    self._moved(note)
                return True
        return False

    def give_up_schema(self) -> None:
        """Leaves the schema out from now on."""
        self._moved(self.schema.give_up())

    def _moved(self, note: str) -> None:
        self.places = (self.temperature.place, self.reasoning.place, self.schema.place, self.caching.place)
        self.tell(note)


def asked_until_taken(
    learned: LearnedSettings, request: Request, call: Callable[[Request], Call], sent: Sent, quote: Quote
) -> Generator[Call, Reply, Reply]:
    """The reply to the request: `call` is made again after each refusal from which something was learned."""
    places = learned.places
    reply = yield call(request)
    while reply.status != 200 and (said := refusal(reply)) is not None:
        if not learned.learn(said, places, sent(request), quote):
            break
        places = learned.places
        reply = yield call(request)
    return reply


def merged(body: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """The body with these fields; a table that is there already takes up the new entries."""
    for name, value in fields.items():
        held = body.get(name)
        body[name] = {**held, **value} if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return body
