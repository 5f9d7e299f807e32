"""What the simulated judge answers to a request by itself: its reply and bill, or the error that the request earns.

Knows no limit, no latency and no fault of the moment: the same request always gets the same.
"""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

from scorer.frozen import dataclass
from scorer.rehearsal import messages, replies
from scorer.rehearsal.classes import classified
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.prefix_cache import CacheUse
from scorer.rehearsal.reply_writer import ReplyTokens, ReplyWriter, prose
from scorer.rehearsal.request_body import Endpoint, InvalidRequest, Question, read
from scorer.rehearsal.request_log import Bill
from scorer.rehearsal.vocabulary import Vocabulary, forced_logprobs


class Declined(Exception):
    """The request gets this error, whenever it is asked. `row` is "" where it is unknown."""

    def __init__(self, status: int, body: bytes, fault: str, row: str = "") -> None:
        self.status, self.body, self.fault, self.row = status, body, fault, row
        super().__init__(fault)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that gets a reply: what is said of it, and why it ends there."""

    question: Question
    prompt_tokens: int
    said: ReplyTokens
    finish: str
    reasoning_tokens: int

    @property
    def completion_tokens(self) -> int:
        return (len(self.said.tokens) + self.reasoning_tokens) * self.question.choices


class Answerer:
    """Answers as the config says. `vocabulary` outlives it."""

    def __init__(self, config: RehearsalConfig, vocabulary: Vocabulary) -> None:
        self.config = config
        self._vocabulary = vocabulary
        self._writer = ReplyWriter(config)
        self._row = re.compile(config.row_regex)
        self._poison = re.compile(config.poison) if config.poison else None
        self._refuse = re.compile(config.refuse) if config.refuse else None

    def read(self, endpoint: Endpoint, body: Any) -> Question:
        """The request in a JSON body (None where it was no JSON). Raises Declined."""
        if self.config.always:
            status, text = replies.ALWAYS[self.config.always]
            raise Declined(status, text, f"always_{self.config.always}")
        if isinstance(body, dict) and (refused := next((key for key in self.config.refuses if key in body), None)):
            raise _rejected(f"Unsupported parameter: '{refused}' is not supported with this model.", refused)
        try:
            return messages.read(body, self._row) if endpoint == "messages" else read(endpoint, body, self._row)
        except InvalidRequest as fault:
            raise _rejected(str(fault), fault.param) from fault

    def size(self, endpoint: Endpoint, body: Any) -> tuple[str, int]:
        """The text of a request and its prompt tokens; "" and 1 where it is none."""
        try:
            text = self.read(endpoint, body).text
        except Declined:
            return "", 1
        return text, self._tokens(text)

    def prepare(self, question: Question) -> Prepared:
        """What is said of it. Raises Declined."""
        prompt_tokens = self._tokens(question.text)
        context = self.config.context_tokens
        if self._poison and self._poison.search(question.text):
            raise Declined(400, replies.too_long(context or 1, prompt_tokens), "poison", question.row)
        if context and prompt_tokens + len(question.forced) > context:
            raise Declined(400, replies.too_long(context, prompt_tokens), "context", question.row)
        try:
            spoken = self._spoken(question)
        except KeyError as unknown:
            raise _rejected(f"failed to parse grammar: {unknown} is no token id", "grammar") from unknown
        return self._within(question, prompt_tokens, spoken)

    def without_verdict(self, prepared: Prepared) -> Prepared:
        """The same request, answered by prose that holds no verdict."""
        return self._within(prepared.question, prepared.prompt_tokens, prose())

    def bill(self, prepared: Prepared, cached: CacheUse | None) -> Bill:
        used = cached or CacheUse()
        return Bill(prepared.prompt_tokens, prepared.completion_tokens, used.read, used.written)

    def reply(
        self, prepared: Prepared, number: int, created: int, *, cached: CacheUse | None = None, null: bool = False
    ) -> bytes:
        """The body of the `number`-th reply; `cached` None: the usage does not tell it. `null`: no content."""
        question, said, finish = prepared.question, prepared.said, prepared.finish
        text = None if null or finish == "content_filter" else said.text
        if question.endpoint == "messages":
            message = messages.message(prepared, text, self.config.model, number, cached)
            return orjson.dumps(message if self.config.usage else {**message, "usage": None})
        logprobs = None
        if question.top is not None and text is not None:
            logprobs = self._logprobs(question, said, question.top)
        usage = None
        if self.config.usage:
            reasoning = prepared.reasoning_tokens * question.choices
            usage = replies.usage(prepared.prompt_tokens, prepared.completion_tokens, reasoning, cached and cached.read)
        if question.classifies:
            identity = f"{question.endpoint}-{number}"
            return b"null" if null else classified(question, self.config, identity, created, usage)
        envelope, choice = (
            (replies.chat, replies.chat_choice) if question.endpoint == "chat" else (replies.text, replies.text_choice)
        )
        choices = [choice(i, text, finish, logprobs) for i in range(question.choices)]
        identity = f"{'chatcmpl' if question.endpoint == 'chat' else 'cmpl'}-{number}"
        reply = envelope(identity, created, self.config.model, choices, usage)
        return orjson.dumps(reply if question.tier is None else {**reply, "service_tier": question.tier})

    def _tokens(self, text: str) -> int:
        return max(1, math.ceil(len(text) / self.config.chars_per_token))

    def _spoken(self, question: Question) -> ReplyTokens:
        """The reply's tokens: of a grammar with the empty end token, which max_tokens may cut; of a classifier none.

        Raises: KeyError for an id that /tokenize never gave.
        """
        if question.classifies:
            return ReplyTokens()
        if question.forced:
            return ReplyTokens([*self._vocabulary.tokens(question.forced), ""])
        return self._writer.say(question.row, question.schema, question.text)

    def _within(self, question: Question, prompt_tokens: int, spoken: ReplyTokens) -> Prepared:
        """What may be said of it, and the finish reason."""
        most = self.config.reasoning_tokens if question.endpoint in ("chat", "messages") else 0
        reasoning = most if question.max_tokens is None else min(most, question.max_tokens)
        if self._refuse and self._refuse.search(question.text):
            return Prepared(question, prompt_tokens, ReplyTokens(), "content_filter", reasoning)
        room = None if question.max_tokens is None else max(0, question.max_tokens - reasoning)
        if room is not None and room < len(spoken.tokens):
            return Prepared(question, prompt_tokens, spoken.cut(room), "length", reasoning)
        return Prepared(question, prompt_tokens, spoken, "stop", reasoning)

    def _logprobs(self, question: Question, said: ReplyTokens, top: int) -> list[dict[str, Any]]:
        if not question.forced:
            return said.logprobs(top)
        drawn = forced_logprobs(question.text, said.tokens)
        return [
            {
                "id": self._vocabulary.id(token),
                "token": token,
                "bytes": list(token.encode()),
                "logprob": logprob,
                "top_logprobs": [],
            }
            for token, logprob in zip(said.tokens, drawn, strict=True)
        ]


def _rejected(message: str, param: str | None) -> Declined:
    return Declined(400, replies.error(message, "invalid_request_error", param=param), "unasked")
