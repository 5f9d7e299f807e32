"""Requests about two texts in both orders, as given and swapped: shared by `pairwise` and `versus_reference`.

Judges have a position bias, which the mean of both orders cancels. With both orders a row needs a reading in each.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from scorer.errors import BadRow, RowError, SpecError
from scorer.frozen import dataclass
from scorer.judges.asking import Asking
from scorer.judges.options import choice_problems
from scorer.judges.samples import Sample, most_telling
from scorer.judges.shown_values import as_text
from scorer.judges.talks import Question
from scorer.judges.template import Template
from scorer.types import Completion, Message, Request, Row

ORDERS = ("both", "given")
PLACES = ("first", "second")
"""The prompt's placeholders for the two texts, in the order shown."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two texts of a row: columns `a` and `b`; where `b` is None, `constant_b` is the second text of every row."""

    a: str
    b: str | None
    constant_b: str = ""


@dataclass(frozen=True, slots=True)
class PairReading:
    """The form of a reply about two texts, as `lines` that a prompt with `states_form` holds, and how it is read.

    `sample` makes a sample of a reply, and `reads` says whether the reply of an example holds a verdict.
    """

    lines: Sequence[str]
    states_form: bool
    sample: Callable[[Completion], Sample]
    reads: Callable[[str], bool]


class Orders:
    """The requests about two texts of a row, and what was read of the replies.

    `text` is a `Template` with {first} and {second} besides columns of the row. The two `orders` are asked at once, the
    given one first, as `asking` says. `reading` says what a reply looks like and makes a sample of it.

    Raises: SpecError, with one sentence for each mistake, those of the caller in `problems` included.
    """

    def __init__(
        self,
        text: str,
        asking: Asking,
        reading: PairReading,
        pair: Pair,
        orders: str,
        problems: Sequence[str] = (),
    ) -> None:
        found = [*problems, *choice_problems("orders", orders, ORDERS), *asking.problems()]
        opening: tuple[Message, ...] = ()
        # A form of unknown options cannot be made: those mistakes are raised alone.
        form = "" if found else asking.form(reading.lines)
        follow = None if found else asking.follow(form)
        try:
            template = Template(text if found or not text else asking.prompt(text, form, reading.states_form))
            found += [
                f"judge.prompt: holds no {{{place}}}; it is where the {place} of the two texts is shown."
                for place in PLACES
                if text and place not in template.columns
            ]
            if not found:
                opening = asking.opening(template, follow, reading.reads, found)
        except SpecError as error:
            found += error.problems
        if found:
            raise SpecError(found)
        self._template, self._opening, self._follow = template, opening, follow
        self._asking, self._read = asking, reading.sample
        self.unfenced = template.unfenced
        self._pair = pair
        self._swaps = (False, True) if orders == "both" else (False,)
        self.leading = tuple(takewhile(lambda name: name not in PLACES, template.columns))
        """The columns before both texts."""
        shown = tuple(name for name in template.columns if name not in PLACES)
        texts = (pair.a,) if pair.b is None else (pair.a, pair.b)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*shown, *texts, *asking.keys)))
        said = (*(message.content for message in opening), template.constant, pair.constant_b)
        self.constant = "\n".join(said).strip("\n")

    def ask(
        self, row: Row, top_logprobs: int = 0
    ) -> Generator[list[Request], list[Completion | RowError], list[list[Sample]]]:
        """The samples that were read, for each order, the given one first.

        Raises: the most telling error where an order has no sample that was read; BadRow.
        """
        questions = [Question(self._messages(row, swapped), self._read, self._follow) for swapped in self._swaps]
        taken = yield from self._asking.ask(row, questions, top_logprobs=top_logprobs)
        read = [[sample for sample in order if sample.values] for order in taken]
        if not all(read):
            without = [order for order, given in zip(taken, read, strict=True) if not given]
            raise most_telling([sample.error for order in without for sample in order if sample.error])
        return read

    def _messages(self, row: Row, swapped: bool) -> tuple[Message, ...]:
        pair = self._pair
        texts = [self._text(row, pair.a), pair.constant_b if pair.b is None else self._text(row, pair.b)]
        if swapped:
            texts.reverse()
        shown: Mapping[str, Any] = {**row.values, **dict(zip(PLACES, texts, strict=True))}
        return (*self._opening, self._template.message(shown))

    @staticmethod
    def _text(row: Row, column: str) -> str:
        value = as_text(column, row.values.get(column))
        if not isinstance(value, str):
            what = "null" if value is None else f"a {type(value).__name__}"
            raise BadRow(f"Column {column!r} is {what}; a comparison needs a string.")
        return value
