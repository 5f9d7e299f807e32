"""Judges made of Python functions: one makes the prompt from a row, one reads the score from the reply."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Unpack

import pyarrow as pa

from scorer.error_frames import without_frames
from scorer.errors import BadRow, RowError, SpecError, Unreadable
from scorer.judges.asking import Asking, Options, same_in_all
from scorer.judges.function_source import resolved, source_of
from scorer.judges.samples import Sample, most_telling, unread
from scorer.judges.talks import Question
from scorer.types import Completion, Conversation, Message, Request, Row, Score

METHOD = "function"
MOST_TURNS = 20
"""Most turns of a conversation that `specimen` tries."""


class FunctionJudge:
    """A `Judge` of one or two Python functions, named by their references (`function_source.reference`).

    `prompt_function` takes the row, a dict of `columns`, and returns the prompt: a text, or messages as dicts with
    `role` and `content`. `reply_function` takes the text of the reply and returns a number, or a number and a reason;
    None where the reply has no verdict. Without it, `prompt_function` is a generator function: it yields prompts,
    receives the reply to each, and returns the score.

    A null in one of `columns`, and an exception before the first request, make the row `BadRow`. An exception while a
    reply is read, None, a number that is not finite and one outside `scale` make it `Unreadable`; with a
    `reply_function` such a reply is asked for again, `attempts` times in all. `source` is a hash of the functions'
    source for the fingerprint.

    Raises: SpecError, with one sentence for each mistake.
    """

    def __init__(
        self,
        *,
        prompt_function: str = "",
        columns: Sequence[str] = (),
        reply_function: str | None = None,
        scale: Sequence[float] | None = None,
        **asking: Unpack[Options],
    ) -> None:
        asking.setdefault("attempts", 3)
        self._asking = Asking(**asking)
        problems = [*self._asking.problems(), *_scale_problems(scale)]
        if not isinstance(columns, list | tuple) or not columns or not all(isinstance(name, str) for name in columns):
            problems.append(
                f"judge.columns: {columns!r} is not allowed; a list of the columns that the function reads is."
            )
        if self._asking.explains or self._asking.examples:
            problems.append("judge.reason, turns and examples are not for functions: the prompt says what is asked.")
        if reply_function is None and self._asking.samples != 1:
            problems.append("judge.samples: a generator function asks for itself; samples need a reply_function.")
        if not prompt_function:
            problems.append('judge.prompt_function: missing; kind = "function" needs "package.module:name".')
        if problems:
            raise SpecError(problems)
        self._prompt = resolved(prompt_function, "judge.prompt_function")
        self._read = None if reply_function is None else resolved(reply_function, "judge.reply_function")
        self._scale = None if scale is None else (float(scale[0]), float(scale[1]))
        self._columns = tuple(columns)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*columns, *self._asking.keys)))
        self.fields: tuple[pa.Field, ...] = ()
        self.source = source_of(self._prompt, *([] if self._read is None else [self._read]))
        self.constant = self._constant()

    def __call__(self, row: Row) -> Conversation:
        values = self._values(row)
        if self._read is None:
            return (yield from self._conversation(row, values))
        messages = self._messages(self._call(self._prompt, values))
        (samples,) = yield from self._asking.ask(row, [Question(messages, self._sample)])
        read = [sample for sample in samples if sample.values]
        if not read:
            raise most_telling([sample.error for sample in samples if sample.error is not None])
        value = math.fsum(sample.values["score"] for sample in read) / len(read)
        return Score(value, reason=read[0].reason, method=METHOD, samples=len(read))

    def specimen(self, index: int) -> str:
        """A reply that the functions can read, for a rehearsal; a bare number where none of the usual forms is read."""
        low, high = self._scale or (1.0, 5.0)
        number = f"{low + index % (int(high - low) + 1):g}"
        forms = (number, f"Score: {number}", f'{{"score": {number}}}', f"[[{number}]]", "Yes", "A", "true")
        return next((text for text in forms if self._reads(text)), number)

    def _reads(self, text: str) -> bool:
        """Whether a row of empty texts gets a score where every reply is `text`."""
        talk = self(Row("", 0, dict.fromkeys(self.columns, "")))
        try:
            requests = next(talk)
            for _ in range(MOST_TURNS):
                requests = talk.send([Completion(text)] * len(requests))
        except StopIteration:
            return True
        except RowError:
            return False
        return False

    def _conversation(self, row: Row, values: dict[str, Any]) -> Conversation:
        """The generator function's turns; each request shows its prompt alone."""
        talk: Generator[Any, str, Any] = self._call(self._prompt, values)
        prompt = self._call(next, talk)
        asked = 0
        while True:
            key = {name: row.values.get(name) for name in self._asking.keys}
            request = Request(messages=self._messages(prompt), key=key, index=asked, tokens=row.tokens)
            (answer,) = yield [request]
            asked += 1
            if isinstance(answer, RowError):
                raise answer
            try:
                prompt = talk.send(answer.text)
            except StopIteration as end:
                value, reason = self._score(end.value, answer)
                return Score(value, reason=reason, method=METHOD, samples=1)
            except RowError:
                raise
            except Exception as error:
                raise _failed(answer, f"the function raised {type(error).__name__}: {error}") from error

    def _sample(self, answer: Completion) -> Sample:
        """What the reply function makes of one reply."""
        assert self._read is not None
        try:
            value, reason = self._score(self._read(answer.text), answer)
        except RowError as error:
            return Sample(error=without_frames(error))
        except Exception as error:  # noqa: BLE001 - code of the user's own, whose failure is this reply's
            return Sample(error=_failed(answer, f"the function raised {type(error).__name__}: {error}"))
        return Sample({"score": value}, reason)

    def _score(self, found: Any, answer: Completion) -> tuple[float, str | None]:
        """The number and the reason that a function returned. Raises a RowError where it is no score."""
        value, reason = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        if value is None:
            raise unread(answer)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise _failed(answer, f"the function returned {value!r:.80}, which is no finite number")
        if self._scale is not None and not self._scale[0] <= value <= self._scale[1]:
            raise _failed(answer, f"{value:g} is outside the scale {self._scale[0]:g} to {self._scale[1]:g}")
        return float(value), None if reason is None else str(reason)

    def _values(self, row: Row) -> dict[str, Any]:
        values = {name: row.values.get(name) for name in self._columns}
        for name, value in values.items():
            if value is None:
                raise BadRow(f"Column {name!r} is null.")
        return values

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns before anything is asked. Raises BadRow where it fails."""
        try:
            return function(*arguments)
        except RowError:
            raise
        except StopIteration:
            raise BadRow("The function returned before it asked for a reply.") from None
        except Exception as error:
            raise BadRow(f"The function raised {type(error).__name__}: {error}") from error

    def _messages(self, prompt: Any) -> tuple[Message, ...]:
        """The messages of a prompt, after the system message. Raises BadRow for what is none."""
        opening = () if self._asking.system is None else (same_in_all("system", self._asking.system),)
        if isinstance(prompt, str):
            return (*opening, Message("user", prompt))
        messages = [_message(one) for one in prompt] if isinstance(prompt, list | tuple) else []
        if not messages or None in messages:
            raise BadRow(f"The function returned {prompt!r:.80}, which is no text and no list of messages.")
        return (*opening, *(message for message in messages if message is not None))

    def _constant(self) -> str:
        """The prompt of a row of empty texts, for counting tokens; "" where the function fails on it."""
        try:
            made = self._prompt(dict.fromkeys(self._columns, ""))
            messages = self._messages(next(made) if self._read is None else made)
        except Exception:  # noqa: BLE001 - code of the user's own, for an estimate alone
            return ""
        return "\n".join(message.content for message in messages)


def _message(given: Any) -> Message | None:
    if isinstance(given, Message):
        return given
    if not isinstance(given, Mapping):
        return None
    role, content = given.get("role"), given.get("content")
    return Message(role, content) if isinstance(role, str) and isinstance(content, str) else None


def _failed(answer: Completion, what: str) -> RowError:
    """The error of a reply that gave no score: the filter's or the limit's where that is why."""
    known = unread(answer)
    return Unreadable(f"The reply was not read: {what}.") if isinstance(known, Unreadable) else known


def _scale_problems(scale: Any) -> list[str]:
    if scale is None:
        return []
    numbers = isinstance(scale, list | tuple) and all(type(end) in (int, float) for end in scale)
    if numbers and len(scale) == 2 and scale[0] < scale[1]:
        return []
    return [f"judge.scale: {scale!r} is not allowed; two numbers are, the lower one first."]
