"""A judge: asks for a grade twice and keeps the lower one."""

import re

import pyarrow as pa

from scorer.errors import BadRow, RowError, SpecError, Truncated, Unreadable
from scorer.types import Conversation, Message, Request, Row, Score


class LowerOfTwo:
    """A `scorer.types.Judge`. The keys of [judge] are its keyword arguments."""

    def __init__(self, *, prompt: str, lowest: float = 1, highest: float = 10, temperature: float | None = 0.0) -> None:
        names = tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", prompt)))
        if not names:
            raise SpecError(["judge.prompt names no column: write {response} where the response belongs."])
        self.columns = names
        self.fields = (pa.field("spread", pa.float64()),)
        self.constant = prompt
        self._lowest, self._highest, self._temperature = lowest, highest, temperature

    def __call__(self, row: Row) -> Conversation:
        for name in self.columns:
            if row.values[name] is None:
                raise BadRow(f"Column {name} is null.")
        text = re.sub(r"\{(\w+)\}", lambda found: str(row.values[found[1]]), self.constant)
        requests = [
            Request(
                messages=(Message("user", text),),
                temperature=self._temperature,
                seed=seed,
                index=seed,
                tokens=row.tokens,
            )
            for seed in (0, 1)
        ]
        answers = yield requests  # one answer for each request, in this order
        grades = []
        for answer in answers:
            if isinstance(answer, RowError):
                raise answer
            grades.append(self._read(answer.text, answer.finish_reason))
        return Score(min(grades), method="number", samples=2, fields={"spread": max(grades) - min(grades)})

    def _read(self, text: str, finish_reason: str) -> float:
        """The only number in the text, if it is on the scale."""
        found = re.findall(r"-?\d+(?:\.\d+)?", text)
        if len(found) == 1 and self._lowest <= float(found[0]) <= self._highest:
            return float(found[0])
        raise (Truncated if finish_reason == "length" else Unreadable)(f"No grade in {text[:100]!r}.")
