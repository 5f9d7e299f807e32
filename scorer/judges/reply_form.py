"""The form of a rating's reply: as text for the prompt, as a JSON schema, and as a sample reply."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from scorer.frozen import dataclass
from scorer.judges.asking import REHEARSED, Asking
from scorer.judges.criteria import Criterion

WHY = "<one to three sentences>"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What a reply holds: a verdict for each of `criteria`, as lines or as one JSON object, and the reasons.

    `each`: every criterion has a reason of its own, beside its verdict. `asking` says where the reason stands.
    """

    criteria: Sequence[Criterion]
    asking: Asking
    in_json: bool = False
    each: bool = False

    @property
    def reason(self) -> str:
        """Where the reason stands in this reply: none, before or after. With two turns it is another reply."""
        return "none" if self.asking.turns == 2 else self.asking.reason

    def instruction(self) -> str:
        """What the prompt says of the form."""
        if self.in_json:
            return f"Reply with one JSON object and nothing else:\n{self._json_form()}"
        lines = []
        for one in self.criteria:
            verdict, why = f"{one.name or 'Score'}: {one.slot}", f"{one.name} reason: {WHY}"
            lines += self._ordered(why, verdict) if self.each else [verdict]
        if self.each:
            return "\n".join(["Reply with these lines of this form and nothing else:", *lines])
        return self.asking.form(lines)

    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the reply, strict: every key is required, and there is no other. None for lines."""
        if not self.in_json:
            return None
        why = {"type": "string", "description": "One to three sentences."}
        if self.each:
            return _object(
                {
                    one.name: _object(dict(self._ordered(("reason", why), ("score", one.schema()))))
                    for one in self.criteria
                }
            )
        verdicts = {one.name or "score": one.schema() for one in self.criteria}
        if self.reason == "none":
            return _object(verdicts)
        return _object({"reason": why, **verdicts} if self.reason == "before" else {**verdicts, "reason": why})

    def specimen(self, n: int) -> str:
        """A reply of this form; `n` picks the verdict, and each further criterion takes the next one."""
        steps = {one.name: one.step(n + place) for place, one in enumerate(self.criteria)}
        if not self.in_json and self.reason == "none" and list(steps) == [""]:
            return str(steps[""])
        return self.reply(steps, REHEARSED)

    def reply(self, steps: Mapping[str, Any], reason: str) -> str:
        """A reply of this form that gives these verdicts by criterion, and `reason` where one is asked for."""
        if self.in_json:
            return json.dumps(self._json_reply(steps, reason), ensure_ascii=False)
        if self.each:
            pairs = [self._ordered(f"{name} reason: {reason}", f"{name}: {step}") for name, step in steps.items()]
            return "\n".join(line for pair in pairs for line in pair)
        return self.asking.specimen([f"{name or 'Score'}: {step}" for name, step in steps.items()], reason)

    def _json_reply(self, steps: Mapping[str, Any], reason: str) -> dict[str, Any]:
        if self.each:
            return {name: dict(self._ordered(("reason", reason), ("score", step))) for name, step in steps.items()}
        said = {name or "score": step for name, step in steps.items()}
        if self.reason == "none":
            return said
        return {"reason": reason, **said} if self.reason == "before" else {**said, "reason": reason}

    def _json_form(self) -> str:
        parts, why = [], f'"reason": "{WHY}"'
        for one in self.criteria:
            slot = f'"{one.slot}"' if one.slot.startswith("<one of") else one.slot
            if self.each:
                slot = "{" + ", ".join(self._ordered(why, f'"score": {slot}')) + "}"
            parts.append(f"{json.dumps(one.name or 'score', ensure_ascii=False)}: {slot}")
        whole = [why] if self.reason != "none" and not self.each else []
        return "{" + ", ".join([*whole, *parts] if self.reason == "before" else [*parts, *whole]) + "}"

    def _ordered(self, why: T, verdict: T) -> list[T]:
        """A reason and its verdict in the order asked for."""
        return [verdict, why] if self.reason == "after" else [why, verdict]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
